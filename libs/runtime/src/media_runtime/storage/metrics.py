"""The bearer token with which MinIO's metrics are read."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping

METRICS_PATH = "/minio/v2/metrics/cluster"
BUCKETS_PATH = "/minio/metrics/v3/cluster/usage/buckets"


def metrics_token(access_key: str, secret_key: str) -> str:
    """
    Return the token of a user who may read metrics.

    It is signed with the user's secret and holds as long as that is the same. The store reads
    no other claims, and only with this issuer.
    """
    header, claims = {"alg": "HS512", "typ": "JWT"}, {"iss": "prometheus", "sub": access_key}
    signed = f"{_encoded(header)}.{_encoded(claims)}"
    digest = hmac.digest(secret_key.encode(), signed.encode(), hashlib.sha512)
    return f"{signed}.{_base64(digest)}"


def _encoded(document: Mapping[str, str]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")

"""
Presigned uploads: AWS Signature Version 4 in a URL's query, without I/O.

Invariant: what the edge lets through is this form and no other; deploy/edge/edge.js has it as a
pattern, so a change here is a change there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from media_runtime.settings import StorageSettings

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED_HEADERS = "content-length;content-type;host"


@dataclass(frozen=True)
class UploadGrant:
    """PUT the file to *url* with these *headers*, and its exact length, before *expires_at*."""

    url: str
    headers: Mapping[str, str]
    expires_at: datetime


class UploadSigner:
    """
    Signs uploads to *public_url*, the origin under which clients reach the edge.

    The signature is that of "Authenticating Requests: Using Query Parameters" in the reference of
    the S3 API, over host, Content-Type and Content-Length.
    """

    def __init__(self, settings: StorageSettings, public_url: str) -> None:
        self._origin = public_url.rstrip("/")
        self._host = urlsplit(public_url).netloc
        self._access_key = settings.s3_access_key
        self._secret = settings.s3_secret_key
        self._region = settings.s3_region
        self._day = ""
        self._key = b""

    def grant(
        self, bucket: str, key: str, *, content_type: str, size: int, lifetime: timedelta
    ) -> UploadGrant:
        """Return a grant for one file of exactly *size* bytes and this type under *key*."""
        now = datetime.now(UTC)
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        path = f"/{bucket}/{quote(key)}"
        query = (
            f"X-Amz-Algorithm={_ALGORITHM}"
            f"&X-Amz-Credential={quote(f'{self._access_key}/{scope}', safe='')}"
            f"&X-Amz-Date={moment}"
            f"&X-Amz-Expires={int(lifetime.total_seconds())}"
            f"&X-Amz-SignedHeaders={quote(_SIGNED_HEADERS, safe='')}"
            # Storage ignores these; the edge holds an upload against them before storage sees it.
            f"&size={size}&type={quote(content_type, safe='')}"
        )
        request = (
            f"PUT\n{path}\n{query}\n"
            f"content-length:{size}\ncontent-type:{content_type}\nhost:{self._host}\n\n"
            f"{_SIGNED_HEADERS}\nUNSIGNED-PAYLOAD"
        )
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}"
        signature = hmac.new(self._key_of(moment[:8]), text.encode(), hashlib.sha256).hexdigest()
        return UploadGrant(
            url=f"{self._origin}{path}?{query}&X-Amz-Signature={signature}",
            headers={"Content-Type": content_type},
            expires_at=now + lifetime,
        )

    def _key_of(self, day: str) -> bytes:
        """Return the signing key, which is the same for a whole day."""
        if day != self._day:
            key = f"AWS4{self._secret.get_secret_value()}".encode()
            for word in (day, self._region, "s3", "aws4_request"):
                key = hmac.new(key, word.encode(), hashlib.sha256).digest()
            self._day, self._key = day, key
        return self._key

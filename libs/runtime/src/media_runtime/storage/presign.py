"""
Presigned requests: AWS Signature Version 4 in a URL's query, without I/O.

Invariant: what the edge lets through is the form of an upload grant and no other;
deploy/edge/edge.js has it as a pattern, so a change here is a change there.
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
_NOTHING: Mapping[str, str] = {}


class Presigner:
    """
    Signs requests to *origin* with the login of *settings*.

    The signature is that of "Authenticating Requests: Using Query Parameters" in the reference of
    the S3 API, over the host, the query and the headers that are given.
    """

    def __init__(self, settings: StorageSettings, origin: str) -> None:
        self._origin = origin.rstrip("/")
        self._host = urlsplit(origin).netloc
        self._access_key = quote(settings.s3_access_key, safe="")
        self._secret = settings.s3_secret_key
        self._region = settings.s3_region
        self._day = ""
        self._key = b""

    def url(
        self,
        method: str,
        path: str,
        *,
        lifetime: timedelta,
        now: datetime,
        query: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
    ) -> str:
        """
        Return a URL for *method* on *path*, as ``/bucket/key``, that is good from *now* on.

        Who follows it sends *headers*, whose names are in lower case, as they are.
        """
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        signed = sorted([*headers.items(), ("host", self._host)])
        names = ";".join(name for name, _ in signed)
        parameters = [
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{self._access_key}%2F{scope.replace('/', '%2F')}"),
            ("X-Amz-Date", moment),
            ("X-Amz-Expires", str(int(lifetime.total_seconds()))),
            ("X-Amz-SignedHeaders", names.replace(";", "%3B")),
            *((quote(name, safe=""), quote(value, safe="")) for name, value in query.items()),
        ]
        words = "&".join([f"{name}={value}" for name, value in sorted(parameters)])
        quoted = quote(path)
        told = "".join([f"{name}:{value}\n" for name, value in signed])
        request = f"{method}\n{quoted}\n{words}\n{told}\n{names}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}"
        signature = hmac.digest(self._key_of(moment[:8]), text.encode(), "sha256").hex()
        return f"{self._origin}{quoted}?{words}&X-Amz-Signature={signature}"

    def _key_of(self, day: str) -> bytes:
        """Return the signing key, which is the same for a whole day."""
        if day != self._day:
            key = f"AWS4{self._secret.get_secret_value()}".encode()
            for word in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, word.encode(), "sha256")
            self._day, self._key = day, key
        return self._key


@dataclass(frozen=True)
class UploadGrant:
    """PUT the file to *url* with these *headers*, and its exact length, before *expires_at*."""

    url: str
    headers: Mapping[str, str]
    expires_at: datetime


class UploadSigner:
    """Signs uploads to *public_url*, the origin under which clients reach the edge."""

    def __init__(self, settings: StorageSettings, public_url: str) -> None:
        self._presigner = Presigner(settings, public_url)

    def grant(
        self, bucket: str, key: str, *, content_type: str, size: int, lifetime: timedelta
    ) -> UploadGrant:
        """Return a grant for one file of exactly *size* bytes and this type under *key*."""
        now = datetime.now(UTC)
        url = self._presigner.url(
            "PUT",
            f"/{bucket}/{key}",
            lifetime=lifetime,
            now=now,
            # Storage ignores these; the edge holds an upload against them before storage sees it.
            query={"size": str(size), "type": content_type},
            headers={"content-length": str(size), "content-type": content_type},
        )
        return UploadGrant(url, {"Content-Type": content_type}, expires_at=now + lifetime)

    def part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        size: int,
        now: datetime,
        lifetime: timedelta,
    ) -> str:
        """Return the URL to PUT part *number* of an upload to, of exactly *size* bytes."""
        return self._presigner.url(
            "PUT",
            f"/{bucket}/{key}",
            lifetime=lifetime,
            now=now,
            query={"partNumber": str(number), "size": str(size), "uploadId": upload_id},
            headers={"content-length": str(size)},
        )

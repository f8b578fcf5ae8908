"""
Links under which the edge serves files: ``/v/<token>/<asset>/<folder>/<name>``.

Invariant: a token names company, asset and kind of file and is checked by the edge alone
(deploy/edge/edge.js); it is no part of the key under which files are cached.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from media_runtime.settings import EdgeKeySettings
from media_runtime.storage.keys import output_owner

_ROUND_SECONDS = 300
_COMPANY, _OUTPUTS, _ASSET, _FOLDER = range(4)


class LinkKind(StrEnum):
    """Which files of an asset a token is good for."""

    MEDIA = "media"
    THUMBNAIL = "thumbnail"


class LinkRefusedError(Exception):
    """A token that was not made here for this asset, or has lapsed."""


class LinkSigner:
    """Makes links that live for at least *lifetime*, with the first of the edge's keys."""

    def __init__(
        self,
        settings: EdgeKeySettings,
        base_url: str,
        *,
        lifetime: timedelta,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base = base_url.rstrip("/")
        pairs = [one.partition(":") for one in settings.edge_keys.get_secret_value().split(",")]
        self._secrets = {key_id: secret.encode() for key_id, _, secret in pairs}
        self._key_id = pairs[0][0]
        self._lifetime = lifetime.total_seconds()
        self._now = now

    def link(self, key: str, kind: LinkKind) -> str:
        """
        Return the URL of the output under *key*; raises ValueError for another kind of key.

        Links of five minutes have one end in common and are the same, so that caches of browsers
        and networks find what they have.
        """
        if output_owner(key) is None:
            raise ValueError(f"not the key of an output: {key}")
        parts = key.split("/")
        company, asset = parts[_COMPANY], parts[_ASSET]
        ends = -(-(self._now() + self._lifetime) // _ROUND_SECONDS) * _ROUND_SECONDS
        token = f"{self._key_id}.{int(ends):x}.{company}.{kind}"
        seal = _seal(self._secrets[self._key_id], f"{token}.{asset}")
        return f"{self._base}/v/{token}.{seal}/{asset}/{'/'.join(parts[_FOLDER:])}"

    def company_of(self, token: str, asset_id: UUID, kind: LinkKind) -> UUID:
        """Return whose asset a link's *token* opens; raises LinkRefusedError."""
        signed, _, seal = token.rpartition(".")
        key_id, _, rest = signed.partition(".")
        secret = self._secrets.get(key_id)
        if secret is None or not hmac.compare_digest(_seal(secret, f"{signed}.{asset_id}"), seal):
            raise LinkRefusedError
        ends, company, named = rest.split(".")
        if named != kind or int(ends, 16) <= self._now():
            raise LinkRefusedError
        return UUID(company)


def _seal(secret: bytes, text: str) -> str:
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")

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

from media_runtime.settings import EdgeKeySettings
from media_runtime.storage.keys import output_owner

_ROUND_SECONDS = 300
_COMPANY, _OUTPUTS, _ASSET, _FOLDER = range(4)


class LinkKind(StrEnum):
    """Which files of an asset a token is good for."""

    MEDIA = "media"
    THUMBNAIL = "thumbnail"


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
        self._key_id, _, secret = settings.edge_keys.get_secret_value().split(",")[0].partition(":")
        self._secret = secret.encode()
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
        digest = hmac.new(self._secret, f"{token}.{asset}".encode(), hashlib.sha256).digest()
        seal = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return f"{self._base}/v/{token}.{seal}/{asset}/{'/'.join(parts[_FOLDER:])}"

"""
The keys that an issuer of tokens publishes.

Invariant: whatever tokens say, the issuer is asked by one request at a time and not again for a
while; nobody waits whose token names a key that is known.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
from media_runtime.errors import TransientError

_TIMEOUT_SECONDS = 5
_GOOD_FOR_SECONDS = 300.0
# An issuer that has begun to sign with a new key is asked again so soon, and one that is away.
_AGAIN_SECONDS = 5.0


class KeysUnavailableError(TransientError):
    """The issuer's keys cannot be had for now."""


class UnknownKeyError(Exception):
    """The issuer publishes no such key."""


class PublishedKeys:
    """The keys at *url*, by name."""

    def __init__(self, url: str) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=_TIMEOUT_SECONDS)
        self._keys: Mapping[str, Any] = {}
        self._fetched = self._asked = -float("inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, name: str | None) -> Any:
        """Return the key *name*; raises UnknownKeyError, KeysUnavailableError."""
        if name is None:
            raise UnknownKeyError("the token names no key")
        if not self._is_good() or name not in self._keys:
            fetching = self._begin_to_fetch()
            if fetching is not None:
                await asyncio.shield(fetching)
        elif not self._is_good(_GOOD_FOR_SECONDS / 2):
            self._begin_to_fetch()
        if not self._is_good():
            # A token may well be good, and a message would name the issuer's address.
            raise KeysUnavailableError("the issuer's keys cannot be fetched")
        if name not in self._keys:
            raise UnknownKeyError("the issuer publishes no such key")
        return self._keys[name]

    def _is_good(self, seconds: float = _GOOD_FOR_SECONDS) -> bool:
        return time.monotonic() - self._fetched < seconds

    def _begin_to_fetch(self) -> asyncio.Task[None] | None:
        """Return the one request that is under way, or None where one has just ended."""
        if self._fetching is None and time.monotonic() - self._asked >= _AGAIN_SECONDS:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            found = await asyncio.to_thread(self._client.get_signing_keys)
            self._keys = {str(one.key_id): one.key for one in found}
            self._fetched = time.monotonic()
        except (jwt.PyJWTError, json.JSONDecodeError, ValueError):
            pass  # what is known stays good for its time
        finally:
            self._asked = time.monotonic()
            self._fetching = None

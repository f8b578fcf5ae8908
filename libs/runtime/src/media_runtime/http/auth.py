"""
Bearer tokens: who calls, for which company, with which permissions.

Invariant: the algorithms are fixed by the settings and never taken from the token
(RFC 8725, section 3.1), and the company comes from verified claims alone.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
from media_runtime.http.jwks import PublishedKeys, UnknownKeyError
from media_runtime.settings import AuthSettings

_REQUIRED = ["exp", "sub", "aud", "iss"]
_PUBLISHED_ALGORITHMS = ["RS256", "ES256", "EdDSA"]
_MIN_SECRET_BYTES = 32
# A client sends one token many times; checking its signature is a tenth of a sign request.
_REMEMBERED = 10_000
# Remembered tokens take memory, which is bounded only if they are.
_MAX_TOKEN_CHARACTERS = 4096
_MAX_SUBJECT_CHARACTERS = 255
_LATEST_EXPIRY = 253_402_300_799  # the end of the year 9999, where dates end


class InvalidTokenError(Exception):
    """The token is missing, expired, or not one that this system accepts."""


@dataclass(frozen=True)
class Caller:
    """A verified caller."""

    subject: str
    company_id: UUID
    permissions: frozenset[str]
    expires_at: float
    """Unix time, in seconds, at which the token lapses."""


class TokenVerifier:
    """Verifies bearer tokens against the shared secret or the issuer's published keys."""

    def __init__(self, settings: AuthSettings) -> None:
        if (settings.jwt_secret is None) == (settings.jwt_jwks_url is None):
            raise ValueError("set either JWT_SECRET or JWT_JWKS_URL")
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        if self._secret is not None and len(self._secret.encode()) < _MIN_SECRET_BYTES:
            raise ValueError(f"JWT_SECRET must hold at least {_MIN_SECRET_BYTES} bytes")
        self._keys = PublishedKeys(settings.jwt_jwks_url) if settings.jwt_jwks_url else None
        self._settings = settings
        self._verified: OrderedDict[str, Caller] = OrderedDict()

    async def verify(self, token: str) -> Caller:
        """Return the caller that *token* proves; raises InvalidTokenError, KeysUnavailableError."""
        known = self._verified.get(token)
        if known is not None and known.expires_at > time.time():
            return known
        caller = await self._verify(token)
        self._verified[token] = caller
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return caller

    async def _verify(self, token: str) -> Caller:
        try:
            if self._secret is not None:
                return self._caller(self._claims(token, self._secret, ["HS256"]))
            key = await self._published_key(token)
            return self._caller(self._claims(token, key, _PUBLISHED_ALGORITHMS))
        except (jwt.PyJWTError, UnknownKeyError, KeyError, TypeError, ValueError) as error:
            raise InvalidTokenError(str(error)) from error

    async def _published_key(self, token: str) -> Any:
        if self._keys is None:
            raise InvalidTokenError("no key source")
        return await self._keys.key(jwt.get_unverified_header(token).get("kid"))

    def _claims(self, token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=self._settings.jwt_audience,
            issuer=self._settings.jwt_issuer,
            leeway=self._settings.jwt_leeway_seconds,
            options={"require": _REQUIRED},
        )

    @staticmethod
    def _caller(claims: dict[str, Any]) -> Caller:
        permissions, company = claims["permissions"], claims["company_id"]
        if not isinstance(permissions, list) or not all(isinstance(p, str) for p in permissions):
            raise ValueError("permissions must be a list of strings")
        if not isinstance(company, str):
            raise TypeError("company_id must be a string")
        return Caller(
            subject=_subject(claims["sub"]),
            company_id=UUID(company),
            permissions=frozenset(permissions),
            expires_at=_moment(claims["exp"]),
        )


def _subject(value: str) -> str:
    # PostgreSQL keeps no NUL, and UTF-8 has no form of a lone surrogate.
    if not value.isprintable() or not 1 <= len(value) <= _MAX_SUBJECT_CHARACTERS:
        raise ValueError(f"sub must have 1 to {_MAX_SUBJECT_CHARACTERS} printable characters")
    return value


def _moment(value: Any) -> float:
    if type(value) not in {int, float} or not 0 <= value <= _LATEST_EXPIRY:
        raise ValueError("exp must be a Unix time")
    return float(value)


def bearer_token(header: str | None) -> str:
    """Return the token of an Authorization header; raises InvalidTokenError."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise InvalidTokenError("send the header Authorization: Bearer <token>")
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise InvalidTokenError(f"it has more than {_MAX_TOKEN_CHARACTERS} characters")
    return token.strip()

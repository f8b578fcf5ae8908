"""Mints bearer tokens for local use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from mediactl.devstack.credentials import JWT_AUDIENCE, JWT_ISSUER, MIN_JWT_SECRET_BYTES
from mediactl.devstack.settings import in_force
from mediactl.devstack.state import State
from mediactl.errors import MediactlError, UsageError

DEFAULT_PERMISSIONS = ("media:upload", "media:read")
MAX_TTL_SECONDS = 10 * 365 * 24 * 3600


def mint_token(
    *,
    secret: str,
    company_id: UUID,
    now: datetime,
    permissions: Sequence[str] = DEFAULT_PERMISSIONS,
    ttl_seconds: int = 3600,
    subject: str = "mediactl",
    issuer: str = JWT_ISSUER,
    audience: str = JWT_AUDIENCE,
) -> str:
    """Return a signed HS256 token; raises UsageError for a time to live out of bounds."""
    import jwt  # takes longer than all else that a command loads

    if not 0 < ttl_seconds <= MAX_TTL_SECONDS:
        raise UsageError(f"--ttl must be from 1 to {MAX_TTL_SECONDS} seconds, not {ttl_seconds}.")
    claims = {
        "sub": subject,
        "company_id": str(company_id),
        "permissions": list(permissions),
        "aud": audience,
        "iss": issuer,
        "iat": now,
        "exp": now + timedelta(seconds=ttl_seconds),
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def local_token(
    state: State,
    environ: Mapping[str, str],
    *,
    company: str,
    permissions: Sequence[str] = DEFAULT_PERMISSIONS,
    ttl_seconds: int = 3600,
    subject: str = "mediactl",
) -> str:
    """
    Return a token that the stack of *state* accepts; JWT_SECRET in *environ* wins.

    Raises UsageError for a bad company or time to live, MediactlError where no secret is known.
    """
    company_id = parse_company(company)
    environ = in_force(state, environ)
    return mint_token(
        secret=_secret(state, environ),
        company_id=company_id,
        now=datetime.now(UTC),
        permissions=permissions,
        ttl_seconds=ttl_seconds,
        subject=subject,
        issuer=environ.get("JWT_ISSUER") or JWT_ISSUER,
        audience=environ.get("JWT_AUDIENCE") or JWT_AUDIENCE,
    )


def parse_company(text: str) -> UUID:
    """Return the company's id; raises UsageError."""
    try:
        return UUID(text)
    except ValueError as error:
        raise UsageError(f"--company must be a UUID, not {text!r}.") from error


def parse_ttl(text: str) -> int:
    """Return a time to live in seconds; raises UsageError."""
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"--ttl must be a whole number of seconds, not {text!r}.") from error


def _secret(state: State, environ: Mapping[str, str]) -> str:
    secret = environ.get("JWT_SECRET") or state.known_secret("jwt_secret")
    if not secret:
        raise MediactlError(
            "There is no stack to mint a token for: run './mediactl up' first, or set JWT_SECRET."
        )
    if len(secret.encode()) < MIN_JWT_SECRET_BYTES:
        raise UsageError(f"JWT_SECRET must hold at least {MIN_JWT_SECRET_BYTES} bytes.")
    return secret

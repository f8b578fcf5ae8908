"""
Grants: each asset begins as one.

Invariant: a company has no more bytes and no more open grants than it may; an idempotency key
gives the same answer for 24 hours.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from media_contracts.profiles import DEFAULT
from media_records.work import Reader

# One statement: set_config, profile, asset and idempotency key.
_SIGN = """
    SELECT * FROM sign_asset(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""


async def sign(
    reader: Reader, *, company_id: UUID, asset_id: UUID, file_name: str, content_type: str,
    size: int, bucket: str, expires_at: datetime, traceparent: str | None, key: str | None,
    request_hash: str | None, response: str | None, max_grants: int, profile: str | None,
    about: str | None = None, part_size: int | None = None, fingerprint: str | None = None,
) -> tuple[str | None, str | None, str | None]:  # fmt: skip
    """
    Record a grant as a pending asset, and the *response* that its idempotency *key* gives again.

    *about* is JSON of what the client says of it. With a *part_size* in bytes it is uploaded in
    parts, and found again by its *fingerprint*. The asset goes by the newest version of the
    *profile*, for ever: without one by the company's own default, or the built-in one.
    Returns why it is refused, and of a key that was used before its request's hash and response;
    all None where the grant was recorded.
    """
    (row,) = await reader.fetch(
        _SIGN, company_id, asset_id, file_name, content_type, size, bucket, expires_at,
        traceparent, key, request_hash, response, max_grants, profile, DEFAULT.version, about,
        part_size, fingerprint,
    )  # fmt: skip
    return row["refused"], row["request_hash"], row["response"]

"""What the keys of outputs say; apart from storage, for services that do not have its SDK."""

from __future__ import annotations

from uuid import UUID

OUTPUTS = "outputs"


def output_owner(key: str) -> tuple[UUID, UUID] | None:
    """Return company and asset that an output's key names, or None for another kind of key."""
    parts = key.split("/")
    if len(parts) < 5 or parts[1] != OUTPUTS:  # noqa: PLR2004 - company/outputs/asset/attempt/name…
        return None
    try:
        return UUID(parts[0]), UUID(parts[2])
    except ValueError:
        return None


def output_key(
    company_id: UUID, asset_id: UUID, attempt: int, name: str, *, fence: int | None = None
) -> str:
    """
    Return the key of one output; another attempt never shares it.

    What a leased worker stores carries its *fence*, so that no other worker shares it either.
    """
    folder = f"{attempt}" if fence is None else f"{attempt}-{fence}"
    return f"{company_id}/{OUTPUTS}/{asset_id}/{folder}/{name}"

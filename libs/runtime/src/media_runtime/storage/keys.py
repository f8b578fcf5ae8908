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

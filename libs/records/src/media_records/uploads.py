"""
Uploads in parts: which are open, what storage knows each by, and which have parts to remove.

Invariant: storage is asked to keep parts for one upload of an asset at most, and its row tells of
them until they are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from media_contracts import AssetStatus
from media_records.tables import Asset, Upload
from media_records.work import Reader
from media_runtime.database.postgres import Record

_OF_UPLOADS = """
    SELECT a.*, u.part_size, u.fingerprint, u.storage_id, u.completing_at, u.ended
    FROM uploads u JOIN media_assets a ON a.id = u.asset_id
"""
_FIND = f"{_OF_UPLOADS} WHERE u.asset_id = $1"
_OPEN = f"""
    {_OF_UPLOADS} WHERE u.company_id = $1 AND NOT u.ended
        AND a.status = 'pending' AND a.uploaded_at IS NULL AND a.grant_expires_at > now()
        AND ($2::text IS NULL OR u.fingerprint = $2)
        AND ($3::timestamptz IS NULL OR (a.created_at, a.id) < ($3, $4))
    ORDER BY a.created_at DESC, a.id DESC LIMIT $5
"""
_BEGIN = """
    UPDATE uploads SET storage_id = $2 WHERE asset_id = $1 AND storage_id IS NULL
    RETURNING storage_id
"""
_STORAGE_ID = "SELECT storage_id FROM uploads WHERE asset_id = $1"
_FORGET = """
    UPDATE uploads SET storage_id = NULL
    WHERE asset_id = $1 AND storage_id = $2 AND completing_at IS NULL
"""
_COMPLETING = (
    "UPDATE uploads SET completing_at = coalesce(completing_at, now()) WHERE asset_id = $1"
)
_OVER = f"""
    {_OF_UPLOADS} WHERE NOT u.ended AND a.status <> 'pending' AND u.asset_id <> ALL($2) LIMIT $1
"""
_ENDED = "UPDATE uploads SET ended = true WHERE asset_id = ANY($1::uuid[])"
_KNOWN = """
    SELECT storage_id FROM uploads WHERE company_id = $1 AND NOT ended AND storage_id IS NOT NULL
"""


OVER = frozenset({AssetStatus.EXPIRED, AssetStatus.CANCELLED, AssetStatus.DELETED})
"""What an asset is of whose upload nothing can come any more."""


@dataclass(frozen=True)
class InParts:
    """An upload in parts, with the asset that it is for."""

    upload: Upload
    asset: Asset

    @property
    def is_over(self) -> bool:
        """Whether nothing can come of it any more: it was given up, or its time is over."""
        return self.asset.status in OVER

    @property
    def is_stored(self) -> bool:
        """Whether its file is known to be in storage."""
        return self.asset.uploaded_at is not None and not self.is_over


async def find_upload(reader: Reader, asset_id: UUID) -> InParts | None:
    """Return the upload in parts of an asset, or None when there is none that *reader* may see."""
    row = await reader.fetchrow(_FIND, asset_id)
    return _in_parts(row) if row else None


async def open_uploads(
    reader: Reader,
    company_id: UUID,
    *,
    fingerprint: str | None,
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> Sequence[InParts]:
    """
    Return up to *limit* uploads of a company that can go on, newest first, after *after*.

    With a *fingerprint* these are those that were begun with it.
    """
    place = after or (None, None)
    rows = await reader.fetch(_OPEN, company_id, fingerprint, *place, limit)
    return [_in_parts(row) for row in rows]


async def begin(reader: Reader, asset_id: UUID, storage_id: str) -> str | None:
    """Let storage know the upload by *storage_id*, unless it has a name there, and return that."""
    row = await reader.fetchrow(_BEGIN, asset_id, storage_id) or await reader.fetchrow(
        _STORAGE_ID, asset_id
    )
    return row["storage_id"] if row else None


async def forget(reader: Reader, asset_id: UUID, storage_id: str) -> None:
    """Let the upload begin anew, which storage has lost; one that is completing has its parts."""
    await reader.fetch(_FORGET, asset_id, storage_id)


async def completing(reader: Reader, asset_id: UUID) -> None:
    """Record that all parts are there: what storage no longer knows after that is complete."""
    await reader.fetch(_COMPLETING, asset_id)


async def uploads_over(
    reader: Reader, limit: int, *, but: Collection[UUID] = ()
) -> Sequence[InParts]:
    """Return uploads that are complete or over and may have parts in storage, all *but* those."""
    return [_in_parts(row) for row in await reader.fetch(_OVER, limit, list(but))]


async def ended(reader: Reader, asset_ids: Collection[UUID]) -> None:
    """Record that storage has no parts of these uploads any more."""
    await reader.fetch(_ENDED, list(asset_ids))


async def storage_ids(reader: Reader, company_id: UUID) -> frozenset[str]:
    """Return by what storage knows the uploads of a company whose rows tell of their parts."""
    return frozenset(row["storage_id"] for row in await reader.fetch(_KNOWN, company_id))


def _in_parts(row: Record) -> InParts:
    return InParts(Upload.of({**row, "asset_id": row["id"]}), Asset.of(row))

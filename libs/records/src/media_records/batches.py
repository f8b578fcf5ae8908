"""
Batches: uploads that a client asked for together.

Invariant: a batch's row counts its assets by status in the transaction that changes them, so that
looking at it costs the same for one upload as for a thousand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from media_contracts import MEDIA_STATUS, AssetStatus, BatchDecided, new_event
from media_contracts.profiles import DEFAULT
from media_records.tables import Asset, Batch, Upload
from media_records.work import Reader, Tx
from media_runtime.database.postgres import Record
from media_runtime.kafka.producer import event_record

OPEN = frozenset({AssetStatus.PENDING, AssetStatus.PROCESSING})
"""What an asset is while its batch is not decided."""

_SIGN = "SELECT * FROM sign_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_FIND = "SELECT * FROM batches WHERE id = $1"
_PAGE = """
    SELECT * FROM batches WHERE company_id = $1 AND client_metadata @> $2
        AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
    ORDER BY created_at DESC, id DESC LIMIT $5
"""
_UPLOADS = """
    SELECT * FROM (
        SELECT a.*, u.part_size, u.fingerprint, u.storage_id, u.completing_at, u.ended,
            row_number() OVER (ORDER BY a.id) - 1 AS number
        FROM media_assets a LEFT JOIN uploads u ON u.asset_id = a.id WHERE a.batch_id = $1
    ) AS numbered
    WHERE ($2::uuid IS NULL OR id > $2)
        AND (NOT $3 OR status = 'pending' AND uploaded_at IS NULL AND grant_expires_at > now()
            AND completing_at IS NULL)
    ORDER BY id LIMIT $4
"""
_IN_STATUS = """
    SELECT id FROM media_assets WHERE batch_id = $1 AND status = ANY($2::text[])
        AND ($3::uuid IS NULL OR id > $3)
    ORDER BY id LIMIT $4
"""


@dataclass(frozen=True)
class Wanted:
    """
    One upload of a batch. ``about`` is what the client says of it, as JSON would have it.

    With a ``part_size`` in bytes it is uploaded in parts.
    """

    id: str
    file_name: str
    content_type: str
    size: int
    profile: str | None = None
    about: Mapping[str, object] | None = None
    part_size: int | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class InBatch:
    """
    An upload of a batch: its asset, and how it is cut where it is uploaded in parts.

    ``number`` is its place in the batch's request, from 0.
    """

    number: int
    asset: Asset
    upload: Upload | None


async def sign(
    tx: Tx, *, company_id: UUID, batch_id: UUID, metadata: Mapping[str, str] | None,
    uploads: Sequence[Wanted], bucket: str, expires_at: datetime, traceparent: str | None,
    key: str | None, request_hash: str | None, max_grants: int,
) -> tuple[str | None, str | None, UUID | None]:  # fmt: skip
    """
    Record a batch with a pending asset for each of its *uploads*.

    Returns why it is refused, when the unit of work has to end without it, and of a *key* that was
    used in the last 24 hours its request's hash and its batch; all None where it was recorded.
    """
    row = await tx.fetchrow(
        _SIGN, company_id, batch_id, json.dumps(metadata or {}),
        json.dumps([asdict(one) for one in uploads]), bucket, traceparent, key, request_hash,
        max_grants, DEFAULT.version, expires_at,
    )  # fmt: skip
    return (row["refused"], row["request_hash"], row["batch_id"]) if row else (None, None, None)


async def find_batch(reader: Reader, batch_id: UUID) -> Batch | None:
    """Return the batch, or None when there is none that *reader* may see."""
    row = await reader.fetchrow(_FIND, batch_id)
    return Batch.of(row) if row else None


async def page_of_batches(
    reader: Reader,
    company_id: UUID,
    *,
    metadata: Mapping[str, str],
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> Sequence[Batch]:
    """Return up to *limit* batches that have all of *metadata*, newest first, after *after*."""
    place = after or (None, None)
    rows = await reader.fetch(_PAGE, company_id, json.dumps(dict(metadata)), *place, limit)
    return [Batch.of(row) for row in rows]


async def uploads_of(
    reader: Reader, batch_id: UUID, *, limit: int, after: UUID | None = None, unsent: bool
) -> Sequence[InBatch]:
    """
    Return up to *limit* uploads of a batch after *after*, in the order of its request.

    Those that are *unsent* are pending, and their grants are good.
    """
    rows = await reader.fetch(_UPLOADS, batch_id, after, unsent, limit)
    return [_in_batch(row) for row in rows]


async def ids_in_status(
    reader: Reader,
    batch_id: UUID,
    statuses: frozenset[AssetStatus],
    *,
    limit: int,
    after: UUID | None,
) -> Sequence[UUID]:
    """Return up to *limit* ids of assets of a batch that have one of *statuses*, after *after*."""
    rows = await reader.fetch(_IN_STATUS, batch_id, [one.value for one in statuses], after, limit)
    return [row["id"] for row in rows]


async def tell_if_decided(tx: Tx, asset: Asset, before: AssetStatus, *, at: datetime) -> None:
    """Tell that the batch of an *asset*, whose status was another *before*, is decided by it."""
    if asset.batch_id is None or before not in OPEN or AssetStatus(asset.status) in OPEN:
        return
    batch = await find_batch(tx, asset.batch_id)
    if batch is None or batch.decided_at is None:
        return
    event = new_event(
        BatchDecided(
            uploads=batch.uploads,
            ready=batch.ready,
            failed=batch.failed,
            expired=batch.expired,
            cancelled=batch.cancelled,
            deleted=batch.deleted,
            metadata=metadata_of(batch) or None,
        ),
        source=f"/media/{tx.service}",
        asset_id=batch.id,
        company_id=batch.company_id,
        time=at,
        traceparent=asset.traceparent,
    )
    await tx.send(batch.company_id, event_record(MEDIA_STATUS, event))


def _in_batch(row: Record) -> InBatch:
    upload = Upload.of({**row, "asset_id": row["id"]}) if row["part_size"] else None
    return InBatch(row["number"], Asset.of(row), upload)


def metadata_of(batch: Batch) -> dict[str, str]:
    """Return what its client says of a batch."""
    found: dict[str, str] = json.loads(batch.client_metadata or "{}")
    return found

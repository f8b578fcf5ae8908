"""
The life of an asset: which status may follow which, and the one place where it changes.

Invariant: a change states the status and the attempt it expects. When another change came
first it does nothing and says so, hence the outcome of an attempt is decided once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from media_contracts import (
    MEDIA_STATUS,
    About,
    AssetProgressed,
    AssetStatus,
    AssetStatusChanged,
    ErrorInfo,
    Payload,
    Placeholder,
    Probe,
    Stage,
    Topic,
    WarningInfo,
    new_event,
)
from media_contracts.warnings import WarningCode
from media_records import batches
from media_records.tables import Asset
from media_records.work import Reader, Tx
from media_runtime.kafka.producer import OutgoingRecord, event_record
from media_runtime.telemetry import tracing
from opentelemetry.trace import Span

ALLOWED: Mapping[AssetStatus, frozenset[AssetStatus]] = {
    AssetStatus.PENDING: frozenset(
        {
            AssetStatus.PROCESSING,
            AssetStatus.FAILED,
            AssetStatus.EXPIRED,
            AssetStatus.CANCELLED,
            AssetStatus.DELETED,
        }
    ),
    AssetStatus.PROCESSING: frozenset(
        {AssetStatus.READY, AssetStatus.FAILED, AssetStatus.CANCELLED, AssetStatus.DELETED}
    ),
    AssetStatus.READY: frozenset({AssetStatus.DELETED}),
    AssetStatus.FAILED: frozenset({AssetStatus.PROCESSING, AssetStatus.DELETED}),
    AssetStatus.EXPIRED: frozenset({AssetStatus.PROCESSING, AssetStatus.DELETED}),
    AssetStatus.CANCELLED: frozenset({AssetStatus.DELETED}),
    AssetStatus.DELETED: frozenset(),
}
"""
What may follow each status; ``failed`` to ``processing`` begins a new attempt.

``expired`` goes on to ``processing`` when a slow upload, begun in time, is stored late: its
client was told that it is stored.
"""

REPLACED_IS_KEPT = timedelta(seconds=3700)
"""As long as links, which last for an hour; no lease of a task lasts for longer."""

_FIND = "SELECT * FROM media_assets WHERE id = $1"
_FIND_EACH = "SELECT * FROM media_assets WHERE company_id = $1 AND id = ANY($2::uuid[])"
_OF_PAGE = """
    AND CASE WHEN $2::text IS NULL THEN a.status <> 'deleted' ELSE a.status = $2 END
    AND ($3::timestamptz IS NULL OR {place} < ($3, $4::uuid))
"""
_PAGE = f"""
    SELECT * FROM media_assets a
    WHERE company_id = $1 {_OF_PAGE.format(place="(created_at, id)")}
    ORDER BY created_at DESC, id DESC LIMIT $5
"""  # noqa: S608 - our own words
_PAGE_OF_BATCH = f"""
    SELECT * FROM media_assets a
    WHERE company_id = $1 AND batch_id = $6 {_OF_PAGE.format(place="(created_at, id)")}
    ORDER BY created_at DESC, id DESC LIMIT $5
"""  # noqa: S608 - our own words
# In the order of the first word's index; what it finds has the others as well.
_PAGE_BY_METADATA = f"""
    SELECT a.* FROM asset_metadata m JOIN media_assets a ON a.id = m.asset_id
    WHERE m.company_id = $1 AND m.key = ($7::text[])[1] AND m.value = ($8::text[])[1]
        AND ($6::uuid IS NULL OR a.batch_id = $6)
        AND NOT EXISTS (
            SELECT 1 FROM unnest($7::text[], $8::text[]) AS wanted (key, value)
            WHERE NOT EXISTS (
                SELECT 1 FROM asset_metadata o WHERE o.asset_id = a.id
                    AND o.key = wanted.key AND o.value = wanted.value))
        {_OF_PAGE.format(place="(m.created_at, m.asset_id)")}
    ORDER BY m.created_at DESC, m.asset_id DESC LIMIT $5
"""  # noqa: S608 - our own words
_HISTORY = {
    "transitions": "SELECT * FROM asset_transitions WHERE asset_id = $1 ORDER BY id",
    "reruns": "SELECT * FROM reruns WHERE asset_id = $1 ORDER BY attempt",
    "tasks": "SELECT * FROM tasks WHERE asset_id = $1 ORDER BY attempt, id",
    "outbox": "SELECT id, producer, topic, created_at FROM outbox WHERE key = $1 ORDER BY id",
}
# Rows that refer to the asset may be added meanwhile.
_FIND_AND_LOCK = """
    SELECT * FROM media_assets WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
_TRANSITION = """
    INSERT INTO asset_transitions (company_id, asset_id, attempt, from_status, to_status, service)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
_MARK_UPLOADED = """
    UPDATE media_assets SET uploaded_at = $2, updated_at = $2
    WHERE id = ANY($1::uuid[]) RETURNING *
"""
_REPLACE = """
    UPDATE media_assets SET attempt = $4, profile = $5, profile_version = $6, own_profile = $7,
        probe = $8, warnings = $9, updated_at = $10, attempt_at = $10,
        sweep_at = $11
    WHERE id = $1 AND status = $2 AND attempt = $3 RETURNING *
"""
_GIVE_UP = "UPDATE media_assets SET rerun_failed = $2, sweep_at = $3 WHERE id = $1"
_SWEEP = "UPDATE media_assets SET sweep_at = least(sweep_at, $2) WHERE id = ANY($1::uuid[])"
_DESCRIBE = """
    UPDATE media_assets SET probe = coalesce($2::jsonb, probe),
        warnings = ARRAY(SELECT DISTINCT unnest(warnings || $3::text[]) ORDER BY 1)
    WHERE id = $1
"""
_AS_IT_WAS_READ = "WHERE id = $1 AND status = $2 AND attempt = $3 RETURNING *"
_WARNINGS = {code.value: code.sentence for code in WarningCode}
_FACTS = frozenset(
    {
        "error_code",
        "error_message",
        "processed_at",
        "sweep_at",
        "retired",
    }
)
_OF_EVERY_CHANGE = frozenset({"status", "attempt", "updated_at", "attempt_at", "probe", "warnings"})


class ForbiddenTransitionError(ValueError):
    """No rule lets this status follow that one: an error of the program."""


def asset_span(
    name: str, asset: Asset, *, link_current: bool = False
) -> AbstractContextManager[Span]:
    """Return a span of work on *asset*, in the trace that began when it was signed."""
    return tracing.span(
        name,
        parent=asset.traceparent,
        link_current=link_current,
        attributes={
            "media.asset_id": str(asset.id),
            "media.company_id": str(asset.company_id),
            "media.attempt": asset.attempt,
        },
    )


def asset_event(
    topic: Topic,
    asset: Asset,
    payload: Payload,
    *,
    service: str,
    at: datetime,
    traced: bool = True,
) -> OutgoingRecord:
    """Return the record on *topic* that tells of *asset*; see event_record() for *traced*."""
    event = new_event(
        payload,
        source=f"/media/{service}",
        asset_id=asset.id,
        company_id=asset.company_id,
        time=at,
        traceparent=asset.traceparent,
    )
    return event_record(topic, event, traced=traced)


async def change(
    tx: Tx,
    asset: Asset,
    to: AssetStatus,
    *,
    at: datetime,
    facts: Mapping[str, Any] | None = None,
    new_attempt: bool = False,
    thumbnail_kept: bool = False,
) -> Asset | None:
    """
    Move *asset* on from the status and attempt it was read with, tell, and return it as it is now.

    Returns None, having changed nothing, when another change came first. *facts* are
    columns to set with it; *thumbnail_kept* is told of a deletion that leaves the thumbnail.
    Raises ForbiddenTransitionError.
    """
    before = AssetStatus(asset.status)
    if to not in ALLOWED[before]:
        raise ForbiddenTransitionError(f"{before} cannot become {to}")
    attempt = asset.attempt + 1 if new_attempt else asset.attempt
    values = {**(facts or {}), "status": to.value, "attempt": attempt, "updated_at": at}
    if new_attempt:
        values |= {"attempt_at": at, "probe": None, "warnings": []}
    row = await _update(tx, asset, values)
    if row is None:
        return None
    changed = Asset.of(row)
    await tx.execute(
        _TRANSITION, asset.company_id, asset.id, attempt, before.value, to.value, tx.service
    )
    await tell(tx, changed, _status_changed(changed, before, thumbnail_kept=thumbnail_kept), at=at)
    await batches.tell_if_decided(tx, changed, before, at=at)
    return changed


async def replace_attempt(tx: Tx, asset: Asset, by: Asset, *, at: datetime) -> Asset | None:
    """
    Let a ready *asset* be what it is *by* another attempt of it, tell, and return it as it is now.

    What the old attempt has stored may go at that time, when nobody plays it any more. Returns None
    as change() does.
    """
    terms = by.attempt, by.profile, by.profile_version, by.own_profile, by.probe, by.warnings
    gone_at = at + REPLACED_IS_KEPT
    row = await tx.fetchrow(_REPLACE, asset.id, asset.status, asset.attempt, *terms, at, gone_at)
    if row is None:
        return None
    changed = Asset.of(row)
    ready = AssetStatus.READY
    await tx.execute(
        _TRANSITION, asset.company_id, asset.id, by.attempt, ready.value, ready.value, tx.service
    )
    await tell(tx, changed, _status_changed(changed, ready), at=at)
    return changed


async def give_up_attempt(tx: Tx, asset: Asset, attempt: int, *, at: datetime) -> None:
    """Record that an *attempt* that was to replace a locked asset's own has failed."""
    await tx.execute(_GIVE_UP, asset.id, attempt, at + REPLACED_IS_KEPT)


async def progressed(
    tx: Tx, asset: Asset, stage: Stage, stands_in: Placeholder | None = None, *, at: datetime
) -> None:
    """Tell that the asset's attempt reached *stage*, and what *stands_in* for its pictures."""
    told = AssetProgressed(attempt=asset.attempt, stage=stage)
    if stands_in:
        probe = probe_of(asset)
        shape = {"width": probe.width, "height": probe.height} if probe else {}
        told = told.model_copy(update={"placeholder": stands_in, **shape})
    await tell(tx, asset, told, at=at)


async def thumbnail_removed(tx: Tx, asset: Asset, *, at: datetime) -> None:
    """Tell that the thumbnail, which a deletion had left, is deleted as well."""
    await tell(tx, asset, _status_changed(asset, AssetStatus(asset.status)), at=at)


async def tell(
    tx: Tx, asset: Asset, payload: Payload, *, at: datetime, topic: Topic = MEDIA_STATUS
) -> None:
    """Send an event about *asset* if this unit of work commits."""
    record = asset_event(topic, asset, payload, service=tx.service, at=at)
    await tx.send(asset.company_id, record)


async def find_asset(reader: Reader, asset_id: UUID) -> Asset | None:
    """Return the asset, or None when there is none that *reader* may see."""
    row = await reader.fetchrow(_FIND, asset_id)
    return Asset.of(row) if row else None


async def find_assets(
    reader: Reader, company_id: UUID, asset_ids: Collection[UUID]
) -> Mapping[UUID, Asset]:
    """Return those of the assets that the company has."""
    rows = await reader.fetch(_FIND_EACH, company_id, list(asset_ids)) if asset_ids else []
    return {row["id"]: Asset.of(row) for row in rows}


async def history_of(reader: Reader, asset_id: UUID) -> Mapping[str, list[dict[str, Any]]]:
    """Return an asset's transitions, its tasks, and its messages in the outbox, by these names."""
    keys = {"outbox": str(asset_id).encode()}
    return {
        name: [dict(row) for row in await reader.fetch(query, keys.get(name, asset_id))]
        for name, query in _HISTORY.items()
    }


async def page_of_assets(
    reader: Reader,
    company_id: UUID,
    *,
    status: AssetStatus | None,
    limit: int,
    after: tuple[datetime, UUID] | None,
    batch_id: UUID | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Sequence[Asset]:
    """
    Return up to *limit* assets, newest first, that come after the position *after*.

    Without a *status* these are all but the deleted ones; of a batch, and those that have all of
    *metadata*, where these are given.
    """
    terms = company_id, status, *(after or (None, None)), limit
    if metadata:
        words = list(metadata), list(metadata.values())
        rows = await reader.fetch(_PAGE_BY_METADATA, *terms, batch_id, *words)
    elif batch_id:
        rows = await reader.fetch(_PAGE_OF_BATCH, *terms, batch_id)
    else:
        rows = await reader.fetch(_PAGE, *terms)
    return [Asset.of(row) for row in rows]


async def lock_asset(tx: Tx, asset_id: UUID) -> Asset | None:
    """Return the asset, which nobody else changes until this unit ends; None as find_asset()."""
    return (await lock_assets(tx, [asset_id])).get(asset_id)


async def lock_assets(tx: Tx, asset_ids: Collection[UUID]) -> dict[UUID, Asset]:
    """Return those of the assets that there are, locked as by lock_asset()."""
    tx.hides = True
    # In one order, so that two who lock the same ones do not wait for one another.
    return {row["id"]: Asset.of(row) for row in await tx.fetch(_FIND_AND_LOCK, list(asset_ids))}


async def mark_uploaded(tx: Tx, asset_ids: Collection[UUID], *, at: datetime) -> Sequence[Asset]:
    """Record when uploads of locked assets were announced, and return these as they are now."""
    return [Asset.of(row) for row in await tx.fetch(_MARK_UPLOADED, list(asset_ids), at)]


async def describe(
    tx: Tx, asset_id: UUID, probe: Probe | None, warnings: Collection[WarningCode]
) -> None:
    """Record what is known of a locked asset's upload; warnings add to those that it has."""
    found = probe.model_dump_json(exclude_none=True) if probe else None
    await tx.execute(_DESCRIBE, asset_id, found, [code.value for code in warnings])


def probe_of(asset: Asset) -> Probe | None:
    """Return what was found of the asset's upload."""
    return Probe.model_validate_json(asset.probe) if asset.probe else None


def about(asset: Asset) -> About | None:
    """Return what its client says of an asset."""
    return About.model_validate_json(asset.about) if asset.about else None


def warnings_of(asset: Asset) -> list[WarningInfo]:
    """Return what the asset is ready in spite of, with a sentence for each."""
    return [
        WarningInfo(code=code, message=_WARNINGS[code])
        for code in asset.warnings
        if code in _WARNINGS  # and none of a later version
    ]


async def sweep(tx: Tx, *asset_ids: UUID, at: datetime) -> None:
    """Let the watcher remove, from *at* on, what the assets no longer refer to."""
    await tx.execute(_SWEEP, asset_ids, at)


async def _update(tx: Tx, asset: Asset, values: Mapping[str, Any]) -> Any:
    unknown = values.keys() - _FACTS - _OF_EVERY_CHANGE
    if unknown:
        raise ValueError(f"not facts of an asset: {sorted(unknown)}")
    assignments = ", ".join(f"{column} = ${n}" for n, column in enumerate(values, start=4))
    query = f"UPDATE media_assets SET {assignments} {_AS_IT_WAS_READ}"  # noqa: S608 - see _FACTS
    return await tx.fetchrow(query, asset.id, asset.status, asset.attempt, *values.values())


def _status_changed(
    asset: Asset, before: AssetStatus, *, thumbnail_kept: bool = False
) -> AssetStatusChanged:
    failed = asset.status == AssetStatus.FAILED and asset.error_code and asset.error_message
    return AssetStatusChanged(
        attempt=asset.attempt,
        status=AssetStatus(asset.status),
        previous_status=before,
        error=ErrorInfo(code=asset.error_code or "", message=asset.error_message or "")
        if failed
        else None,
        thumbnail_kept=thumbnail_kept or None,
    )

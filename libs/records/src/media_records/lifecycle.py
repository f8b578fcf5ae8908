"""
The life of an asset: which status may follow which, and the one place where it changes.

Invariant: a change states the status and the attempt it expects. When another change came
first it does nothing and says so, hence the outcome of an attempt is decided once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from media_contracts import (
    MEDIA_STATUS,
    AssetProgressed,
    AssetStatus,
    AssetStatusChanged,
    ErrorInfo,
    Payload,
    Stage,
    Topic,
    new_event,
)
from media_records.tables import Asset
from media_runtime import tracing
from media_runtime.kafka import OutgoingRecord, event_record
from media_runtime.outbox import Outbox
from media_runtime.postgres import Connection
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

_FIND = "SELECT * FROM media_assets WHERE id = $1"
_FIND_AND_LOCK = "SELECT * FROM media_assets WHERE id = $1 FOR UPDATE"
_SWEEP = "UPDATE media_assets SET sweep_at = least(sweep_at, $2) WHERE id = $1"
_AS_IT_WAS_READ = "WHERE id = $1 AND status = $2 AND attempt = $3 RETURNING *"
_FACTS = frozenset(
    {
        "error_code",
        "error_message",
        "processed_at",
        "sweep_at",
        "retired",
    }
)
_OF_EVERY_CHANGE = frozenset({"status", "attempt", "updated_at", "attempt_at"})


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


class Lifecycle:
    """Changes the status of assets, in the caller's transaction, and tells of each change."""

    def __init__(self, outbox: Outbox, *, service: str) -> None:
        self._outbox = outbox
        self._service = service

    async def change(
        self,
        connection: Connection,
        asset: Asset,
        to: AssetStatus,
        *,
        at: datetime,
        facts: Mapping[str, Any] | None = None,
        new_attempt: bool = False,
        thumbnail_kept: bool = False,
    ) -> Asset | None:
        """
        Move *asset* on from the status and attempt it was read with and return it as it is now.

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
            values["attempt_at"] = at
        row = await _update(connection, asset, values)
        if row is None:
            return None
        changed = Asset(**dict(row))
        await connection.execute(
            "INSERT INTO asset_transitions"
            " (company_id, asset_id, attempt, from_status, to_status, service)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            asset.company_id,
            asset.id,
            attempt,
            before.value,
            to.value,
            self._service,
        )
        told = _status_changed(changed, before, thumbnail_kept=thumbnail_kept)
        await self._tell(connection, changed, told, at)
        return changed

    async def progressed(
        self, connection: Connection, asset: Asset, stage: Stage, *, at: datetime
    ) -> None:
        """Tell that the asset's attempt reached *stage*."""
        await self._tell(connection, asset, AssetProgressed(attempt=asset.attempt, stage=stage), at)

    async def thumbnail_removed(
        self, connection: Connection, asset: Asset, *, at: datetime
    ) -> None:
        """Tell that the thumbnail, which a deletion had left, is deleted as well."""
        before = AssetStatus(asset.status)
        await self._tell(connection, asset, _status_changed(asset, before), at)

    async def _tell(
        self, connection: Connection, asset: Asset, payload: Payload, at: datetime
    ) -> None:
        record = asset_event(MEDIA_STATUS, asset, payload, service=self._service, at=at)
        await self._outbox.put(connection, asset.company_id, record)


async def find_asset(connection: Connection, asset_id: UUID, *, lock: bool = False) -> Asset | None:
    """Return the asset, or None when there is none that this transaction may see."""
    row = await connection.fetchrow(_FIND_AND_LOCK if lock else _FIND, asset_id)
    return Asset(**dict(row)) if row else None


async def sweep(connection: Connection, asset_id: UUID, *, at: datetime) -> None:
    """Let the watcher remove, from *at* on, what the asset no longer refers to."""
    await connection.execute(_SWEEP, asset_id, at)


async def _update(connection: Connection, asset: Asset, values: Mapping[str, Any]) -> Any:
    unknown = values.keys() - _FACTS - _OF_EVERY_CHANGE
    if unknown:
        raise ValueError(f"not facts of an asset: {sorted(unknown)}")
    assignments = ", ".join(f"{column} = ${n}" for n, column in enumerate(values, start=4))
    query = f"UPDATE media_assets SET {assignments} {_AS_IT_WAS_READ}"  # noqa: S608 - see _FACTS
    return await connection.fetchrow(query, asset.id, asset.status, asset.attempt, *values.values())


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

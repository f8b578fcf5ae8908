"""
From a bucket notification to a job row, in milliseconds.

Invariant: an asset's first stored version is the one that counts. A notification that comes
twice, late, or for a newer version of the same key changes nothing. One that the watcher
repeats, because an attempt has come to a stand, starts it again.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import structlog
from ingest.jobs import enqueue, reopen
from ingest.metrics import NOTIFICATIONS
from ingest.outcomes import Outcomes
from ingest.wakeup import Wakeup
from media_contracts import AssetStatus, Stage
from media_records.files import add_original, files_of, original_of
from media_records.lifecycle import Lifecycle, asset_span, find_asset, sweep
from media_records.tables import Asset
from media_runtime import tracing
from media_runtime.outbox import Outbox
from media_runtime.postgres import Connection, Database
from media_runtime.storage import StoredObject, parse_notification, upload_key

log = structlog.get_logger(__name__)

_MARK_UPLOADED = """
    UPDATE media_assets SET uploaded_at = $2, updated_at = $2 WHERE id = $1 RETURNING *
"""
_OPEN = frozenset({AssetStatus.PENDING, AssetStatus.PROCESSING, AssetStatus.EXPIRED})


class Intake:
    """
    Turns notifications into jobs.

    A job that ended *reopen_seconds* ago, or longer, and left its attempt unfinished is queued
    again; after *give_up_seconds* the attempt fails instead.
    """

    def __init__(
        self,
        *,
        reopen_seconds: float,
        give_up_seconds: float,
        database: Database,
        outbox: Outbox,
        lifecycle: Lifecycle,
        outcomes: Outcomes,
        new_job: Wakeup,
    ) -> None:
        self._reopen_seconds = reopen_seconds
        self._give_up = timedelta(seconds=give_up_seconds)
        self._database = database
        self._outbox = outbox
        self._lifecycle = lifecycle
        self._outcomes = outcomes
        self._new_job = new_job

    async def __call__(self, notification: bytes) -> None:
        """Queue a job for each stored object; raises MalformedNotificationError."""
        for stored in parse_notification(notification):
            with ExitStack() as in_trace:
                effect = await self._take(stored, in_trace)
                tracing.annotate({"media.effect": effect})
                NOTIFICATIONS.labels(effect).inc()
                log.info("notification", key=stored.key, size=stored.size, effect=effect)
        self._outbox.wake()

    async def _take(self, stored: StoredObject, in_trace: ExitStack) -> str:
        owner = stored.owner
        if owner is None:
            return "foreign_key"
        company_id, asset_id = owner
        async with self._database.transaction() as connection:
            asset = await find_asset(connection, asset_id, lock=True)
            if asset is None or (asset.company_id, asset.bucket) != (company_id, stored.bucket):
                return "unknown_asset"
            # A notification carries no trace; its asset's row does.
            in_trace.enter_context(asset_span("intake", asset, link_current=True))
            original = original_of(await files_of(connection, asset.id))
            counts = (original.key, original.version_id) if original else None
            if asset.uploaded_at and (stored.key, stored.version_id) != counts:
                # A grant used again: what it stored takes space, and nothing refers to it.
                await sweep(connection, asset.id, at=datetime.now(UTC))
            key = original.key if original else upload_key(company_id, asset_id)
            if asset.status not in _OPEN or stored.key != key:
                return "stale"
            effect = await self._queue(connection, asset, stored)
        if effect in {"queued", "reopened"}:
            self._new_job.set()
        return effect

    async def _queue(self, connection: Connection, asset: Asset, stored: StoredObject) -> str:
        now = datetime.now(UTC)
        first = asset.uploaded_at is None
        if first:
            row = await connection.fetchrow(_MARK_UPLOADED, asset.id, now)
            asset = Asset(**dict(row))
            await add_original(connection, asset, stored)
        queued = await enqueue(connection, asset)
        if first:
            await self._lifecycle.progressed(connection, asset, Stage.UPLOADED, at=now)
        if queued:
            return "queued"
        return await self._start_again(connection, asset, now)

    async def _start_again(self, connection: Connection, asset: Asset, now: datetime) -> str:
        if asset.status != AssetStatus.PROCESSING:
            return "duplicate"
        if not await reopen(connection, asset, ended_seconds_ago=self._reopen_seconds):
            return "duplicate"
        if now - asset.updated_at > self._give_up:
            await self._outcomes.give_up(connection, asset)
            return "gave_up"
        return "reopened"

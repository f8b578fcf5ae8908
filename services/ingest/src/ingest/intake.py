"""
From a bucket notification to a job row, in milliseconds.

Invariant: an asset's first stored version is the one that counts. A notification that comes
twice, late, or for a newer version of the same key changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from ingest.jobs import enqueue
from ingest.metrics import NOTIFICATIONS
from ingest.wakeup import Wakeup
from media_contracts import AssetStatus, Stage
from media_records.lifecycle import Lifecycle, find_asset
from media_records.tables import Asset
from media_runtime.outbox import Outbox
from media_runtime.postgres import Connection, Database
from media_runtime.storage import StoredObject, parse_notification

log = structlog.get_logger(__name__)

_MARK_UPLOADED = """
    UPDATE media_assets SET uploaded_at = $2, upload_version_id = $3, updated_at = $2
    WHERE id = $1 RETURNING *
"""
_OPEN = frozenset({AssetStatus.PENDING, AssetStatus.PROCESSING})


class Intake:
    """Turns notifications into jobs."""

    def __init__(
        self, database: Database, outbox: Outbox, lifecycle: Lifecycle, new_job: Wakeup
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._lifecycle = lifecycle
        self._new_job = new_job

    async def __call__(self, notification: bytes) -> None:
        """Queue a job for each stored object; raises MalformedNotificationError."""
        for stored in parse_notification(notification):
            effect = await self._take(stored)
            NOTIFICATIONS.labels(effect).inc()
            log.info("notification", key=stored.key, size=stored.size, effect=effect)
        self._outbox.wake()

    async def _take(self, stored: StoredObject) -> str:
        owner = stored.owner
        if owner is None:
            return "foreign_key"
        company_id, asset_id = owner
        async with self._database.transaction() as connection:
            asset = await find_asset(connection, asset_id, lock=True)
            if asset is None or (asset.company_id, asset.bucket, asset.upload_key) != (
                company_id,
                stored.bucket,
                stored.key,
            ):
                return "unknown_asset"
            if asset.status not in _OPEN:
                return "stale"
            queued = await self._queue(connection, asset, stored)
        if queued:
            self._new_job.set()
        return "queued" if queued else "duplicate"

    async def _queue(self, connection: Connection, asset: Asset, stored: StoredObject) -> bool:
        now = datetime.now(UTC)
        first = asset.uploaded_at is None
        if first:
            row = await connection.fetchrow(_MARK_UPLOADED, asset.id, now, stored.version_id)
            asset = Asset(**dict(row))
        queued = await enqueue(
            connection, asset, version_id=asset.upload_version_id, size=stored.size
        )
        if first:
            await self._lifecycle.progressed(connection, asset, Stage.UPLOADED, at=now)
        return queued

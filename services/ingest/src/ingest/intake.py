"""
From a bucket notification to an attempt's first task, in milliseconds.

Invariant: an asset's first stored version is the one that counts. A notification that comes
twice, late, or for a newer version of the same key changes nothing. One that is sent for an
attempt that has no task yet begins it.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime

import structlog
from ingest.inspect import first_task
from ingest.metrics import NOTIFICATIONS
from media_contracts import AssetStatus, Stage
from media_records import tasks
from media_records.files import add_original, files_of, original_of
from media_records.lifecycle import asset_span, lock_asset, mark_uploaded, progressed, sweep
from media_records.tables import Asset
from media_records.work import Tx, Work
from media_runtime import tracing
from media_runtime.storage import StoredObject, parse_notification, upload_key

log = structlog.get_logger(__name__)

_OPEN = frozenset({AssetStatus.PENDING, AssetStatus.PROCESSING, AssetStatus.EXPIRED})


class Intake:
    """Turns notifications into tasks."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def __call__(self, notification: bytes) -> None:
        """Queue a task for each stored object; raises MalformedNotificationError."""
        for stored in parse_notification(notification):
            with ExitStack() as in_trace:
                effect = await self._take(stored, in_trace)
                tracing.annotate({"media.effect": effect})
                NOTIFICATIONS.labels(effect).inc()
                log.info("notification", key=stored.key, size=stored.size, effect=effect)

    async def _take(self, stored: StoredObject, in_trace: ExitStack) -> str:
        owner = stored.owner
        if owner is None:
            return "foreign_key"
        company_id, asset_id = owner
        async with self._work.begin() as tx:
            asset = await lock_asset(tx, asset_id)
            if asset is None or (asset.company_id, asset.bucket) != (company_id, stored.bucket):
                return "unknown_asset"
            # A notification carries no trace; its asset's row does.
            in_trace.enter_context(asset_span("intake", asset, link_current=True))
            original = original_of(await files_of(tx, asset.id))
            counts = (original.key, original.version_id) if original else None
            if asset.uploaded_at and (stored.key, stored.version_id) != counts:
                # A grant used again: what it stored takes space, and nothing refers to it.
                await sweep(tx, asset.id, at=datetime.now(UTC))
            key = original.key if original else upload_key(company_id, asset_id)
            if asset.status not in _OPEN or stored.key != key:
                return "stale"
            return await self._queue(tx, asset, stored)

    @staticmethod
    async def _queue(tx: Tx, asset: Asset, stored: StoredObject) -> str:
        now = datetime.now(UTC)
        first = asset.uploaded_at is None
        if first:
            asset = await mark_uploaded(tx, asset, at=now)
            await add_original(tx, asset, stored)
        queued = await tasks.add(tx, asset, [first_task(asset)])
        if first:
            await progressed(tx, asset, Stage.UPLOADED, at=now)
        return "queued" if queued else "duplicate"

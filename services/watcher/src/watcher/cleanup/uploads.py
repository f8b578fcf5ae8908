"""
Parts of uploads of which nothing came: removed, as the rows tell of them.

Storage itself tells of few: of uploads since its start, and under exact keys alone. Invariant: a
row has ended only once storage has no parts of its upload any more.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID

import structlog
from media_records.uploads import OVER, InParts, ended, uploads_over
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.storage.store import ObjectStore, UnfinishedUpload, upload_key
from watcher.metrics import CLEANED, SWEEPS_FAILED
from watcher.rules import Rule
from watcher.settings import CleanupSettings

log = structlog.get_logger(__name__)

_AT_ONCE = 8
_PART_OF_INTERVAL = 0.25


class SweepUploads:
    """Removes parts of uploads that are over, until a quarter of the interval is over."""

    def __init__(self, database: Database, store: ObjectStore, settings: CleanupSettings) -> None:
        self._database = database
        self._store = store
        self._batch = settings.cleanup_batch
        self._seconds = settings.watch_interval_seconds * _PART_OF_INTERVAL
        self._aborts = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self) -> int:
        """
        Return how many uploads' parts were removed; what fails is tried again in the next round.

        Raises TransientError where all of a batch fails, as while storage is away.
        """
        until = time.monotonic() + self._seconds
        removed, failed = 0, set[UUID]()
        while batch := await uploads_over(self._database, self._batch, but=failed):
            results = await asyncio.gather(
                *(self._abort(found) for found in batch), return_exceptions=True
            )
            done = {
                found.asset.id: aborted
                for found, aborted in zip(batch, results, strict=True)
                if isinstance(aborted, bool)
            }
            for error in (one for one in results if isinstance(one, BaseException)):
                SWEEPS_FAILED.inc()
                if not done or not isinstance(error, TransientError):
                    raise error
                log.warning("abort_failed", error=str(error))
            failed.update(found.asset.id for found in batch if found.asset.id not in done)
            await ended(self._database, done)
            aborted = sum(done.values())
            CLEANED.labels(Rule.MULTIPART).inc(aborted)
            removed += aborted
            if time.monotonic() >= until:
                break
        return removed

    async def _abort(self, found: InParts) -> bool:
        """Return whether storage may have had parts of it."""
        asset, storage_id = found.asset, found.upload.storage_id
        # Of one that is complete, storage has made one object.
        if storage_id is None or asset.status not in OVER:
            return False
        async with self._aborts:
            key = upload_key(asset.company_id, asset.id)
            at = datetime.now(UTC)
            await self._store.abort_upload(UnfinishedUpload(asset.bucket, key, storage_id, at))
        return True

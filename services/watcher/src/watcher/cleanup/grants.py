"""
One sweep of each original once its grant has lapsed: of its versions, the one that counts stays.

A grant can be used again, and in ways that nobody announces. Rows say which are due, each of them
once, and it takes the listing of one key. Invariant: an asset whose version is not known yet is
left alone, as is one whose objects the other sweep may be moving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import structlog
from media_records.files import all_files_of, is_garbage
from media_records.sweeping import grants_due, grants_swept
from media_records.tables import Asset
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.storage.store import ObjectMissingError, ObjectStore, upload_key
from watcher.metrics import CLEANED, REMOVED, SWEEPS_FAILED
from watcher.rules import Rule
from watcher.settings import CleanupSettings

log = structlog.get_logger(__name__)

_AT_ONCE = 8
_PART_OF_INTERVAL = 0.25


class SweepGrants:
    """Removes what lapsed grants stored besides, until a quarter of the interval is over."""

    def __init__(self, database: Database, store: ObjectStore, settings: CleanupSettings) -> None:
        self._database = database
        self._store = store
        self._batch = settings.cleanup_batch
        self._late = settings.late_upload_seconds
        self._seconds = settings.watch_interval_seconds * _PART_OF_INTERVAL
        self._lists = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self) -> int:
        """
        Return how many versions were removed; what fails is tried again in the next round.

        Raises TransientError where all of a batch fails, as while storage is away.
        """
        until = time.monotonic() + self._seconds
        removed, failed = 0, set[UUID]()
        while batch := await grants_due(
            self._database, self._batch, but=failed, late_seconds=self._late
        ):
            swept = await asyncio.gather(
                *(self._sweep(asset) for asset in batch), return_exceptions=True
            )
            removed += await self._settle(batch, swept, failed)
            if time.monotonic() >= until:
                break
        return removed

    async def _sweep(self, asset: Asset) -> int:
        async with self._lists:
            files = await all_files_of(self._database, asset.id)
            try:
                return await self._store.delete_prefix(
                    asset.bucket,
                    upload_key(asset.company_id, asset.id),
                    lambda stored: is_garbage(asset, files, stored),
                )
            except ObjectMissingError:
                return 0  # the bucket is gone

    async def _settle(
        self, batch: Sequence[Asset], swept: Sequence[int | BaseException], failed: set[UUID]
    ) -> int:
        done = {
            asset.id: removed
            for asset, removed in zip(batch, swept, strict=True)
            if isinstance(removed, int)
        }
        errors = [error for error in swept if isinstance(error, BaseException)]
        for error in errors:
            SWEEPS_FAILED.inc()
            if not isinstance(error, TransientError):
                log.error("grant_sweep_failed", exc_info=error)
        if not done:
            raise errors[0]
        failed.update(asset.id for asset in batch if asset.id not in done)
        await grants_swept(self._database, done)
        CLEANED.labels(Rule.VERSIONS).inc(len(done))
        for asset_id, removed in done.items():
            if removed:
                REMOVED.inc(removed)
                log.warning("grant_used_again", asset_id=str(asset_id), removed=removed)
        return sum(done.values())

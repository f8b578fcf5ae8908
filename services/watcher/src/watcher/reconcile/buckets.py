"""
Makes the bucket of a company that asked for its first grant, as the public service may not.

Every replica does, whether or not it leads: a new company waits for it. Invariant: a company
has a row once its bucket has all its settings, and one replica at a time gives it those.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from media_records.companies import (
    add_company,
    alone_with_bucket,
    bucket_requests,
    is_bucket_wanted,
    quota_of,
)
from media_runtime import background
from media_runtime.database.postgres import Connection, Database
from media_runtime.storage.store import ObjectStore
from watcher.metrics import BUCKET_FAILURES, BUCKETS
from watcher.settings import WatcherSettings

log = structlog.get_logger(__name__)

_AT_ONCE = 4  # each holds a session of the pool, and needs no other
_AGAIN_SECONDS = 1.0
_LONGEST_AGAIN_SECONDS = 30.0


class BucketProvisioner:
    """Looks for wishes all the time; one that fails is tried again later and later."""

    def __init__(self, database: Database, store: ObjectStore, settings: WatcherSettings) -> None:
        self._database = database
        self._store = store
        self._quota_bytes = settings.company_quota_bytes
        self._look_seconds = settings.bucket_look_seconds
        self._making: dict[UUID, asyncio.Task[None]] = {}
        self._again: dict[UUID, tuple[float, float]] = {}  # when, and how long it waited

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make buckets in the background for the block."""
        look = background.repeat(self._look, name="buckets", retry_seconds=_AGAIN_SECONDS)
        try:
            async with background.running(buckets=look):
                yield
        finally:
            making = list(self._making.values())
            for task in making:
                task.cancel()
            await asyncio.gather(*making, return_exceptions=True)

    async def _look(self) -> None:
        await self._make_wanted()
        await asyncio.sleep(self._look_seconds)

    async def _make_wanted(self) -> None:
        free = _AT_ONCE - len(self._making)
        if free <= 0:
            return
        now = asyncio.get_running_loop().time()
        not_now = [*self._making, *(one for one, (when, _) in self._again.items() if when > now)]
        for company in await bucket_requests(self._database, free, but=not_now):
            self._making[company] = asyncio.create_task(self._make_for(company))

    async def _make_for(self, company: UUID) -> None:
        try:
            async with alone_with_bucket(self._database, company) as session:
                # Another replica may have made it since this one saw the wish.
                if session and await is_bucket_wanted(session, company):
                    await self._make(session, company)
            self._again.pop(company, None)
        except Exception as error:  # noqa: BLE001 - nothing of one company may end the others'
            _, waited = self._again.get(company, (0.0, _AGAIN_SECONDS / 2))
            wait = min(2 * waited, _LONGEST_AGAIN_SECONDS)
            self._again[company] = asyncio.get_running_loop().time() + wait, wait
            BUCKET_FAILURES.inc()
            log.warning("bucket_not_made", company_id=str(company), error=repr(error))
        finally:
            del self._making[company]

    async def _make(self, session: Connection, company: UUID) -> None:
        # One that has a bucket by now may have a quota of its own.
        own = await quota_of(session, company)
        quota = self._quota_bytes if own is None else own
        bucket = await self._store.ensure_bucket(company, quota_bytes=quota)
        await add_company(session, company, bucket=bucket, quota_bytes=quota)
        BUCKETS.inc()
        log.info("bucket_made", bucket=bucket)

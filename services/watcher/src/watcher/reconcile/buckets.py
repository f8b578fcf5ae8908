"""
Makes the bucket of a company that asked for its first grant, as the public service may not.

Every replica does, whether or not it leads: a new company waits for it. Invariant: a company
has a row once its bucket has all its settings; two that make one bucket at once harm nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from media_runtime import background
from media_runtime.database.postgres import Database
from media_runtime.storage.store import ObjectStore
from watcher.metrics import BUCKET_FAILURES, BUCKETS
from watcher.settings import WatcherSettings

log = structlog.get_logger(__name__)

_AT_ONCE = 8
_AGAIN_SECONDS = 1.0
_LONGEST_AGAIN_SECONDS = 30.0

_WANTED = """
    SELECT company_id FROM bucket_requests WHERE company_id <> ALL($1::uuid[])
    ORDER BY requested_at LIMIT $2
"""
_FORGET = "DELETE FROM bucket_requests WHERE company_id = $1"
_HAVE = """
    INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
"""


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
        for row in await self._database.fetch(_WANTED, not_now, free):
            company = row["company_id"]
            self._making[company] = asyncio.create_task(self._make_for(company))

    async def _make_for(self, company: UUID) -> None:
        try:
            await self._make(company)
            self._again.pop(company, None)
        except Exception as error:  # noqa: BLE001 - nothing of one company may end the others'
            _, waited = self._again.get(company, (0.0, _AGAIN_SECONDS / 2))
            wait = min(2 * waited, _LONGEST_AGAIN_SECONDS)
            self._again[company] = asyncio.get_running_loop().time() + wait, wait
            BUCKET_FAILURES.inc()
            log.warning("bucket_not_made", company_id=str(company), error=repr(error))
        finally:
            del self._making[company]

    async def _make(self, company: UUID) -> None:
        quota = await self._quota_of(company)
        bucket = await self._store.ensure_bucket(company, quota_bytes=quota)
        async with self._database.transaction() as connection:
            await connection.execute(_HAVE, company, bucket, quota)
            await connection.execute(_FORGET, company)
        BUCKETS.inc()
        log.info("bucket_made", bucket=bucket)

    async def _quota_of(self, company: UUID) -> int:
        # One that has a bucket by now may have a quota of its own.
        row = await self._database.fetchrow(
            "SELECT quota_bytes FROM companies WHERE company_id = $1", company
        )
        return int(row["quota_bytes"]) if row else self._quota_bytes

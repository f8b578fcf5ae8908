"""
Deletes assets that are older than their company keeps them.

Invariant: a company's own policy wins over the settings, and a round deletes a bounded number,
so that a policy that was shortened by mistake can still be lengthened. Objects are the sweep's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from media_contracts import AssetStatus
from media_records.lifecycle import Lifecycle, find_asset
from media_runtime.outbox import Outbox
from media_runtime.postgres import Database
from watcher.metrics import CLEANED, RETIRED
from watcher.rules import Rule
from watcher.settings import RetentionSettings

log = structlog.get_logger(__name__)

_DUE = """
    SELECT a.id AS asset_id, c.company_id, a.status, a.created_at, a.size + a.stored_bytes AS bytes,
        coalesce(c.retention_keeps_thumbnails, $2)
            AND a.status = 'ready' AND a.thumbnail_key IS NOT NULL AS keeps_thumbnail
    FROM companies c, LATERAL (
        SELECT * FROM media_assets m
        WHERE m.company_id = c.company_id AND m.status IN ('ready', 'failed', 'cancelled')
            AND m.created_at < now() - make_interval(days => coalesce(c.retention_days, $1))
        ORDER BY m.created_at LIMIT $3
    ) a ORDER BY a.created_at LIMIT $3
"""


@dataclass(frozen=True)
class Retiring:
    """An asset that is older than its company keeps it; ``bytes`` are those of its files."""

    asset_id: UUID
    company_id: UUID
    status: str
    created_at: datetime
    bytes: int
    keeps_thumbnail: bool


async def plan_retention(database: Database, settings: RetentionSettings) -> Sequence[Retiring]:
    """Return what the next round deletes, the oldest first; raises TransientError."""
    rows = await database.fetch(
        _DUE,
        settings.retention_days,
        settings.retention_keeps_thumbnails,
        settings.retention_batch,
    )
    return [Retiring(**dict(row)) for row in rows]


class Retention:
    """Deletes what is due, one batch at a call."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        lifecycle: Lifecycle,
        settings: RetentionSettings,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._lifecycle = lifecycle
        self._settings = settings

    async def __call__(self, *, rate: float | None = None) -> int:
        """Return how many assets were deleted, at most *rate* a second; raises TransientError."""
        retired = 0
        for due in await plan_retention(self._database, self._settings):
            retired += await self._retire(due)
            self._outbox.wake()
            if rate:
                await asyncio.sleep(1 / rate)
        return retired

    async def all(self, *, rate: float | None = None) -> int:
        """Delete all that is due, batch by batch, and return how many assets that were."""
        total = 0
        while retired := await self(rate=rate):
            total += retired
        return total

    async def _retire(self, due: Retiring) -> bool:
        now = datetime.now(UTC)
        async with self._database.transaction() as connection:
            asset = await find_asset(connection, due.asset_id, lock=True)
            if asset is None or asset.status != due.status:
                return False
            await self._lifecycle.change(
                connection,
                asset,
                AssetStatus.DELETED,
                at=now,
                facts={"sweep_at": now, "thumbnail_kept": due.keeps_thumbnail, "retired": True},
            )
        CLEANED.labels(Rule.RETENTION).inc()
        RETIRED.labels("kept" if due.keeps_thumbnail else "removed").inc()
        log.info("asset_retired", asset_id=str(due.asset_id), company_id=str(due.company_id))
        return True

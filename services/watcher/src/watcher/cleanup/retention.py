"""
Deletes assets that are older than their company keeps them.

Invariant: a round deletes a bounded number, so that a policy that was shortened by mistake can
still be lengthened. Who applies a plan deletes nothing that was not due when the plan was made.
Objects are the sweep's.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog
from media_contracts import AssetStatus, FileKind
from media_records.files import forget
from media_records.lifecycle import change, lock_asset
from media_records.retention import Plan, Retiring, assets_to_retire
from media_records.work import Work
from watcher.metrics import CLEANED, RETIRED
from watcher.rules import Rule
from watcher.settings import RetentionSettings

log = structlog.get_logger(__name__)


class Retention:
    """Deletes what is due: one batch at a call, or all of a plan."""

    def __init__(self, work: Work, settings: RetentionSettings) -> None:
        self._work = work
        self._settings = settings

    async def __call__(self) -> int:
        """Delete one batch of what is due; return how many assets; raises TransientError."""
        return await self._retire_all()

    async def apply(self, plan: Plan, *, rate: float | None = None) -> int:
        """
        Delete what *plan* names and is still due, at most *rate* assets a second.

        Returns how many that were; raises TransientError.
        """
        total = 0
        while retired := await self._retire_all(plan, rate=rate):
            total += retired
        return total

    async def _retire_all(self, plan: Plan | None = None, *, rate: float | None = None) -> int:
        retired = 0
        terms = self._settings.policy, self._settings.retention_batch
        for due in await assets_to_retire(self._work.database, *terms, plan=plan):
            retired += await self._retire(due)
            if rate:
                await asyncio.sleep(1 / rate)
        return retired

    async def _retire(self, due: Retiring) -> bool:
        now = datetime.now(UTC)
        async with self._work.begin() as tx:
            asset = await lock_asset(tx, due.asset_id)
            if asset is None or asset.status != due.status:
                return False
            await change(
                tx,
                asset,
                AssetStatus.DELETED,
                at=now,
                facts={"sweep_at": now, "retired": True},
                thumbnail_kept=due.keeps_thumbnail,
            )
            kept = {FileKind.THUMBNAIL} if due.keeps_thumbnail else set()
            await forget(tx, asset.id, set(FileKind) - kept)
        CLEANED.labels(Rule.RETENTION).inc()
        RETIRED.labels("kept" if due.keeps_thumbnail else "removed").inc()
        log.info("asset_retired", asset_id=str(due.asset_id), company_id=str(due.company_id))
        return True

"""
Deletes assets that are older than their company keeps them.

Invariant: a company's own policy wins over the settings, and a round deletes a bounded number,
so that a policy that was shortened by mistake can still be lengthened. Who applies a plan deletes
nothing that was not due when the plan was made. Objects are the sweep's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from media_contracts import AssetStatus, FileKind
from media_records.files import forget
from media_records.lifecycle import change, lock_asset
from media_records.work import Work
from media_runtime.database.postgres import Database
from watcher.metrics import CLEANED, RETIRED
from watcher.rules import Rule
from watcher.settings import RetentionSettings

log = structlog.get_logger(__name__)

_DUE = """
    SELECT a.id AS asset_id, c.company_id, a.status,
        coalesce(c.retention_keeps_thumbnails, $2)
            AND a.status = 'ready' AND EXISTS (
                SELECT 1 FROM asset_files f WHERE f.asset_id = a.id AND f.kind = 'thumbnail'
            ) AS keeps_thumbnail
    FROM companies c, LATERAL (
        SELECT * FROM media_assets m
        WHERE m.company_id = c.company_id AND m.status IN ('ready', 'failed', 'cancelled')
            AND m.created_at < now() - make_interval(days => coalesce(c.retention_days, $1))
        ORDER BY m.created_at LIMIT $3
    ) a ORDER BY a.created_at LIMIT $3
"""
# What has changed since the plan was made was not in it, or not as it is now.
_DUE_AS_PLANNED = """
    SELECT a.id AS asset_id, c.company_id, a.status,
        (p.keeps_thumbnails OR coalesce(c.retention_keeps_thumbnails, $2))
            AND a.status = 'ready' AND EXISTS (
                SELECT 1 FROM asset_files f WHERE f.asset_id = a.id AND f.kind = 'thumbnail'
            ) AS keeps_thumbnail
    FROM unnest($4::uuid[], $5::timestamptz[], $6::bool[])
            AS p (company_id, before, keeps_thumbnails)
        JOIN companies c USING (company_id), LATERAL (
        SELECT * FROM media_assets m
        WHERE m.company_id = c.company_id AND m.status IN ('ready', 'failed', 'cancelled')
            AND m.updated_at <= $7 AND m.created_at
            < least(p.before, now() - make_interval(days => coalesce(c.retention_days, $1)))
        ORDER BY m.created_at LIMIT $3
    ) a ORDER BY a.created_at LIMIT $3
"""
_PLAN = """
    WITH policies AS (
        SELECT company_id, coalesce($4, retention_days, $1) AS days,
            coalesce($5, retention_keeps_thumbnails, $2) AS keeps_thumbnails
        FROM companies WHERE $3::uuid IS NULL OR company_id = $3
    ), c AS (
        SELECT *, now() - make_interval(days => days) AS before FROM policies
    )
    SELECT c.*, a.assets, a.bytes, a.oldest,
        CASE WHEN c.keeps_thumbnails THEN a.thumbnails ELSE 0 END AS kept_thumbnails
    FROM c, LATERAL (
        SELECT count(*) AS assets, min(m.created_at) AS oldest,
            coalesce(sum(f.bytes), 0)::bigint AS bytes,
            count(*) FILTER (WHERE m.status = 'ready' AND f.has_thumbnail) AS thumbnails
        FROM media_assets m, LATERAL (
            SELECT sum(size) AS bytes, coalesce(bool_or(kind = 'thumbnail'), false) AS has_thumbnail
            FROM asset_files WHERE asset_id = m.id
        ) f
        WHERE m.company_id = c.company_id AND m.status IN ('ready', 'failed', 'cancelled')
            AND m.created_at < c.before
    ) a
    WHERE a.assets > 0 ORDER BY a.oldest
"""
_PLAN_SECONDS = 600.0


@dataclass(frozen=True)
class Retiring:
    """An asset that is older than its company keeps it."""

    asset_id: UUID
    company_id: UUID
    status: str
    keeps_thumbnail: bool


@dataclass(frozen=True)
class Share:
    """What a plan deletes of one company: all that was made *before* then; bytes of its files."""

    company_id: UUID
    days: int
    keeps_thumbnails: bool
    before: datetime
    assets: int
    bytes: int
    oldest: datetime
    kept_thumbnails: int


@dataclass(frozen=True)
class Plan:
    """All that was due *at* that time, by company, whoever had the oldest asset first."""

    at: datetime
    companies: Sequence[Share]


async def plan_retention(database: Database, settings: RetentionSettings) -> Sequence[Retiring]:
    """Return what the next round deletes, the oldest first; raises TransientError."""
    rows = await database.fetch(_DUE, *_limits(settings))
    return [Retiring(**dict(row)) for row in rows]


async def plan_all(
    database: Database,
    settings: RetentionSettings,
    *,
    company: UUID | None = None,
    days: int | None = None,
    keeps_thumbnails: bool | None = None,
) -> Plan:
    """
    Return all that is due now, of one company or of every one; raises TransientError.

    *days* and *keeps_thumbnails* stand in for what policies say, to see what others would do.
    """
    policy = settings.retention_days, settings.retention_keeps_thumbnails
    async with database.transaction() as connection:
        at = await connection.fetchval("SELECT now()")
        rows = await connection.fetch(
            _PLAN, *policy, company, days, keeps_thumbnails, timeout=_PLAN_SECONDS
        )
    return Plan(at, [Share(**dict(row)) for row in rows])


def _limits(settings: RetentionSettings) -> tuple[Any, ...]:
    return (
        settings.retention_days,
        settings.retention_keeps_thumbnails,
        settings.retention_batch,
    )


class Retention:
    """Deletes what is due: one batch at a call, or all of a plan."""

    def __init__(self, work: Work, settings: RetentionSettings) -> None:
        self._work = work
        self._settings = settings

    async def __call__(self) -> int:
        """Delete one batch of what is due; return how many assets; raises TransientError."""
        return await self._retire_all(await plan_retention(self._work.database, self._settings))

    async def apply(self, plan: Plan, *, rate: float | None = None) -> int:
        """
        Delete what *plan* names and is still due, at most *rate* assets a second.

        Returns how many that were; raises TransientError.
        """
        total = 0
        while retired := await self._retire_all(await self._planned(plan), rate=rate):
            total += retired
        return total

    async def _planned(self, plan: Plan) -> Sequence[Retiring]:
        rows = await self._work.database.fetch(
            _DUE_AS_PLANNED,
            *_limits(self._settings),
            [share.company_id for share in plan.companies],
            [share.before for share in plan.companies],
            [share.keeps_thumbnails for share in plan.companies],
            plan.at,
        )
        return [Retiring(**dict(row)) for row in rows]

    async def _retire_all(self, batch: Sequence[Retiring], *, rate: float | None = None) -> int:
        retired = 0
        for due in batch:
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

"""
What ops are told: how much is unfinished, and when that is too much.

Invariant: a look reads through partial indexes on unfinished work, so its time does not grow
with the number of finished assets; and it may be taken by several replicas, or twice, harmlessly.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog
from media_runtime.postgres import Database
from watcher.metrics import (
    ALERTS,
    ASSETS,
    BACKLOG,
    LAST_ROUND,
    NEARLY_FULL,
    OLDEST_SECONDS,
)
from watcher.settings import WatchSettings

log = structlog.get_logger(__name__)

_STATUSES = ("pending", "processing", "failed")
_COUNTS = """
    SELECT status, count(*) AS assets,
        count(*) FILTER (WHERE status = 'processing'
            OR (status = 'pending' AND uploaded_at IS NOT NULL)) AS backlog
    FROM media_assets WHERE status IN ('pending', 'processing', 'failed') GROUP BY status
"""
_OLDEST = """
    SELECT a.id, a.company_id, a.status, a.uploaded_at, j.state AS job, j.tries, j.last_error,
        extract(epoch FROM now() - a.uploaded_at)::float8 AS age
    FROM media_assets a
    LEFT JOIN ingest_jobs j ON j.asset_id = a.id AND j.attempt = a.attempt
    WHERE a.status IN ('pending', 'processing') AND a.uploaded_at IS NOT NULL
    ORDER BY a.uploaded_at LIMIT $1
"""
_NEARLY_FULL = """
    SELECT c.company_id, c.quota_bytes, sum(u.bytes)::bigint AS used_bytes
    FROM companies c JOIN company_usage u USING (company_id)
    GROUP BY c.company_id HAVING sum(u.bytes) >= c.quota_bytes * $1
    ORDER BY sum(u.bytes) / c.quota_bytes DESC
"""


@dataclass(frozen=True)
class OldItem:
    """One item of the backlog. ``age_seconds`` counts from its upload."""

    asset_id: UUID
    company_id: UUID
    status: str
    age_seconds: float
    job: str | None
    tries: int | None
    last_error: str | None


@dataclass(frozen=True)
class FullCompany:
    """A company close to its storage quota, or over it."""

    company_id: UUID
    used_bytes: int
    quota_bytes: int


@dataclass(frozen=True)
class Round:
    """What one round saw."""

    pending: int
    processing: int
    failed: int
    backlog: int
    oldest: tuple[OldItem, ...]
    nearly_full: tuple[FullCompany, ...]
    alert: bool


class Watch:
    """Counts unfinished work and raises the alarm when there is too much of it."""

    def __init__(self, database: Database, settings: WatchSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Round:
        """Return what there is; it is logged, and exported as metrics, too."""
        rows = await self._database.fetch(_COUNTS)
        counts = dict.fromkeys(_STATUSES, 0) | {row["status"]: row["assets"] for row in rows}
        backlog = sum(row["backlog"] for row in rows)
        oldest = await self._oldest()
        nearly_full = await self._nearly_full()
        found = Round(
            pending=counts["pending"],
            processing=counts["processing"],
            failed=counts["failed"],
            backlog=backlog,
            oldest=oldest,
            nearly_full=nearly_full,
            alert=backlog > self._settings.backlog_alert or bool(nearly_full),
        )
        self._tell(found)
        return found

    async def _oldest(self) -> tuple[OldItem, ...]:
        rows = await self._database.fetch(_OLDEST, self._settings.oldest_items)
        return tuple(
            OldItem(
                asset_id=row["id"],
                company_id=row["company_id"],
                status=row["status"],
                age_seconds=row["age"],
                job=row["job"],
                tries=row["tries"],
                last_error=row["last_error"],
            )
            for row in rows
        )

    async def _nearly_full(self) -> tuple[FullCompany, ...]:
        rows = await self._database.fetch(_NEARLY_FULL, self._settings.quota_alert_ratio)
        return tuple(FullCompany(**dict(row)) for row in rows)

    def _tell(self, found: Round) -> None:
        for status in _STATUSES:
            ASSETS.labels(status).set(getattr(found, status))
        BACKLOG.set(found.backlog)
        OLDEST_SECONDS.set(found.oldest[0].age_seconds if found.oldest else 0)
        NEARLY_FULL.set(len(found.nearly_full))
        LAST_ROUND.set_to_current_time()
        log.info(
            "watch",
            pending=found.pending,
            processing=found.processing,
            failed=found.failed,
            backlog=found.backlog,
        )
        for company in found.nearly_full:
            ALERTS.labels("quota").inc()
            log.warning(
                "ALERT quota",
                company=str(company.company_id),
                used_bytes=company.used_bytes,
                quota_bytes=company.quota_bytes,
            )
        if found.backlog > self._settings.backlog_alert:
            ALERTS.labels("backlog").inc()
            log.warning(
                "ALERT backlog",
                backlog=found.backlog,
                limit=self._settings.backlog_alert,
                oldest=[_describe(item) for item in found.oldest],
            )


def _describe(item: OldItem) -> dict[str, object]:
    return {
        "asset": str(item.asset_id),
        "company": str(item.company_id),
        "status": item.status,
        "age_seconds": round(item.age_seconds),
        "job": item.job,
        "tries": item.tries,
        "last_error": item.last_error,
    }

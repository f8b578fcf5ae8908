"""
One round of the watcher: count, tell, clean up.

Invariant: a round reads through partial indexes on unfinished work, so its time does not grow
with the number of finished assets; and it may run in several replicas, or twice, harmlessly.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog
from media_runtime.errors import TransientError
from media_runtime.postgres import Database
from media_runtime.storage import ObjectMissingError, ObjectStore, output_prefix
from watcher.metrics import ALERTS, ASSETS, BACKLOG, LAST_ROUND, OLDEST_SECONDS, REMOVED
from watcher.settings import WatcherSettings

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
# A worker notices a deletion at its next heartbeat, and a grant can be used until it lapses:
# what they still wrote is removed by a second pass, an hour later.
_DELETED = """
    SELECT id, company_id, bucket, upload_key FROM media_assets
    WHERE status = 'deleted' AND (removals = 0
        OR (removals = 1 AND updated_at < now() - make_interval(secs => $1)))
    ORDER BY removals, updated_at LIMIT $2
"""
_REMOVED = "UPDATE media_assets SET removals = removals + 1 WHERE id = $1 AND status = 'deleted'"
_SETTLED_SECONDS = 3700.0
_LAPSED_KEYS = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"
_LAPSED_TICKETS = "DELETE FROM event_tickets WHERE expires_at < now()"


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
class Round:
    """What one round saw."""

    pending: int
    processing: int
    failed: int
    backlog: int
    oldest: tuple[OldItem, ...]
    alert: bool


class Watch:
    """Counts unfinished work and raises the alarm when there is too much of it."""

    def __init__(self, database: Database, settings: WatcherSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Round:
        """Return what there is; it is logged, and exported as metrics, too."""
        rows = await self._database.fetch(_COUNTS)
        counts = dict.fromkeys(_STATUSES, 0) | {row["status"]: row["assets"] for row in rows}
        backlog = sum(row["backlog"] for row in rows)
        oldest = await self._oldest()
        found = Round(
            pending=counts["pending"],
            processing=counts["processing"],
            failed=counts["failed"],
            backlog=backlog,
            oldest=oldest,
            alert=backlog > self._settings.backlog_alert,
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

    def _tell(self, found: Round) -> None:
        for status in _STATUSES:
            ASSETS.labels(status).set(getattr(found, status))
        BACKLOG.set(found.backlog)
        OLDEST_SECONDS.set(found.oldest[0].age_seconds if found.oldest else 0)
        LAST_ROUND.set_to_current_time()
        log.info(
            "watch",
            pending=found.pending,
            processing=found.processing,
            failed=found.failed,
            backlog=found.backlog,
        )
        if found.alert:
            ALERTS.labels("backlog").inc()
            log.warning(
                "ALERT backlog",
                backlog=found.backlog,
                limit=self._settings.backlog_alert,
                oldest=[_describe(item) for item in found.oldest],
            )


class CleanUp:
    """Removes what deleted assets leave behind, and what has lapsed."""

    def __init__(self, database: Database, store: ObjectStore, settings: WatcherSettings) -> None:
        self._database = database
        self._store = store
        self._batch = settings.cleanup_batch

    async def __call__(self) -> int:
        """Return how many objects were removed; what fails is tried again in the next round."""
        await self._database.fetch(_LAPSED_KEYS)
        await self._database.fetch(_LAPSED_TICKETS)
        removed = 0
        for row in await self._database.fetch(_DELETED, _SETTLED_SECONDS, self._batch):
            try:
                removed += await self._remove(row["bucket"], row["upload_key"])
                removed += await self._remove(
                    row["bucket"], output_prefix(row["company_id"], row["id"])
                )
            except TransientError as error:
                log.warning("cleanup_waits", error=str(error))
                return removed
            await self._database.fetch(_REMOVED, row["id"])
        return removed

    async def _remove(self, bucket: str, prefix: str) -> int:
        try:
            removed = await self._store.delete_prefix(bucket, prefix)
        except ObjectMissingError:
            return 0
        REMOVED.inc(removed)
        return removed


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

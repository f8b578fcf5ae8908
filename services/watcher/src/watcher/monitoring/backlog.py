"""
How much is unfinished, and how attempts ended lately.

Invariant: it reads through partial indexes and sums that a trigger keeps, so its time does not
grow with the number of finished assets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from media_contracts.errors import SYSTEM_FAULTS
from media_runtime.database.postgres import Database, Record
from watcher.metrics import ASSETS, BACKLOG, OLDEST_SECONDS, RECENT
from watcher.monitoring.findings import Finding, Kind, Severity, too_many_failures
from watcher.monitoring.quotas import STATUSES
from watcher.settings import LimitSettings

log = structlog.get_logger(__name__)

_COUNTS = """
    SELECT coalesce(sum(pending), 0)::bigint AS pending,
        coalesce(sum(processing), 0)::bigint AS processing,
        coalesce(sum(ready), 0)::bigint AS ready, coalesce(sum(failed), 0)::bigint AS failed,
        coalesce(sum(expired), 0)::bigint AS expired,
        coalesce(sum(cancelled), 0)::bigint AS cancelled,
        coalesce(sum(deleted), 0)::bigint AS deleted,
        (SELECT count(*) FROM media_assets
         WHERE status IN ('pending', 'processing')
             AND (status = 'processing' OR coalesce(uploaded_at, found_at) IS NOT NULL)) AS backlog
    FROM company_usage
"""
_BUSIEST = """
    SELECT company_id, sum(pending)::bigint AS pending, sum(processing)::bigint AS processing,
        sum(ready)::bigint AS ready, sum(failed)::bigint AS failed
    FROM company_usage GROUP BY company_id HAVING sum(pending + processing) > 0
    ORDER BY sum(processing) DESC, sum(pending) DESC, company_id LIMIT $1
"""
# An upload is as old as its attempt: a retry after weeks begins anew.
_OLDEST = """
    SELECT a.id AS asset_id, a.company_id, a.status, a.uploaded_at IS NOT NULL AS announced,
        t.kind, t.state AS task, t.tries, t.last_error,
        coalesce(t.lease_until < now(), false) AS silent,
        extract(epoch FROM now() - coalesce(a.attempt_at, a.uploaded_at, a.found_at))::float8
            AS age_seconds
    FROM media_assets a LEFT JOIN LATERAL (
        SELECT * FROM tasks WHERE asset_id = a.id AND attempt = a.attempt
        ORDER BY state IN ('running', 'queued', 'blocked') DESC, pool = 'pictures',
            state = 'running' DESC, id DESC LIMIT 1
    ) t ON true
    WHERE a.status IN ('pending', 'processing')
        AND coalesce(a.uploaded_at, a.found_at) IS NOT NULL
    ORDER BY coalesce(a.attempt_at, a.uploaded_at, a.found_at) LIMIT $1
"""
# For so long there have been more than $1 of them.
_LASTS = """
    SELECT extract(epoch FROM now() - coalesce(attempt_at, uploaded_at, found_at))::float8
        AS seconds
    FROM media_assets
    WHERE status IN ('pending', 'processing') AND coalesce(uploaded_at, found_at) IS NOT NULL
    ORDER BY coalesce(attempt_at, uploaded_at, found_at) OFFSET $1 LIMIT 1
"""
_OUTCOMES = """
    SELECT status, error_code, count(*) AS attempts FROM media_assets
    WHERE processed_at > now() - make_interval(secs => $1) AND status IN ('ready', 'failed')
    GROUP BY status, error_code
"""


_OPEN = frozenset({"blocked", "queued", "running"})


@dataclass(frozen=True)
class OldItem:
    """
    One item of the backlog, and its ``stage``: what it waits for.

    ``age_seconds`` counts from when its upload was known, or from when a retry began.
    """

    asset_id: UUID
    company_id: UUID
    status: str
    stage: str
    age_seconds: float
    task: str | None
    tries: int | None
    last_error: str | None

    def described(self) -> dict[str, object]:
        """Return what a line of the log says of it."""
        return {
            "asset": str(self.asset_id),
            "company": str(self.company_id),
            "status": self.status,
            "stage": self.stage,
            "age_seconds": round(self.age_seconds),
            "task": self.task,
            "tries": self.tries,
            "last_error": self.last_error,
        }


async def oldest_items(database: Database, limit: int) -> list[OldItem]:
    """Return up to *limit* items of the backlog, the oldest first; raises TransientError."""
    rows = await database.fetch(_OLDEST, limit)
    return [_item(**row) for row in rows]


def _item(*, announced: bool, silent: bool, kind: str, **known: Any) -> OldItem:
    stage = stage_of(known["task"], kind, announced=announced, silent=silent)
    return OldItem(**known, stage=stage)


def stage_of(task: str | None, kind: str | None, *, announced: bool, silent: bool) -> str:
    """Return what an unfinished upload waits for: its first task's state and *kind* say it."""
    if task is None:
        return "uploaded" if announced else "unannounced"
    if task not in _OPEN:
        return "stopped"
    if kind == "pictures":
        return "waiting_for_pictures"
    if task == "running":
        if silent:
            return "worker_silent"
        return "checking" if kind == "inspect" else "transcoding"
    return "queued"


class BacklogCheck:
    """Counts assets by status, and what waits for its outcome."""

    kinds = frozenset({Kind.BACKLOG})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        (counts,) = await self._database.fetch(_COUNTS)
        oldest = await oldest_items(self._database, self._settings.oldest_items)
        busiest = await self._database.fetch(_BUSIEST, self._settings.oldest_items)
        for status in STATUSES:
            ASSETS.labels(status).set(counts[status])
        BACKLOG.set(counts["backlog"])
        OLDEST_SECONDS.set(oldest[0].age_seconds if oldest else 0)
        log.info("watch", **dict(counts), busiest=[_described(row) for row in busiest])
        backlog, limit = counts["backlog"], self._settings.backlog_alert
        if backlog <= limit:
            return ()
        summary = f"{backlog} uploads have no outcome yet; more than {limit} are too many."
        details = {
            "backlog": backlog,
            "limit": limit,
            "oldest": [item.described() for item in oldest],
        }
        row = await self._database.fetchrow(_LASTS, limit)
        lasts = row["seconds"] if row else 0
        found = Finding(Kind.BACKLOG, Severity.PAGE, summary, details=details, lasts_seconds=lasts)
        return (found,)


def _described(busy: Record) -> dict[str, object]:
    return {**busy, "company_id": str(busy["company_id"])}


class OutcomesCheck:
    """Counts how attempts ended lately, and by whose fault."""

    kinds = frozenset({Kind.FAILURES})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        settings = self._settings
        rows = await self._database.fetch(_OUTCOMES, settings.failure_window_seconds)
        ended = sum(row["attempts"] for row in rows)
        ready = sum(row["attempts"] for row in rows if row["status"] == "ready")
        ours = {
            row["error_code"]: row["attempts"] for row in rows if row["error_code"] in SYSTEM_FAULTS
        }
        failed = sum(ours.values())
        for outcome, count in (
            ("ready", ready),
            ("failed", failed),
            ("refused", ended - ready - failed),
        ):
            RECENT.labels(outcome).set(count)
        if not too_many_failures(
            failed,
            ended,
            at_least=settings.failure_alert_count,
            ratio=settings.failure_alert_ratio,
        ):
            return ()
        minutes = round(settings.failure_window_seconds / 60, 1)
        summary = f"{failed} of {ended} attempts failed by our fault within {minutes:g} minutes."
        details = {"failed": failed, "ended": ended, "codes": ours}
        return (Finding(Kind.FAILURES, Severity.PAGE, summary, details=details),)

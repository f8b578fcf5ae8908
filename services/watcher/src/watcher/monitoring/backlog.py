"""How much is unfinished, and how attempts ended lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
from media_contracts.errors import SYSTEM_FAULTS
from media_records import backlog
from media_records.backlog import OldItem
from media_records.companies import STATUSES
from media_runtime.database.postgres import Database
from watcher.metrics import ASSETS, BACKLOG, OLDEST_SECONDS, RECENT
from watcher.monitoring.findings import Finding, Kind, Severity, too_many_failures
from watcher.settings import LimitSettings

log = structlog.get_logger(__name__)


class BacklogCheck:
    """Counts assets by status, and what waits for its outcome."""

    kinds = frozenset({Kind.BACKLOG})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        counts = await backlog.count_assets(self._database)
        oldest = await backlog.oldest_items(self._database, self._settings.oldest_items)
        busy = await backlog.busiest(self._database, self._settings.oldest_items)
        for status in STATUSES:
            ASSETS.labels(status).set(counts[status])
        BACKLOG.set(counts["backlog"])
        OLDEST_SECONDS.set(oldest[0].age_seconds if oldest else 0)
        log.info("watch", **counts, busiest=[_described(one) for one in busy])
        unfinished, limit = counts["backlog"], self._settings.backlog_alert
        if unfinished <= limit:
            return ()
        summary = f"{unfinished} uploads have no outcome yet; more than {limit} are too many."
        told = [_told(item) for item in oldest]
        details = {"backlog": unfinished, "limit": limit, "oldest": told}
        lasts = await backlog.exceeded_for(self._database, limit)
        found = Finding(Kind.BACKLOG, Severity.PAGE, summary, details=details, lasts_seconds=lasts)
        return (found,)


def _described(busy: Mapping[str, object]) -> dict[str, object]:
    return {**busy, "company_id": str(busy["company_id"])}


def _told(item: OldItem) -> dict[str, object]:
    return {
        "asset": str(item.asset_id),
        "company": str(item.company_id),
        "status": item.status,
        "stage": item.stage,
        "age_seconds": round(item.age_seconds),
        "task": item.task,
        "tries": item.tries,
        "last_error": item.last_error,
    }


class OutcomesCheck:
    """Counts how attempts ended lately, and by whose fault."""

    kinds = frozenset({Kind.FAILURES})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        settings = self._settings
        outcomes = await backlog.outcomes_lately(self._database, settings.failure_window_seconds)
        ended = sum(count for *_, count in outcomes)
        ready = sum(count for status, _, count in outcomes if status == "ready")
        ours = {code: count for _, code, count in outcomes if code in SYSTEM_FAULTS}
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

"""
What waits, and for how long: tasks, leases, grants, the outbox.

Invariant: every query reads through partial indexes on what is unfinished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from media_runtime.database.postgres import Database, Record
from watcher.metrics import (
    EXPIRED_LEASES,
    OLDEST_TASK_SECONDS,
    OUTBOX_OLDEST_SECONDS,
    OUTBOX_RECORDS,
    TASKS,
    UNUSED_GRANTS,
)
from watcher.monitoring.findings import Finding, Kind, Severity
from watcher.settings import LimitSettings

_TASKS = """
    SELECT count(*) FILTER (WHERE state = 'queued') AS queued,
        count(*) FILTER (WHERE state = 'running') AS running,
        count(*) FILTER (WHERE state = 'running' AND lease_until < now()) AS expired,
        coalesce(extract(epoch FROM now() - min(lease_until) FILTER (
            WHERE state = 'running' AND lease_until < now())), 0)::float8 AS silent,
        coalesce(extract(epoch FROM now() - min(not_before) FILTER (
            WHERE state = 'queued' AND not_before <= now())), 0)::float8 AS oldest
    FROM tasks WHERE state IN ('queued', 'running') AND pool <> 'pictures'
"""
# The watcher waits a while after a grant lapsed before it is expired: a slow upload may come in.
_UNUSED = """
    SELECT count(*) + (SELECT coalesce(sum(expired), 0) FROM company_usage)::bigint AS grants
    FROM media_assets
    WHERE status = 'pending' AND coalesce(uploaded_at, found_at) IS NULL
        AND grant_expires_at < now()
"""
_OUTBOX = """
    SELECT producer, count(*) AS records,
        extract(epoch FROM now() - min(created_at))::float8 AS oldest
    FROM outbox GROUP BY producer
"""
_PRODUCERS = ("sign_api", "ingest", "watcher")


class PressureCheck:
    """Tells what waits in tables."""

    kinds = frozenset({Kind.OUTBOX, Kind.LEASES})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        (tasks,) = await self._database.fetch(_TASKS)
        (unused,) = await self._database.fetch(_UNUSED)
        outbox = {row["producer"]: row for row in await self._database.fetch(_OUTBOX)}
        TASKS.labels("queued").set(tasks["queued"])
        TASKS.labels("running").set(tasks["running"])
        EXPIRED_LEASES.set(tasks["expired"])
        OLDEST_TASK_SECONDS.set(tasks["oldest"])
        UNUSED_GRANTS.set(unused["grants"])
        for producer in _PRODUCERS:
            row = outbox.get(producer)
            OUTBOX_RECORDS.labels(producer).set(row["records"] if row else 0)
            OUTBOX_OLDEST_SECONDS.labels(producer).set(row["oldest"] if row else 0)
        return [*self._silent(tasks), *self._stuck(outbox.values())]

    def _silent(self, tasks: Record) -> Iterator[Finding]:
        if tasks["silent"] > self._settings.lease_alert_seconds:
            summary = (
                f"{tasks['expired']} tasks have a silent worker, one for {tasks['silent']:.0f} s,"
                " and no other worker takes them over."
            )
            yield Finding(Kind.LEASES, Severity.PAGE, summary, details=dict(tasks))

    def _stuck(self, outbox: Collection[Record]) -> Iterator[Finding]:
        late = [row for row in outbox if row["oldest"] > self._settings.outbox_alert_seconds]
        if late:
            oldest = max(late, key=lambda row: row["oldest"])
            summary = (
                f"{sum(row['records'] for row in late)} records wait in the outbox, one of"
                f" {oldest['producer']} for {oldest['oldest']:.0f} s."
            )
            details = {row["producer"]: row["records"] for row in late}
            yield Finding(Kind.OUTBOX, Severity.PAGE, summary, details=details)

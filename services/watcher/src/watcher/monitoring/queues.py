"""What waits, and for how long: tasks, leases, grants, the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from media_records.backlog import count_unused_grants, measure_outbox, measure_tasks
from media_runtime.database.postgres import Database
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

_PRODUCERS = ("sign_api", "ingest", "watcher")


class PressureCheck:
    """Tells what waits in tables."""

    kinds = frozenset({Kind.OUTBOX, Kind.LEASES})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        tasks = await measure_tasks(self._database)
        unused = await count_unused_grants(self._database)
        outbox = await measure_outbox(self._database)
        TASKS.labels("queued").set(tasks["queued"])
        TASKS.labels("running").set(tasks["running"])
        EXPIRED_LEASES.set(tasks["expired"])
        OLDEST_TASK_SECONDS.set(tasks["oldest"])
        UNUSED_GRANTS.set(unused)
        for producer in _PRODUCERS:
            records, oldest = outbox.get(producer, (0, 0))
            OUTBOX_RECORDS.labels(producer).set(records)
            OUTBOX_OLDEST_SECONDS.labels(producer).set(oldest)
        return [*self._silent(tasks), *self._stuck(outbox)]

    def _silent(self, tasks: Mapping[str, Any]) -> Iterator[Finding]:
        if tasks["silent"] > self._settings.lease_alert_seconds:
            summary = (
                f"{tasks['expired']} tasks have a silent worker, one for {tasks['silent']:.0f} s,"
                " and no other worker takes them over."
            )
            yield Finding(Kind.LEASES, Severity.PAGE, summary, details=tasks)

    def _stuck(self, outbox: Mapping[str, tuple[int, float]]) -> Iterator[Finding]:
        limit = self._settings.outbox_alert_seconds
        late = {name: records for name, (records, oldest) in outbox.items() if oldest > limit}
        if late:
            producer = max(late, key=lambda name: outbox[name][1])
            summary = (
                f"{sum(late.values())} records wait in the outbox, one of"
                f" {producer} for {outbox[producer][1]:.0f} s."
            )
            yield Finding(Kind.OUTBOX, Severity.PAGE, summary, details=late)

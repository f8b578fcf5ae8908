"""
What waits, and for how long: jobs, leases, grants, the outbox.

Invariant: every query reads through partial indexes on what is unfinished.
"""

from __future__ import annotations

from media_runtime.postgres import Database
from watcher.metrics import (
    EXPIRED_LEASES,
    JOBS,
    OLDEST_JOB_SECONDS,
    OUTBOX_OLDEST_SECONDS,
    OUTBOX_RECORDS,
    UNUSED_GRANTS,
)

_JOBS = """
    SELECT count(*) FILTER (WHERE state = 'queued') AS queued,
        count(*) FILTER (WHERE state = 'running') AS running,
        count(*) FILTER (WHERE state = 'running' AND lease_until < now()) AS expired,
        coalesce(extract(epoch FROM now() - min(not_before) FILTER (
            WHERE state = 'queued' AND not_before <= now())), 0)::float8 AS oldest
    FROM ingest_jobs WHERE state IN ('queued', 'running')
"""
_UNUSED = """
    SELECT count(*) AS grants FROM media_assets
    WHERE status = 'pending' AND uploaded_at IS NULL AND grant_expires_at < now()
"""
_OUTBOX = """
    SELECT producer, count(*) AS records,
        extract(epoch FROM now() - min(created_at))::float8 AS oldest
    FROM outbox GROUP BY producer
"""
_PRODUCERS = ("sign_api", "ingest", "watcher")


class Pressure:
    """Exports what waits as metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self) -> None:
        """Look once; raises TransientError."""
        jobs = await self._database.fetchrow(_JOBS)
        unused = await self._database.fetchrow(_UNUSED)
        outbox = {row["producer"]: row for row in await self._database.fetch(_OUTBOX)}
        if jobs is None or unused is None:
            return
        JOBS.labels("queued").set(jobs["queued"])
        JOBS.labels("running").set(jobs["running"])
        EXPIRED_LEASES.set(jobs["expired"])
        OLDEST_JOB_SECONDS.set(jobs["oldest"])
        UNUSED_GRANTS.set(unused["grants"])
        for producer in _PRODUCERS:
            row = outbox.get(producer)
            OUTBOX_RECORDS.labels(producer).set(row["records"] if row else 0)
            OUTBOX_OLDEST_SECONDS.labels(producer).set(row["oldest"] if row else 0)

"""
What the clean-up is to remove now, by rule: as metrics in each round, and as a plan on demand.

Invariant: it removes nothing. Counting reads through the indexes that the rules themselves use.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from media_runtime.database.postgres import Database
from media_runtime.storage.store import ObjectMissingError, ObjectStore
from watcher.cleanup.retention import plan_all
from watcher.cleanup.sweep import Sweep
from watcher.metrics import CLEANUP_DUE, CLEANUP_OLDEST_SECONDS
from watcher.monitoring.findings import Finding, Kind
from watcher.rules import Rule
from watcher.settings import CleanupSettings

_TO_SWEEP = """
    SELECT rule, count(*) AS due,
        extract(epoch FROM now() - min(sweep_at))::float8 AS oldest_seconds
    FROM (
        SELECT sweep_at, CASE
            WHEN status IN ('deleted', 'cancelled') AND NOT retired THEN 'deletions'
            WHEN status = 'failed' AND updated_at <= now() - make_interval(days => $1)
                AND EXISTS (SELECT 1 FROM asset_files f WHERE f.asset_id = media_assets.id
                    AND f.kind = 'original' AND f.key LIKE '%/quarantine/%') THEN 'quarantine'
            ELSE 'leftovers' END AS rule
        FROM media_assets WHERE sweep_at <= now()
    ) AS due GROUP BY rule
"""
_ROWS = """
    SELECT 'grants' AS rule, count(*) AS due,
        extract(epoch FROM now() - min(updated_at))::float8 - $1 AS oldest_seconds
    FROM media_assets
    WHERE status = 'expired' AND updated_at < now() - make_interval(secs => $1)
    UNION ALL SELECT 'keys', count(*),
        extract(epoch FROM now() - min(created_at) - interval '24 hours')::float8
    FROM idempotency_keys WHERE created_at < now() - interval '24 hours'
    UNION ALL SELECT 'tickets', count(*),
        extract(epoch FROM now() - min(expires_at))::float8
    FROM event_tickets WHERE expires_at < now()
"""
# Many may be due at once: they are counted up to here, and then they are many.
_COUNTED = 10_000
_TO_LOOK_THROUGH = """
    SELECT 'versions' AS rule, count(*) AS due,
        extract(epoch FROM now() - min(grant_expires_at))::float8 - $1 AS oldest_seconds
    FROM (
        SELECT grant_expires_at FROM media_assets
        WHERE NOT grant_swept AND uploaded_at IS NOT NULL AND sweep_at IS NULL
            AND grant_expires_at < now() - make_interval(secs => $1)
        ORDER BY grant_expires_at LIMIT $2
    ) AS found
"""
_TO_RETIRE = """
    SELECT 'retention' AS rule, count(*) AS due, max(late)::float8 AS oldest_seconds FROM (
        SELECT a.late FROM companies c, LATERAL (
            SELECT extract(epoch FROM now() - m.created_at
                - make_interval(days => coalesce(c.retention_days, $1))) AS late
            FROM media_assets m
            WHERE m.company_id = c.company_id AND m.status IN ('ready', 'failed', 'cancelled')
                AND m.created_at < now() - make_interval(days => coalesce(c.retention_days, $1))
            ORDER BY m.created_at LIMIT $2
        ) a LIMIT $2
    ) AS found
"""


@dataclass(frozen=True)
class Due:
    """
    What one rule is to remove now: assets, rows or uploads, the oldest due for so long.

    ``objects`` and ``bytes`` are those in storage; None where nobody has looked.
    """

    rule: Rule
    due: int = 0
    oldest_seconds: float = 0.0
    objects: int | None = None
    bytes: int | None = None


async def count_by_rule(database: Database, settings: CleanupSettings) -> dict[Rule, Due]:
    """Return what the rules of the database are to remove; raises TransientError."""
    rows = [
        *await database.fetch(_TO_RETIRE, settings.retention_days, _COUNTED),
        *await database.fetch(_TO_LOOK_THROUGH, settings.late_upload_seconds, _COUNTED),
        *await database.fetch(_TO_SWEEP, settings.s3_quarantine_days),
        *await database.fetch(_ROWS, settings.expired_keep_seconds),
    ]
    found: dict[Rule, Due] = {rule: Due(rule) for rule in Rule if rule is not Rule.MULTIPART}
    for row in rows:
        rule = Rule(row["rule"])
        found[rule] = Due(rule, row["due"], max(row["oldest_seconds"] or 0.0, 0.0))
    return found


class CleanupCheck:
    """Counts what waits to be removed; nothing of it is an alert by itself."""

    kinds = frozenset[Kind]()

    def __init__(self, database: Database, settings: CleanupSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        for rule, due in (await count_by_rule(self._database, self._settings)).items():
            CLEANUP_DUE.labels(rule).set(due.due)
            CLEANUP_OLDEST_SECONDS.labels(rule).set(due.oldest_seconds)
        return ()


async def plan_cleanup(
    database: Database, store: ObjectStore, settings: CleanupSettings, *, assets: int
) -> list[Due]:
    """
    Return what each rule would remove now; raises TransientError.

    Objects are those of the *assets* that come first; retention is counted whole.
    """
    found = await count_by_rule(database, settings)
    retiring = (await plan_all(database, settings)).companies
    found[Rule.RETENTION] = replace(
        found[Rule.RETENTION],
        due=sum(share.assets for share in retiring),
        bytes=sum(share.bytes for share in retiring),
    )
    for rule, (objects, size) in (await Sweep(database, store, settings).plan(assets)).items():
        found[rule] = replace(found[rule], objects=objects, bytes=size)
    found[Rule.MULTIPART] = await _abandoned(database, store, settings)
    return list(found.values())


async def _abandoned(database: Database, store: ObjectStore, settings: CleanupSettings) -> Due:
    now = datetime.now(UTC)
    before = now - timedelta(seconds=settings.multipart_keep_seconds)
    late: list[float] = []
    for row in await database.fetch("SELECT bucket FROM companies ORDER BY company_id"):
        with suppress(ObjectMissingError):
            uploads = await store.unfinished_uploads(row["bucket"])
            late += [(before - one.begun_at).total_seconds() for one in uploads]
    late = [seconds for seconds in late if seconds > 0]
    return Due(Rule.MULTIPART, len(late), max(late, default=0.0))

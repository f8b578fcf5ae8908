"""
What the clean-up is to remove now, by rule: as metrics in each round, and as a plan on demand.

Invariant: it removes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from media_records.companies import buckets
from media_records.retention import count_to_retire, plan_all
from media_records.sweeping import count_due
from media_runtime.database.postgres import Database
from media_runtime.storage.store import ObjectMissingError, ObjectStore
from watcher.cleanup.sweep import Sweep
from watcher.metrics import CLEANUP_DUE, CLEANUP_OLDEST_SECONDS
from watcher.monitoring.findings import Finding, Kind
from watcher.rules import Rule
from watcher.settings import CleanupSettings

# Many may be due at once: they are counted up to here, and then they are many.
_COUNTED = 10_000


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
    counted = {
        Rule.RETENTION: await count_to_retire(database, settings.policy, at_most=_COUNTED),
        **await count_due(
            database,
            late_seconds=settings.late_upload_seconds,
            quarantine_days=settings.s3_quarantine_days,
            expired_seconds=settings.expired_keep_seconds,
            at_most=_COUNTED,
        ),
    }
    found: dict[Rule, Due] = {rule: Due(rule) for rule in Rule if rule is not Rule.MULTIPART}
    for name, (due, seconds) in counted.items():
        found[Rule(name)] = Due(Rule(name), due, max(seconds, 0.0))
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
    retiring = (await plan_all(database, settings.policy)).companies
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
    for _, bucket in await buckets(database):
        with suppress(ObjectMissingError):
            uploads = await store.unfinished_uploads(bucket)
            late += [(before - one.begun_at).total_seconds() for one in uploads]
    late = [seconds for seconds in late if seconds > 0]
    return Due(Rule.MULTIPART, len(late), max(late, default=0.0))

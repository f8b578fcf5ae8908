"""
Bytes in each company's bucket, all versions, compared with what its rows account for.

The store counts for itself, which costs one request and is minutes old. A company that has too
much by it is counted anew by listing its bucket, some pages a round, one company after another.
Invariant: nothing is an alert that a listing has not confirmed, again and again, for a while:
outputs of attempts under way, and files that wait to be swept, are accounted for by nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
from media_records.companies import Usage, usage_of_each
from media_runtime.database.postgres import Database
from media_runtime.storage.metrics import BUCKETS_PATH
from media_runtime.storage.store import ObjectMissingError, ObjectStore, StoredObject
from prometheus_client.parser import text_string_to_metric_families
from watcher.metrics import STORED, UNACCOUNTED
from watcher.monitoring.findings import Finding, Kind, Severity
from watcher.monitoring.storage_capacity import StorageAwayError, ask_metrics
from watcher.settings import WatchSettings

_BYTES = "minio_cluster_usage_buckets_total_bytes"
# A page takes some tens of milliseconds.
_PAGES_AT_ONCE = 20


async def read_bucket_bytes(settings: WatchSettings) -> Mapping[str, int]:
    """Return what the store last counted in each bucket, all versions; raises StorageAwayError."""
    try:
        text = await ask_metrics(settings, BUCKETS_PATH)
        return {
            sample.labels["bucket"]: int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == _BYTES
        }
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise StorageAwayError(f"object storage does not count its buckets: {error!r}") from error


@dataclass
class _Count:
    """A listing of one company's bucket under way, and the bytes of it so far."""

    company_id: UUID
    pages: AsyncIterator[list[StoredObject]]
    bytes: int = 0


@dataclass
class _Excess:
    """What a company has beyond what is accounted for, confirmed first at that time."""

    bytes: int
    since: float


class StoredBytesCheck:
    """Tells which companies have more in storage than anything accounts for."""

    kinds = frozenset({Kind.UNACCOUNTED})

    def __init__(self, database: Database, store: ObjectStore, settings: WatchSettings) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._count: _Count | None = None
        self._confirmed: dict[UUID, _Excess] = {}
        self._counted_at: dict[UUID, float] = {}

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        counted = await read_bucket_bytes(self._settings)
        usages = {usage.company_id: usage for usage in await usage_of_each(self._database)}
        suspects = {
            company: usage
            for company, usage in usages.items()
            if self._is_too_much(counted.get(usage.bucket, 0), usage)
        }
        for known in (self._confirmed, self._counted_at):
            for company in known.keys() - suspects.keys():
                del known[company]
        await self._count_on(suspects)
        STORED.labels("stored").set(sum(counted.get(one.bucket, 0) for one in usages.values()))
        STORED.labels("accounted").set(sum(usage.used_bytes for usage in usages.values()))
        UNACCOUNTED.set(sum(excess.bytes for excess in self._confirmed.values()))
        return [
            _finding(suspects[company], excess)
            for company, excess in self._confirmed.items()
            if time.monotonic() - excess.since >= self._settings.unaccounted_after_seconds
        ]

    def _is_too_much(self, stored: int, usage: Usage) -> bool:
        settings = self._settings
        margin = max(
            settings.unaccounted_alert_bytes, settings.unaccounted_alert_ratio * usage.used_bytes
        )
        return stored - usage.used_bytes > margin

    async def _count_on(self, suspects: Mapping[UUID, Usage]) -> None:
        """List on where the last round ended, or begin with whom nobody has counted for longest."""
        if self._count is None or self._count.company_id not in suspects:
            if not suspects:
                self._count = None
                return
            company = min(suspects, key=lambda one: self._counted_at.get(one, 0.0))
            self._count = _Count(company, self._store.pages(suspects[company].bucket))
        count = self._count
        for _ in range(_PAGES_AT_ONCE):
            try:
                page = await anext(count.pages, None)
            except ObjectMissingError:
                page = None
            except BaseException:
                self._count = None  # a listing that was broken off cannot go on
                raise
            if page is None:
                self._count = None
                self._settle(suspects[count.company_id], count.bytes)
                return
            count.bytes += sum(stored.size for stored in page)

    def _settle(self, usage: Usage, stored: int) -> None:
        company = usage.company_id
        self._counted_at[company] = time.monotonic()
        if not self._is_too_much(stored, usage):
            self._confirmed.pop(company, None)
            return
        excess = self._confirmed.setdefault(company, _Excess(0, time.monotonic()))
        excess.bytes = stored - usage.used_bytes


def _finding(usage: Usage, excess: _Excess) -> Finding:
    return Finding(
        Kind.UNACCOUNTED,
        Severity.TICKET,
        f"Company {usage.company_id} has {excess.bytes} bytes in storage that nothing accounts"
        " for.",
        company_id=usage.company_id,
        details={
            "company": str(usage.company_id),
            "unaccounted_bytes": excess.bytes,
            "used_bytes": usage.used_bytes,
        },
    )

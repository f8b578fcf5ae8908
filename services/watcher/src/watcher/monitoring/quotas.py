"""What companies use of their quotas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from media_runtime.database.postgres import Database
from watcher.metrics import (
    COMPANIES,
    COMPANY_ASSETS,
    COMPANY_BYTES,
    COMPANY_NEARLY_FULL,
    COMPANY_QUOTA,
    NEARLY_FULL,
)
from watcher.monitoring.findings import Finding, Kind, Severity, quota_severity
from watcher.settings import LimitSettings

STATUSES = ("pending", "processing", "ready", "failed", "expired", "cancelled", "deleted")
_USAGE = """
    SELECT c.company_id, c.bucket, c.quota_bytes, c.retention_days, c.retention_keeps_thumbnails,
        coalesce(sum(u.bytes), 0)::bigint AS used_bytes,
        coalesce(sum(u.pending), 0)::bigint AS pending,
        coalesce(sum(u.processing), 0)::bigint AS processing,
        coalesce(sum(u.ready), 0)::bigint AS ready,
        coalesce(sum(u.failed), 0)::bigint AS failed,
        coalesce(sum(u.expired), 0)::bigint AS expired,
        coalesce(sum(u.cancelled), 0)::bigint AS cancelled,
        coalesce(sum(u.deleted), 0)::bigint AS deleted
    FROM companies c LEFT JOIN company_usage u USING (company_id)
    GROUP BY c.company_id
    ORDER BY coalesce(sum(u.processing + u.pending), 0) DESC, used_bytes DESC, c.company_id
"""
_PERCENT = 100


@dataclass(frozen=True)
class Usage:
    """What one company has: bytes, and assets by status. ``quota_bytes`` is what it may have."""

    company_id: UUID
    bucket: str
    quota_bytes: int
    retention_days: int | None
    retention_keeps_thumbnails: bool | None
    used_bytes: int
    pending: int
    processing: int
    ready: int
    failed: int
    expired: int
    cancelled: int
    deleted: int

    @property
    def assets(self) -> Mapping[str, int]:
        """Its assets by status."""
        return {status: getattr(self, status) for status in STATUSES}

    @property
    def used_ratio(self) -> float:
        """The part of its quota that it uses."""
        return self.used_bytes / self.quota_bytes if self.quota_bytes else float("inf")


async def read_usage(database: Database) -> list[Usage]:
    """Return the usage of every company, the busiest first; raises TransientError."""
    return [Usage(**dict(row)) for row in await database.fetch(_USAGE)]


class QuotasCheck:
    """Tells which companies are close to their quota."""

    kinds = frozenset({Kind.QUOTA})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        usages = await read_usage(self._database)
        findings = [found for usage in usages if (found := self._judge(usage)) is not None]
        severities = {finding.company_id: finding.severity for finding in findings}
        _export(usages, self._shown(usages, severities), severities)
        counted = Counter(finding.severity for finding in findings)
        for severity in Severity:
            NEARLY_FULL.labels(severity).set(counted[severity])
        return findings

    def _shown(self, usages: Sequence[Usage], nearly_full: Collection[UUID]) -> list[Usage]:
        shown = self._settings.companies_shown
        full = sorted(
            (usage for usage in usages if usage.company_id in nearly_full),
            key=lambda usage: -usage.used_ratio,
        )
        by_company = {usage.company_id: usage for usage in (*usages[:shown], *full[:shown])}
        return list(by_company.values())

    def _judge(self, usage: Usage) -> Finding | None:
        severity = quota_severity(
            usage.used_bytes, usage.quota_bytes, self._settings.quota_alert_ratio
        )
        if severity is None:
            return None
        return Finding(
            Kind.QUOTA,
            severity,
            f"Company {usage.company_id} uses {usage.used_ratio * _PERCENT:.0f} % of its storage"
            f" quota of {usage.quota_bytes} bytes.",
            company_id=usage.company_id,
            details={
                "company": str(usage.company_id),
                "used_bytes": usage.used_bytes,
                "quota_bytes": usage.quota_bytes,
            },
        )


def _export(
    usages: Sequence[Usage], shown: Iterable[Usage], severities: Mapping[UUID, Severity]
) -> None:
    COMPANIES.set(len(usages))
    for gauge in (COMPANY_ASSETS, COMPANY_BYTES, COMPANY_QUOTA, COMPANY_NEARLY_FULL):
        gauge.clear()  # those that are no longer among them
    for usage in shown:
        company = str(usage.company_id)
        COMPANY_BYTES.labels(company).set(usage.used_bytes)
        COMPANY_QUOTA.labels(company).set(usage.quota_bytes)
        if usage.company_id in severities:
            COMPANY_NEARLY_FULL.labels(company, severities[usage.company_id]).set(1)
        for status, count in usage.assets.items():
            COMPANY_ASSETS.labels(company, status).set(count)

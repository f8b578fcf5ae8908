"""What companies use of their quotas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from media_records.companies import Usage, usage_of_each
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

_PERCENT = 100


class QuotasCheck:
    """Tells which companies are close to their quota."""

    kinds = frozenset({Kind.QUOTA})

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        usages = await usage_of_each(self._database)
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

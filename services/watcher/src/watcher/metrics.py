"""
Every instrument of the watcher.

Invariant: what a look saw is exported by the replica that acts alone; the others would show
what was true when they last did.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

LOOKS = CollectorRegistry()
"""What the last round saw."""

LEADS = Gauge("watcher_leads", "1 on the replica that acts.")
DATABASE_ANSWERS = Gauge(
    "watcher_database_answers", "1 while PostgreSQL answers this replica, else 0."
)


class _WhileLeading(Collector):
    def collect(self) -> Iterable[Metric]:
        return LOOKS.collect() if LEADS._value.get() else ()  # noqa: SLF001 - it has no other way

    def describe(self) -> Iterable[Metric]:
        return ()


REGISTRY.register(_WhileLeading())

ASSETS = Gauge("watcher_assets", "Assets by status, failed ones of all times.", ["status"],
               registry=LOOKS)  # fmt: skip
BACKLOG = Gauge("watcher_backlog", "Uploaded assets that have no outcome yet.", registry=LOOKS)
OLDEST_SECONDS = Gauge(
    "watcher_backlog_oldest_seconds", "Age of the oldest item of the backlog.", registry=LOOKS
)
RECENT = Gauge(
    "watcher_recent_outcomes", "Attempts that ended within the window, by outcome.", ["outcome"],
    registry=LOOKS,
)  # fmt: skip
COMPANIES = Gauge("watcher_companies", "Companies that have a bucket.", registry=LOOKS)
NEARLY_FULL = Gauge(
    "watcher_companies_nearly_full", "Companies close to their storage quota, by severity.",
    ["severity"], registry=LOOKS,
)  # fmt: skip
# The one label that is an identifier, of at most COMPANIES_SHOWN companies at a time: support
# looks at one company, and none of the services' own metrics can tell it from another.
COMPANY_ASSETS = Gauge(
    "watcher_company_assets", "Assets of the companies with the most, by status.",
    ["company", "status"], registry=LOOKS,
)  # fmt: skip
COMPANY_BYTES = Gauge(
    "watcher_company_stored_bytes", "What these companies' files take.", ["company"],
    registry=LOOKS,
)  # fmt: skip
COMPANY_QUOTA = Gauge(
    "watcher_company_quota_bytes", "What they may take.", ["company"], registry=LOOKS
)
SPACE = Gauge(
    "watcher_storage_bytes", "What object storage has in all, and has left.", ["state"],
    registry=LOOKS,
)  # fmt: skip
JOBS = Gauge("watcher_jobs", "Jobs of ingest that are open.", ["state"], registry=LOOKS)
OLDEST_JOB_SECONDS = Gauge(
    "watcher_oldest_due_job_seconds",
    "How long the oldest job that could be claimed waits.",
    registry=LOOKS,
)
EXPIRED_LEASES = Gauge("watcher_expired_leases", "Jobs whose worker is silent.", registry=LOOKS)
UNUSED_GRANTS = Gauge(
    "watcher_unused_grants", "Grants that lapsed without an upload.", registry=LOOKS
)
OUTBOX_RECORDS = Gauge(
    "watcher_outbox_records", "Records that wait to be sent to Kafka.", ["producer"],
    registry=LOOKS,
)  # fmt: skip
OUTBOX_OLDEST_SECONDS = Gauge(
    "watcher_outbox_oldest_seconds", "Age of the oldest record that waits.", ["producer"],
    registry=LOOKS,
)  # fmt: skip
LAG = Gauge(
    "watcher_consumer_lag_records", "Records that a group has not read yet.", ["group", "topic"],
    registry=LOOKS,
)  # fmt: skip
DEAD_LETTERS = Gauge(
    "watcher_dead_letters", "Dead letters that nobody has dealt with.", ["topic"], registry=LOOKS
)
FINDINGS = Gauge(
    "watcher_findings", "What the last round found wrong, by kind.", ["kind"], registry=LOOKS
)
INCIDENTS = Gauge(
    "watcher_incidents", "Incidents that are open, and those of them that were escalated.",
    ["kind", "state"], registry=LOOKS,
)  # fmt: skip
LAST_ROUND = Gauge(
    "watcher_last_round_timestamp_seconds", "When the last round ended.", registry=LOOKS
)

ALERTS = Counter("watcher_alerts_total", "Findings of all rounds.", ["kind"])
LOOKS_FAILED = Counter(
    "watcher_looks_failed_total", "Looks that saw nothing, as something was away.", ["look"]
)
NOTICES = Counter(
    "watcher_notices_total", "Notices of incidents to channels.", ["event", "outcome"]
)
# There from the beginning: what appears with its first failure has not increased.
for _event in ("opened", "changed", "escalated", "recovered"):
    for _outcome in ("sent", "failed"):
        NOTICES.labels(_event, _outcome)

ROUND_SECONDS = Histogram(
    "watcher_round_seconds", "Time of one round.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)
)
PART_SECONDS = Histogram(
    "watcher_part_seconds",
    "Time of one part of a round.",
    ["part"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
REMOVED = Counter("watcher_objects_removed_total", "Objects that nothing refers to, removed.")
RETIRED = Counter(
    "watcher_assets_retired_total", "Assets deleted by their company's retention.", ["thumbnail"]
)
QUARANTINED = Counter(
    "watcher_originals_moved_total", "Originals moved into quarantine, or out of it.", ["way"]
)
RECONCILED = Counter(
    "watcher_reconciled_total", "Unfinished assets looked at, by what they needed.", ["effect"]
)
REPAIRED = Counter("watcher_buckets_repaired_total", "Buckets whose settings were repaired.")

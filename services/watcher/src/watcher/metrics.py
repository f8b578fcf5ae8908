"""
Every instrument of the watcher.

Invariant: what a look saw is exported by the replica that acts alone; the others would show
what was true when they last did. While nobody can act, as the database is away, the one that
did last goes on showing it: nothing is cured by that, and the time of its last round tells.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from watcher.rules import Rule

LOOKS = CollectorRegistry()
"""What the last round saw."""

LEADS = Gauge("watcher_leads", "1 on the replica that acts.")
DATABASE_ANSWERS = Gauge(
    "watcher_database_answers", "1 while PostgreSQL answers this replica, else 0."
)


class _LastSeen(Collector):
    """Exports LOOKS while this replica is the one that looked last, as far as it knows."""

    shown = False

    def collect(self) -> Iterable[Metric]:
        return LOOKS.collect() if self.shown else ()

    def describe(self) -> Iterable[Metric]:
        return ()


LAST_SEEN = _LastSeen()
REGISTRY.register(LAST_SEEN)

ASSETS = Gauge(
    "watcher_assets", "Assets by status, of all times; expired ones for as long as they are kept.",
    ["status"], registry=LOOKS,
)  # fmt: skip
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
COMPANY_NEARLY_FULL = Gauge(
    "watcher_company_nearly_full", "1 for a company that is close to its storage quota.",
    ["company", "severity"], registry=LOOKS,
)  # fmt: skip
# The one label that is an identifier, of at most twice COMPANIES_SHOWN companies at a time:
# support looks at one company, and none of the services' own metrics can tell it from another.
COMPANY_ASSETS = Gauge(
    "watcher_company_assets", "Assets of the busiest and the fullest companies, by status.",
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
STORED = Gauge(
    "watcher_company_bytes",
    "Bytes of all companies, all versions: as the store last counted them, and as rows do.",
    ["state"], registry=LOOKS,
)  # fmt: skip
UNACCOUNTED = Gauge(
    "watcher_unaccounted_bytes",
    "Bytes in storage, of companies over the margin, that nothing accounts for.",
    registry=LOOKS,
)
TASKS = Gauge("watcher_tasks", "Tasks of ingest that are open.", ["state"], registry=LOOKS)
OLDEST_TASK_SECONDS = Gauge(
    "watcher_oldest_due_task_seconds",
    "How long the oldest task that could be claimed waits.",
    registry=LOOKS,
)
EXPIRED_LEASES = Gauge("watcher_expired_leases", "Tasks whose worker is silent.", registry=LOOKS)
UNUSED_GRANTS = Gauge(
    "watcher_unused_grants",
    "Grants that lapsed without an upload, as long as their rows are kept.",
    registry=LOOKS,
)
CLEANUP_DUE = Gauge(
    "watcher_cleanup_due", "What a rule of the clean-up is to remove now.", ["rule"],
    registry=LOOKS,
)  # fmt: skip
CLEANUP_OLDEST_SECONDS = Gauge(
    "watcher_cleanup_oldest_seconds", "For how long the oldest of it has been due.", ["rule"],
    registry=LOOKS,
)  # fmt: skip
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
LAST_ROUND = Gauge(
    "watcher_last_round_timestamp_seconds", "When the last round ended.", registry=LOOKS
)

ALERTS = Counter("watcher_alerts_total", "Findings of all rounds.", ["kind"])
LOOKS_FAILED = Counter(
    "watcher_looks_failed_total", "Looks that failed, mostly as something was away.", ["look"]
)
ROUND_SECONDS = Histogram(
    "watcher_round_seconds", "Time of one round.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)
)
PART_SECONDS = Histogram(
    "watcher_part_seconds",
    "Time of one part of a round.",
    ["part"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
CLEANED = Counter(
    "watcher_cleaned_total",
    "What a rule of the clean-up is done with: assets, rows or uploads in parts.",
    ["rule"],
)
for _rule in Rule:
    CLEANED.labels(_rule)
SWEEPS_FAILED = Counter(
    "watcher_sweeps_failed_total", "Assets whose objects could not be removed; tried again."
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
BUCKETS = Counter("watcher_buckets_made_total", "Buckets of new companies made and verified.")
BUCKET_FAILURES = Counter(
    "watcher_bucket_failures_total", "Tries to make a new company's bucket that failed."
)
REPAIRED = Counter("watcher_buckets_repaired_total", "Buckets whose settings were repaired.")

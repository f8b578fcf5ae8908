"""Every instrument of the watcher."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ASSETS = Gauge("watcher_assets", "Unfinished and failed assets.", ["status"])
BACKLOG = Gauge("watcher_backlog", "Uploaded assets that have no outcome yet.")
OLDEST_SECONDS = Gauge("watcher_backlog_oldest_seconds", "Age of the oldest item of the backlog.")
ALERTS = Counter("watcher_alerts_total", "Rounds that raised an alert.", ["kind"])
NEARLY_FULL = Gauge("watcher_companies_nearly_full", "Companies close to their storage quota.")
LEADS = Gauge("watcher_leads", "1 on the replica that acts; the gauges of others are old.")
JOBS = Gauge("watcher_jobs", "Jobs of ingest that are open.", ["state"])
OLDEST_JOB_SECONDS = Gauge(
    "watcher_oldest_due_job_seconds", "How long the oldest job that could be claimed waits."
)
EXPIRED_LEASES = Gauge("watcher_expired_leases", "Jobs whose worker is silent.")
UNUSED_GRANTS = Gauge("watcher_unused_grants", "Grants that lapsed without an upload.")
OUTBOX_RECORDS = Gauge(
    "watcher_outbox_records", "Records that wait to be sent to Kafka.", ["producer"]
)
OUTBOX_OLDEST_SECONDS = Gauge(
    "watcher_outbox_oldest_seconds", "Age of the oldest record that waits.", ["producer"]
)
LAG = Gauge(
    "watcher_consumer_lag_records", "Records that a group has not read yet.", ["group", "topic"]
)
DEAD_LETTERS = Gauge(
    "watcher_dead_letters", "Dead letters that Kafka keeps, done with or not.", ["topic"]
)
ROUND_SECONDS = Histogram(
    "watcher_round_seconds", "Time of one round.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)
)
LAST_ROUND = Gauge("watcher_last_round_timestamp_seconds", "When the last round ended.")
REMOVED = Counter("watcher_objects_removed_total", "Objects that nothing refers to, removed.")
QUARANTINED = Counter(
    "watcher_originals_moved_total", "Originals moved into quarantine, or out of it.", ["way"]
)
RECONCILED = Counter(
    "watcher_reconciled_total", "Unfinished assets looked at, by what they needed.", ["effect"]
)
REPAIRED = Counter("watcher_buckets_repaired_total", "Buckets whose settings were repaired.")

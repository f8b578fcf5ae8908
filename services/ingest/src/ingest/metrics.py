"""Every instrument of ingest."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)

NOTIFICATIONS = Counter("ingest_notifications_total", "Bucket notifications by effect.", ["effect"])
JOBS = Counter("ingest_jobs_total", "Jobs that ended, by outcome.", ["outcome"])
RUNNING = Gauge("ingest_jobs_running", "Jobs that this process works on now.")
QUEUE_SECONDS = Histogram(
    "ingest_job_queue_seconds", "Age of a job when it is claimed.", buckets=_STAGE_BUCKETS
)
STAGE_SECONDS = Histogram(
    "ingest_stage_seconds", "Time of one stage of a job.", ["stage"], buckets=_STAGE_BUCKETS
)
LEASES_EXPIRED = Counter("ingest_leases_expired_total", "Jobs taken over from a silent worker.")
FENCE_REJECTIONS = Counter(
    "ingest_fence_rejections_total", "Writes refused because the lease was lost.", ["operation"]
)
OUTCOMES = Counter("ingest_outcomes_total", "Attempts that ended.", ["kind", "outcome"])
STALE_RESULTS = Counter("ingest_stale_results_total", "Results of attempts that no longer matter.")

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
OUTCOMES = Counter(
    "ingest_outcomes_total",
    "Attempts that ended: ready, refused (the file is at fault), or failed (we are).",
    ["kind", "outcome"],
)
# 300 s is the objective for videos.
OUTCOME_SECONDS = Histogram(
    "ingest_outcome_seconds",
    "Time from an upload's notification to the outcome of its first attempt.",
    ["kind", "outcome"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
# There from the beginning: a rate over what has never happened would be no number.
for _kind in ("video", "image"):
    for _outcome in ("ready", "refused", "failed"):
        OUTCOMES.labels(_kind, _outcome)
        OUTCOME_SECONDS.labels(_kind, _outcome)

TRIES = Histogram("ingest_job_tries", "Tries that a job took to its end.", buckets=(1, 2, 3, 5, 10))
ENCODED_SECONDS = Counter("ingest_encoded_media_seconds_total", "Seconds of media encoded.")
ENCODE_SPEED = Histogram(
    "ingest_encode_speed_ratio",
    "Seconds of media encoded in a second, by transcode.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64),
)
BYTES = Counter(
    "ingest_bytes_total", "Bytes of files fetched from storage, and put there.", ["direction"]
)
ANSWERS_REFUSED = Counter(
    "ingest_answers_refused_total",
    "Answers of the thumbnailer with pictures that were not asked for, or are not in storage.",
)
STALE_RESULTS = Counter("ingest_stale_results_total", "Results of attempts that no longer matter.")

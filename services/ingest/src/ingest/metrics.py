"""Every instrument of ingest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from media_contracts import MediaKind
from media_contracts.errors import SYSTEM_FAULTS
from media_contracts.formats import kind_of
from media_records.outcomes import Outcome
from media_runtime.telemetry import tracing
from prometheus_client import Counter, Gauge, Histogram

_STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)

NOTIFICATIONS = Counter("ingest_notifications_total", "Bucket notifications by effect.", ["effect"])
TASKS = Counter(
    "ingest_tasks_total", "Tasks that a worker let go of, by outcome.", ["kind", "outcome"]
)
RUNNING = Gauge("ingest_tasks_running", "Tasks that this process works on now.", ["kind"])
QUEUE_SECONDS = Histogram(
    "ingest_task_queue_seconds", "Age of a task when it is claimed.", buckets=_STAGE_BUCKETS
)
STAGE_SECONDS = Histogram(
    "ingest_stage_seconds", "Time of one stage of a task.", ["stage"], buckets=_STAGE_BUCKETS
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
for _kind in MediaKind:
    for _outcome in ("ready", "refused", "failed"):
        OUTCOMES.labels(_kind, _outcome)
        OUTCOME_SECONDS.labels(_kind, _outcome)

TRIES = Histogram(
    "ingest_task_tries", "Tries that a task took to its end.", buckets=(1, 2, 3, 5, 10)
)
ENCODED_SECONDS = Counter("ingest_encoded_media_seconds_total", "Seconds of media encoded.")
ENCODE_SPEED = Histogram(
    "ingest_encode_speed_ratio",
    "Seconds of media encoded in a second, by transcode.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64),
)
WHOLE_FILMS = Counter(
    "ingest_whole_films_total", "Films made in one piece, as their chunks did not fit.", ["reason"]
)
ESTIMATES = Counter("ingest_estimates_total", "Assets whose place and time clients were told.")
ESTIMATE_SECONDS = Histogram(
    "ingest_estimate_seconds",
    "Time of one look at all that stands in line.",
    buckets=_STAGE_BUCKETS,
)
BYTES = Counter(
    "ingest_bytes_total", "Bytes of files fetched from storage, and put there.", ["direction"]
)
ANSWERS_REFUSED = Counter(
    "ingest_answers_refused_total",
    "Answers of the thumbnailer with pictures that were not asked for, or are not in storage.",
)
STALE_RESULTS = Counter("ingest_stale_results_total", "Results of attempts that no longer matter.")


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Measure the block as one stage of a task, and trace it."""
    with tracing.span(stage), STAGE_SECONDS.labels(stage).time():
        yield


def count_outcome(ended: Outcome | None) -> None:
    """Count how an attempt ended, after the commit that ended it; None ended none."""
    if ended is None:
        return
    asset, kind = ended.asset, kind_of(ended.asset.content_type).value
    outcome = "ready" if asset.error_code is None else "refused"
    if asset.error_code in SYSTEM_FAULTS:
        outcome = "failed"
    OUTCOMES.labels(kind, outcome).inc()
    if asset.attempt == 1 and asset.uploaded_at is not None:
        seconds = (ended.at - asset.uploaded_at).total_seconds()
        OUTCOME_SECONDS.labels(kind, outcome).observe(seconds)

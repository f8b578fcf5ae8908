"""The overview, for operators: what is wrong now, and since when."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard
from media_runtime.catalog import SERVICES

from panels import (
    GREEN,
    RED,
    YELLOW,
    Levels,
    Query,
    bars,
    board,
    curves,
    number,
    quantiles,
    rate,
    rows,
)

_SERVICES = f'job=~"{"|".join(SERVICES)}"'
_SIGN = 'job="sign_api", route="/api/media/sign"'
_COLOURS = {"ready": GREEN, "refused": YELLOW, "failed": RED}


def _increase(selector: str) -> str:
    return f"sum(increase({selector}[$__range]))"


def _alerts(page: str) -> str:
    by = "alertname, severity, service, instance, topic"
    return f'max by ({by}) (ALERTS{{alertstate="firing", severity{page}"page"}})'


_SIGNS = _increase(f"http_request_duration_seconds_count{{{_SIGN}}}")
_GOOD_SIGNS = _increase(
    f'http_request_duration_seconds_bucket{{{_SIGN}, outcome="answered", le="0.3"}}'
)

_NOW = [
    number(
        "Services up",
        "How many of the services have a process that answers Prometheus.",
        "none",
        Query(f"sum(max by (job) (up{{{_SERVICES}}}))"),
        levels=Levels.all_of(len(SERVICES)),
        span=3,
    ),
    number(
        "Alerts firing",
        "Alerts that fire now; each names its runbook.",
        "none",
        Query('count(ALERTS{alertstate="firing"}) or vector(0)'),
        levels=Levels.none_is_good(),
        span=3,
    ),
    number(
        "Findings",
        "What the watcher's last round found wrong, of all kinds; the bars below tell which.",
        "none",
        Query("sum(max by (kind) (watcher_findings))"),
        levels=Levels.none_is_good(),
        span=3,
    ),
    number(
        "Watcher's last round",
        "How long ago the watcher last looked; without it all numbers of waiting work are old.",
        "s",
        Query("time() - max(watcher_last_round_timestamp_seconds)"),
        levels=Levels.rising(120, 300),
        span=3,
    ),
    number(
        "Backlog",
        "Uploads without an outcome; red where the watcher's own limit, 10, is passed.",
        "none",
        Query("max(watcher_backlog)"),
        levels=Levels.rising(6, 11),
        span=3,
    ),
    number(
        "Oldest item",
        "Age of the oldest upload without an outcome; videos have 300 s.",
        "s",
        Query("max(watcher_backlog_oldest_seconds)"),
        levels=Levels.rising(120, 300),
        span=3,
    ),
    number(
        "Failure ratio, 15 min",
        "Part of the attempts that failed by our fault; what a file is at fault for is refused.",
        "percentunit",
        Query(
            'sum(rate(ingest_outcomes_total{outcome="failed"}[15m]))'
            " / (sum(rate(ingest_outcomes_total[15m])) > 0)"
        ),
        levels=Levels.rising(0.01, 0.05),
        span=3,
    ),
    number(
        "Dead letters",
        "Records that no handler could take and nobody has dealt with: mediactl dlq list.",
        "none",
        Query("sum(max by (topic) (watcher_dead_letters))"),
        levels=Levels.none_is_good(),
        span=3,
    ),
    number(
        "Videos ready in 300 s (99 %)",
        "Part of the range's videos that were; what a file is at fault for is left out.",
        "percentunit",
        Query(
            _increase('ingest_outcome_seconds_bucket{kind="video", outcome="ready", le="300.0"}')
            + " / ("
            + _increase('ingest_outcome_seconds_count{kind="video", outcome=~"ready|failed"}')
            + " > 0)"
        ),
        levels=Levels.falling(0.995, 0.99),
    ),
    number(
        "Signs under 300 ms (99.9 %)",
        "Part of the range's upload grants that were answered so, without an error of ours.",
        "percentunit",
        Query(f"{_GOOD_SIGNS} / ({_SIGNS} > 0)"),
        levels=Levels.falling(0.9995, 0.999),
    ),
    number(
        "Outcomes per minute, 5 min",
        "Attempts that ended: ready, refused (the file is at fault), failed (we are).",
        "opm",
        Query("60 * sum by (outcome) (rate(ingest_outcomes_total[5m]))", "{{outcome}}"),
        levels=Levels.plain(),
        span=7,
    ),
    number(
        "Storage free",
        "Part of the object storage that is left.",
        "percentunit",
        Query(
            'max(watcher_storage_bytes{state="free"}) / max(watcher_storage_bytes{state="total"})'
        ),
        levels=Levels.falling(0.2, 0.1),
        span=3,
    ),
    number(
        "Companies near quota",
        "Companies that use 80 % of their storage quota or more: see the dashboard of companies.",
        "none",
        Query("sum(max by (severity) (watcher_companies_nearly_full))"),
        levels=Levels.rising(1, 5),
        span=3,
    ),
    number(
        "Expired leases",
        "Jobs whose worker is silent; another worker takes them over within a minute.",
        "none",
        Query("max(watcher_expired_leases)"),
        levels=Levels.rising(1, 3),
        span=3,
    ),
]

_FIRING = [
    rows(
        "Firing alerts",
        "What fires now, pages first; its link in Alertmanager leads to its runbook.",
        Query(
            f"sort_desc(2 * {_alerts('=')} or {_alerts('!=')})",
        ),
        ("severity", "alertname", "service", "instance", "topic"),
        nothing="none fires",
    ),
]

_WORK = [
    bars(
        "Findings by kind",
        "What the watcher's last round found wrong; each kind has a runbook.",
        "none",
        Query("max by (kind) (watcher_findings)", "{{kind}}"),
        levels=Levels.none_is_good(),
    ),
    curves(
        "Outcomes per minute",
        "Attempts that ended: ready, refused (the file is at fault), failed (we are).",
        "opm",
        Query("60 * " + rate("ingest_outcomes_total", "outcome"), "{{outcome}}"),
        stacked=True,
        colours=_COLOURS,
    ),
    curves(
        "Failure ratio",
        "Part of the attempts that failed by our fault.",
        "percentunit",
        Query(
            rate('ingest_outcomes_total{outcome="failed"}')
            + f" / ({rate('ingest_outcomes_total')} > 0)",
            "failed",
        ),
        colours={"failed": RED},
        limit=0.05,
    ),
    curves(
        "Upload to ready: videos",
        "Time from an upload's notification to ready; the line is the objective of 300 s.",
        "s",
        *quantiles('ingest_outcome_seconds_bucket{kind="video", outcome="ready"}'),
        limit=300,
    ),
    curves(
        "Upload to ready: images",
        "Time from an upload's notification to ready.",
        "s",
        *quantiles('ingest_outcome_seconds_bucket{kind="image", outcome="ready"}'),
    ),
    curves(
        "Time to sign",
        "Time to answer a request for an upload grant; the line is the objective of 300 ms.",
        "s",
        *quantiles(f"http_request_duration_seconds_bucket{{{_SIGN}}}"),
        limit=0.3,
    ),
]

_WAITING = [
    curves(
        "Age of the queue",
        "How long the oldest job waits for a worker, and the oldest upload for its outcome.",
        "s",
        Query("max(watcher_oldest_due_task_seconds)", "oldest due task"),
        Query("max(watcher_backlog_oldest_seconds)", "oldest upload"),
    ),
    curves(
        "Depth of the queue",
        "Jobs that wait or are worked on, and all uploads without an outcome.",
        "none",
        Query("max by (state) (watcher_tasks)", "tasks {{state}}"),
        Query("max(watcher_backlog)", "backlog"),
    ),
    curves(
        "Lag by topic",
        "Records that a consumer group has not read yet.",
        "none",
        Query("max by (topic) (watcher_consumer_lag_records)", "{{topic}}"),
    ),
    curves(
        "Dead letters by topic",
        "Records that no handler could take and nobody has dealt with.",
        "none",
        Query("max by (topic) (watcher_dead_letters)", "{{topic}}"),
    ),
    curves(
        "Outbox: age by producer",
        "How long the oldest record waits to be sent to Kafka; it is Kafka that is slow, or away.",
        "s",
        Query("max by (producer) (watcher_outbox_oldest_seconds)", "{{producer}}"),
    ),
    curves(
        "Outbox: delay to Kafka",
        "Time from a change to Kafka's confirmation of what is told of it, by service.",
        "s",
        *quantiles("outbox_delay_seconds_bucket", by="job", which="50 99"),
    ),
    curves(
        "Unused grants",
        "Grants that lapsed without an upload, until they are swept: clients that cannot upload.",
        "none",
        Query("max(watcher_unused_grants)", "grants"),
    ),
    curves(
        "Jobs of silent workers",
        "Jobs whose lease has expired, as the watcher sees them.",
        "none",
        Query("max(watcher_expired_leases)", "tasks"),
        colours={"tasks": YELLOW},
    ),
]

_ROOM = [
    curves(
        "Processes up",
        "Processes that answer Prometheus, by job.",
        "none",
        Query("sum by (job) (up)", "{{job}}"),
    ),
    curves(
        "Storage",
        "What MinIO can store in all, and what is left of it.",
        "bytes",
        Query("max(minio_cluster_capacity_usable_total_bytes)", "in all"),
        Query("max(minio_cluster_capacity_usable_free_bytes)", "free"),
    ),
    curves(
        "Quota warnings",
        "Companies, by severity: info from 80 %, ticket from 95 %, page where uploads are refused.",
        "none",
        Query("max by (severity) (watcher_companies_nearly_full)", "{{severity}}"),
        colours={"info": "blue", "ticket": YELLOW, "page": RED},
    ),
]


def dashboard() -> Dashboard:
    """Return it."""
    return board(
        "media-overview",
        "Media: overview",
        "For operators: what is wrong now, and since when.",
        {
            "Now": _NOW,
            "Alerts": _FIRING,
            "Work": _WORK,
            "What waits": _WAITING,
            "Room": _ROOM,
        },
    )

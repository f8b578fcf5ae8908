"""The services, for those who scale them: rate, errors, duration and saturation of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from grafana_foundation_sdk.models.dashboard import Dashboard
from media_runtime.catalog import SERVICES

from panels import RATE, Panel, Query, board, curves, note, quantiles, rate, variable

_HERE = 'instance=~"$instance"'
_ABOUT_NOTE = "What to scale, and the number that says so."

_curves = partial(curves, span=6, height=7)
_note = partial(note, span=6, height=7)


def _of(service: str) -> str:
    return f'job="{service}", {_HERE}'


def _none_is_zero(expr: str) -> str:
    # Of a counter with labels there is nothing before its first event.
    return f"{expr} or vector(0)"


def _process(service: str, beside: str = "") -> list[Panel]:
    return [
        _curves(
            f"{service}: CPU",
            f"Processor time in a second; a process of Python's cannot take more than one.{beside}",
            "percentunit",
            Query(rate(f"process_cpu_seconds_total{{{_of(service)}}}", "instance"), "{{instance}}"),
            limit=0.9,
        ),
        _curves(
            f"{service}: memory",
            f"Resident memory of each process.{beside}",
            "bytes",
            Query(
                f"sum by (instance) (process_resident_memory_bytes{{{_of(service)}}})",
                "{{instance}}",
            ),
        ),
    ]


def _sign_api() -> Sequence[Panel]:
    here = _of("sign_api")
    routes = f'{here}, route!="unmatched"'
    return [
        _note(
            "sign_api: what to scale",
            _ABOUT_NOTE,
            "**By HTTP load.** Add a process while **CPU** stays above 0.7, or **p99 of signing**"
            " above 0.3 s at more requests than before.\n\n"
            "Any number of processes; they share nothing but PostgreSQL. Where p99 rises and CPU"
            " does not, PostgreSQL is slow: more processes make that worse. Errors (5xx) are no"
            " lack of processes either.",
        ),
        _curves(
            "sign_api: requests",
            "Requests answered, by status; probes and scrapes are left out.",
            "reqps",
            Query(rate(f"http_requests_total{{{routes}}}", "status"), "{{status}}"),
            stacked=True,
        ),
        _curves(
            "sign_api: errors",
            "Part of the requests that ended with an error of ours (5xx).",
            "percentunit",
            Query(
                "("
                + _none_is_zero(rate(f'http_requests_total{{{routes}, status=~"5.."}}'))
                + f") / ({rate(f'http_requests_total{{{here}}}')} > 0)",
                "5xx",
            ),
            colours={"5xx": "red"},
            limit=0.01,
        ),
        _curves(
            "sign_api: time to sign",
            "Time to answer a request for an upload grant; the line is the objective of 300 ms.",
            "s",
            *quantiles(f'http_request_duration_seconds_bucket{{{here}, route="/api/media/sign"}}'),
            limit=0.3,
        ),
        _curves(
            "sign_api: p99 by route",
            "The slowest hundredth of the answers of each route.",
            "s",
            *quantiles(f"http_request_duration_seconds_bucket{{{routes}}}", by="route", which="99"),
        ),
        _curves(
            "sign_api: grants",
            "Upload grants given, and refused for a limit of their company: no lack of processes.",
            "ops",
            Query(rate(f"sign_api_grants_total{{{here}}}"), "given"),
            Query(_none_is_zero(rate(f"sign_api_refused_total{{{here}}}")), "refused"),
            colours={"given": "green", "refused": "orange"},
        ),
        *_process("sign_api"),
    ]


def _ingest() -> Sequence[Panel]:
    here = _of("ingest")
    return [
        _note(
            "ingest: what to scale",
            _ABOUT_NOTE,
            "**By the age of the oldest due job.** Above 60 s, with all workers running: add"
            " processes, or `INGEST_WORKERS` where a machine has cores to spare. At 0, with few"
            " running: remove some; their tasks are given back.\n\n"
            "**Encode speed** falls as workers share a machine's cores: below 1 a process more on"
            " the same machine gains nothing. **Lease expiries** are workers that died;"
            " **fence rejections** are workers that came back too late.",
        ),
        _curves(
            "ingest: oldest due job",
            "How long the oldest job that could be claimed waits for a worker, over all processes.",
            "s",
            Query("max(watcher_oldest_due_task_seconds)", "oldest"),
            limit=60,
        ),
        _curves(
            "ingest: tasks",
            "Jobs that each process works on, and those that wait.",
            "none",
            Query(f"sum by (instance) (ingest_tasks_running{{{here}}})", "{{instance}}"),
            Query('max(watcher_tasks{state="queued"})', "waiting"),
            colours={"waiting": "orange"},
        ),
        _curves(
            "ingest: tasks ended",
            "Jobs that ended, by outcome.",
            "ops",
            Query(rate(f"ingest_tasks_total{{{here}}}", "outcome"), "{{outcome}}"),
            stacked=True,
            colours={"done": "green", "failed": "red"},
        ),
        _curves(
            "ingest: stages",
            "Time of each stage of a job, of which one in twenty takes longer.",
            "s",
            *quantiles(f"ingest_stage_seconds_bucket{{{here}}}", by="stage", which="95"),
        ),
        _curves(
            "ingest: encode speed",
            "Seconds of media encoded in a second, by transcode: median and slowest twentieth.",
            "suffix:x",
            *quantiles(f"ingest_encode_speed_ratio_bucket{{{here}}}", which="50 05"),
        ),
        _bytes("ingest"),
        _curves(
            "ingest: wait of a job",
            "Age of tasks when they were claimed.",
            "s",
            *quantiles(f"ingest_task_queue_seconds_bucket{{{here}}}"),
        ),
        _curves(
            "ingest: tries",
            "Tries that a job took to its end; more than one: something failed on the way.",
            "none",
            Query(
                rate(f"ingest_task_tries_sum{{{here}}}")
                + f" / ({rate(f'ingest_task_tries_count{{{here}}}')} > 0)",
                "mean",
            ),
            limit=2,
        ),
        _curves(
            "ingest: lost leases",
            "Jobs taken over from silent workers, and writes refused to workers that lost theirs.",
            "none",
            Query(f"sum(increase(tasks_leases_expired_total{{{here}}}[{RATE}]))", "expired"),
            Query(
                _none_is_zero(f"sum(increase(tasks_fence_rejections_total{{{here}}}[{RATE}]))"),
                "fence rejections",
            ),
        ),
        *_process("ingest", " What ffmpeg takes, in processes of its own, is not in it."),
        _consumed("ingest"),
    ]


def _thumbnailer() -> Sequence[Panel]:
    here = _of("thumbnailer")
    return [
        _note(
            "thumbnailer: what to scale",
            _ABOUT_NOTE,
            "**By consumer lag.** Add processes while lag of `media_thumbnail` grows for minutes;"
            " remove them while it is 0. At most 12 consumers have work, as the topic has 12"
            " partitions; each process has `THUMBNAILER_CONSUMERS` of them.\n\n"
            "**Render time** that rises with the number of processes means that a machine's cores"
            " are used up: add machines.",
        ),
        _curves(
            "thumbnailer: consumer lag",
            "Requests that no thumbnailer has read yet, over all processes.",
            "none",
            Query('max(watcher_consumer_lag_records{group="thumbnailer"})', "media_thumbnail"),
            limit=1000,
        ),
        _curves(
            "thumbnailer: pictures",
            "Pictures that were asked for, by what became of them.",
            "ops",
            Query(rate(f"thumbnailer_pictures_total{{{here}}}", "outcome"), "{{outcome}}"),
            stacked=True,
            colours={"made": "green"},
        ),
        _curves(
            "thumbnailer: render time",
            "Time to make the pictures of one request from a file on disk.",
            "s",
            *quantiles(f"thumbnailer_render_seconds_bucket{{{here}}}", by="kind", which="50 95"),
        ),
        _curves(
            "thumbnailer: time of a request",
            "Time from receiving a request to its pictures being in storage.",
            "s",
            *quantiles(f"thumbnailer_request_seconds_bucket{{{here}}}", by="kind", which="95"),
        ),
        _consumed("thumbnailer"),
        _bytes("thumbnailer"),
        *_process("thumbnailer", " What picture processes and ffmpeg take is not in it."),
    ]


def _bytes(service: str) -> Panel:
    return _curves(
        f"{service}: bytes",
        "Bytes of files fetched from object storage (in), and put there (out), in a second.",
        "Bps",
        Query(rate(f"{service}_bytes_total{{{_of(service)}}}", "direction"), "{{direction}}"),
        colours={"in": "blue", "out": "orange"},
    )


def _consumed(service: str) -> Panel:
    here = _of(service)
    return _curves(
        f"{service}: records",
        "Records consumed, by how they were settled; retries and dead letters are errors.",
        "ops",
        Query(
            rate(f"faststream_received_processed_messages_total{{{here}}}", "handler, status"),
            "{{handler}} {{status}}",
        ),
        Query(_none_is_zero(rate(f"kafka_handler_retries_total{{{here}}}")), "retries"),
        Query(_none_is_zero(rate(f"kafka_dead_lettered_total{{{here}}}")), "dead letters"),
        colours={"retries": "orange", "dead letters": "red"},
    )


def _notifier() -> Sequence[Panel]:
    here = _of("notifier")
    return [
        _note(
            "notifier: what to scale",
            _ABOUT_NOTE,
            "**By clients.** Add a process at 2,000 **clients** each, or while **p99 of the"
            " fan-out** stays above 1 s. Each process reads all events, so more of them divide"
            " clients, not events; new ones get clients as streams reconnect.\n\n"
            "**Slow clients** that are dropped on one process alone: its CPU is used up. On all:"
            " those clients' networks.",
        ),
        _curves(
            "notifier: clients",
            "Open event streams of each process.",
            "none",
            Query(f"sum by (instance) (notifier_clients{{{here}}})", "{{instance}}"),
        ),
        _curves(
            "notifier: fan-out delay",
            "Time from an event to its place in every stream.",
            "s",
            *quantiles(f"notifier_fanout_delay_seconds_bucket{{{here}}}"),
            limit=1,
        ),
        _curves(
            "notifier: events delivered",
            "Events put into streams.",
            "ops",
            Query(rate(f"notifier_events_delivered_total{{{here}}}", "event"), "{{event}}"),
            stacked=True,
        ),
        _curves(
            "notifier: errors",
            "Slow clients dropped, reads of the log that broke off, and records that are no event.",
            "ops",
            Query(rate(f"notifier_slow_clients_dropped_total{{{here}}}"), "slow clients"),
            Query(rate(f"notifier_log_restarts_total{{{here}}}"), "log restarts"),
            Query(_none_is_zero(rate(f"notifier_malformed_total{{{here}}}")), "malformed"),
        ),
        _curves(
            "notifier: log lag",
            "Records that are in the log and that a process has not read yet.",
            "none",
            Query(f"sum by (instance) (notifier_log_lag_records{{{here}}})", "{{instance}}"),
        ),
        *_process("notifier"),
    ]


def _watcher() -> Sequence[Panel]:
    here = _of("watcher")
    return [
        _note(
            "watcher: what to scale",
            _ABOUT_NOTE,
            "**To one that acts, and one in reserve.** More do nothing: the one with the lock"
            " acts.\n\n"
            "**Round time** near `WATCHER_WATCH_INTERVAL_SECONDS` (60 s): the part that takes it"
            " shows which limit to look at, such as `WATCHER_RECONCILE_BATCH`; a second process"
            " does not help.",
        ),
        _curves(
            "watcher: rounds",
            "Rounds in a second, and looks that saw nothing as something was away.",
            "ops",
            Query(rate(f"watcher_round_seconds_count{{{here}}}"), "rounds"),
            Query(_none_is_zero(rate(f"watcher_looks_failed_total{{{here}}}")), "failed looks"),
            colours={"failed looks": "red"},
        ),
        _curves(
            "watcher: round time",
            "Time of one round.",
            "s",
            *quantiles(f"watcher_round_seconds_bucket{{{here}}}", which="50 95"),
            limit=60,
        ),
        _curves(
            "watcher: time of each part",
            "Parts of a round, on average.",
            "s",
            Query(
                rate(f"watcher_part_seconds_sum{{{here}}}", "part")
                + f" / ({rate(f'watcher_part_seconds_count{{{here}}}', 'part')} > 0)",
                "{{part}}",
            ),
            stacked=True,
        ),
        _curves(
            "watcher: who acts",
            "1 on the process that acts; there should be exactly one.",
            "none",
            Query(f"max by (instance) (watcher_leads{{{here}}})", "{{instance}}"),
        ),
        _curves(
            "watcher: repairs",
            "Unfinished assets that it set going again, and buckets that it repaired, in a second.",
            "ops",
            Query(_none_is_zero(rate(f"watcher_reconciled_total{{{here}}}")), "assets"),
            Query(rate(f"watcher_buckets_repaired_total{{{here}}}"), "buckets"),
        ),
        _curves(
            "watcher: clean-up",
            "What it removed, in a second: objects that nothing refers to, assets by their"
            " company's retention; and originals moved into quarantine, or out of it.",
            "ops",
            Query(rate(f"watcher_objects_removed_total{{{here}}}"), "objects removed"),
            Query(_none_is_zero(rate(f"watcher_assets_retired_total{{{here}}}")), "assets retired"),
            Query(
                _none_is_zero(rate(f"watcher_originals_moved_total{{{here}}}")), "originals moved"
            ),
        ),
        *_process("watcher"),
    ]


_PANELS: Mapping[str, Callable[[], Sequence[Panel]]] = {
    "sign_api": _sign_api,
    "ingest": _ingest,
    "thumbnailer": _thumbnailer,
    "notifier": _notifier,
    "watcher": _watcher,
}


def _row(service: str) -> Sequence[Panel]:
    """Return a service's panels: without any of its own, what can be said of each."""
    if service in _PANELS:
        return _PANELS[service]()
    records = [_consumed(service)] if "kafka" in SERVICES[service].needs else []
    return [*records, *_process(service)]


def dashboard() -> Dashboard:
    """Return it."""
    return board(
        "media-services",
        "Media: services",
        "For those who scale: rate, errors, duration and saturation of each service.",
        {service: _row(service) for service in SERVICES},
        variable(
            "instance",
            "Instance",
            "The processes to look at.",
            f'label_values(up{{job=~"{"|".join(SERVICES)}"}}, instance)',
            multi=True,
        ),
    )

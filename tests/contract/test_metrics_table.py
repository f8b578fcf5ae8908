"""The table of metrics is that of the code."""

from __future__ import annotations

from pathlib import Path

from mediactl.repository.metrics_table import instruments, table

ROOT = Path(__file__).parents[2]
UNITS = ("_seconds", "_bytes", "_total", "_ratio", "_records", "_tries")
# What is merely counted needs no unit.
COUNTS = (
    "watcher_", "notifier_clients", "ingest_tasks_running", "notifier_log_lag_records",
)  # fmt: skip
CLOSED = {
    "company", "conversation", "direction", "effect", "event", "fault", "group", "kind", "limit",
    "look", "method", "operation", "outcome", "part", "producer", "reason", "route", "rule",
    "severity", "stage", "start", "state", "status", "thumbnail", "topic", "way",
}  # fmt: skip


def test_the_table_is_up_to_date():
    """Else: python -m mediactl.repository.metrics_table > deploy/metrics.md."""
    assert (ROOT / "deploy" / "metrics.md").read_text() == table()


def test_names_tell_the_unit():
    for one in instruments():
        assert one.name.endswith(UNITS) or one.name.startswith(COUNTS), one.name
        assert one.kind != "counter" or one.name.endswith("_total"), one.name


def test_labels_come_from_closed_sets():
    for one in instruments():
        assert set(one.labels) <= CLOSED, one.name
        assert "company" not in one.labels or one.service == "watcher", one.name


def test_every_metric_says_what_it_is():
    for one in instruments():
        assert one.text.endswith("."), one.name
    names = [one.name for one in instruments()]
    assert len(names) == len(set(names))
    assert {"sign_api_grants_total", "http_requests_total", "watcher_backlog"} <= set(names)

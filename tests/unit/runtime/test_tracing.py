"""Traces: what counts as a context, and that nothing is there while they are off."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest
import structlog
from media_contracts import MEDIA_STATUS, AssetProgressed, Stage, new_event
from media_runtime.kafka.producer import event_record
from media_runtime.telemetry import tracing
from media_runtime.telemetry.trace_export import QuietExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

TRACE = "0af7651916cd43dd8448eb211c80319c"
GIVEN = f"00-{TRACE}-b7ad6b7169203331-01"
ASSET = UUID(int=1)
OFF = [
    {},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "TRUE"},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "console"},
    {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_SERVICE_NAME": "x"},
]
MALFORMED = [
    None,
    "",
    "no context",
    GIVEN.upper(),
    GIVEN + "-01",
    GIVEN + "\n",
    "ff" + GIVEN[2:],
    f"00-{'0' * 32}-b7ad6b7169203331-01",
    f"00-{TRACE}-{'0' * 16}-01",
]


@pytest.fixture(autouse=True)
def without_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("variables", OFF)
def test_without_a_place_to_send_to_nothing_is_set_up(variables):
    script = """
import sys, threading
from media_runtime.http.tracing import traced
from media_runtime.kafka import tracing as kafka_tracing
from media_runtime.telemetry import tracing
tracing.configure_tracing("t")
assert not tracing.is_on() and tracing.tracer_provider() is None
assert kafka_tracing.middlewares() == [] and traced(print) is print
assert threading.enumerate() == [threading.main_thread()]
assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "requests"))]
"""
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_while_off_the_clients_context_is_what_is_stored():
    assert tracing.resume(GIVEN) == GIVEN


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_context_of_a_client_is_ignored(value):
    assert tracing.resume(value) is None
    assert tracing.trace_fields(value) == {}


def test_while_off_a_record_carries_the_context_of_its_event():
    record = event_record(MEDIA_STATUS, _event(GIVEN))
    assert dict(record.headers)["traceparent"] == GIVEN.encode()
    assert MEDIA_STATUS.parse(record.value).traceparent == GIVEN


def test_while_off_a_record_without_a_context_has_no_header_of_one():
    record = event_record(MEDIA_STATUS, _event(None))
    assert "traceparent" not in dict(record.headers)


def test_a_record_that_is_not_traced_has_no_header_of_a_context():
    """A span of it would have no place to hang on."""
    record = event_record(MEDIA_STATUS, _event(GIVEN), traced=False)
    assert "traceparent" not in dict(record.headers)
    assert MEDIA_STATUS.parse(record.value).traceparent == GIVEN


def test_while_off_a_span_is_none_and_leaves_log_lines_as_they_are():
    with tracing.span("work", parent=GIVEN) as span:
        assert not span.is_recording()
        assert tracing.inject() == {}
        assert tracing.add_current_span(None, "info", {"event": "x"}) == {"event": "x"}


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ([("traceparent", GIVEN)], {"traceparent"}),
        ([("traceparent", GIVEN), ("tracestate", "a=1, b@c=x y")], {"traceparent", "tracestate"}),
        ([("traceparent", GIVEN), ("tracestate", "no state")], {"traceparent"}),
        ([("traceparent", GIVEN), ("tracestate", "a=\xff")], {"traceparent"}),
        ([("tracestate", "a=1")], set()),
        ([("traceparent", "\xff\xfe"), ("tracestate", "a=1")], set()),
        ([("traceparent", None), ("content-type", None)], set()),
        ([("Traceparent", GIVEN), ("baggage", "a=1")], set()),
    ],
)
def test_only_well_formed_fields_of_the_context_are_seen(fields, seen):
    encoded = [(name, value and value.encode("latin-1")) for name, value in fields]
    assert tracing.extract(encoded).keys() == seen


def test_a_long_tracestate_takes_no_time():
    """Each value may end with spaces, and so may the list: no reading of it is tried twice."""
    state = b",".join([b"a=" + b" " * 250] * 40) + b"\n"
    assert tracing.extract([("traceparent", GIVEN.encode()), ("tracestate", state)]).keys() == {
        "traceparent"
    }


@pytest.mark.parametrize(
    ("flags", "kept"), [("00", False), ("01", True), ("02", False), ("03", True)]
)
def test_the_last_flag_says_whether_spans_are_kept(flags, kept):
    assert tracing.is_sampled(GIVEN[:-2] + flags) is kept


class Away(SpanExporter):
    def export(self, spans):
        return SpanExportResult.FAILURE


def test_a_collector_that_is_away_is_told_of_once_in_a_while():
    exporter = QuietExporter(Away(), quiet_seconds=3600)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            assert exporter.export([None, None]) is SpanExportResult.FAILURE
    assert [(line["event"], line["spans"]) for line in lines] == [("spans_lost", 2)]


def test_lost_spans_are_summed_up_until_they_are_told_of_again():
    exporter = QuietExporter(Away(), quiet_seconds=0)
    with structlog.testing.capture_logs() as lines:
        exporter.export([None])
        exporter.export([None, None])
    assert [line["spans"] for line in lines] == [1, 2]


def _event(traceparent):
    return new_event(
        AssetProgressed(attempt=1, stage=Stage.UPLOADED),
        source="/media/t",
        asset_id=ASSET,
        company_id=ASSET,
        time=datetime(2026, 11, 23, tzinfo=UTC),
        traceparent=traceparent,
    )

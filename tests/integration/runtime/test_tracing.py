"""Traces that are on: what spans say, what they hang on, and a collector that is away."""

from __future__ import annotations

import os
import socket
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from media_contracts import MEDIA_INGEST
from media_runtime.errors import PermanentError
from media_runtime.http.tracing import traced
from media_runtime.kafka import tracing as kafka_tracing
from media_runtime.kafka.consumer import make_broker, on_bytes
from media_runtime.kafka.producer import Producer
from media_runtime.telemetry import tracing

from support.collector import collecting
from support.eventually import eventually

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"
NOT_KEPT = GIVEN[:-1] + "0"


@pytest.fixture(autouse=True)
def without_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def collector(without_variables, monkeypatch):
    """A collector of the spans of this process, which has them all once tracing has stopped."""
    with collecting() as found:
        for name, value in found.variables.items():
            monkeypatch.setenv(name, value)
        yield found
        tracing.stop_tracing()


def the_only(collector):
    tracing.stop_tracing()
    (span,) = collector.spans
    return span


@asynccontextmanager
async def client_of(app):
    transport = httpx.ASGITransport(traced(app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


@pytest.fixture
def app():
    app = FastAPI()

    @app.get("/things/{thing}")
    async def look(thing: str) -> dict[str, str | None]:
        if thing == "broken":
            raise RuntimeError("of secrets")
        return {"stored": tracing.resume("ignored")}

    @app.get("/healthz")
    async def health() -> None:
        pass

    return app


async def test_a_request_is_a_span_named_after_its_route(collector, app):
    tracing.configure_tracing("t")
    async with client_of(app) as client:
        answer = await client.get("/things/a?secret=x", headers={"traceparent": GIVEN})
        await client.get("/healthz")
    span = the_only(collector)
    assert (span.service, span.name, span.kind) == ("t", "GET /things/{thing}", "SERVER")
    assert (span.trace_id, span.parent_id) == (TRACE, SPAN)
    assert answer.json() == {"stored": f"00-{TRACE}-{span.span_id}-01"}
    assert span.attributes["http.response.status_code"] == 200
    assert "secret" not in str(span.attributes)


@pytest.mark.parametrize("header", ["no context", f"00-{'0' * 32}-{SPAN}-01", "\xff"])
async def test_a_malformed_context_begins_a_trace_of_its_own(collector, app, header):
    tracing.configure_tracing("t")
    async with client_of(app) as client:
        await client.get("/things/a", headers={"traceparent": header.encode("latin-1")})
    assert the_only(collector).parent_id == ""


async def test_a_request_that_breaks_is_a_failed_span_without_the_errors_words(collector, app):
    tracing.configure_tracing("t")
    async with client_of(app) as client:
        await client.get("/things/broken")
    span = the_only(collector)
    assert (span.failed, span.attributes["http.response.status_code"]) == (True, 500)
    assert b"of secrets" not in b"".join(collector.requests)


async def test_an_unknown_path_or_method_is_no_name_of_a_span(collector, app):
    tracing.configure_tracing("t")
    async with client_of(app) as client:
        await client.get("/elsewhere")
        await client.request("BREW", "/elsewhere")
    tracing.stop_tracing()
    assert [span.name for span in collector.spans] == ["GET", "HTTP"]


def test_an_error_fails_its_span_by_its_code(collector):
    tracing.configure_tracing("t")
    with pytest.raises(PermanentError), tracing.span("work"):
        raise PermanentError("truncated_file", "The file of Jane breaks off.")
    span = the_only(collector)
    assert (span.failed, span.attributes) == (True, {"error.type": "truncated_file"})
    assert b"Jane" not in b"".join(collector.requests)


def test_a_log_line_names_the_current_span(collector):
    tracing.configure_tracing("t")
    with tracing.span("work", parent=GIVEN):
        line = tracing.add_current_span(None, "info", {"event": "x", "trace_id": "bound"})
    span = the_only(collector)
    assert line == {"event": "x", "trace_id": TRACE, "span_id": span.span_id}


def test_a_client_that_keeps_no_spans_decides_for_all(collector):
    tracing.configure_tracing("t")
    with tracing.span("work", parent=NOT_KEPT):
        stored = tracing.resume(None)
        carried = kafka_tracing.created("media_status", "key", NOT_KEPT)
    tracing.stop_tracing()
    assert stored.endswith("-00")
    assert carried["traceparent"].endswith("-00")
    assert collector.spans == []


def test_a_ratio_of_zero_keeps_no_trace_that_begins_here(collector, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    tracing.configure_tracing("t")
    with tracing.span("begins here"):
        pass
    with tracing.span("goes on", parent=GIVEN):
        pass
    assert the_only(collector).name == "goes on"


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_SERVICE_NAME": "mine"}, {"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=mine"}],
)
def test_the_environment_may_name_the_service(collector, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracing.configure_tracing("t")
    with tracing.span("work"):
        pass
    assert the_only(collector).service == "mine"


def test_what_is_told_of_an_asset_stays_in_its_trace_and_is_linked_to_its_cause(collector):
    """Such as a retry, which is a request of another trace."""
    tracing.configure_tracing("t")
    with tracing.span("request"):
        kafka_tracing.created("media_status", "key", GIVEN)
    tracing.stop_tracing()
    created = collector.one("t", "create media_status")
    assert (created.trace_id, created.parent_id) == (TRACE, SPAN)
    assert created.links == {collector.one("t", "request").span_id}


def test_what_is_told_within_the_trace_of_an_asset_is_a_child_of_its_cause(collector):
    tracing.configure_tracing("t")
    with tracing.span("job", parent=GIVEN):
        kafka_tracing.created("media_status", "key", GIVEN)
    tracing.stop_tracing()
    created = collector.one("t", "create media_status")
    assert created.parent_id == collector.one("t", "job").span_id


async def test_strange_headers_cost_a_record_its_parent_and_nothing_else(collector, kafka_settings):
    tracing.configure_tracing("t")
    headers = {
        b"good": [("traceparent", GIVEN.encode()), ("odd", None), ("odder", b"\xff\xfe")],
        b"null": [("traceparent", None)],
        b"odd": [("traceparent", b"\xff\xfe"), ("tracestate", b"\xff")],
        b"words": [("traceparent", b"no context")],
    }
    taken = []

    async def handler(value: bytes) -> None:
        taken.append((value, tracing.same_trace(GIVEN)))

    async with consuming(kafka_settings, handler):
        await send(kafka_settings, headers)
        await eventually(lambda: len(taken) == len(headers))
    tracing.stop_tracing()
    assert sorted(taken) == [(b"good", True), (b"null", False), (b"odd", False), (b"words", False)]
    topic = kafka_settings.kafka_topic_prefix + MEDIA_INGEST.name
    spans = collector.all("t", f"process {topic}")
    assert len(spans) == len(headers)
    assert {span.kind for span in spans} == {"CONSUMER"}
    assert [span.parent_id for span in spans if span.trace_id == TRACE] == [SPAN]


async def test_a_dead_letter_is_a_failed_span_and_keeps_its_context(collector, kafka_settings):
    tracing.configure_tracing("t")

    async def handler(value: bytes) -> None:
        raise PermanentError("truncated_file", "The file breaks off.")

    async with consuming(kafka_settings, handler):
        await send(kafka_settings, {b"bad": [("traceparent", GIVEN.encode())]})
        await eventually(lambda: collector.all("t", _process(kafka_settings)))
    span = collector.one("t", _process(kafka_settings))
    assert (span.failed, span.attributes["error.type"]) == (True, "truncated_file")


@pytest.mark.parametrize(
    ("headers", "spans"),
    [([("traceparent", GIVEN.encode())], 1), ([("traceparent", NOT_KEPT.encode())], 0), ([], 0)],
)
def test_a_record_read_by_hand_is_a_span_if_its_trace_is_kept(collector, headers, spans):
    tracing.configure_tracing("t")
    record = SimpleNamespace(topic="media_status", partition=3, offset=7, headers=headers)
    with kafka_tracing.processing(record):
        pass
    tracing.stop_tracing()
    assert len(collector.all("t", "process media_status", TRACE)) == len(collector.spans) == spans


def test_a_collector_that_never_answers_holds_the_end_up_for_no_longer_than_said(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        tracing.configure_tracing("t")
        with tracing.span("work"):
            pass
        monkeypatch.setattr(tracing, "STOP_SECONDS", 0.5)
        started = time.monotonic()
        tracing.stop_tracing()
        assert time.monotonic() - started < 2


def _process(settings) -> str:
    return f"process {settings.kafka_topic_prefix}{MEDIA_INGEST.name}"


@asynccontextmanager
async def consuming(settings, handler):
    async with Producer.connect(settings, name="t") as producer:
        broker = make_broker(settings, producer, name="t")
        on_bytes(broker, MEDIA_INGEST, handler, settings=settings)
        await broker.start()
        try:
            yield
        finally:
            await broker.stop()


async def send(settings, headers):
    producer = AIOKafkaProducer(**settings.client_arguments())
    await producer.start()
    topic = settings.kafka_topic_prefix + MEDIA_INGEST.name
    for value, fields in headers.items():
        await producer.send_and_wait(topic, value, headers=fields)
    await producer.stop()

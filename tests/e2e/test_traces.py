"""One upload is one trace, from the client's request to the removal of its files."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
from media_runtime.telemetry.tracing import STOP_SECONDS

from support.clients import Company, open_http
from support.collector import CollectedSpan, Collector, collecting
from support.eventually import eventually
from support.media_files import make_video
from support.surroundings import Parts, variable
from support.wire import open_rows

FILE_NAME = "private-holiday-of-jane.mp4"
SERVICES = ("sign_api", "ingest", "thumbnailer", "notifier", "watcher")
_ALONE = ("ingest", "thumbnailer", "watcher")
_LAST = [("watcher", "sweep"), ("notifier", "process media_processed"), ("ingest", "package")]


@dataclass(frozen=True)
class Traced:
    """A video that went through the pipeline, and the spans of that."""

    collector: Collector
    trace_id: str
    client_span: str
    asset_id: str
    stored: str
    secrets: list[str]

    def one(self, service: str, name: str) -> CollectedSpan:
        return self.collector.one(service, name, self.trace_id)

    def parent_of(self, span: CollectedSpan) -> tuple[str, str]:
        parent = self.collector.ancestors(span)[0]
        return parent.service, parent.name


@contextmanager
def without_the_stacks_own() -> Iterator[None]:
    """Have those replicas of the stack stopped for the block that would take the work."""
    parts = Parts()
    with ExitStack() as stack:
        for name in _ALONE:
            parts.stop(name)
            stack.callback(parts.start, name)
        yield


@asynccontextmanager
async def traced_services(collector: Collector) -> AsyncIterator[str]:
    """Run the five services with traces on and give the address of the sign API."""
    parts = Parts()
    settings = {
        **collector.variables,
        **{f"{name.upper()}_KAFKA_INSTANCE_ID": name for name in _ALONE},
        "WATCHER_WATCH_INTERVAL_SECONDS": "0.5",
    }
    async with AsyncExitStack() as stack:
        # Where one does not start, the others are stopped and not left to act.
        async with asyncio.TaskGroup() as tasks:
            starting = [
                tasks.create_task(stack.enter_async_context(parts.another(name, **settings)))
                for name in SERVICES
            ]
        yield starting[0].result()


@pytest.fixture(scope="module")
async def traced(tmp_path_factory) -> Traced:
    trace_id, client_span = secrets.token_hex(16), secrets.token_hex(8)
    video = make_video(tmp_path_factory.mktemp("traced") / FILE_NAME, seconds=2).read_bytes()
    with collecting() as collector, without_the_stacks_own():
        async with open_http() as http, traced_services(collector) as sign_api:
            company = Company(http)
            answer = await http.post(
                f"{sign_api}/api/media/sign?ticket=do-not-tell",
                json={"fileName": FILE_NAME, "size": len(video), "type": "video/mp4"},
                headers={**company.headers, "traceparent": f"00-{trace_id}-{client_span}-01"},
            )
            grant = answer.json()
            await company.store(grant, video)
            await company.ready(grant["assetId"])
            await company.call("DELETE", f"/assets/{grant['assetId']}")
            await eventually(lambda: all(collector.one(*what, trace_id) for what in _LAST))
            async with open_rows() as rows:
                stored = await rows.connection.fetchval(
                    "SELECT traceparent FROM media_assets WHERE id = $1", grant["assetId"]
                )
    signature = grant["upload"]["url"].rpartition("=")[2]
    token = company.headers["Authorization"].removeprefix("Bearer ")
    hidden = [FILE_NAME, token, signature, "do-not-tell", variable("S3_SECRET_KEY")]
    return Traced(collector, trace_id, client_span, grant["assetId"], stored, hidden)


def test_all_five_services_are_in_the_trace_of_the_client(traced: Traced):
    spans = [span for span in traced.collector.spans if span.trace_id == traced.trace_id]
    assert {span.service for span in spans} == set(SERVICES)
    ids = {span.span_id for span in spans}
    outside = {span.parent_id for span in spans} - ids
    assert outside == {traced.client_span}


def test_the_request_is_a_child_of_the_clients_span_and_is_stored(traced: Traced):
    request = traced.one("sign_api", "POST /api/media/sign")
    assert (request.kind, request.parent_id) == ("SERVER", traced.client_span)
    assert traced.stored == f"00-{traced.trace_id}-{request.span_id}-01"
    about = request.attributes
    assert about["http.request.method"] == "POST"
    assert about["http.route"] == about["url.path"] == "/api/media/sign"
    assert about["http.response.status_code"] == 201
    assert not request.failed


def test_tasks_and_their_stages_are_spans(traced: Traced):
    for name, stages in {
        "inspect": ("download", "probe"), "chunk": ("transcode", "upload"),
        "package": ("join", "upload"),
    }.items():  # fmt: skip
        task = traced.one("ingest", name)
        assert traced.parent_of(task) == ("sign_api", "POST /api/media/sign")
        assert task.attributes["media.outcome"] == "done"
        for stage in stages:
            spans = traced.collector.all("ingest", stage, traced.trace_id)
            assert task.span_id in {span.parent_id for span in spans}
    for stage in ("download", "find_frame", "render", "upload"):
        span = traced.one("thumbnailer", stage)
        assert traced.parent_of(span) == ("thumbnailer", "process media_thumbnail")


def test_a_notification_is_taken_in_the_trace_of_its_asset(traced: Traced):
    """MinIO's record carries no trace: the span of it is linked, and is in another one."""
    takes = traced.collector.all("ingest", "intake", traced.trace_id)
    first = next(span for span in takes if span.attributes["media.effect"] == "queued")
    assert traced.parent_of(first) == ("sign_api", "POST /api/media/sign")
    linked = [span for span in traced.collector.spans if span.span_id in first.links]
    assert [span.name for span in linked] == ["process media_ingest"]
    assert linked[0].trace_id != traced.trace_id


@pytest.mark.parametrize(
    ("producer", "topic", "consumer", "group"),
    [
        ("ingest", "media_thumbnail", "thumbnailer", "thumbnailer"),
        ("thumbnailer", "media_thumbnailed", "ingest", "ingest_results"),
        # Each notifier reads all of it: it is in no group.
        ("ingest", "media_processed", "notifier", None),
    ],
)
def test_what_is_consumed_is_a_child_of_what_was_created(
    traced: Traced, producer: str, topic: str, consumer: str, group: str | None
):
    created = traced.one(producer, f"create {topic}")
    taken = traced.one(consumer, f"process {topic}")
    assert (created.kind, taken.kind) == ("PRODUCER", "CONSUMER")
    assert taken.parent_id == created.span_id
    for span, operation in ((created, "create"), (taken, "process")):
        assert span.attributes["messaging.system"] == "kafka"
        assert span.attributes["messaging.destination.name"] == topic
        assert span.attributes["messaging.operation.type"] == operation
        assert span.attributes["messaging.operation.name"] == operation
    assert created.attributes["messaging.kafka.message.key"] == traced.asset_id
    assert taken.attributes.get("messaging.consumer.group.name") == group
    assert taken.attributes["messaging.kafka.offset"] >= 0
    assert 0 <= int(taken.attributes["messaging.destination.partition.id"]) < 12


def test_one_chain_leads_from_the_request_through_kafka_to_the_client(traced: Traced):
    """The later of the two results decides, so that one is the chain's middle."""
    told = traced.collector.ancestors(traced.one("notifier", "process media_processed"))
    assert told[-1] == traced.one("sign_api", "POST /api/media/sign")
    results = [traced.one("ingest", "package"), traced.one("ingest", "process media_thumbnailed")]
    assert any(result in told for result in results)


def test_a_record_on_its_way_to_clients_has_a_span_of_the_notifier(traced: Traced):
    spans = traced.collector.all("notifier", "process media_status", traced.trace_id)
    parents = {traced.parent_of(span) for span in spans}
    assert ("ingest", "create media_status") in parents


def test_the_sweep_of_an_asset_is_in_its_trace(traced: Traced):
    sweep = traced.one("watcher", "sweep")
    assert traced.parent_of(sweep) == ("sign_api", "POST /api/media/sign")
    assert sweep.attributes["media.removed"] > 0


def test_spans_tell_neither_names_nor_secrets(traced: Traced):
    sent = b"".join(traced.collector.requests)
    assert b"/api/media/sign" in sent
    assert [word for word in traced.secrets if word.encode() in sent] == []


async def test_the_last_spans_are_sent_before_a_service_ends(http, parts):
    with collecting() as collector:
        settings = {**collector.variables, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        async with parts.another("sign_api", **settings) as url:
            await http.post(f"{url}/api/media/sign")
        assert collector.one("sign_api", "POST /api/media/sign")


async def test_a_collector_that_never_answers_disturbs_nobody(company, parts):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        async with parts.another("sign_api", **settings) as url:
            answer = await company.http.post(
                f"{url}/api/media/sign",
                json={"fileName": FILE_NAME, "size": 1000, "type": "video/mp4"},
                headers=company.headers,
            )
            assert answer.status_code == 201
            ended_at = time.monotonic()
        assert time.monotonic() - ended_at < STOP_SECONDS + 2


async def test_lines_of_a_task_name_the_trace_of_a_client_even_while_traces_are_off(company, parts):
    trace_id = secrets.token_hex(16)
    answer = await company.post(
        "/sign",
        json={"fileName": FILE_NAME, "size": 5, "type": "video/mp4"},
        headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"},
    )
    await company.store(answer.json(), b"video")
    await company.ended(answer.json()["assetId"])

    def told() -> set[str]:
        lines = parts.home.log_file("ingest").read_text().splitlines()
        found = [json.loads(line) for line in lines if trace_id in line]
        return {line["event"] for line in found if line["trace_id"] == trace_id}

    await eventually(lambda: {"task_claimed", "task_ended"} <= told())

"""``mediactl dlq`` on dead letters that a real consumer left on the real Kafka."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from media_contracts import MEDIA_THUMBNAIL
from media_runtime.kafka import Producer, make_broker, on_events

from support.eventually import eventually

POISON = {
    b"bad JSON": (b"{", ()),
    b"empty": (b"", ()),
    b"tombstone": (None, ()),
    b"null header": (b"{", (("traceparent", None),)),
    b"odd header": (b"{", (("traceparent", b"\xff\xfe"),)),
    b"unknown version": (
        json.dumps({
            "specversion": "1.0", "id": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a001", "source": "/x",
            "type": "media.thumbnail.requested.v9", "time": "2026-01-01T00:00:00Z",
            "subject": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a002", "data": {},
            "companyid": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a003",
        }).encode(),
        (),
    ),
    b"large": (b'"' + b"x" * 900_000 + b'"', ()),
}  # fmt: skip


@pytest.fixture
def settings(kafka_settings):
    return kafka_settings


@pytest.fixture
async def consumer(settings):
    """A consumer as services have it, which takes nothing but what it understands."""
    async with Producer.connect(settings, name="t") as producer:
        broker = make_broker(settings, producer, name="t")

        async def take(_):
            pass

        on_events(broker, MEDIA_THUMBNAIL, take, settings=settings, group="t")
        await broker.start()
        yield broker
        await broker.stop()


@pytest.fixture
def dlq(settings):
    """Run a command of mediactl dlq and return its exit code and output."""

    async def run(*arguments):
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "mediactl", "dlq", *arguments, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    return run


@pytest.fixture
def listed(dlq):
    """Return the open dead letters, or all of them."""

    async def look(*arguments):
        code, output = await dlq("list", "--json", *arguments)
        assert code == 0, output
        return [json.loads(line) for line in output.splitlines()]

    return look


async def plant(settings, names=tuple(POISON)):
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, max_request_size=2_000_000
    )
    await producer.start()
    for name in names:
        value, headers = POISON[name]
        topic = settings.kafka_topic_prefix + MEDIA_THUMBNAIL.name
        await producer.send_and_wait(topic, value, key=name, headers=list(headers))
    await producer.stop()


async def arrived(settings, topic=MEDIA_THUMBNAIL):
    """Return key, value and headers of every record of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await consumer.start()
    parts = [TopicPartition(settings.kafka_topic_prefix + topic.name, n) for n in range(12)]
    consumer.assign(parts)
    await consumer.seek_to_beginning(*parts)
    ends = await consumer.end_offsets(parts)
    found = []
    while any([await consumer.position(part) < ends[part] for part in parts]):
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found += [(one.key, one.value, tuple(one.headers)) for one in records]
    await consumer.stop()
    return found


@pytest.fixture
async def letters(settings, consumer, listed):
    """Every kind of poison, become a dead letter."""
    await plant(settings)

    async def all_there():
        found = await listed()
        assert len(found) == len(POISON)
        return found

    return await eventually(all_there, timeout=30)


async def test_dead_letters_are_listed_with_their_reason_and_shown_whole(letters, dlq):
    assert {letter["reason"] for letter in letters} == {"malformed"}
    assert {letter["topic"] for letter in letters} == {"media_thumbnail"}
    (unknown,) = [letter for letter in letters if letter["company"]]
    assert unknown["asset"].endswith("a002")
    code, table = await dlq("list")
    assert code == 0
    assert all(letter["id"] in table for letter in letters)
    code, shown = await dlq("show", unknown["id"])
    assert code == 0
    for text in ("dlq-reason", "dlq-offset", "media.thumbnail.requested.v9", "a003"):
        assert text in shown


async def test_a_redrive_sends_the_same_bytes_and_counts(letters, listed, dlq, settings):
    code, output = await dlq("redrive", "--yes", "--rate", "100")
    assert (code, f"{len(POISON)} dead letters sent again" in output) == (0, True), output

    async def back():
        found = await listed()
        assert [letter["redrives"] for letter in found] == [1] * len(POISON)
        return True

    await eventually(back, timeout=30)
    sent = await arrived(settings)
    for name, (value, headers) in POISON.items():
        assert (name, value, headers) in sent
        assert (name, value, (*headers, ("dlq-redrives", b"1"))) in sent
    assert len(await listed("--all")) == 2 * len(POISON)


async def test_what_came_back_too_often_is_left_alone(letters, listed, dlq, settings):
    await dlq("redrive", "--yes", "--filter", "message=x", "--filter", "asset=empty")
    (again,) = [one for one in letters if one["asset"] == "empty"]
    code, _ = await dlq("redrive", again["id"], "--yes")
    assert code == 0

    async def returned():
        return [one for one in await listed() if one["redrives"] == 1]

    (returned_one,) = await eventually(returned, timeout=30)
    code, output = await dlq("redrive", returned_one["id"], "--yes", "--max-redrives", "1")
    assert (code, "left alone" in output) == (0, True), output
    assert [one["id"] for one in await returned()] == [returned_one["id"]]


async def test_filters_choose_and_a_dry_run_changes_nothing(letters, listed, dlq, settings):
    before = sorted(await arrived(settings), key=repr)
    code, output = await dlq("redrive", "--dry-run", "--filter", "asset=header")
    assert (code, "2 dead letters to send again; this was a dry run" in output) == (0, True), output
    assert sorted(await arrived(settings), key=repr) == before
    assert len(await listed()) == len(POISON)


async def test_discarded_letters_are_done_with_and_still_there(letters, listed, dlq):
    middle = letters[3]["id"]
    code, output = await dlq("discard", middle, "--yes")
    assert (code, "1 dead letter discarded" in output) == (0, True), output
    assert middle not in {letter["id"] for letter in await listed()}
    assert {letter["id"] for letter in await listed("--all") if letter["resolved"]} == {middle}
    await dlq("discard", "--yes")
    assert await listed() == []
    code, output = await dlq("redrive", "--yes")
    assert (code, "nothing to send again" in output) == (0, True)


async def test_without_an_answer_nothing_is_sent(letters, listed, dlq):
    code, output = await dlq("redrive")
    assert code != 0, output
    assert len(await listed()) == len(POISON)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["show", "media_ingest:0:99"], "There is no dead letter"),
        (["redrive", "nonsense", "--yes"], "There is no dead letter"),
        (["list", "--filter", "colour=red"], "FIELD=TEXT"),
    ],
)
async def test_wrong_wishes_have_a_clear_answer(settings, dlq, arguments, text):
    code, output = await dlq(*arguments)
    assert code == 1, output
    assert text in output
    assert "Traceback" not in output


async def test_a_broker_that_is_away_has_a_clear_answer(settings, dlq, monkeypatch):
    monkeypatch.setattr(settings, "__dict__", {
        **settings.__dict__, "kafka_bootstrap_servers": "127.0.0.1:9",
    })  # fmt: skip
    code, output = await dlq("list")
    assert code == 1, output
    assert "Kafka does not answer" in output

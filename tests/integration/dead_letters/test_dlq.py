"""``dlq``, as mediactl mounts it, on dead letters that a real consumer left on the real Kafka."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from media_contracts import MEDIA_THUMBNAIL, MEDIA_THUMBNAILED
from media_runtime.kafka.consumer import make_broker, on_events
from media_runtime.kafka.producer import Producer

from support.buckets import our_store
from support.databases import service_url
from support.eventually import eventually
from support.typed import watcher

POISON = {
    b"bad JSON": (b"{", ()),
    b"empty": (b"", ()),
    b"tombstone": (None, ()),
    b"null header": (b"{", (("traceparent", None),)),
    b"odd header": (b"{", (("traceparent", b"\xff\xfe"),)),
    b"another schema": (
        json.dumps({
            "specversion": "1.0", "id": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a001", "source": "/x",
            "type": "media.thumbnail.requested.v1", "time": "2026-01-01T00:00:00Z",
            "subject": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a002", "data": {},
            "companyid": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a003",
        }).encode(),
        (),
    ),
    b"large": (b'"' + b"x" * 1_000_000 + b'"', ()),
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
def environment(settings, database_name):
    """The settings of the test's own watcher."""
    store = our_store()
    return {
        **os.environ,
        "DATABASE_URL": service_url(database_name, "watcher"),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
        "MEDIA_ENV": "development",
        "S3_PROVISIONER_ACCESS_KEY": store.s3_access_key,
        "S3_PROVISIONER_SECRET_KEY": store.s3_secret_key.get_secret_value(),
    }


@pytest.fixture
def started(environment):
    """Start a command of dlq in a process of its own."""

    async def start(*arguments):
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "watcher", "dlq", *arguments, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    return start


@pytest.fixture
def dlq(environment):
    """Run a command of dlq and return its exit code and output."""

    async def run(*arguments, **variables):
        around = {**environment, **variables}
        done = await asyncio.to_thread(watcher, "dlq", *arguments, environment=around)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def listed(dlq):
    """Return the open dead letters, or all of them."""

    async def look(*arguments):
        code, output = await dlq("list", "--json", *arguments)
        assert code == 0, output
        return [json.loads(line) for line in output.splitlines()]

    return look


async def send(settings, topic, *records):
    producer = AIOKafkaProducer(**settings.client_arguments(), max_request_size=2_000_000)
    await producer.start()
    for key, value, headers in records:
        await producer.send_and_wait(
            settings.kafka_topic_prefix + topic, value, key=key, headers=list(headers)
        )
    await producer.stop()


async def plant(settings, names=tuple(POISON)):
    await send(settings, MEDIA_THUMBNAIL.name, *((name, *POISON[name]) for name in names))


async def arrived(settings, topic=MEDIA_THUMBNAIL):
    """Return key, value and headers of every record of a topic."""
    consumer = AIOKafkaConsumer(**settings.client_arguments())
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
    for text in ("dlq-reason", "dlq-offset", "media.thumbnail.requested.v1", "a003"):
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


async def test_a_redrive_that_is_killed_loses_nothing(settings, listed, dlq, started, admin):
    keys = {b"%d" % number for number in range(40)}
    await send(settings, MEDIA_THUMBNAIL.dlq, *((key, b"{", []) for key in keys))
    process = await started("redrive", "--yes", "--rate", "20")

    async def some_sent():
        assert process.returncode is None
        return len(await arrived(settings)) > 3

    await eventually(some_sent, timeout=30)
    process.kill()
    await process.wait()
    open_ones = await listed()
    sent = [key for key, _, _ in await arrived(settings)]
    waiting = await admin.fetchval("SELECT count(*) FROM outbox")
    assert 0 < len(open_ones) < len(keys)
    # Each that counts as done with was sent, or waits in the outbox; one may be sent twice.
    settled = len(keys) - len(open_ones)
    assert settled <= len(sent) + waiting <= settled + 1
    assert (await dlq("redrive", "--yes"))[0] == 0
    assert await listed() == []
    sent = [key for key, _, _ in await arrived(settings)]
    assert set(sent) == keys
    assert len(sent) <= len(keys) + 1


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
    code, output = await dlq("redrive", middle, "--yes")
    assert (code, "Done with already" in output) == (2, True), output
    await dlq("discard", "--all", "--yes")
    assert await listed() == []
    code, output = await dlq("redrive", "--yes")
    assert (code, "nothing to send again" in output) == (0, True)


async def test_without_an_answer_nothing_is_sent(letters, listed, dlq):
    code, output = await dlq("redrive")
    assert code != 0, output
    assert len(await listed()) == len(POISON)


@pytest.mark.parametrize(("key", "value"), [(None, b"{"), (b"k", None), (None, b"")])
async def test_a_null_key_or_value_comes_back_as_null(settings, consumer, listed, dlq, key, value):
    await send(settings, MEDIA_THUMBNAIL.name, (key, value, [("null", None)]))
    (letter,) = await eventually(listed, timeout=30)
    code, output = await dlq("redrive", letter["id"], "--yes")
    assert code == 0, output
    assert (key, value, (("null", None), ("dlq-redrives", b"1"))) in await arrived(settings)
    assert "(null)" in (await dlq("show", letter["id"]))[1]


async def test_a_record_of_nothing_at_all_does_not_stop_its_partition(settings, consumer, listed):
    """aiokafka sends none without key and value; other clients do."""
    topic = settings.kafka_topic_prefix + MEDIA_THUMBNAIL.name
    async with AIOKafkaProducer(**settings.client_arguments()) as producer:
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None)
        batch.append(key=b"behind it", value=b"{", timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))

    async def both_there():
        return len(await listed()) == 2

    await eventually(both_there, timeout=30)


async def test_each_option_chooses(letters, listed, dlq, settings):
    other = [("dlq-reason", b"unexpected"), ("dlq-topic", b"media_thumbnailed")]
    await send(settings, MEDIA_THUMBNAILED.dlq, (b"other", b"{}", other))
    (unknown,) = [letter for letter in letters if letter["company"]]
    for option, text, count in (
        ("--topic", "media_thumbnail", len(POISON)),
        ("--topic", "media_thumbnailed_dlq", 1),
        ("--reason", "unexpected", 1),
        ("--company", unknown["company"], 1),
        ("--asset", unknown["asset"], 1),
        ("--match", "requested.V1", 1),
        ("--match", "nowhere to be found", 0),
    ):
        assert len(await listed(option, text)) == count, (option, text)
    await dlq("discard", "--topic", "media_thumbnail", "--yes")
    assert [letter["topic"] for letter in await listed()] == ["media_thumbnailed"]


async def test_hostile_letters_are_shown_without_harm(settings, listed, dlq):
    hostile = b"[/b][red]\x1b[2J\x9b2J\r\xff"
    await send(
        settings,
        MEDIA_THUMBNAIL.dlq,
        (hostile, b'{"subject": "\\ud800\\u001b[2J"}', [("dlq-message", hostile)]),
        (hostile, hostile, [("dlq-redrives", b"9" * 5000), ("[/b]", hostile)]),
        (b"deep", b"[" * 900 + b"]" * 900, [("dlq-timestamp", b"9" * 30)]),
        (b"null", None, []),
        (b"empty", b"", []),
    )
    code, output = await dlq("list")
    assert (code, "5 dead letters." in output) == (0, True), output
    for letter in await listed():
        code, shown = await dlq("show", letter["id"])
        assert code == 0, shown
        output += shown
    assert "[/b][red]" in output
    assert all(one.isprintable() for one in output.replace("\n", ""))


async def test_two_who_redrive_at_once_send_each_letter_once(settings, listed, started):
    keys = {b"%d" % number for number in range(20)}
    await send(settings, MEDIA_THUMBNAIL.dlq, *((key, b"{", []) for key in keys))
    assert len(await listed()) == len(keys)
    both = [await started("redrive", "--yes") for _ in range(2)]
    for process in both:
        await process.communicate()
        assert process.returncode == 0
    assert sorted(key for key, _, _ in await arrived(settings)) == sorted(keys)


async def test_a_letter_that_cannot_be_sent_now_goes_with_the_next_relay(
    settings, letters, listed, dlq, admin
):
    lock = "SELECT pg_advisory_lock(hashtext('outbox'), hashtext('watcher'))"
    await admin.execute(lock)  # another relay, which stands still
    code, output = await dlq("redrive", letters[0]["id"], "--yes")
    assert code == 0, output
    assert await admin.fetchval("SELECT count(*) FROM outbox") == 1
    assert len(await listed()) == len(letters) - 1
    await admin.execute(lock.replace("lock(", "unlock("))
    await dlq("redrive", letters[1]["id"], "--yes")
    assert await admin.fetchval("SELECT count(*) FROM outbox") == 0


async def test_letters_stay_known_as_they_were_filed(settings, letters, listed, admin):
    """A log that begins again, as after a broker lost its disk, hides neither old nor new ones."""
    await admin.execute("UPDATE dead_letters SET kafka_offset = kafka_offset + 1000")
    assert len(await listed()) == 2 * len(POISON)
    await plant(settings, [b"bad JSON"])

    async def new_one_too():
        return len(await listed()) == 2 * len(POISON) + 1

    await eventually(new_one_too, timeout=30)


async def test_letters_are_forgotten_when_kafka_forgets_them(settings, letters, listed, admin):
    await admin.execute("UPDATE dead_letters SET filed_at = filed_at - interval '31 days'")
    assert await listed() == []
    async with AIOKafkaProducer(**settings.client_arguments()) as producer:
        old = int((time.time() - 31 * 86_400) * 1000)
        topic = settings.kafka_topic_prefix + MEDIA_THUMBNAILED.dlq
        await producer.send_and_wait(topic, b"{", timestamp_ms=old)
    assert {letter["topic"] for letter in await listed()} == {MEDIA_THUMBNAIL.name}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["show", "media_ingest:0:99"], "There is no dead letter"),
        (["redrive", "nonsense", "--yes"], "There is no dead letter"),
        (["discard", "--yes"], "Say which"),
        (["list", "--filter", "colour=red"], "FIELD=TEXT"),
        (["list", "--topic", "media"], "known are media_ingest"),
    ],
)
async def test_wrong_wishes_have_a_clear_answer(settings, dlq, arguments, text):
    code, output = await dlq(*arguments)
    assert code == 2, output
    assert text in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}, "Kafka does not answer"),
        ({"KAFKA_TOPIC_PREFIX": "nowhere_"}, "check KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
async def test_a_kafka_that_is_not_there_has_a_clear_answer(settings, dlq, variables, text):
    code, output = await dlq("list", **variables)
    assert code == 1, output
    assert text in output
    assert "Traceback" not in output


async def test_letters_are_handled_by_programs(letters, listed, dlq, settings):
    (first,) = [one["id"] for one in letters if one["asset"] == "bad JSON"]

    async def document(*arguments):
        code, output = await dlq(*arguments, "--json")
        assert code == 0, output
        return json.loads(output)

    shown = await document("show", first)
    assert (shown["id"], shown["key"], shown["value"]) == (first, "bad JSON", "{")
    assert ["dlq-reason", "malformed"] in shown["headers"]
    tried = await document("redrive", first, "--dry-run")
    assert (tried["sent"], [one["id"] for one in tried["letters"]]) == (False, [first])
    assert (await dlq("discard", first, "--json"))[0] == 1, "nobody said yes"
    assert len(await listed()) == len(POISON)
    done = await document("discard", first, "--yes")
    assert (done["discarded"], [one["id"] for one in done["letters"]]) == (True, [first])
    (other, *_) = await listed()
    sent = await document("redrive", other["id"], "--yes")
    assert (sent["sent"], sent["left_alone"]) == (True, [])
    nothing = await document("redrive", "--filter", "message=nowhere to be found")
    assert nothing == {"sent": False, "letters": [], "left_alone": []}

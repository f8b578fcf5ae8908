"""What becomes of a record whose handler fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import chain

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from media_contracts import MEDIA_INGEST, MEDIA_THUMBNAIL
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka import consumer as kafka
from media_runtime.kafka.consumer import make_broker, on_batches, on_bytes, on_events
from media_runtime.kafka.producer import Producer
from media_runtime.kafka.turns import ConsumerInTurns, Turns

from support.eventually import eventually


@asynccontextmanager
async def consuming(settings, handler, *, events=False, most=None):
    """Run a consumer of media_ingest, *most* records at once, or of typed events."""
    async with Producer.connect(settings, name="t") as producer:
        broker = make_broker(settings, producer, name="t")
        if events:
            on_events(broker, MEDIA_THUMBNAIL, handler, settings=settings, group="g")
        elif most:
            turns = Turns(lambda _: None, ahead=1000, at_once=most)
            on_batches(broker, MEDIA_INGEST, handler, settings=settings, most=most, turns=turns)
        else:
            on_bytes(broker, MEDIA_INGEST, handler, settings=settings, group="g")
        await broker.start()
        try:
            yield
        finally:
            await broker.stop()


async def send(settings, topic, *records):
    producer = AIOKafkaProducer(**settings.client_arguments())
    await producer.start()
    for value, headers in records:
        # One partition: what comes later shows that it moved on.
        await producer.send_and_wait(
            settings.kafka_topic_prefix + topic.name, value, key=b"k", headers=headers
        )
    await producer.stop()


async def dead_letters(settings, topic, count):
    consumer = AIOKafkaConsumer(
        settings.kafka_topic_prefix + topic.dlq,
        **settings.client_arguments(),
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async with asyncio.timeout(15):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_malformed_records_are_dead_lettered_and_the_partition_moves_on(kafka_settings):
    seen = []

    async def handler(event):
        seen.append(event)

    bad = [b"{", b"[]", b'{"specversion":"1.0","type":"media.thumbnail.requested.v9"}', b"\xff"]
    headers = [("null", None), ("bytes", b"\xff\xfe")]
    await send(kafka_settings, MEDIA_THUMBNAIL, *[(value, headers) for value in bad])
    async with consuming(kafka_settings, handler, events=True):
        letters = await dead_letters(kafka_settings, MEDIA_THUMBNAIL, len(bad))
    assert [letter.value for letter in letters] == bad
    about = dict(letters[0].headers)
    assert about["dlq-reason"] == b"malformed"
    assert about["dlq-topic"] == b"media_thumbnail"
    assert about["dlq-offset"] == b"0"
    assert about["null"] is None
    assert about["bytes"] == b"\xff\xfe"
    assert seen == []


async def test_a_refused_record_keeps_its_reason(kafka_settings):
    async def handler(value):
        raise PermanentError("no_good", "This is no good.")

    await send(kafka_settings, MEDIA_INGEST, (b"x", []))
    async with consuming(kafka_settings, handler):
        (letter,) = await dead_letters(kafka_settings, MEDIA_INGEST, 1)
    about = dict(letter.headers)
    assert (about["dlq-reason"], about["dlq-message"]) == (b"rejected", b"This is no good.")


async def test_the_largest_record_that_kafka_takes_has_a_dead_letter(kafka_settings):
    async def handler(value):
        raise PermanentError("no_good", "é" * 2000)

    largest = b"x" * 1_048_400
    await send(kafka_settings, MEDIA_INGEST, (largest, []))
    async with consuming(kafka_settings, handler):
        (letter,) = await dead_letters(kafka_settings, MEDIA_INGEST, 1)
    assert letter.value == largest


async def test_a_record_is_retried_in_place_while_infrastructure_is_away(kafka_settings):
    tries = []

    async def handler(value):
        tries.append(value)
        if len(tries) < 3:
            raise TransientError("away")

    await send(kafka_settings, MEDIA_INGEST, (b"first", []), (b"second", []))
    async with consuming(kafka_settings, handler):
        await eventually(lambda: tries == [b"first"] * 3 + [b"second"])


async def test_a_record_is_not_lost_when_infrastructure_stays_away(kafka_settings, monkeypatch):
    """Red for every ack policy that commits a record whose handler failed."""
    monkeypatch.setattr(kafka, "_IN_PLACE_SECONDS", 0.3)
    away = True
    done, tried = [], []

    async def handler(value):
        tried.append(value)
        if away:
            raise TransientError("away")
        done.append(value)

    await send(kafka_settings, MEDIA_INGEST, (b"first", []), (b"second", []))
    async with consuming(kafka_settings, handler):
        await eventually(lambda: len(tried) > 8)
        away = False
        await eventually(lambda: done == [b"first", b"second"])


async def test_of_a_batch_the_bad_records_alone_are_dead_lettered(kafka_settings):
    """What its handler takes is committed with them."""
    sent = [b"%d" % number for number in range(20)]
    bad, batches, taken = {b"3", b"4", b"17"}, [], []

    async def handler(values):
        batches.append(values)
        if not bad.isdisjoint(values):
            raise PermanentError("no_good", "This is no good.")
        taken.extend(values)

    await send(kafka_settings, MEDIA_INGEST, *[(value, [("x", None)]) for value in sent])
    async with consuming(kafka_settings, handler, most=100):
        letters = await dead_letters(kafka_settings, MEDIA_INGEST, len(bad))
        await send(kafka_settings, MEDIA_INGEST, (b"next", []))
        await eventually(lambda: b"next" in taken)
    assert [letter.value for letter in letters] == sorted(bad, key=int)
    assert {dict(letter.headers)["dlq-offset"] for letter in letters} == bad
    assert batches[0] == sent
    assert sorted(taken) == sorted([*set(sent) - bad, b"next"])
    begun_again = len(batches)
    await send(kafka_settings, MEDIA_INGEST, (b"last", []))
    async with consuming(kafka_settings, handler, most=100):
        await eventually(lambda: b"last" in taken)
    assert batches[begun_again:] == [[b"last"]]


async def test_a_batch_has_no_more_records_than_asked_for(kafka_settings):
    batches = []

    async def handler(values):
        batches.append(values)

    sent = [b"%d" % number for number in range(20)]
    await send(kafka_settings, MEDIA_INGEST, *[(value, []) for value in sent])
    async with consuming(kafka_settings, handler, most=8):
        await eventually(lambda: [*chain(*batches)] == sent)
    assert max(map(len, batches)) == 8


async def test_who_waits_for_records_gets_the_next_one_and_no_pause(kafka_settings):
    # After an answer without records FastStream sleeps, and the next record waits for its end.
    consumer = ConsumerInTurns(
        Turns(lambda _: None, ahead=10), kafka_settings.kafka_topic_prefix + MEDIA_INGEST.name,
        **kafka_settings.client_arguments(), auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    try:
        waiting = asyncio.create_task(consumer.getmany(timeout_ms=1, max_records=5))
        done, _ = await asyncio.wait([waiting], timeout=1.5)
        assert not done
        await send(kafka_settings, MEDIA_INGEST, (b"x", []))
        async with asyncio.timeout(15):
            ((record,),) = (await waiting).values()
    finally:
        await consumer.stop()
    assert record.value == b"x"


async def test_a_batch_is_not_lost_while_infrastructure_is_away(kafka_settings, monkeypatch):
    monkeypatch.setattr(kafka, "_IN_PLACE_SECONDS", 0.3)
    away = True
    done, tried = [], []

    async def handler(values):
        tried.append(values)
        if away:
            raise TransientError("away")
        done.extend(values)

    await send(kafka_settings, MEDIA_INGEST, (b"first", []), (b"second", []))
    async with consuming(kafka_settings, handler, most=100):
        await eventually(lambda: len(tried) > 8)
        away = False
        await eventually(lambda: done == [b"first", b"second"])


async def test_a_record_whose_consumer_dies_in_mid_handler_comes_again(kafka_settings, monkeypatch):
    """Red for a policy that commits first."""
    monkeypatch.setattr(kafka, "_GRACE_SECONDS", 0.01)
    begun, done = [], []

    async def never_ends(value):
        begun.append(value)
        await asyncio.Event().wait()

    async def ends(value):
        done.append(value)

    await send(kafka_settings, MEDIA_INGEST, (b"x", []))
    async with Producer.connect(kafka_settings, name="t") as producer:
        broker = make_broker(kafka_settings, producer, name="t")
        on_bytes(broker, MEDIA_INGEST, never_ends, settings=kafka_settings, group="g")
        await broker.start()
        await eventually(lambda: begun)
        await broker.stop()
    async with consuming(kafka_settings, ends):
        await eventually(lambda: done == [b"x"], timeout=20)


async def test_a_record_stays_when_not_even_the_dead_letter_topic_is_there(
    kafka_settings, monkeypatch
):
    monkeypatch.setattr(kafka, "_IN_PLACE_SECONDS", 0.3)
    refuse = True
    refused, done = [], []

    async def handler(value):
        if refuse:
            refused.append(value)
            raise PermanentError("bad", "Bad.")
        done.append(value)

    original = Producer.send

    async def no_dead_letters(self, record):
        if refuse and record.topic.endswith("_dlq"):
            raise kafka.KafkaUnavailableError("away")
        await original(self, record)

    monkeypatch.setattr(Producer, "send", no_dead_letters)
    await send(kafka_settings, MEDIA_INGEST, (b"x", []))
    async with consuming(kafka_settings, handler):
        await eventually(lambda: len(refused) > 1)
        refuse = False
        await eventually(lambda: done == [b"x"], timeout=20)


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("bug")])
async def test_a_bug_in_a_handler_is_dead_lettered(kafka_settings, error):
    async def handler(value):
        raise error

    await send(kafka_settings, MEDIA_INGEST, (b"x", []))
    async with consuming(kafka_settings, handler):
        (letter,) = await dead_letters(kafka_settings, MEDIA_INGEST, 1)
    assert dict(letter.headers)["dlq-reason"] == b"unexpected"

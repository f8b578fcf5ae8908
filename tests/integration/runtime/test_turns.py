"""Records that are handed out in turns: nobody waits for a flood, and no record is passed by."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from media_contracts import (
    MEDIA_INGEST,
    MEDIA_THUMBNAIL,
    Fit,
    MediaKind,
    ObjectRef,
    PictureSpec,
    ThumbnailRequested,
    new_event,
)
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka import consumer as kafka
from media_runtime.kafka.consumer import make_broker, on_batches, on_events
from media_runtime.kafka.producer import Producer
from media_runtime.kafka.turns import BY_COMPANY, Turns

from support.eventually import eventually

FLOOD = [b"flood %d" % number for number in range(300)]
OTHER = b"other"
AT = datetime(2026, 11, 23, tzinfo=UTC)
MOST = 10


def line_of(record):
    return record.value.split()[0]


@asynccontextmanager
async def taking(settings, handler, *, ahead=1000):
    """Take batches of a topic in turns."""
    turns = Turns(line_of, ahead=ahead, at_once=MOST // 2)
    async with Producer.connect(settings, name="t") as producer:
        broker = make_broker(settings, producer, name="t")
        on_batches(broker, MEDIA_INGEST, handler, settings=settings, most=MOST, turns=turns)
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop()


def fetched(broker):
    """Return how far its consumer knows the topic."""
    (subscriber,) = broker.subscribers
    consumer = subscriber.consumer
    return sum(consumer.highwater(partition) or 0 for partition in consumer.assignment())


async def send(settings, topic, values, *, key=b"k"):
    """Send to one partition, or with no key to all of them."""
    producer = AIOKafkaProducer(**settings.client_arguments())
    await producer.start()
    for value in values:
        await producer.send(settings.kafka_topic_prefix + topic.name, value, key=key)
    await producer.stop()


async def test_whoever_is_behind_a_flood_is_taken_in_with_its_first(kafka_settings):
    taken = []

    async def handler(values):
        taken.extend(values)

    await send(kafka_settings, MEDIA_INGEST, [*FLOOD, OTHER])
    async with taking(kafka_settings, handler):
        await eventually(lambda: len(taken) == len(FLOOD) + 1)
    assert taken.index(OTHER) < MOST
    assert [value for value in taken if value != OTHER] == FLOOD


async def test_whoever_comes_while_a_flood_is_taken_in_is_next(kafka_settings):
    taken = []

    async def handler(values):
        if not taken:
            await send(kafka_settings, MEDIA_INGEST, [OTHER])
            await eventually(lambda: fetched(broker) == len(FLOOD) + 1)
        taken.extend(values)

    await send(kafka_settings, MEDIA_INGEST, FLOOD)
    async with taking(kafka_settings, handler) as broker:
        await eventually(lambda: len(taken) == len(FLOOD) + 1)
    assert taken.index(OTHER) < 2 * MOST


async def test_no_more_is_read_ahead_than_there_is_room_for(kafka_settings):
    """Behind that many of a flood another one waits, and nobody's record is lost."""
    taken, ahead = [], 100

    async def handler(values):
        taken.extend(values)

    await send(kafka_settings, MEDIA_INGEST, [*FLOOD, OTHER])
    async with taking(kafka_settings, handler, ahead=ahead):
        await eventually(lambda: len(taken) == len(FLOOD) + 1)
    assert taken.index(OTHER) >= len(FLOOD) - ahead
    assert [value for value in taken if value != OTHER] == FLOOD


@pytest.mark.parametrize("key", [b"k", None], ids=["one partition", "all partitions"])
async def test_what_was_passed_over_comes_again_when_its_consumer_dies(
    kafka_settings, monkeypatch, key
):
    """Red where all is committed that was read, or all up to what was handed out."""
    monkeypatch.setattr(kafka, "_GRACE_SECONDS", 0.01)
    taken, again = [], []

    async def dies(values):
        if OTHER in taken:
            await asyncio.Event().wait()
        taken.extend(values)

    async def lives(values):
        again.extend(values)

    await send(kafka_settings, MEDIA_INGEST, [*FLOOD, OTHER], key=key)
    async with taking(kafka_settings, dies):
        await eventually(lambda: OTHER in taken)
    await send(kafka_settings, MEDIA_INGEST, [b"last"])
    async with taking(kafka_settings, lives):
        await eventually(lambda: {*taken, *again} == {*FLOOD, OTHER, b"last"}, timeout=30)


async def test_what_was_taken_in_is_committed(kafka_settings):
    taken, again = [], []

    async def first(values):
        taken.extend(values)

    async def second(values):
        again.extend(values)

    await send(kafka_settings, MEDIA_INGEST, [*FLOOD, OTHER], key=None)
    async with taking(kafka_settings, first):
        await eventually(lambda: len(taken) == len(FLOOD) + 1)
    await send(kafka_settings, MEDIA_INGEST, [b"last"])
    async with taking(kafka_settings, second):
        await eventually(lambda: b"last" in again)
    assert again == [b"last"]


async def test_while_infrastructure_is_away_nothing_is_passed_over(kafka_settings, monkeypatch):
    """The record that is given back is not the first that waits."""
    monkeypatch.setattr(kafka, "_IN_PLACE_SECONDS", 0.3)
    taken, away = [], []

    async def handler(values):
        if OTHER in values and len(away) < 8:
            away.append(values)
            raise TransientError("away")
        taken.extend(values)

    await send(kafka_settings, MEDIA_INGEST, [*FLOOD[:100], OTHER, *FLOOD[100:]])
    async with taking(kafka_settings, handler):
        await eventually(lambda: {*taken} == {*FLOOD, OTHER}, timeout=30)
    assert len(away) == 8


async def test_a_bad_record_holds_up_nobody(kafka_settings):
    bad, taken = b"flood bad", []

    async def handler(values):
        if bad in values:
            raise PermanentError("no_good", "This is no good.")
        taken.extend(values)

    await send(kafka_settings, MEDIA_INGEST, [bad, *FLOOD, OTHER])
    async with taking(kafka_settings, handler):
        await eventually(lambda: {*taken} == {*FLOOD, OTHER})
    assert taken.index(OTHER) < 2 * MOST


async def test_nothing_is_lost_when_partitions_change_hands_in_mid_flood(kafka_settings):
    """One member has all of them read ahead when another one comes, and when that one goes."""
    by_first, by_second = [], []

    async def first(values):
        if len(by_first) > MOST:
            await eventually(lambda: by_second)
        by_first.extend(values)

    async def second(values):
        by_second.extend(values)

    def taken():
        return {*by_first, *by_second}

    await send(kafka_settings, MEDIA_INGEST, FLOOD, key=None)
    async with taking(kafka_settings, first):
        await eventually(lambda: len(by_first) > MOST)
        async with taking(kafka_settings, second):
            await eventually(lambda: taken() == {*FLOOD})
        late = [b"late %d" % number for number in range(50)]
        await send(kafka_settings, MEDIA_INGEST, late, key=None)
        await eventually(lambda: taken() == {*FLOOD, *late})


async def test_events_of_companies_have_turns(kafka_settings, monkeypatch):
    monkeypatch.setattr(kafka, "_GRACE_SECONDS", 0.01)
    flooding, other = uuid4(), uuid4()
    events = [requested(flooding) for _ in range(30)] + [requested(other)]
    begun, again = [], []

    async def dies(event):
        begun.append(event)
        if event.companyid == other:
            await asyncio.Event().wait()

    async def lives(event):
        again.append(event)

    await send(kafka_settings, MEDIA_THUMBNAIL, [event.to_bytes() for event in events])
    async with requests_taken(kafka_settings, dies):
        await eventually(lambda: begun and begun[-1].companyid == other)
    assert len(begun) <= 2
    async with requests_taken(kafka_settings, lives):
        await eventually(lambda: len(again) >= len(events) - 1, timeout=30)
    ids = [event.id for event in again if event.companyid == flooding]
    assert ids == [event.id for event in events[len(events) - 1 - len(ids) : -1]]
    assert {event.id for event in begun[:-1] + again} == {event.id for event in events}


@asynccontextmanager
async def requests_taken(settings, handler):
    async with Producer.connect(settings, name="t") as producer:
        broker = make_broker(settings, producer, name="t")
        on_events(broker, MEDIA_THUMBNAIL, handler, settings=settings, turns=BY_COMPANY)
        await broker.start()
        try:
            yield
        finally:
            await broker.stop()


def requested(company):
    return new_event(
        ThumbnailRequested(
            attempt=1,
            task="pictures",
            kind=MediaKind.IMAGE,
            content_type="image/jpeg",
            source=ObjectRef(bucket="b", key="k"),
            pictures=[PictureSpec(name="image", key="k/image", width=1, height=1, fit=Fit.COVER)],
        ),
        source="/t",
        asset_id=uuid4(),
        company_id=company,
        time=AT,
    )

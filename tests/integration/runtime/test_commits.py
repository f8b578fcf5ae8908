"""Commits that leave together: soon after they are asked for, before a partition is given up."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import CommitFailedError, RequestTimedOutError
from media_contracts import MEDIA_INGEST
from media_runtime.kafka import commits
from media_runtime.kafka.commits import CommitsTogether

from support.eventually import eventually

RECORDS = 50


@pytest.fixture
async def records(kafka_settings):
    """Records of one partition, which this gives with its topic."""
    topic = kafka_settings.kafka_topic_prefix + MEDIA_INGEST.name
    producer = AIOKafkaProducer(**kafka_settings.client_arguments())
    await producer.start()
    for number in range(RECORDS):
        sent = await producer.send_and_wait(topic, b"%d" % number, key=b"k")
    await producer.stop()
    return TopicPartition(topic, sent.partition)


@asynccontextmanager
async def consuming(settings, partition, **options):
    group = f"{settings.kafka_topic_prefix}commits"
    consumer = CommitsTogether(
        **settings.client_arguments(), group_id=group, enable_auto_commit=False,
        auto_offset_reset="earliest", heartbeat_interval_ms=200, **options,
    )  # fmt: skip
    consumer.subscribe([partition.topic])
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def take(consumer, count):
    for _ in range(count):
        await consumer.getone()
        await consumer.commit()


@pytest.fixture
def sent(monkeypatch):
    """What commits are sent."""
    seen = []
    send = GroupCoordinator.commit_offsets

    async def watched(self, assignment, offsets):
        seen.append(offsets)
        await send(self, assignment, offsets)

    monkeypatch.setattr(GroupCoordinator, "commit_offsets", watched)
    return seen


async def test_what_is_acknowledged_together_is_committed_together(kafka_settings, records, sent):
    async with consuming(kafka_settings, records) as consumer:
        await take(consumer, RECORDS)

        async def is_committed():
            return await consumer.committed(records) == RECORDS

        await eventually(is_committed)
        assert len(sent) < RECORDS / 2


async def test_what_is_not_acknowledged_is_not_committed(kafka_settings, records):
    async with consuming(kafka_settings, records) as consumer:
        await take(consumer, 3)
        await consumer.getone()

        async def is_committed():
            return await consumer.committed(records)

        assert await eventually(is_committed) == 3
    async with consuming(kafka_settings, records) as consumer:
        assert (await consumer.getone()).value == b"3"


async def test_what_was_acknowledged_does_not_come_again_after_a_stop(
    kafka_settings, records, monkeypatch
):
    monkeypatch.setattr(commits, "TOGETHER_SECONDS", 3600)
    async with consuming(kafka_settings, records) as consumer:
        await take(consumer, 5)
    async with consuming(kafka_settings, records) as consumer:
        assert (await consumer.getone()).value == b"5"


async def test_it_does_not_come_again_where_others_take_over(kafka_settings, records, monkeypatch):
    monkeypatch.setattr(commits, "TOGETHER_SECONDS", 3600)
    async with consuming(kafka_settings, records) as first:
        await take(first, 5)
        async with consuming(kafka_settings, records) as second:

            def have_shared():
                return first.assignment() and second.assignment()

            await eventually(have_shared)
            owner = first if records in first.assignment() else second
            assert (await owner.getone()).value == b"5"


async def test_a_commit_that_kafka_did_not_take_is_sent_again(kafka_settings, records, monkeypatch):
    errors = [RequestTimedOutError(), RequestTimedOutError()]
    send = GroupCoordinator.commit_offsets

    async def failing(self, assignment, offsets):
        if errors:
            raise errors.pop()
        await send(self, assignment, offsets)

    monkeypatch.setattr(GroupCoordinator, "commit_offsets", failing)
    async with consuming(kafka_settings, records) as consumer:
        await take(consumer, 5)

        async def is_committed():
            return await consumer.committed(records) == 5

        await eventually(is_committed)
        assert not errors


async def test_a_commit_that_comes_too_late_is_let_go(kafka_settings, records, monkeypatch):
    """Others have the partition, and read again what it would have told of."""
    tried = []

    async def late(self, assignment, offsets):
        tried.append(offsets)
        raise CommitFailedError

    monkeypatch.setattr(GroupCoordinator, "commit_offsets", late)
    async with consuming(kafka_settings, records) as consumer:
        await take(consumer, 5)
        await eventually(lambda: tried)
        await take(consumer, 1)
        await eventually(lambda: len(tried) == 2)
    assert [offsets[records].offset for offsets in tried] == [5, 6]

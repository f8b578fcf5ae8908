"""What a broker may do to consumers: give everything again, out of order, or nonsense."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from media_contracts import MEDIA_INGEST, MEDIA_THUMBNAIL, MEDIA_THUMBNAILED, Topic

from chaos.target import Target

GROUPS: dict[str, Topic] = {
    "ingest": MEDIA_INGEST,
    "thumbnailer": MEDIA_THUMBNAIL,
    "ingest_results": MEDIA_THUMBNAILED,
}
_DEEP = 100_000


async def replay(
    target: Target, groups: Sequence[str] = tuple(GROUPS), *, seconds: float = 40
) -> int:
    """
    Set groups without members back to the beginning; return how many records come again.

    Members that were killed count for a session's time: it is waited for, up to *seconds*.
    """
    async with asyncio.timeout(seconds):
        while True:
            try:
                return sum([await _set_back(target, group) for group in groups])
            except KafkaError:
                await asyncio.sleep(0.5)


async def _set_back(target: Target, group: str) -> int:
    parts = _parts(target, GROUPS[group])
    consumer = AIOKafkaConsumer(
        **target.kafka.client_arguments(),
        group_id=target.topic_prefix + group,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign(parts)
        begins = await consumer.beginning_offsets(parts)
        ends = await consumer.end_offsets(parts)
        await consumer.commit(begins)
    finally:
        await consumer.stop()
    return sum(ends.values()) - sum(begins.values())


async def length(target: Target, topic: Topic) -> int:
    """Return how many records a topic has had."""
    consumer = AIOKafkaConsumer(**target.kafka.client_arguments())
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(_parts(target, topic))).values())
    finally:
        await consumer.stop()


def _parts(target: Target, topic: Topic) -> list[TopicPartition]:
    name = target.topic_prefix + topic.name
    return [TopicPartition(name, number) for number in range(topic.partitions)]


@asynccontextmanager
async def echoing(target: Target, chance: random.Random, *, times: int) -> AsyncIterator[list[int]]:
    """
    Send each bucket notification *times* more, shuffled, some as old news, for the block.

    Some are followed by the news of a removal that never was. Gives the count so far.
    """
    sent = [0]
    task = asyncio.create_task(_echo(target, chance, times, sent))
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _echo(target: Target, chance: random.Random, times: int, sent: list[int]) -> None:
    topic = target.topic_prefix + MEDIA_INGEST.name
    # Committed, so that a producer's own echoes are told apart by their header.
    consumer = AIOKafkaConsumer(
        topic,
        **target.kafka.client_arguments(),
        auto_offset_reset="latest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(**target.kafka.client_arguments())
    await consumer.start()
    await producer.start()
    heap: list[tuple[bytes | None, bytes]] = []
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=300)).values():
                for record in records:
                    if not any(name == "echo" for name, _ in record.headers):
                        heap += [(record.key, _aged(record.value, chance)) for _ in range(times)]
            chance.shuffle(heap)
            for _ in range(min(len(heap), 50)):
                key, value = heap.pop()
                await producer.send_and_wait(topic, value, key=key, headers=[("echo", b"1")])
                sent[0] += 1
    finally:
        await consumer.stop()
        await producer.stop()


def _aged(value: bytes, chance: random.Random) -> bytes:
    """Return a notification as it is, of an older event, of another version, or of a removal."""
    news = json.loads(value)
    kind = chance.choice(("same", "same", "older", "removal"))
    for record in news["Records"]:
        if kind == "older":
            record["s3"]["object"]["sequencer"] = "0" * 16
        elif kind == "removal":
            record["eventName"] = "s3:ObjectRemoved:Delete"
    return json.dumps(news).encode()


def poison(topic: Topic) -> dict[str, tuple[bytes | None, list[tuple[str, bytes | None]]]]:
    """Return kinds of records that no consumer of *topic* can take: value and headers of each."""
    known = topic.messages[0].event_type if topic.messages else "media.unknown.v1"
    event = {
        "specversion": "1.0", "id": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a001", "source": "/x",
        "type": known, "subject": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a002",
        "time": "2026-01-01T00:00:00Z", "companyid": "5f4f9a52-6f5b-4a3c-8f0e-6a4fd2a2a003",
        "data": {},
    }  # fmt: skip
    return {
        "bad JSON": (b"{", []),
        "empty": (b"", []),
        "tombstone": (None, []),
        "not UTF-8": (b"\xff\xfe\x00", []),
        "a list": (b"[1, 2]", []),
        "a number": (b"7", []),
        "an empty object": (b"{}", []),
        "another schema": (json.dumps({**event, "data": {"attempt": "many"}}).encode(), []),
        "no envelope": (json.dumps({"specversion": "1.0", "type": "media.x.v9"}).encode(), []),
        "a null header": (b"{", [("traceparent", None)]),
        "a header that is not UTF-8": (b"{", [("traceparent", b"\xff\xfe")]),
        "nested too deep": (b"[" * _DEEP, []),
        "a megabyte": (b'"' + b"x" * 900_000 + b'"', []),
    }


async def plant(target: Target, topic: Topic) -> int:
    """Send every kind of poison to a topic, keyed differently; return how many."""
    producer = AIOKafkaProducer(**target.kafka.client_arguments(), max_request_size=2_000_000)
    await producer.start()
    found = poison(topic)
    try:
        for name, (value, headers) in found.items():
            await producer.send_and_wait(
                target.topic_prefix + topic.name, value, key=name.encode(), headers=headers
            )
    finally:
        await producer.stop()
    return len(found)

"""What consumers have not read yet, and what they could not take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from media_contracts import DLQ_PARTITIONS, TOPICS, Topic
from media_runtime.kafka import KafkaUnavailableError
from media_runtime.resolved import GROUP, Resolved, ResolvedOffsetsError
from media_runtime.settings import KafkaSettings
from watcher.findings import Finding, Kind, Severity
from watcher.metrics import DEAD_LETTERS, LAG
from watcher.settings import WatchSettings

_SECONDS = 10.0


@dataclass(frozen=True)
class Behind:
    """How many records of *topic* the *group* has not read yet."""

    group: str
    topic: str
    records: int


@dataclass(frozen=True)
class Standing:
    """How far consumers are: what they have not read, and open dead letters by topic."""

    behind: Sequence[Behind]
    dead_letters: Mapping[str, int]


async def read_standing(settings: KafkaSettings) -> Standing:
    """Return how far our consumer groups are; raises KafkaUnavailableError."""
    admin = AIOKafkaAdminClient(**settings.client_arguments())
    consumer = AIOKafkaConsumer(**settings.client_arguments())
    try:
        async with asyncio.timeout(_SECONDS):
            await admin.start()
            await consumer.start()
            return await _Offsets(admin, consumer, settings.kafka_topic_prefix).standing()
    except (KafkaError, TimeoutError, OSError) as error:
        raise KafkaUnavailableError(f"Kafka: {error!r}") from error
    finally:
        await consumer.stop()
        await admin.close()


class _Offsets:
    def __init__(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, prefix: str) -> None:
        self._admin = admin
        self._consumer = consumer
        self._prefix = prefix

    async def standing(self) -> Standing:
        behind = [
            Behind(topic.group, topic.name, await self._behind(topic, topic.group))
            for topic in TOPICS
            if topic.group is not None
        ]
        return Standing(behind, await self._dead_letters())

    async def _behind(self, topic: Topic, group: str) -> int:
        parts = self._partitions(topic.name, topic.partitions)
        committed = await self._admin.list_consumer_group_offsets(self._prefix + group)
        begins = await self._consumer.beginning_offsets(parts)
        ends = await self._consumer.end_offsets(parts)
        # A group without an offset begins with the oldest record; one below it has lost some.
        known = {part: found.offset for part, found in committed.items()}
        return sum(ends[part] - max(known.get(part, 0), begins[part]) for part in parts)

    async def _dead_letters(self) -> dict[str, int]:
        done = await self._admin.list_consumer_group_offsets(self._prefix + GROUP)
        found = {}
        for topic in TOPICS:
            parts = self._partitions(topic.dlq, DLQ_PARTITIONS)
            begins = await self._consumer.beginning_offsets(parts)
            ends = await self._consumer.end_offsets(parts)
            found[topic.name] = sum(
                _resolved(done.get(part)).count_open(begins[part], ends[part]) for part in parts
            )
        return found

    def _partitions(self, topic: str, count: int) -> list[TopicPartition]:
        return [TopicPartition(self._prefix + topic, number) for number in range(count)]


class LookAtKafka:
    """Tells, by topic, how far our consumer groups are behind, and how many letters are dead."""

    kinds = frozenset({Kind.LAG, Kind.DEAD_LETTERS, Kind.KAFKA_AWAY})

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises KafkaUnavailableError."""
        standing = await read_standing(self._settings)
        for one in standing.behind:
            LAG.labels(one.group, one.topic).set(one.records)
        for topic, count in standing.dead_letters.items():
            DEAD_LETTERS.labels(topic).set(count)
        findings = []
        late = {
            one.topic: one.records
            for one in standing.behind
            if one.records > self._settings.lag_alert_records
        }
        if late:
            summary = f"Consumers have not read {sum(late.values())} records of {', '.join(late)}."
            findings.append(Finding(Kind.LAG, Severity.PAGE, summary, details=late))
        dead = {topic: count for topic, count in standing.dead_letters.items() if count}
        if sum(dead.values()) > self._settings.dead_letter_alert:
            summary = f"{sum(dead.values())} dead letters wait for somebody: {', '.join(dead)}."
            findings.append(Finding(Kind.DEAD_LETTERS, Severity.TICKET, summary, details=dead))
        return findings


def _resolved(committed: object) -> Resolved:
    if committed is None:
        return Resolved()
    try:
        return Resolved.parse(committed.offset, committed.metadata)  # type: ignore[attr-defined]
    except ResolvedOffsetsError:
        return Resolved()  # all are open again, as mediactl says it, too

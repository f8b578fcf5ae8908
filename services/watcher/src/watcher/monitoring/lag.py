"""What consumers have not read yet, and what they could not take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from media_contracts import TOPICS, Topic
from media_records.dead_letters import count_open
from media_runtime.database.postgres import Database
from media_runtime.kafka import clients
from media_runtime.kafka.producer import KafkaUnavailableError
from media_runtime.settings import KafkaSettings
from watcher.metrics import DEAD_LETTERS, LAG
from watcher.monitoring.dead_letters import file_by, filing_consumer
from watcher.monitoring.findings import Finding, Kind, Severity
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


async def read_standing(database: Database, settings: KafkaSettings) -> Standing:
    """Return how far our consumer groups are; dead letters are filed. Raises TransientError."""
    admin = AIOKafkaAdminClient(**settings.client_arguments())
    consumer = filing_consumer(settings)
    try:
        async with clients.started(admin, consumer):
            async with asyncio.timeout(_SECONDS):
                prefix = settings.kafka_topic_prefix
                behind = [
                    Behind(
                        topic.group,
                        topic.name,
                        await _behind(topic, topic.group, prefix, admin, consumer),
                    )
                    for topic in TOPICS
                    if topic.group is not None
                ]
            await file_by(consumer, database, settings)
    except (KafkaError, TimeoutError, OSError) as error:
        raise KafkaUnavailableError(f"Kafka: {error!r}") from error
    counted = await count_open(database)
    return Standing(behind, {topic.name: counted.get(topic.name, 0) for topic in TOPICS})


async def _behind(
    topic: Topic, group: str, prefix: str, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer
) -> int:
    parts = [TopicPartition(prefix + topic.name, number) for number in range(topic.partitions)]
    committed = await admin.list_consumer_group_offsets(prefix + group)
    begins = await consumer.beginning_offsets(parts)
    ends = await consumer.end_offsets(parts)
    # A group without an offset begins with the oldest record; one below it has lost some.
    known = {part: found.offset for part, found in committed.items()}
    return sum(ends[part] - max(known.get(part, 0), begins[part]) for part in parts)


class KafkaCheck:
    """Tells, by topic, how far our consumer groups are behind, and how many letters are dead."""

    kinds = frozenset({Kind.LAG, Kind.DEAD_LETTERS, Kind.KAFKA_AWAY})

    def __init__(self, database: Database, settings: WatchSettings) -> None:
        self._database = database
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises TransientError."""
        standing = await read_standing(self._database, self._settings)
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

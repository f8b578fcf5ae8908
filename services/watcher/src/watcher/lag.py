"""What consumers have not read yet, and what they could not take."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from media_contracts import DLQ_PARTITIONS, TOPICS, Topic
from media_runtime.kafka import KafkaUnavailableError
from media_runtime.settings import KafkaSettings
from watcher.metrics import DEAD_LETTERS, LAG

_SECONDS = 10.0


class Lag:
    """Exports, by topic, how far our consumer groups are behind, and how many letters are dead."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._servers = settings.kafka_bootstrap_servers
        self._prefix = settings.kafka_topic_prefix

    async def __call__(self) -> None:
        """Look once; raises KafkaUnavailableError."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers)
        try:
            async with asyncio.timeout(_SECONDS):
                await admin.start()
                await consumer.start()
                for topic in TOPICS:
                    if topic.group is not None:
                        behind = await self._behind(admin, consumer, topic, topic.group)
                        LAG.labels(topic.group, topic.name).set(behind)
                    DEAD_LETTERS.labels(topic.name).set(await self._dead(consumer, topic))
        except (KafkaError, TimeoutError, OSError) as error:
            raise KafkaUnavailableError(f"Kafka: {error!r}") from error
        finally:
            await consumer.stop()
            await admin.close()

    async def _behind(
        self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, topic: Topic, group: str
    ) -> int:
        parts = self._partitions(topic.name, topic.partitions)
        committed = await admin.list_consumer_group_offsets(self._prefix + group)
        begins = await consumer.beginning_offsets(parts)
        ends = await consumer.end_offsets(parts)
        # A group without an offset begins with the oldest record; one below it has lost some.
        known = {part: found.offset for part, found in committed.items()}
        return sum(ends[part] - max(known.get(part, 0), begins[part]) for part in parts)

    async def _dead(self, consumer: AIOKafkaConsumer, topic: Topic) -> int:
        parts = self._partitions(topic.dlq, DLQ_PARTITIONS)
        begins, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        return sum(ends[part] - begins[part] for part in parts)

    def _partitions(self, topic: str, count: int) -> list[TopicPartition]:
        return [TopicPartition(self._prefix + topic, number) for number in range(count)]

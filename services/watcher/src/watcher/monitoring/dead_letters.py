"""Dead letters: filed from their topics into rows, and picked by what people look for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from media_contracts import DLQ_MAX_MESSAGE_BYTES, DLQ_PARTITIONS, TOPICS
from media_records.dead_letters import Letter, file_letters, forget_letters, next_offsets
from media_runtime.database.postgres import Database
from media_runtime.kafka import clients
from media_runtime.kafka.producer import KafkaUnavailableError
from media_runtime.settings import KafkaSettings
from media_runtime.telemetry.terminal import UsageError

_SILENCE_SECONDS = 30.0
FIELDS = ("topic", "reason", "exception", "message", "company", "asset", "id", "any")
_WHOLE = frozenset({"topic", "reason", "id"})


def filing_consumer(settings: KafkaSettings) -> AIOKafkaConsumer:
    """Return a consumer that can take the largest dead letter; it is not started."""
    return AIOKafkaConsumer(
        **settings.client_arguments(),
        enable_auto_commit=False,
        max_partition_fetch_bytes=DLQ_MAX_MESSAGE_BYTES,
    )


async def file_dead_letters(database: Database, settings: KafkaSettings) -> None:
    """File all that is new in the dead-letter topics, forget what is old; TransientError."""
    consumer = filing_consumer(settings)
    try:
        async with clients.started(consumer):
            await file_by(consumer, database, settings)
    except (KafkaError, TimeoutError, OSError) as error:
        raise KafkaUnavailableError(f"Kafka does not answer: {error!r}.") from error


async def file_by(consumer: AIOKafkaConsumer, database: Database, settings: KafkaSettings) -> None:
    """Do as file_dead_letters() with a started *consumer*; raises as that one does."""
    await _Filing(database, consumer, settings).run()
    await forget_letters(database)


class _Filing:
    def __init__(
        self, database: Database, consumer: AIOKafkaConsumer, settings: KafkaSettings
    ) -> None:
        self._database = database
        self._consumer = consumer
        self._servers = settings.kafka_bootstrap_servers
        self._prefix = settings.kafka_topic_prefix

    async def run(self) -> None:
        parts = await self._partitions()
        ends = await self._consumer.end_offsets(parts)
        starts = await self._starts(parts, ends)
        new = [part for part in parts if starts[part] < ends[part]]
        if not new:
            return
        self._consumer.assign(new)
        for part in new:
            self._consumer.seek(part, starts[part])
        # A broker that goes away only makes getmany() return nothing.
        async with asyncio.timeout(_SILENCE_SECONDS) as silence:
            while any([await self._consumer.position(part) < ends[part] for part in new]):
                found = await self._consumer.getmany(timeout_ms=200)
                records = [record for batch in found.values() for record in batch]
                await file_letters(self._database, map(self._letter, records))
                silence.reschedule(asyncio.get_running_loop().time() + _SILENCE_SECONDS)

    async def _starts(
        self, parts: list[TopicPartition], ends: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        begins = await self._consumer.beginning_offsets(parts)
        filed = await next_offsets(self._database, [self._place(part) for part in parts])
        starts = {part: max(begins[part], filed.get(self._place(part), 0)) for part in parts}
        # A log that ends before what was filed of it has begun again.
        return {part: at if at <= ends[part] else begins[part] for part, at in starts.items()}

    async def _partitions(self) -> list[TopicPartition]:
        wanted = [f"{self._prefix}{topic.dlq}" for topic in TOPICS]
        # Kafka is asked for ever about topics that are not there.
        there = await self._consumer.topics()
        found = [name for name in wanted if name in there]
        if not found:
            raise KafkaUnavailableError(
                f"Kafka at {self._servers} has none of the topics {wanted[0]}, …: check "
                "KAFKA_BOOTSTRAP_SERVERS and KAFKA_TOPIC_PREFIX."
            )
        return [TopicPartition(name, number) for name in found for number in range(DLQ_PARTITIONS)]

    def _place(self, part: TopicPartition) -> tuple[str, int]:
        return part.topic.removeprefix(self._prefix).removesuffix("_dlq"), part.partition

    def _letter(self, record: ConsumerRecord[Any, Any]) -> Letter:
        return Letter(
            topic=record.topic.removeprefix(self._prefix).removesuffix("_dlq"),
            partition=record.partition,
            offset=record.offset,
            at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
        )


@dataclass(frozen=True)
class Filter:
    """
    Letters whose *field* contains a text; several filters must all agree.

    A topic, a reason or an id must be the text as a whole: ``media_thumbnail`` is not meant to
    find ``media_thumbnailed``.
    """

    field: str
    text: str

    @classmethod
    def parse(cls, wish: str) -> Self:
        """Return the filter that ``reason=malformed`` means; raises UsageError."""
        name, equals, text = wish.partition("=")
        if not equals or name not in FIELDS:
            raise UsageError(
                f"--filter wants FIELD=TEXT, with a field of {', '.join(FIELDS)}; not {wish!r}."
            )
        return cls(name, text)

    def accepts(self, letter: Letter) -> bool:
        """Return whether the letter is meant."""
        wanted, found = self.text.casefold(), letter.field(self.field).casefold()
        if self.field in _WHOLE:
            return wanted == found
        # A bucket notification names company and asset in its key alone.
        key = (letter.key or b"").decode(errors="replace").casefold()
        return wanted in found or (self.field in {"company", "asset"} and wanted in key)

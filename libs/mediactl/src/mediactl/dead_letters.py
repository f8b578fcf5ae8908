"""
Dead letters: the records that a consumer could not take, to look at and to send again.

Invariant: a record is sent again before it counts as done with, byte for byte, so that a crash
between the two sends it twice, which its consumers absorb. Nothing in a letter is trusted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from media_contracts import DLQ_PARTITIONS, TOPICS
from media_runtime.resolved import GROUP, Resolved, ResolvedOffsets, ResolvedOffsetsError
from media_runtime.settings import KafkaSettings
from mediactl.errors import MediactlError, UsageError

_REDRIVES = "dlq-redrives"
_PREFIX = "dlq-"
_COUNT_DIGITS = 9
_MAX_RECORD_BYTES = 16 * 1024 * 1024
_SILENCE_SECONDS = 30.0
FIELDS = ("topic", "reason", "exception", "message", "company", "asset", "id", "any")
_WHOLE = frozenset({"topic", "reason", "id"})


@dataclass(frozen=True)
class Letter:
    """
    One dead letter. ``topic`` is the one it came from, without the stack's prefix.

    ``partition`` and ``offset`` are its own, in the dead-letter topic.
    """

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    resolved: bool = False

    @property
    def id(self) -> str:
        """How people name it: topic, partition and offset."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @cached_property
    def about(self) -> dict[str, str]:
        """What the consumer noted, by name without ``dlq-``."""
        return {
            name.removeprefix(_PREFIX): _text(value)
            for name, value in self.headers
            if name.startswith(_PREFIX)
        }

    @property
    def redrives(self) -> int:
        """How often it was sent again before."""
        text = self.about.get("redrives", "0")
        return int(text) if text.isdecimal() and len(text) <= _COUNT_DIGITS else 0

    @cached_property
    def event(self) -> dict[str, Any]:
        """Its value, where that is a JSON object."""
        try:
            found = json.loads(self.value or b"")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def field(self, name: str) -> str:
        """Return one of FIELDS as text."""
        match name:
            case "topic":
                return self.topic
            case "id":
                return self.id
            case "company":
                return str(self.event.get("companyid", ""))
            case "asset":
                return str(self.event.get("subject") or _text(self.key))
            case "any":
                texts = (text for pair in self.headers for text in (pair[0], _text(pair[1])))
                return "\n".join([self.id, _text(self.key), _text(self.value), *texts])
            case _:
                return self.about.get(name, "")

    def again(self) -> list[tuple[str, bytes | None]]:
        """Return the headers with which it is sent again: its own, and how often that was."""
        own = [(name, value) for name, value in self.headers if not name.startswith(_PREFIX)]
        return [*own, (_REDRIVES, str(self.redrives + 1).encode())]


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
        in_key = self.field in {"company", "asset"} and wanted in _text(letter.key).casefold()
        return wanted in found or in_key


class DeadLetters:
    """The dead letters of one stack."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._prefix = settings.kafka_topic_prefix
        self._group = f"{self._prefix}{GROUP}"

    async def read(self) -> list[Letter]:
        """Return every letter that Kafka still has, the oldest first; raises MediactlError."""
        async with _translated():
            async with ResolvedOffsets.connect(self._settings, self._group) as offsets:
                resolved = await offsets.read()
            records = await self._records()
        nothing = Resolved()
        return [
            self._letter(record, record.offset in resolved.get(part, nothing))
            for part, record in sorted(records, key=lambda pair: pair[1].timestamp)
        ]

    async def _records(self) -> list[tuple[TopicPartition, ConsumerRecord[Any, Any]]]:
        found = []
        async with self._consumer() as consumer:
            parts = self._existing(await consumer.topics())
            consumer.assign(parts)
            begins = await consumer.beginning_offsets(parts)
            ends = await consumer.end_offsets(parts)
            for part in parts:
                consumer.seek(part, begins[part])
            left = {part for part in parts if begins[part] < ends[part]}
            # A broker that goes away only makes getmany() return nothing.
            async with asyncio.timeout(_SILENCE_SECONDS) as silence:
                while left:
                    for part, records in (await consumer.getmany(timeout_ms=200)).items():
                        found += [(part, record) for record in records]
                        silence.reschedule(asyncio.get_running_loop().time() + _SILENCE_SECONDS)
                    left = {part for part in left if await consumer.position(part) < ends[part]}
        return found

    def _existing(self, names: Iterable[str]) -> list[TopicPartition]:
        wanted = [f"{self._prefix}{topic.dlq}" for topic in TOPICS]
        # Kafka is asked for ever about topics that are not there.
        found = [name for name in wanted if name in set(names)]
        if not found:
            raise MediactlError(
                f"Kafka at {self._settings.kafka_bootstrap_servers} has none of the topics "
                f"{wanted[0]}, …: check KAFKA_BOOTSTRAP_SERVERS and KAFKA_TOPIC_PREFIX."
            )
        return [TopicPartition(name, number) for name in found for number in range(DLQ_PARTITIONS)]

    def _letter(self, record: ConsumerRecord[Any, Any], resolved: bool) -> Letter:
        return Letter(
            topic=record.topic.removeprefix(self._prefix).removesuffix("_dlq"),
            partition=record.partition,
            offset=record.offset,
            at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
            resolved=resolved,
        )

    async def redrive(
        self, letters: Sequence[Letter], *, rate: float | None = None
    ) -> AsyncIterator[Letter]:
        """
        Send letters again, at most *rate* a second, yielding each once it is done with.

        Raises MediactlError before the first is sent when there is no room to remember them.
        """
        in_order = sorted(letters, key=lambda one: (one.topic, one.partition, one.offset))
        async with (
            _translated(),
            ResolvedOffsets.connect(self._settings, self._group) as offsets,
            self._producer() as producer,
        ):
            await offsets.check(self._by_partition(in_order))
            for number, letter in enumerate(in_order):
                if rate and number:
                    await asyncio.sleep(1 / rate)
                await producer.send_and_wait(
                    self._prefix + letter.topic,
                    # aiokafka refuses to send neither key nor value.
                    (letter.value or b"") if letter.key is None else letter.value,
                    key=letter.key,
                    headers=letter.again(),
                )
                await offsets.add(self._by_partition([letter]))
                yield letter

    async def resolve(self, letters: Sequence[Letter]) -> None:
        """Count letters as done with, without sending them."""
        async with (
            _translated(),
            ResolvedOffsets.connect(self._settings, self._group) as offsets,
        ):
            await offsets.add(self._by_partition(letters))

    def _by_partition(self, letters: Sequence[Letter]) -> dict[TopicPartition, list[int]]:
        found: dict[TopicPartition, list[int]] = {}
        for letter in letters:
            part = TopicPartition(f"{self._prefix}{letter.topic}_dlq", letter.partition)
            found.setdefault(part, []).append(letter.offset)
        return found

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._settings.client_arguments(),
            enable_auto_commit=False,
            max_partition_fetch_bytes=_MAX_RECORD_BYTES,
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            **self._settings.client_arguments(),
            acks="all",
            enable_idempotence=True,
            max_request_size=_MAX_RECORD_BYTES,
        )
        try:
            await producer.start()
            yield producer
        finally:
            await producer.stop()


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except ResolvedOffsetsError as error:
        raise MediactlError(str(error)) from error
    except (KafkaError, OSError) as error:
        raise MediactlError(f"Kafka does not answer as it should: {error!r}.") from error

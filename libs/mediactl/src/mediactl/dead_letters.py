"""
Dead letters: the records that a consumer could not take, to look at and to send again.

Which of them are done with is kept in Kafka itself, as the offsets of a consumer group of
mediactl's own: all below its offset, and those that its metadata lists beyond. Invariant: a
record is sent again before it counts as done, byte for byte, so that a crash between the two
sends it twice, which its consumers absorb.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from media_contracts import DLQ_PARTITIONS, TOPICS
from mediactl.errors import MediactlError

GROUP = "mediactl_dlq"
_REDRIVES = "dlq-redrives"
_PREFIX = "dlq-"
# The broker's offset.metadata.max.bytes is 4096.
_METADATA_BYTES = 4096
_MAX_RECORD_BYTES = 16 * 1024 * 1024
FIELDS = ("topic", "reason", "exception", "message", "company", "asset", "id")


class Resolved:
    """The offsets of one partition that are done with: all below ``floor``, and some beyond."""

    def __init__(self, floor: int = 0, beyond: Iterable[int] = ()) -> None:
        self._floor = floor
        self._beyond = {offset for offset in beyond if offset >= floor}

    @classmethod
    def parse(cls, floor: int, metadata: str) -> Self:
        """Return what encode() gave, such as 7 and ``9,12-15``; raises ValueError."""
        beyond: list[int] = []
        for part in filter(None, metadata.split(",")):
            first, _, last = part.partition("-")
            beyond += range(int(first), int(last or first) + 1)
        return cls(floor, beyond)

    def add(self, offset: int, *, oldest: int = 0) -> None:
        """Add an offset; records below *oldest* are no longer kept by Kafka."""
        self._beyond.add(offset)
        self._floor = max(self._floor, oldest)
        while self._floor in self._beyond:
            self._beyond.discard(self._floor)
            self._floor += 1
        self._beyond = {known for known in self._beyond if known >= self._floor}

    def encode(self) -> tuple[int, str]:
        """Return floor and metadata; raises MediactlError when the broker would not keep it."""
        parts: list[str] = []
        for first, last in _ranges(sorted(self._beyond)):
            parts.append(f"{first}" if first == last else f"{first}-{last}")
        text = ",".join(parts)
        if len(text) > _METADATA_BYTES:
            raise MediactlError(
                "Too many single dead letters are done with: redrive or discard the oldest first."
            )
        return self._floor, text

    def __contains__(self, offset: int) -> bool:
        return offset < self._floor or offset in self._beyond


def _ranges(offsets: Sequence[int]) -> Iterable[tuple[int, int]]:
    first = last = None
    for offset in offsets:
        if last is not None and offset == last + 1:
            last = offset
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = offset
    if first is not None and last is not None:
        yield first, last


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
            name.removeprefix(_PREFIX): (value or b"").decode(errors="replace")
            for name, value in self.headers
            if name.startswith(_PREFIX)
        }

    @property
    def redrives(self) -> int:
        """How often it was sent again before."""
        text = self.about.get("redrives", "0")
        return int(text) if text.isdecimal() else 0

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
        if name == "company":
            return str(self.event.get("companyid", ""))
        if name == "asset":
            return str(self.event.get("subject") or (self.key or b"").decode(errors="replace"))
        if name in {"topic", "id"}:
            return self.topic if name == "topic" else self.id
        return self.about.get(name, "")

    def again(self) -> list[tuple[str, bytes | None]]:
        """Return the headers with which it is sent again: its own, and how often that was."""
        own = [(name, value) for name, value in self.headers if not name.startswith(_PREFIX)]
        return [*own, (_REDRIVES, str(self.redrives + 1).encode())]


@dataclass(frozen=True)
class Filter:
    """Letters whose *field* contains a text; several filters must all agree."""

    field: str
    text: str

    @classmethod
    def parse(cls, wish: str) -> Self:
        """Return the filter that ``reason=malformed`` means; raises MediactlError."""
        name, equals, text = wish.partition("=")
        if not equals or name not in FIELDS:
            raise MediactlError(
                f"--filter wants FIELD=TEXT, with a field of {', '.join(FIELDS)}; not {wish!r}."
            )
        return cls(name, text)

    def accepts(self, letter: Letter) -> bool:
        """Return whether the letter is meant."""
        return self.text.casefold() in letter.field(self.field).casefold()


class DeadLetters:
    """The dead letters of one stack."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._servers = bootstrap_servers
        self._prefix = prefix
        self._group = f"{prefix}{GROUP}"

    async def read(self) -> list[Letter]:
        """Return every letter that Kafka still has, the oldest first; raises MediactlError."""
        async with _translated():
            resolved = await self._resolved()
            return [letter async for letter in self._read(resolved)]

    async def _read(self, resolved: Mapping[TopicPartition, Resolved]) -> AsyncIterator[Letter]:
        async with self._consumer() as consumer:
            parts = self._partitions()
            consumer.assign(parts)
            begins = await consumer.beginning_offsets(parts)
            ends = await consumer.end_offsets(parts)
            found: list[tuple[TopicPartition, Any]] = []
            for part in parts:
                consumer.seek(part, begins[part])
            left = {part for part in parts if begins[part] < ends[part]}
            while left:
                for part, records in (await consumer.getmany(timeout_ms=200)).items():
                    found += [(part, record) for record in records]
                left = {part for part in left if await consumer.position(part) < ends[part]}
        for part, record in sorted(found, key=lambda pair: pair[1].timestamp):
            yield self._letter(record, record.offset in resolved.get(part, Resolved()))

    def _letter(self, record: Any, resolved: bool) -> Letter:
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
        """Send letters again, at most *rate* a second, yielding each once it is done with."""
        async with _translated(), self._producer() as producer:
            for number, letter in enumerate(letters):
                if rate and number:
                    await asyncio.sleep(1 / rate)
                await producer.send_and_wait(
                    self._prefix + letter.topic,
                    letter.value,
                    key=letter.key,
                    headers=letter.again(),
                )
                await self.resolve([letter])
                yield letter

    async def resolve(self, letters: Sequence[Letter]) -> None:
        """Count letters as done with, without sending them."""
        async with _translated(), self._consumer() as consumer:
            resolved = await self._resolved()
            consumer.assign(list({self._part(letter) for letter in letters}))
            changed: dict[TopicPartition, OffsetAndMetadata] = {}
            for part in {self._part(letter) for letter in letters}:
                own = resolved.get(part, Resolved())
                oldest = (await consumer.beginning_offsets([part]))[part]
                for letter in letters:
                    if self._part(letter) == part:
                        own.add(letter.offset, oldest=oldest)
                changed[part] = OffsetAndMetadata(*own.encode())
            await consumer.commit(changed)

    def _part(self, letter: Letter) -> TopicPartition:
        return TopicPartition(f"{self._prefix}{letter.topic}_dlq", letter.partition)

    async def _resolved(self) -> dict[TopicPartition, Resolved]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            committed = await admin.list_consumer_group_offsets(self._group)
        finally:
            await admin.close()
        return {
            part: Resolved.parse(found.offset, found.metadata)
            for part, found in committed.items()
            if found.offset >= 0
        }

    def _partitions(self) -> list[TopicPartition]:
        return [
            TopicPartition(f"{self._prefix}{topic.dlq}", number)
            for topic in TOPICS
            for number in range(DLQ_PARTITIONS)
        ]

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=self._group,
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
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            max_request_size=_MAX_RECORD_BYTES,
        )
        try:
            await producer.start()
            yield producer
        finally:
            await producer.stop()


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise MediactlError(f"Kafka does not answer as it should: {error!r}.") from error

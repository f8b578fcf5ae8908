"""
Which dead letters are done with, kept in Kafka as the offsets of a consumer group.

All below the group's offset are, and those that its metadata lists beyond, such as ``9,12-15``.
Invariant: what does not fit into the broker's limit for metadata is refused, never cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata
from media_runtime.settings import KafkaSettings

GROUP = "mediactl_dlq"
"""The consumer group, without the stack's prefix."""

# The broker's offset.metadata.max.bytes, unless it was given another one.
METADATA_BYTES = 4096


class ResolvedOffsetsError(RuntimeError):
    """What is done with cannot be read, or does not fit; the message says what to do."""


class Resolved:
    """The offsets of one partition that are done with: all below ``floor``, and some beyond."""

    def __init__(self, floor: int = 0, beyond: Iterable[int] = ()) -> None:
        self._floor = floor
        self._beyond = {offset for offset in beyond if offset >= floor}

    @classmethod
    def parse(cls, floor: int, metadata: str) -> Self:
        """Return what encode() gave; raises ResolvedOffsetsError for what others wrote."""
        beyond: list[int] = []
        try:
            for part in filter(None, metadata.split(",")):
                first, _, last = part.partition("-")
                beyond += range(int(first), int(last or first) + 1)
        except ValueError as error:
            raise ResolvedOffsetsError(
                f"Something else than mediactl committed {metadata[:60]!r} in its consumer group: "
                "delete the group, and all dead letters are open again."
            ) from error
        return cls(floor, beyond)

    def add(self, offset: int, *, oldest: int = 0) -> None:
        """Add an offset; records below *oldest* are no longer kept by Kafka."""
        if oldest > self._floor:
            self._floor = oldest
            self._beyond = {known for known in self._beyond if known >= oldest}
        if offset >= self._floor:
            self._beyond.add(offset)
        while self._floor in self._beyond:
            self._beyond.discard(self._floor)
            self._floor += 1

    def encode(self) -> tuple[int, str]:
        """Return floor and metadata; raises ResolvedOffsetsError for more than the broker keeps."""
        parts: list[str] = []
        for first, last in _ranges(sorted(self._beyond)):
            parts.append(f"{first}" if first == last else f"{first}-{last}")
        text = ",".join(parts)
        if len(text) > METADATA_BYTES:
            raise ResolvedOffsetsError(
                "There is no room to remember so many single dead letters: redrive or discard "
                f"the oldest open ones first, from offset {self._floor} on."
            )
        return self._floor, text

    def count_open(self, begin: int, end: int) -> int:
        """Return how many offsets from *begin* to before *end* are not done with."""
        first = max(begin, self._floor)
        return max(0, end - first) - sum(first <= offset < end for offset in self._beyond)

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


class ResolvedOffsets:
    """What one consumer group says is done with, read anew before each change."""

    def __init__(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, group: str) -> None:
        self._admin = admin
        self._consumer = consumer
        self._group = group

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: KafkaSettings, group: str) -> AsyncIterator[Self]:
        """Give the group's state for the block."""
        admin = AIOKafkaAdminClient(**settings.client_arguments())
        consumer = AIOKafkaConsumer(
            **settings.client_arguments(), group_id=group, enable_auto_commit=False
        )
        try:
            await admin.start()
            await consumer.start()
            yield cls(admin, consumer, group)
        finally:
            await consumer.stop()
            await admin.close()

    async def read(self) -> dict[TopicPartition, Resolved]:
        """Return what is done with, by partition."""
        committed = await self._admin.list_consumer_group_offsets(self._group)
        return {
            part: Resolved.parse(found.offset, found.metadata)
            for part, found in committed.items()
            if found.offset >= 0
        }

    async def check(self, wanted: Mapping[TopicPartition, Sequence[int]]) -> None:
        """Raise ResolvedOffsetsError unless the offsets can be added one by one, in this order."""
        known, oldest = await self._before(wanted)
        for part, offsets in wanted.items():
            for offset in offsets:
                known[part].add(offset, oldest=oldest[part])
                known[part].encode()

    async def add(self, wanted: Mapping[TopicPartition, Sequence[int]]) -> None:
        """Count offsets as done with; without room ResolvedOffsetsError, and nothing changes."""
        known, oldest = await self._before(wanted)
        for part, offsets in wanted.items():
            for offset in offsets:
                known[part].add(offset, oldest=oldest[part])
        changed = {part: OffsetAndMetadata(*known[part].encode()) for part in wanted}
        if not set(changed) <= self._consumer.assignment():
            self._consumer.assign(list(changed))
            self._consumer.pause(*changed)  # it commits, and reads nothing
        await self._consumer.commit(changed)

    async def _before(
        self, wanted: Mapping[TopicPartition, Sequence[int]]
    ) -> tuple[dict[TopicPartition, Resolved], dict[TopicPartition, int]]:
        known = await self.read()
        oldest = await self._consumer.beginning_offsets(list(wanted))
        return {part: known.get(part, Resolved()) for part in wanted}, oldest

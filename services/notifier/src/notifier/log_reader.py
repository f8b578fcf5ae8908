"""
Opens consumers on the log of events, and reads stretches of it for clients that were away long.

Invariant: a stretch is read whole or EventsLostError is raised; a consumer never jumps by itself.
Reading waits for nobody who is to hear of it: a slow client costs others nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from media_contracts import ContractError, Topic
from media_runtime.kafka import clients
from notifier.hub import Entry, Stream, frame
from notifier.positions import SLOTS, TOPICS, PositionCodec, Positions
from notifier.settings import NotifierSettings

WAIT_MS = 200
RECORDS_AT_ONCE = 500

_MOST_BYTES = 8 * 1024 * 1024  # of one company's events, for as long as its client takes
_FETCH_BYTES = 256 * 1024  # of each of 24 partitions; a larger record comes alone
_RETRY_MS = 500  # each try while a broker is away is several lines of log
_BY_NAME = {topic.name: topic for topic in TOPICS}


class EventsLostError(Exception):
    """
    What came after a position cannot be told.

    The log no longer holds it, or never did, or it is more than is read for one client.
    """


class LogReader:
    """Reads all partitions that clients hear of; a *slot* is the place of one in positions."""

    def __init__(self, settings: NotifierSettings, codec: PositionCodec) -> None:
        self._settings = settings
        self._codec = codec
        self._stretch_records = settings.backfill_records
        self._stretch_seconds = settings.backfill_seconds
        self._turns = asyncio.Semaphore(settings.backfills_at_once)
        self.partitions = [
            TopicPartition(settings.kafka_topic_prefix + name, number) for name, number in SLOTS
        ]
        self._slots = {partition: slot for slot, partition in enumerate(self.partitions)}

    def slot_of(self, record: ConsumerRecord[Any, Any]) -> int:
        """Return the slot that *record* came from."""
        return self._slots[TopicPartition(record.topic, record.partition)]

    @staticmethod
    def topic_of(slot: int) -> Topic:
        """Return the contract of the records of *slot*."""
        return _BY_NAME[SLOTS[slot][0]]

    @asynccontextmanager
    async def consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """Connect a consumer that reads nothing yet; see start_from()."""
        consumer = AIOKafkaConsumer(
            **self._settings.client_arguments(),
            client_id="notifier",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            # In a burst, what follows in a partition waits until a fetch of the others is answered.
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=_FETCH_BYTES,
            retry_backoff_ms=_RETRY_MS,
        )
        async with clients.started(consumer):
            yield consumer

    def start_from(self, consumer: AIOKafkaConsumer, offsets: Mapping[int, int]) -> None:
        """Make *consumer* read each of these slots from its offset."""
        # Assigned and placed in one step: a consumer would fetch from elsewhere in between.
        consumer.assign([self.partitions[slot] for slot in offsets])
        for slot, offset in offsets.items():
            consumer.seek(self.partitions[slot], offset)

    async def missed(self, start: Positions, end: Positions, stream: Stream) -> deque[Entry]:
        """
        Return what *stream* wants from *start* to before *end*, in order for each asset.

        Raises EventsLostError, for a stretch that is longer than one may be as well.
        """
        async with self._turns:
            try:
                async with asyncio.timeout(self._stretch_seconds), self.consumer() as consumer:
                    await self._check_kept(consumer, start)
                    return await self._stretch(consumer, start, end, stream)
            except OffsetOutOfRangeError as error:
                raise EventsLostError("retention was faster than the reader") from error
            except TimeoutError as error:
                raise EventsLostError("reading the log takes too long") from error

    async def _check_kept(self, consumer: AIOKafkaConsumer, start: Positions) -> None:
        first = await consumer.beginning_offsets(self.partitions)
        end = await consumer.end_offsets(self.partitions)
        if not all(
            first[place] <= wanted <= end[place]
            for place, wanted in zip(self.partitions, start, strict=True)
        ):
            raise EventsLostError("the position is outside of the log")

    async def _stretch(
        self, consumer: AIOKafkaConsumer, start: Positions, end: Positions, stream: Stream
    ) -> deque[Entry]:
        positions, found = list(start), deque[Entry]()
        marks = (str(stream.company_id).encode(), stream.company_id.hex.encode())
        unread = {slot for slot in range(len(SLOTS)) if start[slot] < end[slot]}
        self.start_from(consumer, {slot: start[slot] for slot in unread})
        read = held = 0
        while unread:
            batches = await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE)
            for records in batches.values():
                read += len(records)
                for record in records:
                    slot = self.slot_of(record)
                    if record.offset >= end[slot]:
                        break
                    positions[slot] = record.offset + 1
                    if not _mentions(record, marks):
                        continue
                    entry = self._entry(slot, record, positions, stream)
                    if entry is not None:
                        found.append(entry)
                        held += len(entry.frame)
            if read > self._stretch_records or held > _MOST_BYTES:
                raise EventsLostError("it is more than is read for one client")
            # A log may have gaps: the consumer's own place decides.
            for slot in list(unread):
                if await consumer.position(self.partitions[slot]) >= end[slot]:
                    unread.remove(slot)
                    consumer.pause(self.partitions[slot])
            await asyncio.sleep(0)
        return found

    def _entry(
        self, slot: int, record: ConsumerRecord[Any, Any], at: list[int], stream: Stream
    ) -> Entry | None:
        topic = self.topic_of(slot)
        try:
            event = topic.parse(record.value)
        except ContractError:
            return None
        if event is None:
            return None
        company, asset, value = event.companyid, event.subject, record.value or b""
        if not stream.wants_of(slot, record.offset, company, asset):
            return None
        position = self._codec.encode(at, company)
        return Entry(
            slot,
            record.offset,
            company,
            asset,
            topic.name,
            position,
            frame(topic.name, position, value),
        )


def _mentions(record: ConsumerRecord[Any, Any], marks: tuple[bytes, ...]) -> bool:
    # Most of a stretch is other companies' events: telling so costs a tenth of parsing them.
    value = (record.value or b"").lower()
    return any(mark in value for mark in marks)

"""
Reads the topics that clients hear of.

A client's position is one in the log, not one of a group, and every replica needs every event:
so this reads all partitions by manual assignment, commits nothing, and joins no group.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from media_contracts import CloudEvent, ContractError
from media_runtime.errors import TransientError
from media_runtime.kafka import Producer, dead_letter
from media_runtime.settings import KafkaSettings
from notifier.hub import Entry, Hub
from notifier.metrics import DELIVERED, FANOUT_SECONDS, MALFORMED
from notifier.positions import SLOTS, TOPICS, PositionCodec, Positions

log = structlog.get_logger(__name__)

_SERVICE = "notifier"
_WAIT_MS = 200
_RETRY_SECONDS = 1.0
_BY_NAME = {topic.name: topic for topic in TOPICS}


class NotCaughtUpError(TransientError):
    """The reader has yet to reach what was in the log when it started."""


class EventLog:
    """The log of events, followed by one reader for all streams of this replica."""

    def __init__(
        self,
        settings: KafkaSettings,
        producer: Producer,
        hub: Hub,
        codec: PositionCodec,
        *,
        history_seconds: float,
        backfills_at_once: int,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._hub = hub
        self._codec = codec
        self._history_seconds = history_seconds
        self._backfills = asyncio.Semaphore(backfills_at_once)
        self._partitions = [
            TopicPartition(settings.kafka_topic_prefix + name, number) for name, number in SLOTS
        ]
        self._slots = {partition: slot for slot, partition in enumerate(self._partitions)}
        self._live_from: Positions | None = None

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Read in the background for the block."""
        task = asyncio.create_task(self._follow_for_ever(), name="event-log")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def caught_up(self) -> None:
        """Raise NotCaughtUpError until all that was there at the start has been read."""
        if self._live_from is None or any(
            here < there for here, there in zip(self._hub.positions, self._live_from, strict=True)
        ):
            raise NotCaughtUpError("the event log is still being read")

    async def still_kept(self, positions: Positions) -> bool:
        """Tell whether the log still holds all that came after *positions*."""
        async with self._consumer() as consumer:
            first = await consumer.beginning_offsets(self._partitions)
            end = await consumer.end_offsets(self._partitions)
        return all(
            first[partition] <= wanted <= end[partition]
            for partition, wanted in zip(self._partitions, positions, strict=True)
        )

    async def between(
        self, start: Positions, end: Positions, company_id: Any, asset_id: Any
    ) -> AsyncIterator[Entry]:
        """Yield a company's events from *start* to before *end*, in order for each asset."""
        positions = list(start)
        async with self._backfills, self._consumer() as consumer:
            for slot, partition in enumerate(self._partitions):
                consumer.seek(partition, start[slot])
            open_slots = {slot for slot in range(len(SLOTS)) if start[slot] < end[slot]}
            consumer.pause(*(p for p, slot in self._slots.items() if slot not in open_slots))
            while open_slots:
                for partition, records in (await consumer.getmany(timeout_ms=_WAIT_MS)).items():
                    slot = self._slots[partition]
                    for record in records:
                        if record.offset >= end[slot]:
                            break
                        positions[slot] = record.offset + 1
                        entry = self._entry(slot, record, positions)
                        if (
                            entry
                            and entry.company_id == company_id
                            and (asset_id in {None, entry.asset_id})
                        ):
                            DELIVERED.labels(entry.kind).inc()
                            yield entry
                # Compaction and aborted records leave gaps: the consumer's own place decides.
                for slot in list(open_slots):
                    if await consumer.position(self._partitions[slot]) >= end[slot]:
                        open_slots.remove(slot)
                        consumer.pause(self._partitions[slot])

    def _entry(self, slot: int, record: ConsumerRecord[Any, Any], at: list[int]) -> Entry | None:
        name, _ = SLOTS[slot]
        try:
            event = _BY_NAME[name].parse(record.value)
        except ContractError:
            return None
        return Entry(
            slot,
            record.offset,
            event.companyid,
            event.subject,
            name,
            record.value,
            self._codec.encode(at),
        )

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                async with self._consumer() as consumer:
                    await self._seek(consumer)
                    while True:
                        for records in (await consumer.getmany(timeout_ms=_WAIT_MS)).values():
                            for record in records:
                                await self._take(record)
            except (KafkaError, TransientError, OSError) as error:
                log.warning("event_log_waits", error=str(error))
            except Exception:
                log.exception("event_log_failed")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Go on where the hub stands; at the very start, go back by the history's length."""
        if self._live_from is None:
            end = await consumer.end_offsets(self._partitions)
            since = int((datetime.now(UTC).timestamp() - self._history_seconds) * 1000)
            found = await consumer.offsets_for_times(dict.fromkeys(self._partitions, since))
            start = [found[p].offset if found.get(p) else end[p] for p in self._partitions]
            self._hub.start_at(tuple(start))
            self._live_from = tuple(end[partition] for partition in self._partitions)
        for slot, partition in enumerate(self._partitions):
            consumer.seek(partition, self._hub.positions[slot])

    async def _take(self, record: ConsumerRecord[Any, Any]) -> None:
        slot = self._slots[TopicPartition(record.topic, record.partition)]
        name, _ = SLOTS[slot]
        try:
            event: CloudEvent[Any] = _BY_NAME[name].parse(record.value)
        except ContractError as error:
            await self._refuse(record, name, error, slot)
            return
        self._hub.publish(slot, record.offset, event.companyid, event.subject, name, record.value)
        FANOUT_SECONDS.observe(max(0.0, datetime.now(UTC).timestamp() - event.time.timestamp()))

    async def _refuse(
        self, record: ConsumerRecord[Any, Any], name: str, error: ContractError, slot: int
    ) -> None:
        # History was live once, and its malformed records were dead-lettered then.
        if self._live_from is not None and record.offset >= self._live_from[slot]:
            MALFORMED.labels(name).inc()
            await self._producer.send(dead_letter(record, error, name, 1, _SERVICE))
        self._hub.skip(slot, record.offset)

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            client_id=_SERVICE,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        consumer.assign(self._partitions)
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

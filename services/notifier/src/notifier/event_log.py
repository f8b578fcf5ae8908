"""
Reads the topics that clients hear of, for all streams of this replica.

A client's position is one in the log, not one of a group, and every replica needs every event:
a consumer group would divide the partitions and keep an offset that nobody asks for. So this
reads all partitions by manual assignment, commits nothing, and joins no group.

Invariant: the hub has every record up to its positions, in the order of each partition; after
an outage reading goes on from there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from media_contracts import ContractError, Topic
from media_runtime import background
from media_runtime.errors import TransientError
from media_runtime.kafka.consumer import known_event
from media_runtime.kafka.dead_letters import dead_letter
from media_runtime.kafka.producer import Producer
from media_runtime.kafka.tracing import processing
from notifier.hub import Hub
from notifier.log_reader import RECORDS_AT_ONCE, WAIT_MS, LogReader
from notifier.metrics import BEHIND, FANOUT_SECONDS, MALFORMED, RESTARTS
from notifier.positions import Positions
from notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

_SERVICE = "notifier"
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 5.0
# Streams empty their queues after each so many records: a burst must not look like slow clients.
_BURST = 16


class NotCaughtUpError(TransientError):
    """The reader has yet to reach what was in the log when it started."""


class EventLog:
    """Follows the log and publishes what is new to the hub; calls *told* after each."""

    def __init__(
        self,
        reader: LogReader,
        producer: Producer,
        hub: Hub,
        settings: NotifierSettings,
        *,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._told = told
        self._reader = reader
        self._producer = producer
        self._hub = hub
        self._history_seconds = settings.history_seconds
        self._history_events = settings.history_events
        self._live_from: Positions | None = None
        self._caught_up = asyncio.Event()
        self._delay = _FIRST_DELAY_SECONDS

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read in the background for the block."""
        async with background.running(event_log=self._follow_for_ever()):
            yield

    async def caught_up(self, *, within_seconds: float = 0.01) -> None:
        """Raise NotCaughtUpError unless all that was there at the start is read in time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._caught_up.wait()
        except TimeoutError as error:
            raise NotCaughtUpError("the event log is still being read") from error

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
            except OffsetOutOfRangeError as error:
                # Retention passed this replica by, or the topics were made anew.
                log.error("event_log_moved", error=repr(error))  # noqa: TRY400
                self._live_from = None
                self._caught_up.clear()
            except (KafkaError, TransientError, OSError) as error:
                log.warning("event_log_waits", error=repr(error))
            except (Exception, asyncio.CancelledError):
                if background.is_ending():
                    raise
                log.exception("event_log_failed")
            RESTARTS.inc()
            await asyncio.sleep(self._delay * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            self._delay = min(self._delay * 2, _LONGEST_DELAY_SECONDS)

    async def _follow(self) -> None:
        async with self._reader.consumer() as consumer:
            await self._seek(consumer)
            while True:
                await self._look_around(consumer)
                batches = await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_AT_ONCE)
                taken = 0
                for records in batches.values():
                    for record in records:
                        await self._take(record)
                        taken += 1
                        if taken % _BURST == 0:
                            await asyncio.sleep(0)

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Go on where the hub stands; at the very start, go back by the history's length."""
        if self._live_from is None:
            end = await consumer.end_offsets(self._reader.partitions)
            since = int((datetime.now(UTC).timestamp() - self._history_seconds) * 1000)
            found = await consumer.offsets_for_times(dict.fromkeys(self._reader.partitions, since))
            first = await consumer.beginning_offsets(self._reader.partitions)
            start = [
                max(
                    found[place].offset if found.get(place) else end[place],
                    end[place] - self._history_events,
                    first[place],
                )
                for place in self._reader.partitions
            ]
            self._hub.start_at(tuple(start))
            self._live_from = tuple(end[place] for place in self._reader.partitions)
        self._reader.start_from(consumer, dict(enumerate(self._hub.positions)))

    async def _look_around(self, consumer: AIOKafkaConsumer) -> None:
        self._delay = _FIRST_DELAY_SECONDS
        here = [await consumer.position(place) for place in self._reader.partitions]
        ends = [consumer.highwater(place) for place in self._reader.partitions]
        BEHIND.set(sum(max(0, (end or 0) - at) for at, end in zip(here, ends, strict=True)))
        # The consumer's own place decides, since a log may have gaps at its end.
        if self._live_from is not None and all(
            at >= end for at, end in zip(here, self._live_from, strict=True)
        ):
            self._caught_up.set()
        await asyncio.sleep(0)  # a long history must not keep the streams waiting

    async def _take(self, record: ConsumerRecord[Any, Any]) -> None:
        slot = self._reader.slot_of(record)
        topic = self._reader.topic_of(slot)
        # History was live once: it was measured, and its malformed records refused, then.
        live = self._live_from is not None and record.offset >= self._live_from[slot]
        try:
            event = (known_event if live else Topic.parse)(topic, record.value)
        except ContractError as error:
            event = None
            if live:
                await self._refuse(record, topic.name, error)
        if event is None:
            self._hub.skip(slot, record.offset)
            return
        with processing(record) if live else nullcontext():
            self._hub.publish(
                slot,
                record.offset,
                company_id=event.companyid,
                asset_id=event.subject,
                kind=topic.name,
                data=record.value or b"",
            )
        if live:
            self._told()
            delay = datetime.now(UTC).timestamp() - event.time.timestamp()
            FANOUT_SECONDS.observe(max(0.0, delay))

    async def _refuse(
        self, record: ConsumerRecord[Any, Any], topic: str, error: ContractError
    ) -> None:
        log.error("dead_letter", topic=topic, offset=record.offset, error=str(error)[:200])
        await self._producer.send(dead_letter(record, error, topic, 1, _SERVICE))
        MALFORMED.labels(topic).inc()

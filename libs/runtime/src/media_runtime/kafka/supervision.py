"""
Makes consumers, notices those that stand still, and replaces them.

aiokafka ends a consumer's background task on an error that it does not know; FastStream would
ask that consumer for records for ever, and its partitions would have no reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from media_runtime import background
from media_runtime.kafka.commits import CommitsTogether
from media_runtime.kafka.turns import ConsumerInTurns, Turns
from prometheus_client import Counter

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 5.0

REPLACED = Counter("kafka_consumers_replaced_total", "Consumers replaced as they stood still.")


class SupervisedBroker(KafkaBroker):
    """A broker whose consumers are looked at every few seconds while it runs."""

    _mender: asyncio.Task[None] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.turns: dict[str, Turns] = {}
        """Of the groups whose consumers read ahead."""

    async def start(self) -> None:
        """Start all consumers, and begin to look at them; those that wait for Kafka start later."""
        try:
            await super().start()
        except KafkaError as error:
            # FastStream has said by then that the service has started: with the error it would live
            # on without consumers.
            log.warning("consumer_waits", error=repr(error))
        self._mender = asyncio.create_task(
            background.repeat(self._mend, name="consumers", retry_seconds=_PAUSE_SECONDS)
        )

    async def stop(self, *error: Any) -> None:
        """Stop all consumers."""
        if self._mender is not None:
            self._mender.cancel()
            await asyncio.wait([self._mender])
        await super().stop(*error)

    async def _connect(self) -> Callable[..., AIOKafkaConsumer]:
        self.config.broker_config.builder = partial(self._consumer, await super()._connect())
        return self.config.broker_config.builder

    def _consumer(self, build: Any, *, group_id: str, **options: Any) -> AIOKafkaConsumer:
        turns = self.turns.get(group_id)
        made = partial(ConsumerInTurns, turns) if turns else CommitsTogether
        return made(group_id=group_id, **{**build.keywords, **options})

    async def _mend(self) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        for subscriber in self.subscribers:
            if not subscriber.running or _has_stalled(subscriber.consumer):  # type: ignore[attr-defined]
                await _replace_consumer(subscriber)


def _has_stalled(consumer: AIOKafkaConsumer | None) -> bool:
    # Neither task ends in a consumer that is well, and neither is to be had otherwise.
    return consumer is not None and (
        consumer._coordinator._coordination_task.done()  # noqa: SLF001
        or consumer._fetcher._fetch_task.done()  # noqa: SLF001
    )


async def _replace_consumer(subscriber: Any) -> None:
    log.error("consumer_replaced", topics=subscriber.topic_names)
    REPLACED.inc()
    try:
        await subscriber.stop()
    except (KafkaError, asyncio.CancelledError):
        # What it ended with: aiokafka lets the cancellation of tasks of its own through.
        if background.is_ending():
            raise
    try:
        await subscriber.start()
    except Exception as error:  # noqa: BLE001 - Kafka may be away, and come back in any state
        log.warning("consumer_waits", error=repr(error))

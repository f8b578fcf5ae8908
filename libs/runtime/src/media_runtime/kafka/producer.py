"""Records on their way into Kafka, and what sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from media_contracts import DLQ_MAX_MESSAGE_BYTES, CloudEvent, Topic
from media_runtime.errors import TransientError
from media_runtime.kafka import clients, tracing
from media_runtime.settings import KafkaSettings

_SEND_SECONDS = 30.0

Headers = Sequence[tuple[str, bytes | None]]


class KafkaUnavailableError(TransientError):
    """Kafka did not confirm a record; it may or may not have been written."""


@dataclass(frozen=True)
class OutgoingRecord:
    """A record to be sent; ``topic`` is the contract's name, without the stack's prefix."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Headers = ()


class Producer:
    """
    Sends records with acks from all replicas and without duplicates by retries.

    It connects at its first use, so a service starts, and signs, while Kafka is away.
    """

    def __init__(self, settings: KafkaSettings, *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._discarded: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: KafkaSettings, *, name: str) -> AsyncIterator[Producer]:
        """Give a producer for the block; what was sent is flushed at its end."""
        producer = cls(settings, name=name)
        try:
            yield producer
        finally:
            await producer.aclose()

    async def aclose(self) -> None:
        """Flush what was sent, and disconnect."""
        if self._producer is not None:
            await clients.stop(self._producer)
        for task in list(self._discarded):
            task.cancel()

    async def send(self, record: OutgoingRecord) -> None:
        """Return once Kafka has the record; raises KafkaUnavailableError otherwise."""
        await self.send_all([record])

    async def send_all(self, records: Sequence[OutgoingRecord]) -> None:
        """
        Return once Kafka has all *records*, kept in order for each key.

        Raises KafkaUnavailableError when any is unconfirmed; the others may be there.
        """
        prefix = self._settings.kafka_topic_prefix
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                producer = await self._started()
                confirmations = [
                    await producer.send(
                        prefix + record.topic,
                        value=record.value,
                        key=record.key.encode() if isinstance(record.key, str) else record.key,
                        headers=list(record.headers),
                    )
                    for record in records
                ]
                await asyncio.gather(*confirmations)
        except (KafkaError, TimeoutError, OSError) as error:
            self._discard()
            raise KafkaUnavailableError(f"Kafka did not confirm: {error!r}") from error

    def _discard(self) -> None:
        # An idempotent producer that lost a batch may refuse all later ones: begin anew.
        if self._producer is not None:
            task = asyncio.create_task(clients.stop(self._producer))
            self._discarded.add(task)
            task.add_done_callback(self._discarded.discard)
            self._producer = None

    async def ping(self) -> None:
        """Raise KafkaUnavailableError unless a broker answers."""
        try:
            producer = await self._started()
            await producer.client.fetch_all_metadata()
        except (KafkaError, OSError) as error:
            raise KafkaUnavailableError(f"Kafka: {error!r}") from error

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._settings.client_arguments(),
                    client_id=self._name,
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=int(_SEND_SECONDS * 1000),
                    max_request_size=DLQ_MAX_MESSAGE_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    await clients.stop(producer)
                    raise
                self._producer = producer
        return self._producer


def event_record(topic: Topic, event: CloudEvent[Any], *, traced: bool = True) -> OutgoingRecord:
    """
    Return *event* as a record of *topic*, keyed by its asset.

    Its traceparent becomes that of the span in which the record is made, so that consumers go
    on from there. A record that is not *traced* has no span, and none of its consumers has.
    """
    key = str(event.subject)
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    if traced:
        carried = tracing.created(topic.name, key, event.traceparent)
        event = event.model_copy(update={"traceparent": carried.get("traceparent")})
        headers += [(name, value.encode()) for name, value in carried.items()]
    return OutgoingRecord(topic.name, key, event.to_bytes(), headers)

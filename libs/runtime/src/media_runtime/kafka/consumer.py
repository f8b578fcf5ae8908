"""
Kafka: the only way in which services consume and produce.

Invariant: a record is committed, soon, after its handler succeeded, or after its original bytes
are in the dead-letter topic. While infrastructure is away the record is retried in place.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import ConsumerRecord
from faststream import AckPolicy, BaseMiddleware, ContextRepo
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.prometheus import KafkaPrometheusMiddleware
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512
from media_contracts import CloudEvent, Topic
from media_runtime.errors import TransientError
from media_runtime.kafka import tracing as kafka_tracing
from media_runtime.kafka.dead_letters import dead_letter, dead_letter_reason
from media_runtime.kafka.producer import KafkaUnavailableError, Producer
from media_runtime.kafka.supervision import SupervisedBroker
from media_runtime.kafka.turns import Turns
from media_runtime.settings import KafkaSettings
from media_runtime.telemetry import tracing
from prometheus_client import REGISTRY, Counter

log = structlog.get_logger(__name__)

# After a kill -9 the group waits this long for the dead member before it goes on. Handlers do
# not block the loop, so heartbeats come in time.
_SESSION_MS = 10_000
_HEARTBEAT_MS = 3_000
_GRACE_SECONDS = 15.0
# Retrying in place must end well inside max_poll_interval_ms (5 min), or the group evicts us.
_IN_PLACE_SECONDS = 90.0
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 10.0
_TYPE_IS_WITHIN = 200

DEAD_LETTERED = Counter(
    "kafka_dead_lettered_total", "Records moved to a dead-letter topic.", ["topic", "reason"]
)
RETRIED = Counter(
    "kafka_handler_retries_total", "Records retried because infrastructure was away.", ["topic"]
)
UNKNOWN = Counter(
    "kafka_unknown_events_total",
    "Events that were passed over: this version does not know their type.",
    ["topic"],
)

_MECHANISMS: Mapping[str, type[SASLPlaintext | SASLScram256 | SASLScram512]] = {
    "PLAIN": SASLPlaintext,
    "SCRAM-SHA-256": SASLScram256,
    "SCRAM-SHA-512": SASLScram512,
}

EventHandler = Callable[[CloudEvent[Any]], Awaitable[None]]
BytesHandler = Callable[[bytes], Awaitable[None]]
BatchHandler = Callable[[Sequence[bytes]], Awaitable[None]]


class BadRecordsError(Exception):
    """Records of a batch whose handler refused each of them alone; it took the others."""

    def __init__(self, records: Sequence[tuple[ConsumerRecord[Any, Any], Exception]]) -> None:
        super().__init__(f"{len(records)} records of a batch")
        self.records = records


def make_broker(settings: KafkaSettings, producer: Producer, *, name: str) -> SupervisedBroker:
    """Return a consuming broker whose middleware settles every error; *producer* feeds DLQs."""
    return SupervisedBroker(
        settings.kafka_bootstrap_servers,
        client_id=name,
        security=_security(settings),
        consumer_only=True,
        allow_auto_create_topics=False,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        graceful_timeout=_GRACE_SECONDS,
        parser=_parse_any_headers,
        decoder=_keep_bytes,
        middlewares=[
            *kafka_tracing.middlewares(),
            KafkaPrometheusMiddleware(registry=REGISTRY, app_name=name),
            _Settle(producer, prefix=settings.kafka_topic_prefix, service=name),
        ],
        logger=None,
    )


def _security(settings: KafkaSettings) -> BaseSecurity:
    """Return the login of *settings* in FastStream's words."""
    arguments = settings.client_arguments()
    encrypted = {"ssl_context": arguments["ssl_context"], "use_ssl": settings.kafka_is_encrypted}
    if not settings.kafka_has_logins:
        return BaseSecurity(**encrypted)
    login = {
        "username": arguments["sasl_plain_username"],
        "password": arguments["sasl_plain_password"],
    }
    return _MECHANISMS[settings.kafka_sasl_mechanism](**login, **encrypted)


def known_event(topic: Topic, value: bytes | None) -> CloudEvent[Any] | None:
    """
    Return the event in a record's value; raises ContractError where there is none.

    None, which is counted, is an event of a type that this version does not know.
    """
    event = topic.parse(value)
    if event is None:
        UNKNOWN.labels(topic=topic.name).inc()
        start = (value or b"")[:_TYPE_IS_WITHIN].decode(errors="replace")
        log.debug("unknown_event", topic=topic.name, start=start)
    return event


def on_events(
    broker: SupervisedBroker,
    topic: Topic,
    handler: EventHandler,
    *,
    settings: KafkaSettings,
    group: str | None = None,
    consumers: int = 1,
    turns: Turns | None = None,
) -> None:
    """
    Call *handler* with each event of *topic*, at least once, in order for each asset.

    Events of types that this version does not know are passed over.
    The consumer group is the topic's own, unless another *group* is named. With *turns* nobody's
    events wait until a flood of others has passed.
    *consumers* members of the group share this process; with FastStream's own
    ``max_workers`` a rebalance would hand partitions over while their handlers still run.
    """

    async def parsed(value: bytes) -> None:
        event = known_event(topic, value)
        if event is not None:
            await handler(event)

    on_bytes(
        broker, topic, parsed, settings=settings, group=group, consumers=consumers, turns=turns
    )


def on_bytes(
    broker: SupervisedBroker,
    topic: Topic,
    handler: BytesHandler,
    *,
    settings: KafkaSettings,
    group: str | None = None,
    consumers: int = 1,
    turns: Turns | None = None,
) -> None:
    """Do as on_events, for a topic whose messages are not ours to parse."""
    group = group or topic.group or topic.name

    async def consume(message: KafkaMessage) -> None:
        record: ConsumerRecord[Any, Any] = message.raw_message
        kafka_tracing.describe_processing([record], group)
        await handler(record.value or b"")

    for number in range(consumers):
        member = _member(settings, group, number)
        if turns:
            broker.turns[member["group_id"]] = turns
        subscriber = broker.subscriber(settings.kafka_topic_prefix + topic.name, **member)
        subscriber(consume)


def on_batches(
    broker: SupervisedBroker,
    topic: Topic,
    handler: BatchHandler,
    *,
    settings: KafkaSettings,
    most: int,
    turns: Turns,
) -> None:
    """
    Do as on_bytes, with up to *most* records of all partitions at a time, in the order of *turns*.

    Where *handler* raises, the batch is halved until the records that it cannot take stand alone;
    it may be given the others again.
    """
    group = topic.group or topic.name

    async def take(records: Sequence[ConsumerRecord[Any, Any]]) -> list[Any]:
        try:
            await handler([record.value or b"" for record in records])
        except TransientError:
            raise
        except Exception as error:  # noqa: BLE001 - it is told of the record that it came from
            if len(records) == 1:
                return [(records[0], error)]
            middle = len(records) // 2
            return await take(records[:middle]) + await take(records[middle:])
        return []

    async def consume(message: KafkaMessage) -> None:
        records: Sequence[ConsumerRecord[Any, Any]] = message.raw_message
        kafka_tracing.describe_processing(records, group)
        if bad := await take(records):
            raise BadRecordsError(bad)

    member = _member(settings, group)
    broker.turns[member["group_id"]] = turns
    subscriber = broker.subscriber(
        settings.kafka_topic_prefix + topic.name,
        **member,
        batch=True,
        max_records=most,
    )
    subscriber(consume)


def _member(settings: KafkaSettings, group: str, number: int = 0) -> dict[str, Any]:
    # KIP-345: a static member that comes back within its session finds its partitions.
    instance = f"{settings.kafka_instance_id}-{group}-{number}"
    return {
        "group_id": settings.kafka_topic_prefix + group,
        "group_instance_id": instance if settings.kafka_instance_id else None,
        "auto_offset_reset": "earliest",
        "ack_policy": AckPolicy.NACK_ON_ERROR,
        "max_workers": 1,
        "session_timeout_ms": _SESSION_MS,
        "heartbeat_interval_ms": _HEARTBEAT_MS,
    }


def consuming(broker: KafkaBroker, producer: Producer) -> Callable[[], Awaitable[None]]:
    """Return a readiness check: Kafka answers, and every consumer of *broker* runs."""

    async def check() -> None:
        await producer.ping()
        if not all(subscriber.running for subscriber in broker.subscribers):
            raise KafkaUnavailableError("not every consumer has started")

    return check


async def _parse_any_headers(
    raw: ConsumerRecord[Any, Any] | tuple[ConsumerRecord[Any, Any], ...],
    original: Callable[[Any], Awaitable[Any]],
) -> Any:
    # FastStream's parser raises on headers that are null or not UTF-8, and a record that
    # cannot be parsed is neither committed nor retried. Its bytes reach the DLQ untouched.
    is_batch = isinstance(raw, tuple)
    seen = tuple(map(_WithoutOddHeaders, raw)) if is_batch else _WithoutOddHeaders(raw)
    message = await original(seen)
    message.raw_message = raw
    return message


class _WithoutOddHeaders:
    """A record seen with the headers of its trace alone, if well-formed; all else is its own."""

    def __init__(self, record: ConsumerRecord[Any, Any]) -> None:
        self._record = record
        fields = tracing.extract(record.headers) if tracing.is_on() else {}
        self.headers = tuple((name, value.encode()) for name, value in fields.items())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)


async def _keep_bytes(message: KafkaMessage) -> Any:
    # Decoding happens inside the handler, where the middleware sees its errors.
    return message.body


class _Settle:
    """The broker middleware that decides what becomes of a record whose handler failed."""

    def __init__(self, producer: Producer, *, prefix: str, service: str) -> None:
        self._producer = producer
        self._prefix = prefix
        self._service = service

    def __call__(self, msg: Any, /, *, context: ContextRepo) -> BaseMiddleware[Any, Any]:
        return _SettleOne(msg, context=context, settle=self)

    async def handle(
        self, call_next: Callable[[Any], Awaitable[Any]], message: KafkaAckableMessage
    ) -> Any:
        raw = message.raw_message
        topic: str = (raw[0] if isinstance(raw, tuple) else raw).topic
        for attempt, delay in enumerate(_delays(_IN_PLACE_SECONDS), start=1):
            try:
                return await self._try(call_next, message, attempt)
            except TransientError as error:
                RETRIED.labels(topic=topic).inc()
                log.warning("retry_in_place", topic=topic, error=str(error))
                await asyncio.sleep(delay)
        # The record is not committed: NACK_ON_ERROR seeks back to it and the poll timer restarts.
        raise KafkaUnavailableError("infrastructure is still away")

    async def _try(
        self, call_next: Callable[[Any], Awaitable[Any]], message: KafkaAckableMessage, attempt: int
    ) -> Any:
        try:
            return await call_next(message)
        except TransientError:
            raise
        except BadRecordsError as batch:
            for record, error in batch.records:
                await self._dead_letter(record, error, attempt)
        except Exception as error:  # noqa: BLE001 - this is where every error is settled
            await self._dead_letter(message.raw_message, error, attempt)

    async def _dead_letter(
        self, record: ConsumerRecord[Any, Any], error: Exception, attempts: int
    ) -> None:
        reason = dead_letter_reason(error)
        topic = record.topic.removeprefix(self._prefix)
        tracing.mark_failed(error)
        log.error("dead_letter", topic=topic, reason=reason, exc_info=error)
        await self._producer.send(dead_letter(record, error, topic, attempts, self._service))
        DEAD_LETTERED.labels(topic=topic, reason=reason).inc()


class _SettleOne(BaseMiddleware[Any, Any]):
    def __init__(self, msg: Any, /, *, context: ContextRepo, settle: _Settle) -> None:
        super().__init__(msg, context=context)
        self._settle = settle

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
        return await self._settle.handle(call_next, msg)


def _delays(total_seconds: float) -> list[float]:
    """Return waits that double up to a ceiling, each jittered by half, *total_seconds* in all."""
    delays: list[float] = []
    delay = _FIRST_DELAY_SECONDS
    while sum(delays) < total_seconds:
        delays.append(delay * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
    return delays

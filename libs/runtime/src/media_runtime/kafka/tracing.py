"""
Spans of Kafka records, by the semantic conventions of OpenTelemetry for messaging.

Invariant: what is consumed is a child of what was created, by the record's ``traceparent``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from aiokafka import ConsumerRecord
from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware
from media_runtime.telemetry import tracing
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import SpanKind

_SYSTEM = "messaging.system"
_DESTINATION = "messaging.destination.name"
_NAME = "messaging.operation.name"
_TYPE = "messaging.operation.type"
_GROUP = "messaging.consumer.group.name"


def middlewares() -> list[KafkaTelemetryMiddleware]:
    """Return what gives each consumed record a span: nothing while tracing is off."""
    provider = tracing.tracer_provider()
    if provider is None:
        return []
    return [KafkaTelemetryMiddleware(tracer_provider=provider, meter_provider=NoOpMeterProvider())]


def created(topic: str, key: str, traceparent: str | None) -> Mapping[str, str]:
    """
    Make the span in which a record comes into being, and return what the record carries on.

    The record stays in the trace of *traceparent*, with a link to whatever else caused it;
    while tracing is off it carries *traceparent* itself.
    """
    if not tracing.is_on():
        return {"traceparent": traceparent} if traceparent else {}
    with tracing.span(
        f"create {topic}",
        kind=SpanKind.PRODUCER,
        parent=None if tracing.same_trace(traceparent) else traceparent,
        link_current=True,
        attributes={
            _SYSTEM: "kafka",
            _DESTINATION: topic,
            _NAME: "create",
            _TYPE: "create",
            "messaging.kafka.message.key": key,
        },
    ):
        return tracing.inject()


def describe_processing(records: Sequence[ConsumerRecord[Any, Any]], group: str) -> None:
    """Give the span of consumed records the names that the conventions have by now."""
    if tracing.is_on():
        trace.get_current_span().update_name(f"process {records[0].topic}")
        tracing.annotate({**_processed(records[0]), _GROUP: group})
        if len(records) > 1:
            tracing.annotate({"messaging.batch.message_count": len(records)})


@contextmanager
def processing(record: ConsumerRecord[Any, Any]) -> Iterator[None]:
    """Make a span of the block that takes *record*, if it is of a trace that is kept."""
    parent = tracing.extract(record.headers).get("traceparent") if tracing.is_on() else None
    if parent is None or not tracing.is_sampled(parent):
        yield
        return
    with tracing.span(
        f"process {record.topic}",
        kind=SpanKind.CONSUMER,
        parent=parent,
        attributes={**_processed(record), _SYSTEM: "kafka"},
    ):
        yield


def _processed(record: ConsumerRecord[Any, Any]) -> dict[str, str | int | bool]:
    return {
        _DESTINATION: record.topic,
        _NAME: "process",
        _TYPE: "process",
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }

"""Events as Kafka has kept them: its topics read by hand, from a moment on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS, CloudEvent, ContractError, Topic
from media_runtime.kafka import clients
from media_runtime.settings import KafkaSettings
from mediactl.errors import MediactlError

_TOPICS = {topic.name: topic for topic in (MEDIA_STATUS, MEDIA_PROCESSED)}
_WAIT_MS = 500


def print_events(
    variables: Mapping[str, str],
    since: datetime,
    *,
    types: Collection[str],
    company: UUID | None,
    follow: bool,
) -> None:
    """
    Print the events of these *types*, or of all, since a moment: those until now, or for ever.

    *variables* are what the stack publishes. Raises MediactlError where Kafka cannot be read.
    """
    fields = {name: variables.get(name.upper()) for name in KafkaSettings.model_fields}
    settings = KafkaSettings.model_validate({name: one for name, one in fields.items() if one})
    told = _told(settings, since, follow=follow)
    try:
        asyncio.run(_print(told, types, company))
    except (KafkaError, OSError) as error:
        raise MediactlError(f"Kafka cannot be read: {error!r}. Run 'mediactl status'.") from error


async def _print(
    told: AsyncIterator[tuple[CloudEvent[Any], bytes]],
    types: Collection[str],
    company: UUID | None,
) -> None:
    async for event, value in told:
        if (not types or event.type in types) and company in {None, event.companyid}:
            sys.stdout.write(f"{value.decode()}\n")
            sys.stdout.flush()


async def _told(
    settings: KafkaSettings, since: datetime, *, follow: bool
) -> AsyncIterator[tuple[CloudEvent[Any], bytes]]:
    """Yield events since a moment with their bytes: in order for each asset, and no other."""
    prefix = settings.kafka_topic_prefix
    by_partition = {
        TopicPartition(prefix + topic.name, number): topic
        for topic in _TOPICS.values()
        for number in range(topic.partitions)
    }
    consumer = AIOKafkaConsumer(
        **settings.client_arguments(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with clients.started(consumer):
        consumer.assign(list(by_partition))
        ends = await consumer.end_offsets(list(by_partition))
        wanted = dict.fromkeys(by_partition, int(since.timestamp() * 1000))
        for place, found in (await consumer.offsets_for_times(wanted)).items():
            consumer.seek(place, found.offset if found else ends[place])
        while follow or await _is_behind(consumer, ends):
            for place, records in (await consumer.getmany(timeout_ms=_WAIT_MS)).items():
                for record in records:
                    event = _event(by_partition[place], record.value)
                    if event and record.value and (follow or record.offset < ends[place]):
                        yield event, record.value


async def _is_behind(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    places = [(await consumer.position(place), end) for place, end in ends.items()]
    return any(at < end for at, end in places)


def _event(topic: Topic, value: bytes | None) -> CloudEvent[Any] | None:
    try:
        return topic.parse(value)
    except ContractError:
        return None  # it lies among the dead letters

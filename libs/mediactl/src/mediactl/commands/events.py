"""The command that prints what happened, as Kafka has kept it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS, CloudEvent, ContractError, Topic
from media_runtime.kafka import clients
from media_runtime.settings import KafkaSettings
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.errors import MediactlError, UsageError
from mediactl.tokens import parse_company
from watcher.operator.commands import parse_span

_TOPICS = {topic.name: topic for topic in (MEDIA_STATUS, MEDIA_PROCESSED)}
_WAIT_MS = 500


def events(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="As 30m, 24h, 7d or 2026-11-28T12:00:00Z.")
    ] = "1h",
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Repeatable. Default: all types.")
    ] = None,
    company: Annotated[str | None, typer.Option(metavar="UUID", help="Of this one alone.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until stopped.")] = False,
) -> None:
    """Print the events that companies and other teams heard of, a line of JSON each."""
    variables = read_variables(Home.from_environment())
    fields = {name: variables.get(name.upper()) for name in KafkaSettings.model_fields}
    settings = KafkaSettings.model_validate({name: one for name, one in fields.items() if one})
    of_company = parse_company(company) if company else None
    told = _told(settings, _moment(since), follow=follow)
    try:
        asyncio.run(_print(told, frozenset(types or ()), of_company))
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


def _moment(text: str) -> datetime:
    if text[:-1].isdecimal():
        return datetime.now(UTC) - parse_span(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: give 30m, 24h, 7d, or a time of ISO 8601.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)

"""What the stack left behind: records on Kafka, read as other teams do, and rows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from media_contracts import CloudEvent, Topic
from media_runtime.settings import KafkaSettings

from support.surroundings import variable


def as_another_team() -> KafkaSettings:
    """Return the stack's broker with the login that other teams are given."""
    return KafkaSettings().with_login(
        variable("KAFKA_SUBSCRIBER_USERNAME"), variable("KAFKA_SUBSCRIBER_PASSWORD")
    )


async def events_on(topic: Topic, asset_ids: Iterable[str]) -> list[CloudEvent[Any]]:
    """Return every event on *topic* that tells of these assets, repetitions included."""
    wanted = {UUID(asset_id) for asset_id in asset_ids}
    name = os.environ.get("KAFKA_TOPIC_PREFIX", "") + topic.name
    partitions = [TopicPartition(name, number) for number in range(topic.partitions)]
    consumer = AIOKafkaConsumer(**KafkaSettings().client_arguments())
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(part) < ends[part] for part in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                events = [topic.parse(one.value) for one in records if _is_of(wanted, one.value)]
                found += [event for event in events if event is not None]
    finally:
        await consumer.stop()
    return [event for event in found if event.subject in wanted]


def _is_of(assets: set[UUID], value: bytes) -> bool:
    # Other tests may have left what nobody can read.
    return any(str(asset).encode() in value for asset in assets)


async def skip_all(topic: Topic, *, group: str) -> None:
    """Commit the end of *topic* for a group without members: its records are lost to it."""
    settings = KafkaSettings(
        kafka_bootstrap_servers=variable("KAFKA_BOOTSTRAP_SERVERS"),
        kafka_topic_prefix=os.environ.get("KAFKA_TOPIC_PREFIX", ""),
    )
    await commit_end(settings, topic, group)


async def commit_end(settings: KafkaSettings, topic: Topic, group: str) -> None:
    """Commit the end of *topic* in these settings' log for a group without members."""
    prefix = settings.kafka_topic_prefix
    partitions = [TopicPartition(prefix + topic.name, n) for n in range(topic.partitions)]
    consumer = AIOKafkaConsumer(
        **settings.client_arguments(),
        group_id=prefix + group,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.commit(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()


@dataclass(frozen=True)
class Rows:
    """The database as an administrator sees it, past row-level security."""

    connection: Any

    async def transitions(self, asset_id: str) -> list[tuple[int, str | None, str]]:
        """Return attempt, status before and status after of each change, in order."""
        rows = await self.connection.fetch(
            "SELECT attempt, from_status, to_status FROM asset_transitions"
            " WHERE asset_id = $1 ORDER BY id",
            UUID(asset_id),
        )
        return [tuple(row) for row in rows]

    async def endings(self, asset_id: str) -> list[tuple[int, str]]:
        """Return attempt and outcome of each time that an asset ended."""
        return [
            (attempt, after)
            for attempt, _, after in await self.transitions(asset_id)
            if after in {"ready", "failed"}
        ]

    async def passed_by(self, asset_id: str, others: Iterable[str]) -> int:
        """Return how many of *others* became ready while an asset that is ready had to wait."""
        count: int = await self.connection.fetchval(
            "SELECT count(*) FROM asset_transitions its, asset_transitions other"
            " WHERE its.asset_id = $1 AND its.to_status = 'ready'"
            " AND other.asset_id = ANY($2::uuid[]) AND other.to_status = 'ready'"
            " AND other.at BETWEEN"
            " (SELECT min(created_at) FROM tasks WHERE asset_id = $1) AND its.at",
            UUID(asset_id),
            list(map(UUID, others)),
        )
        return count

    async def task(self, asset_id: str, name: str) -> dict[str, Any]:
        """Return a task of the newest attempt of an asset that has one of this name."""
        row = await self.connection.fetchrow(
            "SELECT * FROM tasks WHERE asset_id = $1 AND name = $2 ORDER BY attempt DESC LIMIT 1",
            UUID(asset_id),
            name,
        )
        assert row is not None, f"the asset has no task {name}"
        return dict(row)

    async def waiting(self, producer: str, asset_ids: Iterable[str]) -> int:
        """Return how many records of these assets wait in a service's outbox."""
        count: int = await self.connection.fetchval(
            "SELECT count(*) FROM outbox WHERE producer = $1 AND key = ANY($2::bytea[])",
            producer,
            [one.encode() for one in asset_ids],
        )
        return count

    @asynccontextmanager
    async def relay_held(self, producer: str) -> AsyncIterator[None]:
        """Keep a service's outbox from being relayed for the block."""
        async with self.connection.transaction():
            await self.connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('outbox'), hashtext($1))", producer
            )
            yield


@asynccontextmanager
async def open_rows() -> AsyncIterator[Rows]:
    """Connect as the stack's administrator for the block."""
    connection = await asyncpg.connect(variable("DATABASE_URL"))
    try:
        yield Rows(connection)
    finally:
        await connection.close()

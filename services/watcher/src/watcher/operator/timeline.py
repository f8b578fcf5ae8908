"""Everything that is known of one asset, for whoever asks what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS, ContractError, Topic
from media_records.actions import AssetNotFoundError
from media_records.files import all_files_of
from media_records.lifecycle import find_asset, history_of
from media_records.tables import Asset
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.kafka import clients
from media_runtime.settings import KafkaSettings
from media_runtime.storage.store import (
    ObjectMissingError,
    ObjectStore,
    output_prefix,
    quarantine_key,
    upload_key,
)

_SECONDS = 20.0
_EVENTS = (MEDIA_STATUS, MEDIA_PROCESSED)


async def read_history(
    database: Database, store: ObjectStore, settings: KafkaSettings, asset_id: UUID
) -> Mapping[str, Any]:
    """
    Return the asset's row, files, transitions, tasks, waiting messages, objects and events.

    What Kafka or storage cannot tell now is an ``error`` in its place. Raises
    AssetNotFoundError and, without the database, TransientError.
    """
    async with database.transaction() as connection:
        asset = await find_asset(connection, asset_id)
        if asset is None:
            raise AssetNotFoundError
        files = await all_files_of(connection, asset_id)
        rows = await history_of(connection, asset_id)
    return {
        "asset": asset.model_dump(),
        "trace_id": _trace_id(asset.traceparent),
        "files": [file.model_dump() for file in files],
        **rows,
        "objects": await _objects(store, asset),
        "events": await _events(settings, asset),
    }


def _trace_id(traceparent: str | None) -> str | None:
    return traceparent.split("-")[1] if traceparent else None


async def _objects(store: ObjectStore, asset: Asset) -> Any:
    try:
        found = [
            stored
            for key in (upload_key, quarantine_key, output_prefix)
            for stored in await store.objects(
                asset.bucket, key(asset.company_id, asset.id), all_versions=True
            )
        ]
    except (ObjectMissingError, TransientError) as error:
        return {"error": str(error)}
    return [
        {
            "key": stored.key,
            "version_id": stored.version_id,
            "size": stored.size,
            "modified_at": stored.modified_at,
            "is_latest": stored.is_latest,
        }
        for stored in found
    ]


async def _events(settings: KafkaSettings, asset: Asset) -> Any:
    """Return what was told of the asset, as long as Kafka keeps it, in order of each topic."""
    try:
        async with asyncio.timeout(_SECONDS):
            return [
                event
                for topic in _EVENTS
                for event in await _read_events(settings, topic, asset.id, asset.created_at)
            ]
    except TimeoutError:
        since = asset.created_at.isoformat(timespec="seconds")
        return {
            "error": f"The events since {since} were not read in time ({_SECONDS:.0f} s): Kafka is "
            "away, or its topics have too many."
        }
    except (KafkaError, OSError) as error:
        return {"error": f"Kafka: {error!r}"}


async def _read_events(
    settings: KafkaSettings, topic: Topic, asset_id: UUID, since: datetime
) -> Sequence[Mapping[str, Any]]:
    key = str(asset_id).encode()
    # Records of one key lie in one partition, which its producers choose in this way.
    number = DefaultPartitioner()(key, list(range(topic.partitions)), list(range(topic.partitions)))
    part = TopicPartition(settings.kafka_topic_prefix + topic.name, number)
    consumer = AIOKafkaConsumer(**settings.client_arguments(), enable_auto_commit=False)
    found = []
    async with clients.started(consumer):
        consumer.assign([part])
        end = (await consumer.end_offsets([part]))[part]
        starts = await consumer.offsets_for_times({part: int(since.timestamp() * 1000)})
        start = starts[part]
        if start is None:
            return []
        consumer.seek(part, start.offset)
        while await consumer.position(part) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [_told(topic, record) for record in records if record.key == key]
    return found


def _told(topic: Topic, record: Any) -> Mapping[str, Any]:
    place = {"topic": topic.name, "partition": record.partition, "offset": record.offset}
    try:
        event = topic.parse(record.value)
    except ContractError as error:
        return {**place, "error": str(error)}
    if event is None:
        return {**place, "error": "an event of a type that this version does not know"}
    return {
        **place,
        "id": event.id,
        "type": event.type,
        "time": event.time,
        "data": event.data.model_dump(mode="json", exclude_none=True),
    }

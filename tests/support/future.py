"""Events of types that nobody has made yet, as a newer service would send them."""

from __future__ import annotations

import json
import os
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer
from media_contracts import Topic
from media_runtime.settings import KafkaSettings


async def send_from_the_future(topic: Topic, company: UUID) -> list[UUID]:
    """Send one to each partition of *topic*; return their ids."""
    ids = [uuid4() for _ in range(topic.partitions)]
    async with AIOKafkaProducer(**KafkaSettings().client_arguments()) as producer:
        for partition, event_id in enumerate(ids):
            event = {
                "specversion": "1.0", "id": str(event_id), "source": "/media/ingest",
                "type": "media.asset.dreamt_of.v1", "subject": str(uuid4()),
                "time": "2031-01-01T00:00:00.000Z", "companyid": str(company),
                "data": {"dream": {"of": ["electric", "sheep"]}},
            }  # fmt: skip
            await producer.send_and_wait(
                os.environ.get("KAFKA_TOPIC_PREFIX", "") + topic.name,
                json.dumps(event).encode(),
                partition=partition,
            )
    return ids

"""Services deploy separately: an old one hears events of types that it does not know."""

from __future__ import annotations

import os

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS, MEDIA_THUMBNAIL, MEDIA_THUMBNAILED, Topic
from media_runtime.settings import KafkaSettings
from prometheus_client.parser import text_string_to_metric_families

from support.clients import Company
from support.eventually import eventually
from support.future import send_from_the_future
from support.http_clients import get
from support.media_files import make_photo
from support.surroundings import variable


def passed_over(service: str, topic: Topic) -> float:
    answer = get(variable(f"{service.upper()}_METRICS_URL"))
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "kafka_unknown_events_total" and sample.labels["topic"] == topic.name
    )


async def dead_letters(topic: Topic) -> int:
    part = TopicPartition(os.environ.get("KAFKA_TOPIC_PREFIX", "") + topic.dlq, 0)
    consumer = AIOKafkaConsumer(**KafkaSettings().client_arguments())
    async with consumer:
        ends = await consumer.end_offsets([part])
    return int(ends[part])


@pytest.mark.parametrize(
    ("topic", "service", "readers"),
    [
        (MEDIA_THUMBNAIL, "thumbnailer", 1),
        (MEDIA_THUMBNAILED, "ingest", 1),
        (MEDIA_STATUS, "notifier", 2),  # for streams, and for playback links
        (MEDIA_PROCESSED, "notifier", 1),
    ],
    ids=lambda value: getattr(value, "name", value),
)
async def test_an_event_of_a_type_from_the_future_is_passed_over(
    company: Company, tmp_path, topic, service, readers
):
    before, letters = passed_over(service, topic), await dead_letters(topic)

    sent = await send_from_the_future(topic, company.id)
    asset_id = await company.upload(make_photo(tmp_path / "photo.jpg"))

    assert (await company.ended(asset_id))["status"] == "ready"
    await eventually(lambda: passed_over(service, topic) == before + readers * len(sent))
    assert await dead_letters(topic) == letters

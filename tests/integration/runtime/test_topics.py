"""Topics are made as the contracts say, once, and never in another form."""

from __future__ import annotations

import os
import secrets

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from media_contracts import MEDIA_STATUS, TOPICS
from media_runtime.kafka.topics import TopicError, create_topics, wanted_topics
from media_runtime.settings import KafkaSettings

from support.eventually import eventually


@pytest.fixture
async def admin_client(kafka_settings):
    client = AIOKafkaAdminClient(**kafka_settings.client_arguments())
    await client.start()
    yield client
    await client.close()


async def partitions_of(client, name):
    return len((await client.describe_topics([name]))[0]["partitions"])


async def test_every_topic_has_its_partitions_and_a_dead_letter_topic(kafka_settings, admin_client):
    prefix = kafka_settings.kafka_topic_prefix
    names = [prefix + name for topic in TOPICS for name in (topic.name, topic.dlq)]
    found = await admin_client.describe_topics(names)
    partitions = {one["topic"].removeprefix(prefix): len(one["partitions"]) for one in found}
    assert partitions == {
        **{topic.name: 12 for topic in TOPICS},
        **{f"{topic.name}_dlq": 1 for topic in TOPICS},
    }


async def test_a_second_run_makes_nothing(kafka_settings):
    assert await create_topics(kafka_settings) == []


async def test_a_topic_with_other_partitions_is_an_error():
    settings = KafkaSettings(
        kafka_bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        kafka_topic_prefix=f"t_{secrets.token_hex(4)}_",
    )
    client = AIOKafkaAdminClient(**settings.client_arguments())
    await client.start()
    wrong = settings.kafka_topic_prefix + MEDIA_STATUS.name
    try:
        await client.create_topics([NewTopic(wrong, 3, 1)])
        # The broker answers for a new topic a moment later.
        await eventually(lambda: partitions_of(client, wrong))
        with pytest.raises(TopicError, match=f"{wrong} has 3 partitions, not 12"):
            await create_topics(settings)
    finally:
        await client.delete_topics([t.name for t in wanted_topics(settings.kafka_topic_prefix)])
        await client.close()


async def test_a_refused_topic_is_an_error(kafka_settings):
    with pytest.raises(TopicError, match="cannot create topic"):
        await create_topics(kafka_settings.model_copy(update={"kafka_topic_prefix": "no spaces "}))

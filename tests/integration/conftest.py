"""Real servers for integration tests: a database a test, topics a test."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from media_runtime.kafka.topics import create_topics, wanted_topics
from media_runtime.settings import KafkaSettings

from support.databases import admin_url, clone_of, template


@pytest.fixture(scope="session")
async def template_database() -> AsyncIterator[str]:
    async with template() as name:
        yield name


@pytest.fixture
async def database_name(template_database: str) -> AsyncIterator[str]:
    async with clone_of(template_database) as name:
        yield name


@pytest.fixture
async def admin(database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """An administrator's connection to the test's database."""
    connection = await asyncpg.connect(admin_url(database_name))
    yield connection
    await connection.close()


@pytest.fixture
async def kafka_settings() -> AsyncIterator[KafkaSettings]:
    """Topics of the test's own, by a prefix of its own."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    assert servers, "set KAFKA_BOOTSTRAP_SERVERS, or run ./mediactl test"
    settings = KafkaSettings(
        kafka_bootstrap_servers=servers, kafka_topic_prefix=f"t_{secrets.token_hex(4)}_"
    )
    await create_topics(settings)
    yield settings
    client = AIOKafkaAdminClient(**settings.client_arguments())
    await client.start()
    await client.delete_topics([t.name for t in wanted_topics(settings.kafka_topic_prefix)])
    await client.close()

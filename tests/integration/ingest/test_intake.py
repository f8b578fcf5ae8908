"""Notifications that come all at once, from Kafka to tasks."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from ingest.intake import MOST, TURNS, Intake
from media_contracts import MEDIA_INGEST
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.consumer import make_broker, on_batches
from media_runtime.kafka.producer import Producer
from media_runtime.storage.store import build_notification

from support.assets import sign_asset, stored
from support.databases import service_url
from support.eventually import eventually

AT = datetime(2026, 11, 23, tzinfo=UTC)
FLOOD = 600


@pytest.fixture
async def sign_api(database_name):
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        yield db


@pytest.fixture
async def taking_in(database_name, kafka_settings):
    """Begin to take in what the topic holds."""
    url = service_url(database_name, "ingest")
    async with (
        Database.connect(url, name="t", size=2) as database,
        Producer.connect(kafka_settings, name="t") as producer,
    ):
        work = Work(database, Outbox(database, producer, service="ingest"))
        broker = make_broker(kafka_settings, producer, name="t")
        on_batches(
            broker, MEDIA_INGEST, Intake(work), settings=kafka_settings, most=MOST, turns=TURNS
        )
        yield broker.start
        await broker.stop()


async def announce(settings, *uploads):
    producer = AIOKafkaProducer(**settings.client_arguments())
    await producer.start()
    for company, asset in uploads:
        upload = stored(company, asset)
        value = build_notification(upload, source="t", at=AT)
        topic = settings.kafka_topic_prefix + MEDIA_INGEST.name
        await producer.send(topic, value, key=upload.key.encode())
    await producer.stop()


async def test_a_flood_of_one_company_holds_nobody_elses_first_upload_up(
    sign_api, taking_in, kafka_settings, admin
):
    flooding, other = uuid4(), uuid4()
    flood = [await sign_asset(sign_api, flooding) for _ in range(FLOOD)]
    await announce(kafka_settings, *flood, await sign_asset(sign_api, other))
    await taking_in()

    async def all_queued():
        return await admin.fetchval("SELECT count(*) FROM tasks") == FLOOD + 1

    await eventually(all_queued, timeout=60)
    later = """
        SELECT count(*) FROM tasks WHERE id > (SELECT id FROM tasks WHERE company_id = $1)
    """
    assert await admin.fetchval(later, other) > 0
    assert await admin.fetchval("SELECT count(*) FROM asset_files") == FLOOD + 1
    assert await admin.fetchval("SELECT count(*) FROM outbox") == FLOOD + 1

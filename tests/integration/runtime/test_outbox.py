"""Messages leave with the change they tell of, and not without it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import KafkaUnavailableError, OutgoingRecord, Producer
from media_runtime.settings import KafkaSettings

from support.databases import service_url
from support.eventually import eventually

COMPANY = uuid4()


def record(number: int, key: str = "k") -> OutgoingRecord:
    return OutgoingRecord("media_status", key, b"%d" % number, [("content-type", b"x")])


@pytest.fixture
async def database(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=4) as db:
        yield db


async def received(settings, count):
    consumer = AIOKafkaConsumer(
        settings.kafka_topic_prefix + "media_status",
        **settings.client_arguments(),
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async with asyncio.timeout(15):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_record_reaches_kafka_in_order_and_its_row_is_gone(database, kafka_settings, admin):
    async with Producer.connect(kafka_settings, name="t") as producer:
        outbox = Outbox(database, producer, service="ingest")
        async with outbox.relaying():
            for number in range(20):
                async with database.transaction() as connection:
                    await outbox.put(connection, COMPANY, record(number))
                outbox.wake()
            found = await received(kafka_settings, 20)
    assert [one.value for one in found] == [b"%d" % number for number in range(20)]
    assert (found[0].key, found[0].headers) == (b"k", (("content-type", b"x"),))
    assert await admin.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_rolled_back_change_tells_nothing(database, kafka_settings, admin):
    async with Producer.connect(kafka_settings, name="t") as producer:
        outbox = Outbox(database, producer, service="ingest")

        async def put_and_fail() -> None:
            async with database.transaction() as connection:
                await outbox.put(connection, COMPANY, record(1))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await put_and_fail()
        await outbox.flush()
    assert await admin.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_crash_after_sending_sends_again(database, kafka_settings, monkeypatch):
    """The row outlives a crash between Kafka's confirmation and its deletion."""
    async with Producer.connect(kafka_settings, name="t") as producer:
        outbox = Outbox(database, producer, service="ingest")
        async with database.transaction() as connection:
            await outbox.put(connection, COMPANY, record(7))
        original = Producer.send_all

        async def dies_after_sending(self, records):
            await original(self, records)
            raise asyncio.CancelledError

        monkeypatch.setattr(Producer, "send_all", dies_after_sending)
        with pytest.raises(asyncio.CancelledError):
            await outbox.flush()
        monkeypatch.setattr(Producer, "send_all", original)
        await outbox.flush()
        found = await received(kafka_settings, 2)
    assert [one.value for one in found] == [b"7", b"7"]


async def test_a_record_waits_for_kafka(database, kafka_settings, admin):
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    async with Producer.connect(nowhere, name="t") as producer:
        outbox = Outbox(database, producer, service="ingest")
        async with database.transaction() as connection:
            await outbox.put(connection, COMPANY, record(3))
        with pytest.raises(KafkaUnavailableError):
            await outbox.flush()
    assert await admin.fetchval("SELECT count(*) FROM outbox") == 1
    async with Producer.connect(kafka_settings, name="t") as producer:
        await Outbox(database, producer, service="ingest").flush()
        (found,) = await received(kafka_settings, 1)
    assert found.value == b"3"


async def test_two_relays_keep_the_order(database, kafka_settings):
    async with Producer.connect(kafka_settings, name="t") as producer:
        relays = [Outbox(database, producer, service="ingest") for _ in range(2)]
        async with relays[0].relaying(), relays[1].relaying():
            for number in range(100):
                async with database.transaction() as connection:
                    await relays[0].put(connection, COMPANY, record(number))
                relays[number % 2].wake()
            found = await received(kafka_settings, 100)
    assert [int(one.value) for one in found] == list(range(100))


async def test_a_relay_leaves_other_services_records_alone(database, kafka_settings, admin):
    async with Producer.connect(kafka_settings, name="t") as producer:
        async with database.transaction() as connection:
            await Outbox(database, producer, service="watcher").put(connection, COMPANY, record(1))
        await Outbox(database, producer, service="ingest").flush()

        async def still_there():
            return await admin.fetchval("SELECT count(*) FROM outbox") == 1

        await eventually(still_there)

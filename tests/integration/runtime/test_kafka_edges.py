"""Consumers and producers at their edges: commits, strange records, a broker that comes back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from media_contracts import MEDIA_INGEST, MEDIA_THUMBNAIL
from media_runtime.database import outbox
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka import clients, supervision
from media_runtime.kafka import consumer as kafka
from media_runtime.kafka.consumer import make_broker, on_bytes, on_events
from media_runtime.kafka.producer import KafkaUnavailableError, OutgoingRecord, Producer
from media_runtime.settings import KafkaSettings

from support.databases import service_url
from support.eventually import eventually

GROUP = "g"


@asynccontextmanager
async def running(settings, handler, *, topic=MEDIA_INGEST, consumers=1):
    """Run consumers of *topic*, as the services do; its events are parsed where it has any."""
    subscribe = on_events if topic.messages else on_bytes
    async with Producer.connect(settings, name="t") as producer:
        broker = make_broker(settings, producer, name="t")
        subscribe(broker, topic, handler, settings=settings, group=GROUP, consumers=consumers)
        await broker.start()
        try:
            yield
        finally:
            await broker.stop()


async def send(settings, topic, *records):
    producer = AIOKafkaProducer(**settings.client_arguments())
    await producer.start()
    for key, value in records:
        await producer.send_and_wait(settings.kafka_topic_prefix + topic.name, value, key=key)
    await producer.stop()


async def committed(settings, topic):
    """Return how far the group has come, over all partitions."""
    client = AIOKafkaAdminClient(**settings.client_arguments())
    await client.start()
    try:
        name = settings.kafka_topic_prefix + topic.name
        offsets = await client.list_consumer_group_offsets(
            settings.kafka_topic_prefix + GROUP,
            partitions=[TopicPartition(name, number) for number in range(topic.partitions)],
        )
    finally:
        await client.close()
    return sum(max(0, found.offset) for found in offsets.values())


@asynccontextmanager
async def gate(settings):
    """Give settings of a bootstrap address that refuses connections until it is opened."""
    host, _, port = settings.kafka_bootstrap_servers.rpartition(":")

    async def forward(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(host, int(port))

        async def pump(source, target):
            with suppress(ConnectionError):
                while data := await source.read(65_536):
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, start_serving=False)
    address = server.sockets[0].getsockname()
    server.close()  # the port answers nobody
    await server.wait_closed()
    opened = []

    async def open_gate():
        opened.append(await asyncio.start_server(forward, *address))

    yield (
        KafkaSettings(
            kafka_bootstrap_servers=f"{address[0]}:{address[1]}",
            kafka_topic_prefix=settings.kafka_topic_prefix,
        ),
        open_gate,
    )
    for one in opened:
        one.close()


@pytest.mark.parametrize("routine", ["ensure_coordinator_known", "need_rejoin"])
async def test_a_consumer_that_stands_still_is_replaced(kafka_settings, monkeypatch, routine):
    """aiokafka's background task ends at an error that it does not know, as on uvloop."""
    monkeypatch.setattr(supervision, "_PAUSE_SECONDS", 0.1)
    seen = []

    async def handler(value):
        seen.append(value)

    async with Producer.connect(kafka_settings, name="t") as producer:
        broker = make_broker(kafka_settings, producer, name="t")
        on_bytes(broker, MEDIA_INGEST, handler, settings=kafka_settings, group=GROUP)
        await broker.start()
        (subscriber,) = broker.subscribers
        coordinator = subscriber.consumer._coordinator

        def broken(*_):
            raise RuntimeError("the handler is closed")

        monkeypatch.setattr(coordinator, routine, broken)
        coordinator.request_rejoin()
        await eventually(lambda: subscriber.consumer._coordinator is not coordinator)
        await send(kafka_settings, MEDIA_INGEST, (b"k", b"after"))
        await eventually(lambda: seen == [b"after"])
        await broker.stop()


async def test_consumers_that_start_while_kafka_is_away_read_once_it_is_back(
    kafka_settings, monkeypatch
):
    monkeypatch.setattr(supervision, "_PAUSE_SECONDS", 0.1)
    seen = []

    async def handler(value):
        seen.append(value)

    await send(kafka_settings, MEDIA_INGEST, (b"k", b"before"))
    async with gate(kafka_settings) as (settings, open_gate), running(settings, handler):
        assert seen == []
        await open_gate()
        await eventually(lambda: seen == [b"before"])


@pytest.mark.parametrize("value", [None, b"", b"null", b"\0" * 9, b"[" * 50_000])
async def test_strange_values_are_dead_lettered_and_committed(kafka_settings, value):
    async def handler(event):
        pytest.fail(f"was handled: {event}")

    await send(kafka_settings, MEDIA_THUMBNAIL, (b"k", value), (b"\xff", value))
    async with running(kafka_settings, handler, topic=MEDIA_THUMBNAIL):

        async def moved_on():
            return await committed(kafka_settings, MEDIA_THUMBNAIL) == 2

        await eventually(moved_on)


async def test_a_record_is_committed_after_its_handler_and_not_before(kafka_settings):
    """Red for ACK_FIRST."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(value):
        begun.set()
        await go_on.wait()

    await send(kafka_settings, MEDIA_INGEST, (b"k", b"x"))
    async with running(kafka_settings, handler):
        await begun.wait()
        assert await committed(kafka_settings, MEDIA_INGEST) == 0
        go_on.set()

        async def moved_on():
            return await committed(kafka_settings, MEDIA_INGEST) == 1

        await eventually(moved_on)


async def test_nothing_is_committed_while_infrastructure_is_away(kafka_settings, monkeypatch):
    """Red for ACK and REJECT_ON_ERROR, which commit what a handler raised on."""
    monkeypatch.setattr(kafka, "_IN_PLACE_SECONDS", 0.1)
    tried = []

    async def handler(value):
        tried.append(value)
        raise TransientError("away")

    await send(kafka_settings, MEDIA_INGEST, (b"k", b"x"), (b"k", b"y"))
    async with running(kafka_settings, handler):
        await eventually(lambda: len(tried) > 6)
    assert set(tried) == {b"x"}, "what comes behind it waits"
    assert await committed(kafka_settings, MEDIA_INGEST) == 0


async def test_nothing_is_committed_while_the_dead_letter_topic_is_away(
    kafka_settings, monkeypatch
):
    tried = []

    async def handler(value):
        tried.append(value)
        raise PermanentError("bad", "Bad.")

    async def away(self, record):
        raise KafkaUnavailableError(f"{record.topic} is away")

    monkeypatch.setattr(Producer, "send", away)
    await send(kafka_settings, MEDIA_INGEST, (b"k", b"x"))
    async with running(kafka_settings, handler):
        await eventually(lambda: len(tried) > 3)
    assert await committed(kafka_settings, MEDIA_INGEST) == 0


async def test_a_handled_record_does_not_come_again_after_a_restart(kafka_settings):
    seen = []

    async def handler(value):
        seen.append(value)

    await send(kafka_settings, MEDIA_INGEST, (b"k", b"x"))
    async with running(kafka_settings, handler):
        await eventually(lambda: seen)
    await send(kafka_settings, MEDIA_INGEST, (b"k", b"y"))
    async with running(kafka_settings, handler):
        await eventually(lambda: b"y" in seen)
    assert seen == [b"x", b"y"]


async def test_consumers_of_one_process_share_the_work_and_keep_the_order_of_a_key(kafka_settings):
    seen, at_work, all_at_work = [], 0, asyncio.Event()

    async def handler(value):
        nonlocal at_work
        at_work += 1
        if at_work == 3:
            all_at_work.set()
        await all_at_work.wait()  # for ever, unless they work at the same time
        at_work -= 1
        seen.append(value)

    sent = [(b"key %d" % (n % 24), b"%d %d" % (n % 24, n)) for n in range(240)]
    await send(kafka_settings, MEDIA_INGEST, *sent)
    async with running(kafka_settings, handler, consumers=3):
        await eventually(lambda: len(set(seen)) == len(sent), timeout=20)
    # A rebalance at the start may bring records again; the first time of each is in order.
    first_times = list(dict.fromkeys(seen))
    for number in range(24):
        of_key = [int(one.split()[1]) for one in first_times if one.startswith(b"%d " % number)]
        assert of_key == sorted(of_key)


async def test_a_producer_starts_without_kafka_and_recovers_by_itself(kafka_settings):
    async with (
        gate(kafka_settings) as (settings, open_gate),
        Producer.connect(settings, name="t") as producer,
    ):
        record = OutgoingRecord("media_status", "k", b"x")
        for _ in range(2):
            with pytest.raises(KafkaUnavailableError):
                await producer.send(record)
        with pytest.raises(KafkaUnavailableError):
            await producer.ping()
        await open_gate()
        await producer.send(record)
        await producer.ping()


async def test_the_relay_delivers_when_kafka_comes_back(
    kafka_settings, database_name, admin, monkeypatch
):
    monkeypatch.setattr(outbox, "_RETRY_SECONDS", 0.05)
    url = service_url(database_name, "ingest")
    async with (
        Database.connect(url, name="t", size=2) as database,
        gate(kafka_settings) as (settings, open_gate),
        Producer.connect(settings, name="t") as producer,
    ):
        relay = Outbox(database, producer, service="ingest")
        refused = 0
        original = Producer.send_all

        async def counted(self, records):
            nonlocal refused
            try:
                await original(self, records)
            except KafkaUnavailableError:
                refused += 1
                raise

        monkeypatch.setattr(Producer, "send_all", counted)
        async with relay.relaying():
            async with database.transaction() as connection:
                await relay.put(connection, uuid4(), OutgoingRecord("media_status", "k", b"x"))
            relay.wake()
            await eventually(lambda: refused > 1)
            assert await admin.fetchval("SELECT count(*) FROM outbox") == 1
            await open_gate()

            async def delivered():
                return await admin.fetchval("SELECT count(*) FROM outbox") == 0

            await eventually(delivered)


async def test_a_client_that_is_stopped_at_once_ends_nobody_else(kafka_settings):
    """Red with aiokafka's own stop(), which raises the cancellation of a task of its own."""
    client = AIOKafkaConsumer(**kafka_settings.client_arguments())
    with pytest.raises(ZeroDivisionError):
        async with clients.started(client):
            raise ZeroDivisionError
    never = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:9")
    with pytest.raises(KafkaConnectionError):
        async with clients.started(never):
            pass

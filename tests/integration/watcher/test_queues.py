"""What waits, as the watcher's metrics tell it."""

from __future__ import annotations

import pytest
from media_contracts import MEDIA_INGEST, MEDIA_STATUS, MEDIA_THUMBNAIL
from media_records.dead_letters import discard, read_letters
from media_runtime.kafka.producer import KafkaUnavailableError, OutgoingRecord, Producer
from watcher.monitoring.findings import Kind
from watcher.monitoring.lag import KafkaCheck
from watcher.monitoring.queues import PressureCheck

from support.wire import commit_end


@pytest.fixture
def pressure(database, settings):
    return PressureCheck(database, settings)


@pytest.fixture
def kafka_check(database, settings, kafka_settings):
    servers = kafka_settings.model_dump(include={"kafka_bootstrap_servers", "kafka_topic_prefix"})
    return KafkaCheck(database, settings.model_copy(update=servers))


def kinds(findings):
    return [finding.kind for finding in findings]


async def task(admin, asset, *, pool="encode", **columns):
    number = await admin.fetchval(
        "INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool)"
        " SELECT company_id, id, 1, $2, $2, $2 FROM media_assets WHERE id = $1 RETURNING id",
        asset, pool,
    )  # fmt: skip
    for column, text in columns.items():
        await admin.execute(f"UPDATE tasks SET {column} = {text} WHERE id = $1", number)


async def test_tasks_are_counted_and_the_oldest_that_is_due_is_timed(pressure, add, admin, value):
    assets = await add("processing", 4, minutes=9)
    for asset, columns in zip(
        assets,
        (
            {"not_before": "now() - interval '90 seconds'"},
            {"not_before": "now() + interval '1 hour'", "created_at": "now() - interval '1 day'"},
            {"state": "'running'", "lease_until": "now() + interval '9 seconds'"},
            {"state": "'running'", "lease_until": "now() - interval '9 seconds'"},
        ),
        strict=True,
    ):
        await task(admin, asset, **columns)
        # Neither what waits for others, nor what the thumbnailer is slow to answer.
        await task(admin, asset, pool="inspect", state="'blocked', waits_for = 1")
        await task(admin, asset, pool="pictures", **columns)
    await pressure()
    assert [value("tasks", state=state) for state in ("queued", "running")] == [2, 2]
    assert value("expired_leases") == 1
    assert value("oldest_due_task_seconds") == pytest.approx(90, abs=30)
    await admin.execute("UPDATE tasks SET state = 'done', waits_for = 0")
    await pressure()
    assert [value("tasks", state=state) for state in ("queued", "running")] == [0, 0]
    assert (value("expired_leases"), value("oldest_due_task_seconds")) == (0, 0)


async def test_an_image_that_nobody_asks_the_thumbnailer_for_waits(pressure, add, admin, value):
    """Its check is due like any other: only who asks for it can let it wait."""
    ages = {"queued": "now() - interval '70 seconds'", "running": "now()"}
    for asset, (state, since) in zip(await add("processing", 2), ages.items(), strict=True):
        check = {"kind": "'inspect'", "state": f"'{state}'", "not_before": since}
        await task(admin, asset, pool="pictures", lease_until="now()", **check)
    await pressure()
    assert [value("tasks", state=state) for state in ages] == [1, 0]
    assert value("expired_leases") == 0, "the thumbnailer is slow to answer"
    assert value("oldest_due_task_seconds") == pytest.approx(70, abs=30)


async def test_grants_that_lapsed_unused_are_counted(pressure, add, admin, value):
    await add("pending", 3)
    await add("pending", minutes=2)
    await add("expired", 2)
    await pressure()
    assert value("unused_grants") == 5, "those that are expired by now count as long as they last"
    await admin.execute("DELETE FROM media_assets WHERE status = 'expired'")
    await pressure()
    assert value("unused_grants") == 3


async def test_the_outbox_is_counted_by_its_producer(pressure, admin, value):
    for producer, age in (("ingest", 5), ("ingest", 70), ("sign_api", 1)):
        await admin.execute(
            "INSERT INTO outbox (producer, company_id, topic, key, value, created_at)"
            " VALUES ($1, gen_random_uuid(), 't', 'k', 'v', now() - make_interval(secs => $2))",
            producer,
            age,
        )
    await pressure()
    assert value("outbox_records", producer="ingest") == 2
    assert value("outbox_oldest_seconds", producer="ingest") == pytest.approx(70, abs=30)
    assert value("outbox_records", producer="watcher") == 0
    await admin.execute("DELETE FROM outbox")
    await pressure()
    assert value("outbox_oldest_seconds", producer="ingest") == 0


async def test_a_group_that_has_not_read_is_behind(kafka_settings, kafka_check, value):
    async with Producer.connect(kafka_settings, name="t") as producer:
        await producer.send_all(
            [OutgoingRecord(MEDIA_THUMBNAIL.name, str(n), b"v") for n in range(30)]
        )
        await kafka_check()
        assert value("consumer_lag_records", group="thumbnailer", topic="media_thumbnail") == 30
        assert value("consumer_lag_records", group="ingest", topic="media_ingest") == 0
        await commit_end(kafka_settings, MEDIA_THUMBNAIL, "thumbnailer")
        await producer.send(OutgoingRecord(MEDIA_THUMBNAIL.name, "x", b"v"))
        await kafka_check()
    assert value("consumer_lag_records", group="thumbnailer", topic="media_thumbnail") == 1


async def test_open_dead_letters_are_counted_until_somebody_deals_with_them(
    kafka_settings, kafka_check, database, value
):
    async with Producer.connect(kafka_settings, name="t") as producer:
        for number in range(3):
            await producer.send(OutgoingRecord(MEDIA_INGEST.dlq, f"{number}", b"v"))
    (found,) = await kafka_check()
    assert (found.kind, found.details) == (Kind.DEAD_LETTERS, {"media_ingest": 3})
    assert value("dead_letters", topic="media_ingest") == 3
    assert value("dead_letters", topic=MEDIA_STATUS.name) == 0

    async def settle(*letters):
        async with database.transaction() as connection:
            for letter in letters:
                assert await discard(connection, letter)

    first, middle, last = await read_letters(database)
    await settle(first, last)
    await kafka_check()
    assert value("dead_letters", topic="media_ingest") == 1
    await settle(middle)
    assert await kafka_check() == []


async def test_a_group_that_is_too_far_behind_is_an_alert(kafka_settings, kafka_check):
    kafka_check._settings = kafka_check._settings.model_copy(update={"lag_alert_records": 4})
    async with Producer.connect(kafka_settings, name="t") as producer:
        for number in range(5):
            assert await kafka_check() == []
            await producer.send(OutgoingRecord(MEDIA_THUMBNAIL.name, f"{number}", b"v"))
    (found,) = await kafka_check()
    assert (found.kind, found.details) == (Kind.LAG, {"media_thumbnail": 5})
    await commit_end(kafka_settings, MEDIA_THUMBNAIL, "thumbnailer")
    assert await kafka_check() == []


async def test_without_kafka_the_look_sees_nothing(database, settings):
    with pytest.raises(KafkaUnavailableError):
        await KafkaCheck(database, settings)()


async def test_an_outbox_that_stands_still_is_an_alert(pressure, admin):
    insert = (
        "INSERT INTO outbox (producer, company_id, topic, key, value, created_at)"
        " VALUES ('ingest', gen_random_uuid(), 't', 'k', 'v', now() - make_interval(secs => $1))"
    )
    await admin.execute(insert, 30)
    assert await pressure() == []
    await admin.execute(insert, 90)
    (found,) = await pressure()
    assert (found.kind, found.details) == (Kind.OUTBOX, {"ingest": 2})


async def test_a_silent_worker_is_an_alert_when_nobody_takes_over(pressure, add, admin):
    (asset,) = await add("processing", minutes=9)
    await task(admin, asset, state="'running'", lease_until="now() - interval '20 seconds'")
    assert await pressure() == []
    await admin.execute("UPDATE tasks SET lease_until = now() - interval '2 minutes'")
    assert kinds(await pressure()) == [Kind.LEASES]

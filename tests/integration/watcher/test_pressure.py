"""What waits, as the watcher's metrics tell it."""

from __future__ import annotations

import pytest
from media_contracts import MEDIA_INGEST, MEDIA_STATUS, MEDIA_THUMBNAIL
from media_runtime.kafka import KafkaUnavailableError, OutgoingRecord, Producer
from media_runtime.settings import KafkaSettings
from prometheus_client import REGISTRY
from watcher.lag import Lag
from watcher.pressure import Pressure

from support.wire import commit_end


def value(name, **labels):
    return REGISTRY.get_sample_value(f"watcher_{name}", labels)


async def job(admin, company, asset, **columns):
    await admin.execute(
        "INSERT INTO ingest_jobs (company_id, asset_id, attempt, source_size)"
        " VALUES ($1, $2, 1, 1)",
        company,
        asset,
    )
    for column, text in columns.items():
        await admin.execute(f"UPDATE ingest_jobs SET {column} = {text} WHERE asset_id = $1", asset)


async def test_jobs_are_counted_and_the_oldest_that_is_due_is_timed(database, add, admin):
    assets = await add("processing", 4, minutes=9)
    companies = [
        await admin.fetchval("SELECT company_id FROM media_assets WHERE id = $1", one)
        for one in assets
    ]
    for asset, company, columns in zip(
        assets,
        companies,
        (
            {"not_before": "now() - interval '90 seconds'"},
            {"not_before": "now() + interval '1 hour'", "created_at": "now() - interval '1 day'"},
            {"state": "'running'", "lease_until": "now() + interval '9 seconds'"},
            {"state": "'running'", "lease_until": "now() - interval '9 seconds'"},
        ),
        strict=True,
    ):
        await job(admin, company, asset, **columns)
    await Pressure(database)()
    assert [value("jobs", state=state) for state in ("queued", "running")] == [2, 2]
    assert value("expired_leases") == 1
    assert value("oldest_due_job_seconds") == pytest.approx(90, abs=30)
    await admin.execute("UPDATE ingest_jobs SET state = 'done'")
    await Pressure(database)()
    assert [value("jobs", state=state) for state in ("queued", "running")] == [0, 0]
    assert (value("expired_leases"), value("oldest_due_job_seconds")) == (0, 0)


async def test_grants_that_lapsed_unused_are_counted(database, add):
    await add("pending", 3)
    await add("pending", minutes=2)
    await add("expired", 2)
    await Pressure(database)()
    assert value("unused_grants") == 3


async def test_the_outbox_is_counted_by_its_producer(database, admin):
    for producer, age in (("ingest", 5), ("ingest", 70), ("sign_api", 1)):
        await admin.execute(
            "INSERT INTO outbox (producer, company_id, topic, key, value, created_at)"
            " VALUES ($1, gen_random_uuid(), 't', 'k', 'v', now() - make_interval(secs => $2))",
            producer,
            age,
        )
    await Pressure(database)()
    assert value("outbox_records", producer="ingest") == 2
    assert value("outbox_oldest_seconds", producer="ingest") == pytest.approx(70, abs=30)
    assert value("outbox_records", producer="watcher") == 0
    await admin.execute("DELETE FROM outbox")
    await Pressure(database)()
    assert value("outbox_oldest_seconds", producer="ingest") == 0


async def test_a_group_that_has_not_read_is_behind(kafka_settings):
    lag = Lag(kafka_settings)
    async with Producer.connect(kafka_settings, name="t") as producer:
        await producer.send_all(
            [OutgoingRecord(MEDIA_THUMBNAIL.name, str(n), b"v") for n in range(30)]
        )
        await lag()
        assert value("consumer_lag_records", group="thumbnailer", topic="media_thumbnail") == 30
        assert value("consumer_lag_records", group="ingest", topic="media_ingest") == 0
        await commit_end(kafka_settings, MEDIA_THUMBNAIL, "thumbnailer")
        await producer.send(OutgoingRecord(MEDIA_THUMBNAIL.name, "x", b"v"))
        await lag()
    assert value("consumer_lag_records", group="thumbnailer", topic="media_thumbnail") == 1


async def test_dead_letters_are_counted_by_topic(kafka_settings):
    async with Producer.connect(kafka_settings, name="t") as producer:
        await producer.send(OutgoingRecord(MEDIA_INGEST.dlq, "k", b"v"))
    await Lag(kafka_settings)()
    assert value("dead_letters", topic="media_ingest") == 1
    assert value("dead_letters", topic=MEDIA_STATUS.name) == 0


async def test_without_kafka_the_round_waits():
    with pytest.raises(KafkaUnavailableError):
        await Lag(KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9"))()

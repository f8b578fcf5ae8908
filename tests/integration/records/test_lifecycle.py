"""Changes of an asset's status: once, together with what is told of them, or not at all."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from media_contracts import MEDIA_STATUS, AssetStatus, Stage
from media_records import lifecycle
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from media_runtime.settings import KafkaSettings

from support.assets import asset_now, sign_asset
from support.databases import service_url

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
async def database(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=8) as db:
        yield db


@pytest.fixture
def work(database):
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    return Work(database, Outbox(database, Producer(nowhere, name="t"), service="ingest"))


@pytest.fixture
async def asset(database_name, database, admin):
    """A pending asset, of whose signing nothing is left in the outbox."""
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        _, asset_id = await sign_asset(db)
    await admin.execute("DELETE FROM outbox; DELETE FROM asset_transitions")
    return await asset_now(database, asset_id)


@pytest.fixture
def change(work):
    async def in_one_unit(asset, to, **options):
        async with work.begin() as tx:
            return await lifecycle.change(tx, asset, to, at=AT, **options)

    return in_one_unit


@pytest.fixture
def traces(admin):
    """Return the transitions and the events that the database holds."""

    async def look():
        transitions = await admin.fetch(
            "SELECT attempt, from_status, to_status, service FROM asset_transitions ORDER BY id"
        )
        events = await admin.fetch("SELECT value FROM outbox ORDER BY id")
        return [tuple(row) for row in transitions], [
            MEDIA_STATUS.parse(row["value"]) for row in events
        ]

    return look


async def test_a_change_leaves_one_row_and_one_event(asset, change, traces, admin):
    changed = await change(asset, AssetStatus.PROCESSING)
    assert (changed.status, changed.attempt, changed.updated_at) == ("processing", 1, AT)
    transitions, (event,) = await traces()
    assert transitions == [(1, "pending", "processing", "ingest")]
    assert (event.subject, event.companyid) == (asset.id, asset.company_id)
    assert (event.source, event.time) == ("/media/ingest", AT)
    assert (event.data.status, event.data.previous_status) == ("processing", "pending")
    row = await admin.fetchrow("SELECT * FROM outbox")
    assert (row["topic"], row["producer"]) == ("media_status", "ingest")
    assert row["key"] == str(asset.id).encode()
    assert json.loads(row["headers"])[0][0] == "content-type"


async def test_a_change_that_is_rolled_back_leaves_nothing(asset, work, traces, admin):
    async def change_and_fail():
        async with work.begin() as tx:
            await lifecycle.change(tx, asset, AssetStatus.PROCESSING, at=AT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()
    assert await traces() == ([], [])
    assert await admin.fetchval("SELECT status FROM media_assets") == "pending"


async def test_a_change_of_what_was_read_too_long_ago_changes_nothing(asset, change, traces):
    await change(asset, AssetStatus.PROCESSING)
    assert await change(asset, AssetStatus.FAILED) is None
    assert len((await traces())[0]) == 1


async def test_a_change_of_an_older_attempt_changes_nothing(asset, change, traces, database):
    first = await change(asset, AssetStatus.PROCESSING)
    failed = await change(first, AssetStatus.FAILED)
    second = await change(failed, AssetStatus.PROCESSING, new_attempt=True)
    assert (second.attempt, second.status) == (2, "processing")
    assert await change(first, AssetStatus.READY) is None
    now = await asset_now(database, asset.id)
    assert (now.status, now.attempt) == ("processing", 2)
    transitions, events = await traces()
    assert transitions[-1] == (2, "failed", "processing", "ingest")
    assert [event.data.attempt for event in events] == [1, 1, 2]


async def test_of_changes_that_come_at_once_one_wins(asset, change, traces):
    outcomes = [AssetStatus.FAILED, AssetStatus.CANCELLED, AssetStatus.DELETED] * 5
    changed = await asyncio.gather(*(change(asset, outcome) for outcome in outcomes))
    (winner,) = [one for one in changed if one is not None]
    transitions, (event,) = await traces()
    assert transitions == [(1, "pending", winner.status, "ingest")]
    assert event.data.status == winner.status


async def test_facts_are_written_with_the_change(asset, change, database):
    running = await change(asset, AssetStatus.PROCESSING)
    facts = {"processed_at": AT, "sweep_at": AT}
    await change(running, AssetStatus.READY, facts=facts)
    now = await asset_now(database, asset.id)
    assert {name: getattr(now, name) for name in facts} == facts


@pytest.mark.parametrize("name", ["company_id", "status = 'ready' --", "size", "bucket"])
async def test_only_facts_can_be_written_with_a_change(asset, change, traces, name):
    with pytest.raises(ValueError, match="not facts of an asset"):
        await change(asset, AssetStatus.PROCESSING, facts={name: "x"})
    assert await traces() == ([], [])


async def test_why_an_asset_failed_is_told(asset, change, traces):
    await change(
        asset, AssetStatus.FAILED, facts={"error_code": "bad_file", "error_message": "It is bad."}
    )
    _, (event,) = await traces()
    assert (event.data.error.code, event.data.error.message) == ("bad_file", "It is bad.")


async def test_progress_is_told_without_a_transition(asset, work, traces):
    async with work.begin() as tx:
        await lifecycle.progressed(tx, asset, Stage.PROBED, at=AT)
    transitions, (event,) = await traces()
    assert transitions == []
    assert (event.data.stage, event.data.attempt, event.data.percent) == ("probed", 1, None)


async def test_the_trace_of_the_upload_goes_with_every_event(asset, change, traces, admin):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await admin.execute("UPDATE media_assets SET traceparent = $1", trace)
    await change(asset, AssetStatus.PROCESSING)
    _, (event,) = await traces()
    assert event.traceparent == trace
    headers = dict(json.loads(await admin.fetchval("SELECT headers FROM outbox")))
    assert headers["traceparent"] == trace

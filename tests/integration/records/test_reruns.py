"""Ready assets are made again beside what they have, behind all uploads, and replaced at once."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from ingest.settings import IngestSettings
from ingest.worker import Workers
from media_contracts import ErrorInfo, FileKind, MediaFile, Probe
from media_contracts.profiles import DEFAULT
from media_contracts.warnings import WarningCode
from media_records import reruns, tasks
from media_records.actions import delete
from media_records.files import add_originals, all_files_of, is_garbage
from media_records.lifecycle import lock_asset, warnings_of
from media_records.profiles import publish
from media_records.reruns import Target
from media_records.sweeping import forget_replaced
from media_records.tasks import LostLeaseError, NewTask, Pool, Turns
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from media_runtime.settings import KafkaSettings
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import StoredObject

from support.assets import asset_now, files_now, sign_asset, stored
from support.databases import service_url
from support.typed import watcher

LIVE, LATER = (tuple(Pool)[:3], tuple(Pool)[3:])
BAD = ErrorInfo(code="unreadable_media", message="No.")


@pytest.fixture
async def work(database_name):
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=4) as db:
        yield Work(db, Outbox(db, Producer(nowhere, name="t"), service="ingest"))


@pytest.fixture
async def operator(database_name):
    """Acts with the watcher's login, as operators do."""
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    async with Database.connect(service_url(database_name, "watcher"), name="t", size=2) as db:
        yield Work(db, Outbox(db, Producer(nowhere, name="t"), service="watcher"))


@pytest.fixture
def claim(work):
    async def one(*pools):
        async with work.begin() as tx:
            turns = Turns(pools or LATER, 10)
            return await tasks.claim(tx, turns, owner="t", lease_seconds=30)

    return one


@pytest.fixture
def finish(work):
    async def done(task, *files, **facts):
        async with work.begin() as tx:
            return await tasks.finish(tx, task, files, **facts)

    return done


@pytest.fixture
async def uploaded(work, database_name, admin):
    """Give an asset whose first task is queued."""
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:

        async def one(company: UUID, *, original: bool = True) -> UUID:
            _, asset_id = await sign_asset(db, company)
            await admin.execute(
                "UPDATE media_assets SET status = 'processing', uploaded_at = now() WHERE id = $1",
                asset_id,
            )
            async with work.begin() as tx:
                if original:
                    await add_originals(tx, {asset_id: stored(company, asset_id)})
                asset = await lock_asset(tx, asset_id)
                assert await tasks.add(tx, asset, [tasks.first_task(asset)]) == 1
            return asset_id

        yield one


@pytest.fixture
async def ready(uploaded, claim, finish, work):
    """Give an asset that is ready with one video of 30 s."""

    async def one(company: UUID, *, original: bool = True) -> UUID:
        asset_id = await uploaded(company, original=original)
        await finish(await claim(*LIVE), video(await asset_now(work.database, asset_id)))
        return asset_id

    return one


@pytest.fixture
def begin(operator):
    async def some(target: Target, *asset_ids: UUID) -> int:
        ids = asset_ids or await reruns.chosen(operator.database, target)
        async with operator.begin() as tx:
            return await reruns.begin(tx, target, ids)

    return some


@pytest.fixture
def told(admin):
    """Give what was told of an asset since the last time, by type and attempt."""

    async def since(asset_id: UUID) -> list[tuple[str, int]]:
        rows = await admin.fetch(
            "DELETE FROM outbox WHERE key = $1 RETURNING id, value", str(asset_id).encode()
        )
        events = [json.loads(row["value"]) for row in sorted(rows, key=lambda row: row["id"])]
        return [(event["type"], event["data"]["attempt"]) for event in events]

    return since


@pytest.fixture
def ended_long_ago(admin):
    async def one(asset_id: UUID) -> None:
        await admin.execute(
            "UPDATE reruns SET ended_at = ended_at - interval '2 hours' WHERE asset_id = $1",
            asset_id,
        )

    return one


def video(asset, name="video"):
    key = output_key(asset.company_id, asset.id, asset.attempt, f"{name}.mp4", fence=1)
    return MediaFile(
        name=name, kind=FileKind.VIDEO, key=key, content_type="video/mp4", size=5, width=2,
        height=2, duration_seconds=30,
    )  # fmt: skip


def version(company: UUID, number: int = 2) -> Target:
    return Target(company, "default", number, is_own=True)


def in_storage(key: str) -> StoredObject:
    return StoredObject(bucket="b", key=key, version_id="v", size=5, etag="e")


async def test_an_asset_is_served_as_it_is_until_all_of_its_new_attempt_is_there(
    ready, begin, claim, finish, told, work, ended_long_ago
):
    company = uuid4()
    asset_id = await ready(company)
    before = await asset_now(work.database, asset_id)
    served = await files_now(work.database, asset_id)
    await told(asset_id)

    assert await begin(version(company)) == 1
    first = await claim()
    seen = await tasks.wanting(work.database, before, first)
    assert (seen.attempt, seen.profile_version, seen.own_profile) == (2, 2, True)
    small = video(seen, "small")
    await finish(
        first, small, then=[NewTask("video", "chunk", Pool.ENCODE)], stage="probed",
        probe=Probe(container="mov"), warnings=[WarningCode.TYPE_DIFFERS],
    )  # fmt: skip
    assert await tasks.heartbeat(work.database, first, lease_seconds=30) is False
    second = await claim()
    assert second.pool == "encode_later"
    assert await tasks.heartbeat(work.database, second, lease_seconds=30)
    assert await asset_now(work.database, asset_id) == before
    assert await files_now(work.database, asset_id) == served
    assert await told(asset_id) == []

    await finish(second, video(seen))

    after = await asset_now(work.database, asset_id)
    facts = after.status, after.attempt, after.profile_version, after.own_profile
    assert facts == ("ready", 2, 2, True)
    assert [one.code for one in warnings_of(after)] == ["type_differs"]
    now = await files_now(work.database, asset_id)
    assert {name: file.attempt for name, file in now.items()} == {
        "original": 0, "small": 2, "video": 2,
    }  # fmt: skip
    assert await told(asset_id) == [
        ("media.asset.status_changed.v1", 2), ("media.asset.processed.v1", 2),
    ]  # fmt: skip
    # Whoever has begun to watch has a link for an hour: what is old is kept, and counted, so long.
    assert after.sweep_at > datetime.now(UTC) + timedelta(hours=1)
    assert len(await all_files_of(work.database, asset_id)) == 4
    # A poster that is chosen meanwhile has the asset swept sooner, of what that left.
    await forget_replaced(work.database, after)
    assert len(await all_files_of(work.database, asset_id)) == 4
    await ended_long_ago(asset_id)
    await forget_replaced(work.database, after)
    files = await all_files_of(work.database, asset_id)
    assert is_garbage(after, files, in_storage(served["video"].key))
    kept = replace(in_storage(small.key), version_id=None, is_latest=True)
    assert not is_garbage(after, files, kept)


async def test_one_that_fails_leaves_the_asset_as_it_is_and_is_told_to_operators(
    ready, begin, claim, finish, told, work, operator
):
    company = uuid4()
    asset_id = await ready(company)
    served = await files_now(work.database, asset_id)
    await told(asset_id)
    await begin(version(company))
    first = await claim()
    seen = await tasks.wanting(work.database, await asset_now(work.database, asset_id), first)
    small = video(seen, "small")
    await finish(first, small, then=[NewTask("video", "chunk", Pool.ENCODE)])
    async with work.begin() as tx:
        assert await tasks.fail(tx, await claim(), BAD) is None

    asset = await asset_now(work.database, asset_id)
    assert (asset.status, asset.attempt, asset.error_code) == ("ready", 1, None)
    assert await files_now(work.database, asset_id) == served
    assert await told(asset_id) == []
    files = await all_files_of(work.database, asset_id)
    assert is_garbage(asset, files, in_storage(small.key))
    (failed,) = await reruns.failed(operator.database, company, None, limit=9)
    assert (failed["asset_id"], failed["error_code"]) == (asset_id, "unreadable_media")
    (standing,) = await reruns.standing(operator.database, company)
    assert (standing["state"], standing["assets"]) == ("failed", 1)

    # The next try is another attempt, whose objects are no garbage.
    assert await begin(version(company)) == 1
    again = await claim()
    assert again.attempt == 3
    later = output_key(company, asset_id, 3, "x.mp4", fence=1)
    assert not is_garbage(await asset_now(work.database, asset_id), files, in_storage(later))


async def test_a_second_run_begins_nothing_and_what_cannot_be_made_again_is_counted(
    ready, begin, claim, finish, work, operator
):
    company, other = uuid4(), uuid4()
    asset_id, gone = await ready(company), await ready(company, original=False)
    await ready(other)

    plan = await reruns.plan(operator.database, version(company))
    assert (plan.assets, plan.seconds) == ({"video": 1}, {"video": 30.0})
    assert (plan.originals_gone, plan.under_way) == (1, 0)
    assert await begin(version(company), asset_id, gone) == 1
    assert await begin(version(company), asset_id) == 0
    plan = await reruns.plan(operator.database, version(company))
    assert (plan.assets, plan.originals_gone, plan.under_way) == ({}, 1, 1)
    first = await claim()
    seen = await tasks.wanting(work.database, await asset_now(work.database, asset_id), first)
    await finish(first, video(seen))
    plan = await reruns.plan(operator.database, version(company))
    assert (plan.assets, plan.under_way) == ({}, 0)
    assert await begin(version(company), asset_id) == 0
    newer = replace(version(company), since=datetime.now(UTC) + timedelta(days=1))
    assert not (await reruns.plan(operator.database, replace(newer, version=3))).assets


async def test_uploads_of_any_company_come_before_what_is_made_again(
    ready, uploaded, begin, work, tmp_path
):
    busy, other = uuid4(), uuid4()
    await ready(busy)
    await begin(version(busy))
    settings = IngestSettings(
        kafka_bootstrap_servers="k", database_url="postgresql://d", s3_endpoint_url="http://s",
        s3_access_key="k", s3_secret_key="s", scratch_dir=tmp_path,
    )  # fmt: skip
    workers = Workers(settings, work, None)
    any_task, short_ones = (Turns(LIVE[:2], 2, most_slow=most) for most in (9, 0))

    assert not await tasks.is_waited_for(work.database, LIVE, seconds=-1)
    assert await workers._claim(short_ones) is None
    uploads = [await uploaded(other), await uploaded(busy)]
    assert await tasks.is_waited_for(work.database, LIVE, seconds=-1)
    claimed = [await workers._claim(any_task) for _ in range(3)]
    assert {asset.id for _, asset in claimed[:2]} == set(uploads)
    assert (claimed[2][0].pool, claimed[2][1].attempt) == ("inspect_later", 2)


async def test_an_asset_that_is_deleted_wants_no_new_attempt(ready, begin, claim, finish, work):
    company = uuid4()
    asset_id = await ready(company)
    await begin(version(company))
    task = await claim()
    async with work.begin() as tx:
        await delete(tx, asset_id)
    with pytest.raises(LostLeaseError):
        await tasks.heartbeat(work.database, task, lease_seconds=30)
    assert await finish(task) is None
    assert (await asset_now(work.database, asset_id)).status == "deleted"


async def test_operators_count_price_and_begin_it_and_see_how_it_stands(
    ready, claim, finish, admin, operator, database_name
):
    company = uuid4()
    asset_id = await ready(company)
    async with operator.begin() as tx:
        await publish(tx, company, DEFAULT)
    environment = {
        "PATH": os.environ["PATH"], "DATABASE_URL": service_url(database_name, "watcher"),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "S3_ACCESS_KEY": "k", "S3_SECRET_KEY": "s", "S3_PROVISIONER_ACCESS_KEY": "k",
        "S3_PROVISIONER_SECRET_KEY": "s",
    }  # fmt: skip

    async def typed(*words):
        done = await asyncio.to_thread(watcher, *words, "--json", environment=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    words = "rerun", "--profile", "default", "--company", str(company)
    (counted,) = await typed(*words, "--dry-run")
    assert (counted["version"], counted["assets"]) == (2, {"video": 1})
    assert (counted["cpu_seconds"], counted["begun"]) == (None, None), "nothing was made by it yet"
    assert await typed("profile", "price", "default", "--company", str(company)) == []
    (begun,) = await typed(*words, "--yes")
    assert begun["begun"] == 1
    (again,) = await typed(*words, "--yes")
    assert (again["assets"], again["under_way"], again["begun"]) == ({}, 1, None)
    (standing,) = await typed("reruns", "--company", str(company))
    assert (standing["state"], standing["assets"]) == ("running", 1)
    assert await admin.fetchval("SELECT count(*) FROM reruns WHERE asset_id = $1", asset_id) == 1

    beside = SimpleNamespace(company_id=company, id=asset_id, attempt=2)
    await finish(await claim(*LATER), video(beside), cpu_seconds=6.0)
    price, everything = await typed("profile", "price", "default", "--company", str(company))
    assert (price["output"], price["assets"], price["seconds"]) == ("inspect", 1, 30)
    assert (price["cpu_seconds_a_minute"], everything["output"]) == (12, "all")
    assert (everything["cpu_seconds_a_minute"], everything["bytes_a_minute"]) == (12, 10)
    another = await ready(company)
    await admin.execute("UPDATE media_assets SET own_profile = false WHERE id = $1", another)
    (counted,) = await typed(*words, "--dry-run")
    assert (counted["assets"], counted["cpu_seconds"]) == ({"video": 1}, 6.0)

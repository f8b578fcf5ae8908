"""What a grant stored besides goes once it has lapsed; what counts stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from media_contracts import ObjectRef
from media_records.files import reference
from media_runtime.storage.store import ObjectStore, quarantine_key, upload_key
from watcher.cleanup.grants import SweepGrants
from watcher.cleanup.orphans import find_orphans
from watcher.cleanup.plan import count_by_rule
from watcher.cleanup.sweep import Sweep
from watcher.rules import Rule

from support.assets import asset_now, files_now
from support.http_clients import web

LAPSED = datetime.now(UTC) - timedelta(hours=1)
# A store takes these of whoever has a grant, signed or not, where no front drops them.
HIDDEN = {"X-Minio-Source-Replication-Request": "true"}


@pytest.fixture
def sweep(database, store, settings):
    return SweepGrants(database, store, settings)


@pytest.fixture
async def company(store):
    """A company with a bucket."""
    found = uuid4()
    await store.ensure_bucket(found, quota_bytes=10**9)
    return found


@pytest.fixture
def replay(store, company):
    """Use a grant for *times* uploads, past every front."""

    async def put(asset, times, *, data=b"another file"):
        bucket, key = store.bucket_of(company), upload_key(company, asset)
        url = store._client.presigned_put_object(bucket, key, expires=timedelta(hours=1))
        async with web() as http:
            for _ in range(times):
                answer = await http.put(url, content=data, headers=HIDDEN)
                assert answer.status_code == 200, answer.text

    return put


@pytest.fixture
def upload(store, add, add_file, company):
    """An asset with its original in storage, whose grant has lapsed; gives its id."""

    async def asset(status="ready", **columns):
        bucket = store.bucket_of(company)
        lapsed = datetime.now(UTC) - timedelta(hours=1)
        minutes = None if status in {"pending", "expired"} else 70
        columns = {"grant_expires_at": lapsed, "size": 4, **columns}
        (found,) = await add(status, minutes=minutes, company=company, bucket=bucket, **columns)
        key = upload_key(company, found)
        await store.upload_bytes(bucket, key, b"file", content_type="x/y", cache_control="no")
        version = (await store.stat(ObjectRef(bucket=bucket, key=key))).version_id
        if status in {"processing", "ready", "failed"}:
            await add_file(found, "original", key, version=version, size=4)
        return found

    return asset


async def versions(store: ObjectStore, company: UUID) -> list[int]:
    """Return the sizes of all versions in a company's bucket."""
    found = await store.objects(store.bucket_of(company), all_versions=True)
    return sorted(one.size for one in found)


async def test_forty_hidden_versions_of_one_used_grant_go_once_it_has_lapsed(
    sweep, upload, replay, store, database, company, admin
):
    asset = await upload(grant_expires_at=datetime.now(UTC))
    usage = await admin.fetchval("SELECT sum(bytes) FROM company_usage")
    await replay(asset, 40)
    assert len(await versions(store, company)) == 41
    assert await sweep() == 0, "it may still be in use"
    await admin.execute("UPDATE media_assets SET grant_expires_at = $1", LAPSED)
    assert await sweep() == 40
    original = (await files_now(database, asset))["original"]
    kept = await store.stat(reference(await asset_now(database, asset), original))
    assert kept.size == 4
    assert await versions(store, company) == [4]
    assert await admin.fetchval("SELECT sum(bytes) FROM company_usage") == usage


async def test_each_upload_is_looked_through_once(sweep, upload, replay, store, company):
    asset = await upload()
    assert await sweep() == 0
    await replay(asset, 1)
    assert await sweep() == 0, "that is for the comparison of bytes to tell"
    assert await versions(store, company) == [4, 12]


@pytest.mark.parametrize("status", ["processing", "ready", "failed", "deleted"])
async def test_the_version_that_counts_stays_as_long_as_its_asset(
    sweep, upload, replay, store, company, status
):
    asset = await upload(status)
    await replay(asset, 3)
    assert await sweep() == (4 if status == "deleted" else 3)
    assert await versions(store, company) == ([] if status == "deleted" else [4])


@pytest.mark.parametrize("status", ["pending", "expired"])
async def test_an_upload_that_nobody_announced_is_left_to_the_reconciler(
    sweep, upload, replay, store, company, admin, status
):
    asset = await upload(status)
    await replay(asset, 1)
    assert await sweep() == 0
    assert await versions(store, company) == [4, 12]
    assert not await admin.fetchval("SELECT grant_swept FROM media_assets")


async def test_what_the_other_sweep_may_move_is_its_own(
    sweep, upload, replay, store, database, settings, company, admin
):
    asset = await upload("failed", error_code="type_mismatch", sweep_at=datetime.now(UTC))
    await replay(asset, 2)
    assert await sweep() == 0
    assert await Sweep(database, store, settings)() == 3, "the original has moved"
    original = (await files_now(database, asset))["original"]
    assert original.key == quarantine_key(company, asset)
    assert await versions(store, company) == [4]
    assert await admin.fetchval("SELECT grant_swept FROM media_assets")


async def test_a_deleted_assets_grant_is_waited_for(
    upload, replay, store, database, settings, company, admin
):
    """It may be valid for days, and lapse long after all else is over."""
    later = datetime.now(UTC) + timedelta(days=1)
    asset = await upload("deleted", grant_expires_at=later, sweep_at=datetime.now(UTC))
    await admin.execute("UPDATE media_assets SET updated_at = now() - interval '2 hours'")
    other = Sweep(database, store, settings)
    assert await other() == 1
    due = await admin.fetchval("SELECT sweep_at FROM media_assets")
    assert due == later + timedelta(seconds=settings.late_upload_seconds)
    await replay(asset, 2)
    await admin.execute("UPDATE media_assets SET grant_expires_at = $1, sweep_at = now()", LAPSED)
    assert await other() == 2
    assert await versions(store, company) == []


async def test_what_waits_to_be_looked_through_is_counted_and_is_no_orphan(
    database, settings, sweep, upload, replay, store, company, admin
):
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, 1)",
        company, store.bucket_of(company),
    )  # fmt: skip
    await replay(await upload(), 1)

    async def state():
        due = (await count_by_rule(database, settings))[Rule.VERSIONS]
        orphans = find_orphans(database, store, min_age=timedelta(0))
        return due.due, len([orphan async for orphan in orphans])

    due = (await count_by_rule(database, settings))[Rule.VERSIONS]
    assert due.oldest_seconds == pytest.approx(3600 - settings.late_upload_seconds, abs=60)
    assert await state() == (1, 0)
    await sweep()
    assert await state() == (0, 0)


async def test_an_asset_that_cannot_be_looked_through_holds_no_other_up(
    database, store, settings, upload, replay, company, admin
):
    broken = await upload()
    await admin.execute("UPDATE media_assets SET bucket = 'No bucket''s name'")
    for _ in range(5):
        await replay(await upload(), 1)
    await SweepGrants(database, store, settings.model_copy(update={"cleanup_batch": 2}))()
    rows = await admin.fetch("SELECT id FROM media_assets WHERE NOT grant_swept")
    assert [row["id"] for row in rows] == [broken]


async def test_while_storage_is_away_all_stays_due(database, settings, upload, admin):
    await upload()
    away = ObjectStore(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    with pytest.raises(Exception, match="object store"):
        await SweepGrants(database, away, settings)()
    away.close()
    assert not await admin.fetchval("SELECT grant_swept FROM media_assets")


async def test_a_round_ends_in_time(database, store, settings, upload, admin):
    for _ in range(5):
        await upload()
    short = {"cleanup_batch": 2, "watch_interval_seconds": 0.000_001}
    await SweepGrants(database, store, settings.model_copy(update=short))()
    assert await admin.fetchval("SELECT count(*) FROM media_assets WHERE grant_swept") == 2

"""What the watcher removes, when, and what it never touches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_contracts import ObjectRef
from media_records.files import reference
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.kafka.producer import Producer
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import (
    ObjectStore,
    output_prefix,
    quarantine_key,
    upload_key,
)
from watcher.cleanup.sweep import Sweep
from watcher.operator.operations import Operator

from support.assets import asset_now, files_now

NOW = datetime.now(UTC)


@pytest.fixture
def add(add):
    """Insert assets whose grants lapsed long ago."""

    async def insert(*words, **columns):
        return await add(*words, **{"grant_expires_at": NOW - timedelta(days=1), **columns})

    return insert


@pytest.fixture
def sweep(database, store, settings):
    return Sweep(database, store, settings)


@pytest.fixture
async def company(store):
    """A company with a bucket."""
    found = uuid4()
    await store.ensure_bucket(found, quota_bytes=10**6)
    return found


async def due(admin):
    """Return which assets will be swept, now or later."""
    rows = await admin.fetch("SELECT id FROM media_assets WHERE sweep_at IS NOT NULL")
    return {row["id"] for row in rows}


async def keys(store, bucket):
    """Return key and number of versions of what is in a bucket."""
    found = [
        one.object_name
        for one in store._client.list_objects(bucket, recursive=True, include_version=True)
    ]
    return {key: found.count(key) for key in found}


async def put(store, bucket, key):
    await store.upload_bytes(bucket, key, b"x", content_type="x/y", cache_control="no-store")
    return (await store.stat(ObjectRef(bucket=bucket, key=key))).version_id


async def test_objects_of_deleted_assets_are_removed_and_no_others(
    store, sweep, add, company, admin
):
    bucket = store.bucket_of(company)
    (gone,) = await add("deleted", company=company, bucket=bucket, sweep_at=NOW)
    (kept,) = await add("ready", company=company, bucket=bucket)
    for asset in (gone, kept):
        for key in (upload_key(company, asset), output_key(company, asset, 1, "image")):
            await put(store, bucket, key)
            await put(store, bucket, key)
    assert await sweep() == 4
    assert set(await keys(store, bucket)) == {
        upload_key(company, kept),
        output_key(company, kept, 1, "image"),
    }
    assert await due(admin) == {gone}, "once more, when its grant has lapsed"
    assert await sweep() == 0


async def test_what_dead_attempts_left_is_removed_and_what_is_referred_to_stays(
    store, sweep, add, add_file, company
):
    bucket = store.bucket_of(company)
    (asset,) = await add(
        "ready", minutes=1, company=company, bucket=bucket, sweep_at=NOW, attempt=2
    )

    def output(attempt, name, fence=None):
        return output_key(company, asset, attempt, name, fence=fence)

    video, thumbnail = output(2, "video.mp4", 3), output(2, "thumbnail.jpg")
    garbage = [output(1, "video.mp4", 1), output(1, "thumbnail.jpg"), output(2, "video.mp4", 2)]
    for key in (video, thumbnail, *garbage):
        await put(store, bucket, key)
    await put(store, bucket, thumbnail)
    first = await put(store, bucket, upload_key(company, asset))
    await put(store, bucket, upload_key(company, asset))
    await add_file(asset, "original", upload_key(company, asset), version=first)
    await add_file(asset, "video", video, attempt=2)
    await add_file(asset, "thumbnail", thumbnail, attempt=2)
    assert await sweep() == len(garbage) + 2, "an old version of the picture, a second upload"
    assert await keys(store, bucket) == {video: 1, thumbnail: 1, upload_key(company, asset): 1}
    await store.stat(ObjectRef(bucket=bucket, key=upload_key(company, asset), version_id=first))


async def test_what_a_running_attempt_stores_stays(store, sweep, add, company):
    """A retry may begin while a failed attempt waits to be swept."""
    bucket = store.bucket_of(company)
    (asset,) = await add("processing", company=company, bucket=bucket, sweep_at=NOW, attempt=2)
    running = output_key(company, asset, 2, "video.mp4", fence=1)
    later = output_key(company, asset, 3, "video.mp4", fence=1)
    for key in (running, later, output_key(company, asset, 1, "video.mp4", fence=1)):
        await put(store, bucket, key)
    assert await sweep() == 1
    assert set(await keys(store, bucket)) == {running, later}


async def test_what_a_worker_wrote_after_a_deletion_goes_an_hour_later(
    store, sweep, add, company, admin
):
    bucket = store.bucket_of(company)
    (gone,) = await add("deleted", company=company, bucket=bucket, sweep_at=NOW)
    await sweep()
    await put(store, bucket, f"{output_prefix(company, gone)}1-1/late.mp4")
    assert await sweep() == 0
    await admin.execute(
        "UPDATE media_assets SET updated_at = now() - interval '62 minutes', sweep_at = now()"
    )
    assert await sweep() == 1
    assert await keys(store, bucket) == {}
    assert await due(admin) == set(), "two passes are all"


@pytest.fixture
async def upload(store, add, add_file, company, admin):
    """An asset with its original in storage; gives its id."""

    async def asset(status, *, code=None, minutes=1, attempt=1):
        bucket = store.bucket_of(company)
        (found,) = await add(
            status, minutes=minutes, company=company, bucket=bucket, sweep_at=NOW, attempt=attempt
        )
        version = await put(store, bucket, upload_key(company, found))
        await add_file(found, "original", upload_key(company, found), version=version)
        await admin.execute("UPDATE media_assets SET error_code = $2 WHERE id = $1", found, code)
        return found

    return asset


async def original_of(database, store, asset):
    """Return where the row says that the original is, after a look whether it is there."""
    original = (await files_now(database, asset))["original"]
    await store.stat(reference(await asset_now(database, asset), original))
    return original.key


async def test_a_refused_original_moves_into_quarantine(store, sweep, upload, company, database):
    refused = await upload("failed", code="type_mismatch")
    bucket = store.bucket_of(company)
    before = await store.stat(ObjectRef(bucket=bucket, key=upload_key(company, refused)))
    assert await sweep() == 1, "the original where it was"
    after = await store.stat(ObjectRef(bucket=bucket, key=quarantine_key(company, refused)))
    assert (after.etag, after.size) == (before.etag, before.size)
    assert await keys(store, store.bucket_of(company)) == {quarantine_key(company, refused): 1}
    assert await original_of(database, store, refused) == quarantine_key(company, refused)
    assert await sweep() == 0


@pytest.mark.parametrize("code", ["object_missing", "processing_timeout", "quota_exceeded"])
async def test_an_original_that_is_not_at_fault_stays(
    store, sweep, upload, company, code, database
):
    asset = await upload("failed", code=code)
    assert await sweep() == 0
    assert await original_of(database, store, asset) == upload_key(company, asset)


async def test_an_original_that_proved_good_comes_back(
    store, sweep, upload, company, admin, database
):
    asset = await upload("failed", code="duration_too_long")
    await sweep()
    await admin.execute("UPDATE media_assets SET status = 'ready', attempt = 2, sweep_at = now()")
    assert await sweep() == 1
    assert await original_of(database, store, asset) == upload_key(company, asset)
    assert await keys(store, store.bucket_of(company)) == {upload_key(company, asset): 1}


async def test_a_retry_that_begins_meanwhile_finds_its_original(
    store, database, settings, upload, company, admin
):
    asset = await upload("failed", code="type_mismatch")

    class Racing(ObjectStore):
        async def copy(self, source, key):
            version = await super().copy(source, key)
            await admin.execute("UPDATE media_assets SET status = 'processing', attempt = 2")
            return version

    racing = Racing(settings)
    await Sweep(database, racing, settings)()
    racing.close()
    assert await original_of(database, store, asset) == upload_key(company, asset)
    assert await keys(store, store.bucket_of(company)) == {upload_key(company, asset): 1}


async def test_a_deleted_asset_leaves_nothing_in_quarantine(store, sweep, upload, company, admin):
    await upload("failed", code="type_mismatch")
    await sweep()
    await admin.execute("UPDATE media_assets SET status = 'deleted', sweep_at = now()")
    await admin.execute("DELETE FROM asset_files")
    await sweep()
    assert await keys(store, store.bucket_of(company)) == {}


async def test_a_deleted_asset_without_a_bucket_holds_nobody_up(store, sweep, add, admin):
    await add("deleted", bucket=store.bucket_of(uuid4()), sweep_at=NOW)
    await admin.execute("UPDATE media_assets SET updated_at = now() - interval '2 hours'")
    assert await sweep() == 0
    assert await due(admin) == set()


async def test_while_storage_is_away_all_stays_due(database, settings, add, admin):
    away = ObjectStore(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    await add("deleted", bucket="media-x", sweep_at=NOW)
    assert await Sweep(database, away, settings)() == 0
    away.close()
    assert await admin.fetchval("SELECT sweep_at FROM media_assets") == NOW


async def test_a_round_sweeps_until_half_of_its_time_is_over(store, database, settings, add, admin):
    await add("deleted", 5, bucket=store.bucket_of(uuid4()), sweep_at=NOW)
    await admin.execute("UPDATE media_assets SET updated_at = now() - interval '2 hours'")
    few = {"cleanup_batch": 2, "watch_interval_seconds": 0.000_001}
    await Sweep(database, store, settings.model_copy(update=few))()
    assert len(await due(admin)) == 4, "one at least"
    await Sweep(database, store, settings.model_copy(update={"cleanup_batch": 2}))()
    assert await due(admin) == set(), "batch by batch"


async def test_what_somebody_deleted_goes_before_what_was_retired(
    store, database, settings, add, admin
):
    before = NOW - timedelta(hours=3)
    bucket = store.bucket_of(uuid4())
    retired = await add("deleted", 3, bucket=bucket, sweep_at=before, retired=True)
    dead = await add("ready", 2, bucket=bucket, sweep_at=before)
    wanted = [*await add("deleted", bucket=bucket, sweep_at=NOW),
              *await add("cancelled", bucket=bucket, sweep_at=NOW)]  # fmt: skip
    await admin.execute("UPDATE media_assets SET updated_at = now() - interval '2 hours'")
    short = settings.model_copy(update={"watch_interval_seconds": 0.000_001})
    for left in ({wanted[1]}, set()):
        await Sweep(database, store, short)()
        assert await due(admin) == {*retired, *dead, *left}


async def test_an_asset_that_cannot_be_swept_holds_no_other_up(sweep, store, add, admin):
    (broken,) = await add("deleted", bucket="No bucket's name", sweep_at=NOW)
    await add("deleted", 3, bucket=store.bucket_of(uuid4()), sweep_at=NOW)
    await admin.execute("UPDATE media_assets SET updated_at = now() - interval '2 hours'")
    await sweep()
    assert await due(admin) == {broken}


async def quarantined(database, sweep, upload, store):
    """Return an asset whose original has come into quarantine."""
    asset = await upload("failed", code="type_mismatch")
    await sweep()
    assert await original_of(database, store, asset)
    return asset


async def test_an_original_is_given_up_when_its_time_in_quarantine_is_over(
    store, sweep, upload, company, admin, database
):
    asset = await quarantined(database, sweep, upload, store)
    used = "SELECT sum(bytes) FROM company_usage"
    assert await admin.fetchval(used) == 1
    await admin.execute(
        "UPDATE media_assets SET updated_at = now() - interval '167 hours', sweep_at = now()"
    )
    assert await sweep() == 0, "an hour too early"
    again = await admin.fetchval("SELECT sweep_at - now() FROM media_assets")
    assert again.total_seconds() == pytest.approx(3600, abs=60), "it is looked at then"
    await admin.execute(
        "UPDATE media_assets SET updated_at = now() - interval '169 hours', sweep_at = now()"
    )
    assert await sweep() == 1
    assert await keys(store, store.bucket_of(company)) == {}
    assert await admin.fetchval(used) == 0, "it takes nothing any more"
    assert await due(admin) == set()
    row = await admin.fetchrow("SELECT * FROM media_assets WHERE id = $1", asset)
    assert (row["status"], row["error_code"]) == ("failed", "type_mismatch")
    assert not await files_now(database, asset)


async def test_what_is_no_longer_kept_cannot_be_retried(
    database, settings, store, sweep, upload, admin
):
    asset = await quarantined(database, sweep, upload, store)
    await admin.execute(
        "UPDATE media_assets SET updated_at = now() - interval '8 days', sweep_at = now()"
    )
    await sweep()
    outbox = Outbox(database, Producer(settings, name="t"), service="watcher")
    told = await Operator(Work(database, outbox)).retry(asset)
    assert told == {"asset_id": asset, "error": "its file is no longer kept"}
    assert await admin.fetchval("SELECT status FROM media_assets") == "failed"


async def test_an_original_that_is_not_there_counts_no_longer(
    store, sweep, upload, company, admin, database
):
    asset = await upload("failed", code="object_missing")
    await store.delete_prefix(store.bucket_of(company), f"{company}/")
    await sweep()
    assert not await files_now(database, asset)
    assert await admin.fetchval("SELECT sum(bytes) FROM company_usage") == 0


async def test_a_retry_in_quarantines_last_moment_keeps_its_original(
    store, database, settings, sweep, upload, company, admin
):
    asset = await quarantined(database, sweep, upload, store)
    await admin.execute(
        "UPDATE media_assets SET updated_at = now() - interval '8 days', sweep_at = now()"
    )

    class Racing(ObjectStore):
        async def stat(self, ref):
            await admin.execute("UPDATE media_assets SET status = 'processing', attempt = 2")
            return await super().stat(ref)

    racing = Racing(settings)
    await Sweep(database, racing, settings)()
    racing.close()
    assert await original_of(database, store, asset) == quarantine_key(company, asset)


async def test_lapsed_keys_and_tickets_are_forgotten(sweep, add, admin):
    company = uuid4()
    (asset,) = await add("ready", company=company)
    for hours in (23, 25):
        await admin.execute(
            "INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response,"
            " created_at) VALUES ($1, $2, 'h', $3, '{}', now() - make_interval(hours => $4))",
            company,
            f"{hours}",
            asset,
            hours,
        )
        await admin.execute(
            "INSERT INTO event_tickets"
            " VALUES ($1, $2, 's', now(), now() + make_interval(secs => $3))",
            f"{hours}",
            company,
            60 * (24 - hours),
        )
    # The ticket of 25 lapsed a minute ago, that of 23 lapses in a minute.
    await sweep()
    assert await admin.fetch("SELECT key FROM idempotency_keys") == [("23",)]
    assert await admin.fetch("SELECT ticket_hash FROM event_tickets") == [("23",)]


async def test_a_batch_goes_a_month_after_the_last_of_its_assets(sweep, add, admin):
    company, batches = uuid4(), {}
    for name, days in (("old", 31), ("with an asset", 31), ("new", 29), ("not decided", None)):
        batches[name] = uuid4()
        await admin.execute(
            "INSERT INTO batches (id, company_id, uploads, pending, decided_at)"
            " VALUES ($1, $2, 1, 0, now() - make_interval(days => $3))",
            *(batches[name], company, days),
        )
    (kept,) = await add("ready", company=company)
    await admin.execute(
        "UPDATE media_assets SET batch_id = $2 WHERE id = $1", kept, batches["with an asset"]
    )
    await sweep()
    left = {row["id"] for row in await admin.fetch("SELECT id FROM batches")}
    assert left == set(batches.values()) - {batches["old"]}


async def test_lapsed_rows_go_in_batches_until_their_time_is_over(store, database, settings, admin):
    lapsed = (
        "INSERT INTO event_tickets SELECT 'lapsed ' || n, gen_random_uuid(), 's', now(),"
        " now() - interval '1 minute' FROM generate_series(1, 2500) n"
    )
    left = "SELECT count(*) FROM event_tickets"
    await admin.execute(lapsed)
    short = settings.model_copy(update={"watch_interval_seconds": 0.000_001})
    await Sweep(database, store, short)()
    assert await admin.fetchval(left) == 1500
    await Sweep(database, store, settings)()
    assert await admin.fetchval(left) == 0

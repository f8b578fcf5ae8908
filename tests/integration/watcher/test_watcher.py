"""What a round of the watcher counts, says and cleans up."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import structlog
from media_runtime.postgres import Database
from media_runtime.storage import ObjectStore, output_key, output_prefix, upload_key
from watcher.settings import WatcherSettings
from watcher.use_cases import CleanUp, Watch

from support.buckets import our_store, remove_buckets
from support.databases import service_url


@pytest.fixture
def settings(database_name):
    store = our_store().model_dump(include={"s3_endpoint_url", "s3_access_key", "s3_secret_key",
                                            "s3_bucket_prefix"})  # fmt: skip
    return WatcherSettings(database_url=service_url(database_name, "watcher"), **store)


@pytest.fixture
async def database(settings):
    url = settings.database_url.get_secret_value()
    async with Database.connect(url, name="t", size=2) as found:
        yield found


@pytest.fixture
async def store(settings):
    found = ObjectStore(settings)
    yield found
    found.close()
    remove_buckets(settings)


@pytest.fixture
def watch(database, settings):
    return Watch(database, settings)


@pytest.fixture
def clean_up(database, store, settings):
    return CleanUp(database, store, settings)


@pytest.fixture
def add(admin):
    """Insert assets of a status, uploaded some minutes ago or not at all; return their ids."""

    async def insert(status, count=1, *, minutes=None, company=None, bucket="b"):
        company, ids = company or uuid4(), [uuid4() for _ in range(count)]
        uploaded = None if minutes is None else datetime.now(UTC) - timedelta(minutes=minutes)
        for asset in ids:
            await admin.execute(
                "INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket,"
                " upload_key, grant_expires_at, status, uploaded_at)"
                " VALUES ($1, $2, 'n', 'image/png', 1, $3, $4, now(), $5, $6)",
                asset, company, bucket, upload_key(company, asset), status, uploaded,
            )  # fmt: skip
        return ids

    return insert


async def test_nothing_is_nothing(watch):
    found = await watch()
    assert (found.pending, found.processing, found.failed, found.backlog) == (0, 0, 0, 0)
    assert (found.oldest, found.alert) == ((), False)


async def test_each_status_is_counted_over_all_companies(watch, add):
    await add("pending", 5)
    await add("pending", 2, minutes=1)
    await add("processing", 3, minutes=2)
    await add("failed", 4, minutes=3)
    for status in ("ready", "deleted", "expired", "cancelled"):
        await add(status, 2, minutes=4)
    found = await watch()
    assert (found.pending, found.processing, found.failed) == (7, 3, 4)
    assert found.backlog == 5, "an upload that never came is no backlog"


@pytest.mark.parametrize(("backlog", "alert"), [(10, False), (11, True)])
async def test_more_than_ten_waiting_items_are_an_alert_with_the_oldest(
    watch, add, admin, backlog, alert
):
    company = uuid4()
    await add("processing", backlog - 1, minutes=5)
    (oldest,) = await add("pending", minutes=90, company=company)
    await add("pending", 20)
    await admin.execute(
        "INSERT INTO ingest_jobs (company_id, asset_id, attempt, source_size, tries, last_error)"
        " VALUES ($1, $2, 1, 1, 2, 'storage is away')",
        company,
        oldest,
    )
    with structlog.testing.capture_logs() as lines:
        found = await watch()
    assert found.alert is alert
    assert len(found.oldest) == 5
    told = [line for line in lines if line["event"].startswith("ALERT")]
    assert len(told) == int(alert)
    if alert:
        assert (told[0]["log_level"], told[0]["backlog"], told[0]["limit"]) == ("warning", 11, 10)
        assert told[0]["oldest"][0] == {
            "asset": str(oldest),
            "company": str(company),
            "status": "pending",
            "age_seconds": pytest.approx(90 * 60, abs=120),
            "job": "queued",
            "tries": 2,
            "last_error": "storage is away",
        }
        assert len(told[0]["oldest"]) == 5
    (counts,) = [line for line in lines if line["event"] == "watch"]
    assert (counts["pending"], counts["processing"], counts["backlog"]) == (
        21,
        backlog - 1,
        backlog,
    )


async def test_a_job_of_an_older_attempt_is_not_shown(watch, add, admin):
    company = uuid4()
    (asset,) = await add("processing", minutes=1, company=company)
    await admin.execute("UPDATE media_assets SET attempt = 2")
    await admin.execute(
        "INSERT INTO ingest_jobs (company_id, asset_id, attempt, source_size)"
        " VALUES ($1, $2, 1, 1)",
        company,
        asset,
    )
    (item,) = (await watch()).oldest
    assert (item.asset_id, item.job, item.tries) == (asset, None, None)


async def run_once(settings, *, backlog_alert=10):
    """Run the command as ops do and return its exit code and what it logged."""
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "S3_BUCKET_PREFIX": settings.s3_bucket_prefix,
        "BACKLOG_ALERT": str(backlog_alert),
        "LOG_FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "watcher", "--once", env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    lines = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    return process.returncode, lines, output.decode()


async def test_the_script_ends_with_0_when_all_is_well_and_with_2_for_an_alert(settings, add):
    code, lines, output = await run_once(settings)
    assert code == 0, output
    assert [line["event"] for line in lines] == ["watch"]
    await add("processing", 11, minutes=1)
    code, lines, output = await run_once(settings)
    assert code == 2, output
    assert [line["event"] for line in lines] == ["watch", "ALERT backlog"]
    assert len(lines[1]["oldest"]) == 5


async def test_the_script_fails_otherwise_than_by_an_alert(settings):
    elsewhere = settings.database_url.get_secret_value().replace("/t_", "/absent_t_")
    broken = settings.model_copy(update={"database_url": type(settings.database_url)(elsewhere)})
    code, _, output = await run_once(broken)
    assert code not in {0, 2}, output


async def versions(store, bucket):
    return {
        found.object_name
        for found in store._client.list_objects(bucket, recursive=True, include_version=True)
    }


async def put(store, bucket, key):
    await store.upload_bytes(bucket, key, b"x", content_type="x/y", cache_control="no-store")


async def test_objects_of_deleted_assets_are_removed_and_no_others(store, clean_up, add, admin):
    company = uuid4()
    bucket = await store.ensure_bucket(company, quota_bytes=10**6)
    (gone,) = await add("deleted", company=company, bucket=bucket)
    (kept,) = await add("ready", company=company, bucket=bucket)
    keys = {}
    for asset in (gone, kept):
        keys[asset] = {upload_key(company, asset), output_key(company, asset, 1, 1, "video.mp4")}
        for key in keys[asset]:
            await put(store, bucket, key)
            await put(store, bucket, key)
    assert await clean_up() == 4
    assert await versions(store, bucket) == keys[kept]
    removals = dict(await admin.fetch("SELECT id, removals FROM media_assets"))
    assert removals == {gone: 1, kept: 0}
    assert await clean_up() == 0


async def test_what_a_worker_wrote_after_a_deletion_goes_an_hour_later(store, clean_up, add, admin):
    company = uuid4()
    bucket = await store.ensure_bucket(company, quota_bytes=10**6)
    (gone,) = await add("deleted", company=company, bucket=bucket)
    await clean_up()
    await put(store, bucket, f"{output_prefix(company, gone)}1-1/late.mp4")
    assert await clean_up() == 0
    await admin.execute("UPDATE media_assets SET updated_at = now() - interval '62 minutes'")
    assert await clean_up() == 1
    assert await versions(store, bucket) == set()
    await put(store, bucket, f"{output_prefix(company, gone)}1-1/much-later.mp4")
    assert await clean_up() == 0, "two passes are all"


async def test_a_deleted_asset_without_a_bucket_holds_nobody_up(store, clean_up, add, admin):
    await add("deleted", bucket=store.bucket_of(uuid4()))
    assert await clean_up() == 0
    assert await admin.fetchval("SELECT removals FROM media_assets") == 1


async def test_while_storage_is_away_nothing_counts_as_removed(database, settings, add, admin):
    away = ObjectStore(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    await add("deleted", bucket="media-x")
    assert await CleanUp(database, away, settings)() == 0
    away.close()
    assert await admin.fetchval("SELECT removals FROM media_assets") == 0


async def test_a_round_removes_no_more_than_its_batch(store, database, settings, add, admin):
    await add("deleted", 5, bucket=store.bucket_of(uuid4()))
    clean_up = CleanUp(database, store, settings.model_copy(update={"cleanup_batch": 2}))
    for removed in (2, 4, 5):
        await clean_up()
        assert await admin.fetchval("SELECT sum(removals) FROM media_assets") == removed


async def test_lapsed_keys_and_tickets_are_forgotten(clean_up, add, admin):
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
    await clean_up()
    assert await admin.fetch("SELECT key FROM idempotency_keys") == [("23",)]
    assert await admin.fetch("SELECT ticket_hash FROM event_tickets") == [("23",)]

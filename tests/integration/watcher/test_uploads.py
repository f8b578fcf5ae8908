"""What the watcher does about uploads in parts of which nothing came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_runtime.errors import TransientError
from media_runtime.storage.store import ObjectStore, upload_key
from watcher.cleanup.uploads import SweepUploads
from watcher.reconcile.assets import VerifyBuckets

from .test_reconcile import make_reconciler

QUOTA = 10**8


@pytest.fixture
async def company(store):
    """A company with a bucket."""
    found = uuid4()
    await store.ensure_bucket(found, quota_bytes=QUOTA)
    return found


@pytest.fixture
def begin(add, admin, store, company):
    """Insert an asset whose upload in parts has one part in storage, and return its id."""

    async def insert(status="pending", **columns):
        bucket = store.bucket_of(company)
        (asset,) = await add(status, company=company, bucket=bucket, **columns)
        key = upload_key(company, asset)
        upload = await store.begin_upload(bucket, key, content_type="video/mp4")
        store._client._upload_part(bucket, key, b"x" * 9, {}, upload, 1)
        await admin.execute(
            "INSERT INTO uploads (asset_id, company_id, part_size, storage_id)"
            " VALUES ($1, $2, 9, $3)",
            asset, company, upload,
        )  # fmt: skip
        return asset

    return insert


async def ended(admin):
    rows = await admin.fetch("SELECT asset_id FROM uploads WHERE ended")
    return {row["asset_id"] for row in rows}


async def with_parts(store, company):
    found = await store.unfinished_uploads(store.bucket_of(company))
    return {one.key for one in found}


@pytest.mark.parametrize("status", ["expired", "cancelled", "deleted"])
async def test_parts_of_an_upload_that_is_over_are_removed(
    database, store, settings, company, admin, begin, status
):
    goes_on, over = await begin(), await begin(status)
    assert await SweepUploads(database, store, settings)() == 1
    assert await with_parts(store, company) == {upload_key(company, goes_on)}
    assert await ended(admin) == {over}
    assert await SweepUploads(database, store, settings)() == 0


@pytest.mark.parametrize("status", ["processing", "ready", "failed"])
async def test_of_a_complete_upload_nothing_is_asked_of_storage(
    database, settings, admin, begin, status
):
    done = await begin(status)
    away = ObjectStore(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    assert await SweepUploads(database, away, settings)() == 0
    assert await ended(admin) == {done}
    away.close()


async def test_while_storage_is_away_no_upload_counts_as_removed(
    database, store, settings, company, admin, begin
):
    over = await begin("cancelled")
    away = ObjectStore(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    with pytest.raises(TransientError):
        await SweepUploads(database, away, settings)()
    away.close()
    assert await ended(admin) == set()
    assert await SweepUploads(database, store, settings)() == 1
    assert await with_parts(store, company) == set()
    assert await ended(admin) == {over}


async def test_an_upload_that_storage_has_lost_is_over_as_well(
    database, store, settings, company, admin, begin
):
    over = await begin("expired")
    (lost,) = await store.unfinished_uploads(store.bucket_of(company))
    await store.abort_upload(lost)
    assert await SweepUploads(database, store, settings)() == 1
    assert await ended(admin) == {over}


async def test_a_lapsed_upload_expires_and_its_row_goes_after_its_parts(
    database, store, settings, company, admin, begin
):
    long_ago = datetime.now(UTC) - timedelta(days=30)
    lapsed = {"created_at": long_ago, "updated_at": long_ago, "check_at": long_ago}
    asset = await begin(**lapsed, grant_expires_at=long_ago)
    reconcile = make_reconciler(database, store, settings)
    assert await reconcile() == {"expired": 1}
    await admin.execute("UPDATE media_assets SET updated_at = $1, check_at = $1", long_ago)
    assert await reconcile() == {}, "its parts may still be there"
    await SweepUploads(database, store, settings)()
    assert await with_parts(store, company) == set()
    assert await reconcile() == {"removed": 1}
    assert await admin.fetchval("SELECT count(*) FROM uploads WHERE asset_id = $1", asset) == 0


async def test_an_upload_that_its_row_tells_of_goes_on_however_old_it_is(
    database, store, settings, company, admin, begin
):
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes, verified_at)"
        " VALUES ($1, $2, $3, 'epoch')",
        company, store.bucket_of(company), QUOTA,
    )  # fmt: skip
    goes_on = upload_key(company, await begin())
    unknown = upload_key(company, uuid4())
    await store.begin_upload(store.bucket_of(company), unknown, content_type="video/mp4")
    assert await with_parts(store, company) == {goes_on, unknown}
    hasty = settings.model_copy(update={"multipart_keep_seconds": 0.001})
    await VerifyBuckets(database=database, store=store, settings=hasty)()
    assert await with_parts(store, company) == {goes_on}

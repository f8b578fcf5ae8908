"""Storage and rows compared, both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_runtime.storage import output_key, upload_key
from watcher.main import orphans_now
from watcher.orphans import find_orphans
from watcher.settings import OrphanSettings

NO_AGE = timedelta(0)


@pytest.fixture
async def company(store, admin):
    """A company with a bucket."""
    found = uuid4()
    bucket = await store.ensure_bucket(found, quota_bytes=10**6)
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, 1)", found, bucket
    )
    return found


@pytest.fixture
def put(store, company):
    async def store_object(*keys):
        for key in keys:
            await store.upload_bytes(
                store.bucket_of(company), key, b"123", content_type="x/y", cache_control="no"
            )

    return store_object


@pytest.fixture
def ready(add, store, company, put):
    """Make a ready asset with all its files."""

    async def make(**columns):
        (asset,) = await add("ready", minutes=9, company=company, bucket=store.bucket_of(company))
        video = output_key(company, asset, 1, "video.mp4", fence=1)
        picture = output_key(company, asset, 1, "thumbnail.jpg")
        await put(upload_key(company, asset), video, picture)
        return asset, video, picture

    return make


@pytest.fixture
def settings_of_orphans(settings):
    names = OrphanSettings.model_fields.keys()
    return OrphanSettings(**settings.model_dump(include=set(names)))


async def refer(admin, asset, video, picture):
    await admin.execute(
        "UPDATE media_assets SET processed_key = $2, thumbnail_key = $3 WHERE id = $1",
        asset, video, picture,
    )  # fmt: skip


async def found(database, store, *, min_age=NO_AGE):
    return {
        (orphan.kind, orphan.key) async for orphan in find_orphans(database, store, min_age=min_age)
    }


async def test_a_tidy_company_has_no_orphans(database, store, ready, admin):
    await refer(admin, *await ready())
    assert await found(database, store) == set()


async def test_objects_that_no_row_explains_are_found(database, store, ready, put, company, admin):
    asset, video, picture = await ready()
    await refer(admin, asset, video, picture)
    stranger, dead = uuid4(), output_key(company, asset, 1, "video.mp4", fence=7)
    strange = {
        "readme.txt",
        upload_key(company, stranger),
        output_key(company, stranger, 1, "image"),
        upload_key(uuid4(), asset),
        dead,
    }
    await put(*strange)
    assert await found(database, store) == {("object", key) for key in strange}
    await admin.execute("UPDATE media_assets SET sweep_at = now() + interval '1 hour'")
    left = await found(database, store)
    assert left == {("object", key) for key in strange - {dead}}, "what is to be swept is known"


async def test_files_that_are_gone_are_found(database, store, ready, admin, company):
    asset, video, picture = await ready()
    await refer(admin, asset, video, picture)
    await store.delete_prefix(store.bucket_of(company), video)
    assert await found(database, store) == {("file", video)}
    await store.delete_prefix(store.bucket_of(company), upload_key(company, asset))
    assert await found(database, store) == {("file", video)}, "an original may be let go"


async def test_what_is_young_may_be_on_its_way(database, store, put, ready):
    await put("readme.txt")
    await ready()
    assert await found(database, store, min_age=timedelta(minutes=1)) == set()


async def test_orphans_are_removed_where_somebody_asks_and_rows_stay(
    settings_of_orphans, store, put, ready, admin, company, database
):
    asset, video, picture = await ready()
    await refer(admin, asset, video, picture)
    await put("readme.txt", "readme.txt", "readme.txt.more")
    await store.delete_prefix(store.bucket_of(company), video)

    async def run(*, remove):
        return {
            orphan.key
            async for orphan in orphans_now(settings_of_orphans, min_age=NO_AGE, remove=remove)
        }

    everything = {"readme.txt", "readme.txt.more", video}
    assert await run(remove=False) == everything
    assert await run(remove=True) == everything
    assert await run(remove=True) == {video}, "a row whose file is gone is for people"
    assert await admin.fetchval("SELECT count(*) FROM media_assets") == 1


async def test_a_company_whose_bucket_is_gone_is_all_missing_files(database, store, add, admin):
    company = uuid4()
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, 'gone', 1)", company
    )
    (asset,) = await add("ready", company=company, bucket="gone", thumbnail_key="k")
    await admin.execute("UPDATE media_assets SET updated_at = $1", datetime.now(UTC))
    assert await found(database, store) == {("file", "k")}, f"{asset} has lost its picture"

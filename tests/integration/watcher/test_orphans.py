"""Storage and rows compared, both ways."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from media_contracts import ObjectRef
from media_records import files
from media_runtime.storage import store as storage
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import upload_key
from watcher.cleanup import orphans
from watcher.cleanup.orphans import find_orphans, remove_orphans
from watcher.cleanup.sweep import Sweep

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
def pin(store, company, admin, add_file):
    """Make the newest version of an asset's original the one that counts; return it."""

    async def pin_version(asset):
        original = ObjectRef(bucket=store.bucket_of(company), key=upload_key(company, asset))
        version = (await store.stat(original)).version_id
        await add_file(asset, "original", original.key, version=version, size=3)
        await admin.execute("UPDATE media_assets SET grant_swept = true WHERE id = $1", asset)
        return version

    return pin_version


@pytest.fixture
def sweep_now(database, store, settings, admin):
    """Sweep an asset as it is now."""

    async def sweep(asset):
        await admin.execute("UPDATE media_assets SET sweep_at = now() WHERE id = $1", asset)
        await Sweep(database, store, settings)()

    return sweep


@pytest.fixture
def ready(add, add_file, store, company, put, pin):
    """Make a ready asset with all its files."""

    async def make(**columns):
        (asset,) = await add("ready", minutes=9, company=company, bucket=store.bucket_of(company))
        video = output_key(company, asset, 1, "video.mp4", fence=1)
        picture = output_key(company, asset, 1, "thumbnail.jpg")
        await put(upload_key(company, asset), video, picture)
        await pin(asset)
        await add_file(asset, "video", video)
        await add_file(asset, "thumbnail", picture)
        return asset, video, picture

    return make


async def found(database, store, *, min_age=NO_AGE):
    return {
        (orphan.kind, orphan.key) async for orphan in find_orphans(database, store, min_age=min_age)
    }


async def test_a_tidy_company_has_no_orphans(database, store, ready):
    await ready()
    assert await found(database, store) == set()


async def test_objects_that_no_row_explains_are_found(database, store, ready, put, company, admin):
    asset, _video, _picture = await ready()
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


async def test_files_that_are_gone_are_found(database, store, ready, company):
    asset, video, _picture = await ready()
    await store.delete_prefix(store.bucket_of(company), video)
    assert await found(database, store) == {("file", video)}
    await store.delete_prefix(store.bucket_of(company), upload_key(company, asset))
    assert await found(database, store) == {("file", video)}, "an original may be let go"


async def test_what_is_young_may_be_on_its_way(database, store, put, ready):
    await put("readme.txt")
    await ready()
    assert await found(database, store, min_age=timedelta(minutes=1)) == set()


async def listed(database, store):
    return [orphan async for orphan in find_orphans(database, store, min_age=NO_AGE)]


async def test_orphans_are_removed_where_somebody_asks_and_rows_stay(
    store, put, ready, admin, company, database
):
    _asset, video, _picture = await ready()
    await put("readme.txt", "readme.txt", "readme.txt.more")
    await store.delete_prefix(store.bucket_of(company), video)
    everything = await listed(database, store)
    assert {one.key for one in everything} == {"readme.txt", "readme.txt.more", video}
    removed = [done async for done in remove_orphans(database, store, everything)]
    assert sorted(removed) == [False, True, True, True]
    left = {one.key for one in await listed(database, store)}
    assert left == {video}, "a row whose file is gone is for people"
    assert await admin.fetchval("SELECT count(*) FROM media_assets") == 1


async def test_only_what_was_listed_is_removed_and_only_while_it_is_an_orphan(
    database, store, put, add, company, admin
):
    uploaded = upload_key(company, uuid4())
    await put("readme.txt", uploaded)
    before = await listed(database, store)
    await put("later.txt", "readme.txt")
    (asset,) = await add("pending", company=company, bucket=store.bucket_of(company))
    await admin.execute(
        "UPDATE media_assets SET id = $2 WHERE id = $1", asset, UUID(uploaded.rpartition("/")[2])
    )
    removed = {
        one.key: done
        for one, done in zip(
            before, [done async for done in remove_orphans(database, store, before)], strict=True
        )
    }
    assert removed == {"readme.txt": True, uploaded: False}, "one has a row now"
    left = await store.objects(store.bucket_of(company), all_versions=True)
    assert sorted(one.key for one in left) == sorted(["later.txt", "readme.txt", uploaded])


async def test_of_many_versions_only_those_that_nothing_refers_to_are_removed(
    database, store, ready, put, pin, company
):
    asset, _video, picture = await ready()
    original, bucket = upload_key(company, asset), store.bucket_of(company)
    await put(original)
    pinned = await pin(asset)
    await put(original, original, picture)
    everything = await store.objects(bucket, all_versions=True)
    counts = {one.key: one.version_id for one in everything if one.is_latest}
    counts[original] = pinned
    orphaned = await listed(database, store)
    assert sorted(one.key for one in orphaned) == sorted([original] * 3 + [picture])
    assert all([done async for done in remove_orphans(database, store, orphaned)])
    left = await store.objects(bucket, all_versions=True)
    assert {one.key: one.version_id for one in left} == counts
    assert len(left) == 3
    assert await listed(database, store) == []


@pytest.mark.parametrize("hidden", ["video", "original"])
async def test_a_delete_marker_over_a_file_that_a_row_needs_makes_it_no_orphan(
    database, store, ready, company, sweep_now, hidden
):
    asset, video, _picture = await ready()
    key = video if hidden == "video" else upload_key(company, asset)
    store._client.remove_object(store.bucket_of(company), key)
    before = await store.objects(store.bucket_of(company), all_versions=True)
    expected = {("file", video)} if hidden == "video" else set()
    assert await found(database, store) == expected
    await sweep_now(asset)
    assert await store.objects(store.bucket_of(company), all_versions=True) == before


async def test_an_original_whose_version_is_gone_is_missing_though_its_key_is_there(
    database, store, ready, put, admin, company
):
    asset, *_ = await ready()
    bucket, key = store.bucket_of(company), upload_key(company, asset)
    await admin.execute("UPDATE media_assets SET status = 'processing', sweep_at = now()")
    await put(key)
    assert await found(database, store) == set()
    pinned = await admin.fetchval("SELECT version_id FROM asset_files WHERE kind = 'original'")
    await store.delete_prefix(bucket, key, lambda one: one.version_id == pinned)
    assert await found(database, store) == {("file", key)}


async def test_removing_takes_its_time_where_it_is_told_to(database, store, put):
    await put("1", "2", "3")
    began = time.monotonic()
    found = await listed(database, store)
    assert [done async for done in remove_orphans(database, store, found, rate=4)] == [True] * 3
    assert time.monotonic() - began >= 0.75


async def test_a_bucket_of_many_pages_is_compared_whole(
    database, store, ready, put, company, monkeypatch
):
    monkeypatch.setattr(storage, "_PAGE", 2)
    monkeypatch.setattr(files, "_PAGE", 2)
    lost, strange = set(), set()
    for number in range(6):
        asset, video, picture = await ready()
        if number % 2:
            await store.delete_prefix(store.bucket_of(company), f"{company}/outputs/{asset}/")
            lost |= {("file", video), ("file", picture)}
        key = output_key(company, uuid4(), 1, "image")
        await put(key)
        strange.add(("object", key))
    assert await found(database, store) == lost | strange


async def test_a_company_whose_bucket_is_gone_is_all_missing_files(
    database, store, add, add_file, admin
):
    company = uuid4()
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, 'gone', 1)", company
    )
    (asset,) = await add("ready", company=company, bucket="gone")
    await add_file(asset, "thumbnail", "k")
    await admin.execute("UPDATE media_assets SET updated_at = $1", datetime.now(UTC))
    assert await found(database, store) == {("file", "k")}, f"{asset} has lost its picture"


async def test_no_part_of_a_stream_is_an_orphan_while_a_row_names_it(database, add, admin):
    company = uuid4()
    (asset,) = await add("ready", minutes=9, company=company)
    keys = [output_key(company, asset, 1, f"video-240-000{part}.mp4", fence=1) for part in (0, 1)]
    for part, key in enumerate(keys):
        await admin.execute(
            "INSERT INTO asset_files (asset_id, attempt, name, company_id, kind, key, content_type,"
            " size, stream, track, part) VALUES ($1, 1, $2, $3, 'segment', $4, 'v', 1, 'video',"
            " '240', $5)", asset, f"video-240-000{part}", company, key, part,
        )  # fmt: skip
    page = [
        storage.StoredObject(bucket="b", key=key, version_id="v", size=1, etag="e") for key in keys
    ]
    walk = orphans._Company(database, None, company, "b")
    assert await walk._unexplained(page, None) == []
    stray = replace(page[1], key=output_key(company, asset, 1, "video-240-0002.mp4", fence=1))
    assert [one.key for one in await walk._unexplained([*page, stray], None)] == [stray.key]

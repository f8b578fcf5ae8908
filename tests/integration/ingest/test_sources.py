"""Uploads on this machine: fetched once, kept for the next task, and gone soon after."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from ingest.sources import Sources
from media_records.tasks import LostLeaseError
from media_runtime.database.postgres import Database
from media_runtime.storage.store import ContentChangedError, ObjectStore, upload_key

from support.assets import asset_now, sign_asset
from support.buckets import our_store, remove_buckets
from support.databases import service_url
from support.eventually import eventually


class Counting(ObjectStore):
    """The store, which counts what is fetched."""

    fetched = 0

    async def download(self, source, path):
        self.fetched += 1
        return await super().download(source, path)


@pytest.fixture
async def database(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=4) as db:
        yield db


@pytest.fixture
async def store():
    settings = our_store()
    found = Counting(settings)
    yield found
    found.close()
    remove_buckets(settings)


@pytest.fixture
async def asset(database, database_name, store, admin):
    """An asset whose upload is stored and announced."""
    company = uuid4()
    bucket = await store.ensure_bucket(company, quota_bytes=10**6)
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        _, asset_id = await sign_asset(db, company)
    key = upload_key(company, asset_id)
    await store.upload_bytes(bucket, key, b"bytes", content_type="v/w", cache_control="no-store")
    await admin.execute("UPDATE media_assets SET bucket = $1", bucket)
    await admin.execute(
        "INSERT INTO asset_files (asset_id, attempt, name, company_id, kind, key, content_type,"
        " size) VALUES ($1, 0, 'original', $2, 'original', $3, 'v/w', 5)",
        asset_id, company, key,
    )  # fmt: skip
    return await asset_now(database, asset_id)


@pytest.fixture
def sources(database, store, tmp_path):
    return Sources(database, store, tmp_path, keep_seconds=0.2)


async def test_an_upload_is_gone_after_its_task(sources, asset, tmp_path):
    async with sources.open(asset) as upload:
        assert upload.path.read_bytes() == b"bytes"
    assert list(tmp_path.iterdir()) == []


async def test_the_next_task_finds_what_was_fetched(sources, store, asset, tmp_path):
    async with sources.open(asset) as first:
        first.wanted_next = True
    async with sources.open(asset) as second:
        assert second.path == first.path
    assert store.fetched == 1
    assert list(tmp_path.iterdir()) == []


async def test_what_nobody_takes_is_removed_soon(sources, asset, tmp_path):
    async with sources.open(asset) as upload:
        upload.wanted_next = True
    assert list(tmp_path.iterdir())
    await eventually(lambda: not list(tmp_path.iterdir()))


async def test_two_tasks_at_once_share_one_upload(sources, store, asset, tmp_path):
    begun = asyncio.Barrier(2)

    async def task():
        async with sources.open(asset) as upload:
            await begun.wait()
            return upload.path.read_bytes()

    assert await asyncio.gather(task(), task()) == [b"bytes"] * 2
    assert store.fetched == 1
    assert list(tmp_path.iterdir()) == []


async def test_at_the_end_nothing_is_kept(sources, asset, tmp_path):
    async with sources.open(asset) as upload:
        upload.wanted_next = True
    await sources.__aexit__()
    assert list(tmp_path.iterdir()) == []


async def test_other_bytes_than_those_that_were_checked_are_refused(
    sources, store, asset, tmp_path
):
    async with sources.open(asset):
        pass
    key = upload_key(asset.company_id, asset.id)
    await store.upload_bytes(
        asset.bucket, key, b"other", content_type="v/w", cache_control="no-store"
    )
    with pytest.raises(ContentChangedError):
        async with sources.open(asset):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_deleted_upload_is_a_lost_lease(sources, asset, admin, tmp_path):
    await admin.execute("DELETE FROM asset_files")
    with pytest.raises(LostLeaseError):
        async with sources.open(asset):
            pass
    assert list(tmp_path.iterdir()) == []

"""What `orphans --remove` takes from real uploads of all kinds, hours after them."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from media_contracts import ObjectRef
from media_runtime.settings import StorageSettings
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import ObjectStore, StoredObject, upload_key

from support.clients import Company
from support.eventually import eventually
from support.media_files import make_photo, make_video
from support.wire import Rows

from .test_operators import run

_LATER = """
    UPDATE media_assets SET created_at = created_at - interval '3 hours',
        updated_at = updated_at - interval '3 hours',
        grant_expires_at = grant_expires_at - interval '3 hours',
        sweep_at = sweep_at - interval '3 hours'
    WHERE company_id = $1
"""
_UNSETTLED = """
    SELECT count(*) FROM media_assets
    WHERE company_id = $1 AND (NOT grant_swept OR sweep_at < now() + interval '1 day')
"""
_FAILED = """
    UPDATE media_assets SET status = 'failed', error_code = 'duration_too_long',
        error_message = 'Too long.', sweep_at = now()
    WHERE id = $1
"""


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder: Path = tmp_path_factory.mktemp("files")
    return {
        "image/jpeg": make_photo(folder / "p.jpg", size=(400, 300)).read_bytes(),
        "video/mp4": make_video(folder / "v.mp4", seconds=1).read_bytes(),
    }


async def used_twice(company: Company, store: ObjectStore, data: bytes, kind: str) -> str:
    """Upload *data*, and once more past the front; return the asset's id, which has ended."""
    asset = await company.upload_bytes("file", data, kind)
    bucket, key = store.bucket_of(company.id), upload_key(company.id, UUID(asset))
    await store.upload_bytes(bucket, key, data, content_type=kind, cache_control="no-store")
    await company.ended(asset)
    return asset


async def retried(company: Company, rows: Rows, asset: str) -> None:
    """Let an asset fail by its length, wait in quarantine, and become ready all the same."""
    await rows.connection.execute(_FAILED, UUID(asset))
    await rows.connection.execute(
        "DELETE FROM asset_files WHERE asset_id = $1 AND kind <> 'original'", UUID(asset)
    )

    async def waits() -> bool:
        key = await rows.connection.fetchval(
            "SELECT key FROM asset_files WHERE asset_id = $1 AND kind = 'original'", UUID(asset)
        )
        return "/quarantine/" in key

    await eventually(waits, timeout=30)
    assert (await company.post(f"/assets/{asset}/retry")).status_code == 202
    await company.ready(asset)


async def hours_later(company: Company, rows: Rows) -> None:
    """Let three hours pass for a company, and the sweeps that are due by then."""
    await rows.connection.execute(_LATER, company.id)

    async def settled() -> bool:
        return await rows.connection.fetchval(_UNSETTLED, company.id) == 0

    await eventually(settled, timeout=60)


@pytest.fixture
async def healthy(company: Company, store: ObjectStore, rows: Rows, files) -> list[str]:
    """Assets of both kinds: ready, refused, ready by a retry; each grant was used twice."""
    ready = [await used_twice(company, store, data, kind) for kind, data in files.items()]
    again = [await used_twice(company, store, data, kind) for kind, data in files.items()]
    for asset in again:
        await retried(company, rows, asset)
    for kind in files:
        await used_twice(company, store, b"nothing of the sort", kind)
    await hours_later(company, rows)
    return ready + again


def orphans(company: Company, *words: str) -> list[dict[str, object]]:
    done = run("orphans", "--min-age", "0", "--json", *words)
    assert done.returncode in {0, 2}, done.stdout + done.stderr
    return [one for one in json.loads(done.stdout) if one["company_id"] == str(company.id)]


async def versions(store: ObjectStore, company: Company) -> set[tuple[str, str | None]]:
    found: list[StoredObject] = await store.objects(store.bucket_of(company.id), all_versions=True)
    return {(one.key, one.version_id) for one in found}


async def all_is_there(company: Company, store: ObjectStore, rows: Rows, ready: list[str]) -> None:
    """Raise unless each file of these assets is served, and each original is in its version."""
    for asset in ready:
        shown = await company.ready(asset)
        for url in (shown["processedUrl"], shown["thumbnailUrl"]):
            assert (await company.fetch(url)).content
    for row in await rows.connection.fetch(
        "SELECT * FROM asset_files WHERE company_id = $1", company.id
    ):
        file = ObjectRef(
            bucket=store.bucket_of(company.id), key=row["key"], version_id=row["version_id"]
        )
        await store.stat(file)


async def test_of_a_healthy_company_nothing_is_removed(company, store, rows, healthy):
    before = await versions(store, company)
    keys = await rows.connection.fetch(
        "SELECT key FROM asset_files WHERE company_id = $1", company.id
    )
    assert len(keys) >= 4 * 3 + 2
    assert sorted(key for key, _ in before) == sorted(row["key"] for row in keys), "one of each"
    assert orphans(company) == []
    assert orphans(company, "--remove", "--yes") == []
    assert await versions(store, company) == before
    await all_is_there(company, store, rows, healthy)


async def test_what_is_an_orphan_is_removed_and_nothing_else(company, store, rows, healthy):
    bucket, asset = store.bucket_of(company.id), UUID(healthy[0])
    before = await versions(store, company)
    for key in (
        upload_key(company.id, asset),
        output_key(company.id, asset, 1, "video.mp4", fence=7),
        upload_key(company.id, uuid4()),
    ):
        await store.upload_bytes(bucket, key, b"x", content_type="x/y", cache_control="no-store")
    planted = await versions(store, company) - before

    removed = orphans(company, "--remove", "--yes")
    assert all(one["removed"] for one in removed)
    assert {(one["key"], one["version_id"]) for one in removed} <= planted

    # The second version of an original is announced: the watcher's own sweep may be first.
    async def only_those() -> bool:
        return await versions(store, company) == before

    await eventually(only_those, timeout=20)
    await all_is_there(company, store, rows, healthy)

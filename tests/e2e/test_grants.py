"""What is worked on and served is what the gate checked, whatever a grant stores later."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest
from media_contracts import ObjectRef
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore

from support.buckets import replace
from support.clients import Company
from support.eventually import eventually
from support.media_files import make_photo, make_video
from support.surroundings import Parts
from support.wire import Rows

_FAILED = """
    UPDATE media_assets SET status = 'failed', error_code = $2, error_message = 'Planted.',
        sweep_at = now(), attempt_at = NULL
    WHERE id = $1
"""
# A GIF is refused by the gate where a photo was declared.
GIF = b"GIF89a" + b"\0" * 100


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> bytes:
    return make_photo(tmp_path_factory.mktemp("p") / "p.jpg", size=(400, 300)).read_bytes()


async def original(rows: Rows, asset: str) -> ObjectRef:
    row = await rows.connection.fetchrow(
        "SELECT f.*, a.bucket FROM asset_files f JOIN media_assets a ON a.id = f.asset_id"
        " WHERE f.asset_id = $1 AND f.kind = 'original'",
        UUID(asset),
    )
    names = "bucket", "key", "version_id", "sha256"
    return ObjectRef(**{name: row[name] for name in names})


async def test_a_checked_film_that_is_replaced_is_not_shown(
    company: Company, rows: Rows, store, parts: Parts, tmp_path
):
    film = make_video(tmp_path / "v.mp4", seconds=1).read_bytes()
    with parts.down("thumbnailer"):
        asset = await company.upload_bytes("v.mp4", film, "video/mp4")

        async def checked() -> bool:
            return (await rows.task(asset, "inspect"))["state"] == "done"

        await eventually(checked, timeout=30)
        ref = await original(rows, asset)
        assert ref.sha256 == hashlib.sha256(film).hexdigest()
        replace(store, ref, GIF)
    ended = await company.ended(asset)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "content_changed")


@pytest.mark.parametrize("kind", ["photo", "video"])
@pytest.mark.parametrize("code", ["processing_timeout", "duration_too_long"])
async def test_a_retry_works_on_the_bytes_of_the_first_attempt_alone(
    company: Company, rows: Rows, store, photo, tmp_path, kind, code
):
    """By a fault of its own an asset waits in quarantine meanwhile, where another key has it."""
    data, content_type = photo, "image/jpeg"
    if kind == "video":
        content_type = "video/mp4"
        data = make_video(tmp_path / "v.mp4", seconds=1).read_bytes()
    asset = await company.upload_bytes("file", data, content_type)
    await company.ready(asset)
    await rows.connection.execute(_FAILED, UUID(asset), code)

    async def waits() -> bool:
        return ("/quarantine/" in (await original(rows, asset)).key) == (code[0] == "d")

    await eventually(waits, timeout=30)
    assert (await company.post(f"/assets/{asset}/retry")).status_code == 202
    await company.ready(asset)

    await rows.connection.execute(_FAILED, UUID(asset), "processing_timeout")
    replace(store, await original(rows, asset), data + b"more")
    assert (await company.post(f"/assets/{asset}/retry")).status_code == 202
    ended = await company.ended(asset)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "content_changed")

"""Uploads in parts through the whole system: gone on with after a kill, and swept when left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore

from media_pipeline.client import fingerprint_of
from support.clients import Company
from support.eventually import eventually
from support.in_parts import PART, begun, completed, kill_in_the_midst, looked, numbers_in, sent
from support.media_files import make_video
from support.surroundings import Parts
from support.tiers import FULL
from support.wire import Rows

_LEFT = 1000 if FULL else 40
_LOCK = "SELECT 1 FROM media_assets WHERE id = $1 FOR UPDATE"
_WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'sign_api' AND wait_event_type = 'Lock'
"""
_COMPLETING = "SELECT completing_at FROM uploads WHERE asset_id = $1"
_AT_ONCE = 8
_LAPSED = """
    UPDATE media_assets SET created_at = created_at - interval '2 days',
        updated_at = updated_at - interval '2 days', check_at = check_at - interval '2 days',
        grant_expires_at = grant_expires_at - interval '2 days'
    WHERE company_id = $1
"""
_RESERVED = "SELECT sum(bytes)::bigint FROM company_usage WHERE company_id = $1"


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


@pytest.fixture
def film(tmp_path) -> Path:
    """A film of two seconds that is 60 MB large: most of it is a box that nobody reads."""
    found = make_video(tmp_path / "film.mp4", seconds=2)
    with found.open("ab") as file:
        size = 60_000_000 - found.stat().st_size
        file.write(size.to_bytes(4, "big") + b"free")
        file.write(os.urandom(size - 8))
    return found


async def uploading(company: Company, film: Path) -> asyncio.subprocess.Process:
    """Start ``mediactl upload``."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mediactl", "upload", "--company", str(company.id), str(film)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


def sent_parts(parts: Parts, asset_id: str) -> int:
    """Return how many times a part of an upload was sent, in whole or not, by the edge's log."""
    log = (parts.home.logs / "edge.log").read_text()
    return sum(json.loads(line)["method"] == "PUT" for line in log.splitlines() if asset_id in line)


async def test_an_upload_goes_on_after_its_client_was_killed(
    company: Company, film: Path, parts: Parts, rows: Rows
):
    killed = await uploading(company, film)

    async def there() -> list[int]:
        items = (await company.get("/uploads")).json()["items"]
        return numbers_in(await looked(company, items[0])) if items else []

    await kill_in_the_midst(killed, company, rows, there)
    (upload,) = (await company.get("/uploads")).json()["items"]
    assert upload["fingerprint"] == fingerprint_of(film)
    before = await there()
    assert 0 < len(before) < upload["parts"] == 8, "it was killed in the midst"

    digest = await asyncio.to_thread(lambda: hashlib.sha256(film.read_bytes()).hexdigest())
    again = await uploading(company, film)
    said, _ = await again.communicate()
    assert again.returncode == 0, said
    asset = await company.ready(upload["assetId"])
    assert asset["sha256"] == digest
    assert (await company.get("/uploads")).json()["items"] == []
    in_flight = 4
    assert 8 <= sent_parts(parts, upload["assetId"]) <= 8 + in_flight


@pytest.mark.timeout(180)
@pytest.mark.parametrize("storage", ["goes on", "dies"])
async def test_a_sign_api_that_dies_while_storage_completes_leaves_one_file(
    company: Company, parts: Parts, rows: Rows, store, tmp_path, storage
):
    """Storage may make one object of the parts after that, or never have heard of it."""
    film = make_video(tmp_path / "film.mp4", seconds=2)
    with film.open("ab") as file:
        file.write(PART.to_bytes(4, "big") + b"free" + bytes(PART - 8))
    data = film.read_bytes()
    await company.sign()
    upload = await begun(company, data)
    await sent(company, upload, data)
    asset_id = UUID(upload["assetId"])

    async def is_completing() -> bool:
        return bool(await rows.connection.fetchval(_COMPLETING, asset_id))

    async def waits_for_its_row() -> bool:
        return bool(await rows.connection.fetchval(_WAITS))

    async with rows.connection.transaction():
        await rows.connection.execute(_LOCK, asset_id)
        asking = asyncio.create_task(completed(company, upload))
        # Storage has listed the parts by then.
        await eventually(waits_for_its_row)
        parts.signal("minio", signal.SIGSTOP)
    await eventually(is_completing)
    parts.kill("sign_api")
    if storage == "dies":
        parts.kill("minio")
        parts.start("minio")
    else:
        parts.signal("minio", signal.SIGCONT)
    parts.start("sign_api")
    with suppress(httpx.TransportError):
        assert (await asking).status_code >= 500

    async def is_done() -> bool:
        return (await completed(company, upload)).status_code == 200

    await eventually(is_done)
    asset = await company.ready(upload["assetId"])
    assert asset["sha256"] == hashlib.sha256(data).hexdigest()
    assert await rows.endings(upload["assetId"]) == [(1, "ready")]
    assert await store.unfinished_uploads(store.bucket_of(company.id)) == []


async def test_uploads_that_were_left_are_swept(company: Company, store, rows: Rows):
    data, at_once = os.urandom(PART + 9), asyncio.Semaphore(_AT_ONCE)
    await company.sign()

    async def leave() -> None:
        async with at_once:
            upload = await begun(company, data)
            assert [one.status_code for one in await sent(company, upload, data, [2])] == [200]

    await asyncio.gather(*(leave() for _ in range(_LEFT)))
    bucket = store.bucket_of(company.id)
    assert len(await store.unfinished_uploads(bucket)) == _LEFT
    await rows.connection.execute(_LAPSED, company.id)

    async def swept() -> bool:
        return await store.unfinished_uploads(bucket) == []

    await eventually(swept, timeout=120)
    assert await rows.connection.fetchval(_RESERVED, company.id) == 0

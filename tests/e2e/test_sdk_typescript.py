"""The TypeScript SDK against the running pipeline, as programs of users call it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from notifier.webhooks import signature_of
from standardwebhooks import Webhook

from media_pipeline import MediaPipeline
from support.clients import JSON, Company, token_of
from support.eventually import eventually
from support.in_parts import PART, kill_in_the_midst, looked, numbers_in
from support.media_files import make_photo, make_video
from support.receivers import receiving
from support.surroundings import Parts, variable
from support.typescript import as_user, built, example, printed, start
from support.wire import Rows

from .test_uploads import sent_parts
from .test_webhooks import PING, Manager, heard

PROGRAMS = "tests/programs"


@pytest.fixture(scope="module")
def programs() -> Path:
    return built() / PROGRAMS


@pytest.fixture
def film(tmp_path) -> Path:
    """A film of two seconds that is 60 MB large: most of it is a box that nobody reads."""
    found = make_video(tmp_path / "film.mp4", seconds=2)
    with found.open("ab") as file:
        size = 60_000_000 - found.stat().st_size
        file.write(size.to_bytes(4, "big") + b"free" + os.urandom(size - 8))
    return found


def digest_of(film: Path) -> tuple[int, str]:
    """Return the size of a file, and its SHA-256."""
    return film.stat().st_size, hashlib.sha256(film.read_bytes()).hexdigest()


def named(company: Company) -> dict[str, str]:
    """Return what a program needs to act as a company."""
    return {"MEDIA_URL": variable("MEDIA_URL"), "TOKEN": token_of(company.id)}


async def open_upload(company: Company) -> tuple[JSON, list[int]] | None:
    """Return the company's upload in parts that can go on, and the parts that are there."""
    items = (await company.get("/uploads")).json()["items"]
    return (items[0], numbers_in(await looked(company, items[0]))) if items else None


async def uploaded(programs: Path, company: Company, film: Path) -> tuple[list[int], str]:
    """Return the numbers of bytes that an upload to its end was told of, and the asset's id."""
    told = await printed(programs / "upload.ts", film, variables=named(company))
    return [one["bytes"] for one in told[:-1]], told[-1]["assetId"]


async def test_the_program_of_the_readme_prints_a_link(company: Company, tmp_path):
    folder = await asyncio.to_thread(as_user, tmp_path)
    program = folder / "program.ts"
    program.write_text(example().replace("film.mp4", str(tmp_path / "film.mp4")))
    make_video(tmp_path / "film.mp4", seconds=2)
    running = await start(program, **named(company))
    output, _ = await running.communicate()
    assert running.returncode == 0
    link = output.decode().strip()
    assert link.endswith(".m3u8")
    assert (await company.http.get(link)).status_code == 200


async def test_an_upload_goes_on_after_its_program_was_killed(
    company: Company, film: Path, parts: Parts, rows: Rows, programs: Path
):
    await company.sign()
    killed = await start(programs / "upload.ts", film, **named(company))

    async def there() -> list[int]:
        found = await open_upload(company)
        return found[1] if found else []

    await kill_in_the_midst(killed, company, rows, there)
    found = await open_upload(company)
    assert found is not None
    upload, before = found
    assert 0 < len(before) < upload["parts"] == 8, "it was killed in the midst"

    size, digest = await asyncio.to_thread(digest_of, film)
    told, asset_id = await uploaded(programs, company, film)
    assert asset_id == upload["assetId"]
    assert (told[0], sum(told)) == (len(before) * upload["partSize"], size)
    assert len(told) == 1 + 8 - len(before)
    asset = await company.ready(asset_id)
    assert asset["sha256"] == digest
    assert await open_upload(company) is None
    in_flight = 4
    assert 8 <= sent_parts(parts, asset_id) <= 8 + in_flight


async def test_a_batch_is_gone_on_with_by_the_same_call(
    company: Company, film: Path, programs: Path, tmp_path
):
    photos = [make_photo(tmp_path / f"{name}.jpg") for name in "abc"]
    told = await printed(programs / "batch.ts", *photos, film, variables=named(company))
    done, cancelled = told
    assert (done["uploads"], done["counts"]["ready"]) == (4, 4)
    assert done["metadata"] == {"shoot": "harbour"}
    assert cancelled["counts"] == done["counts"]
    listed = (await company.get("/batches")).json()["items"]
    assert [one["batchId"] for one in listed] == [done["batchId"]]


async def test_an_upload_of_the_python_sdk_is_gone_on_with(
    company: Company, film: Path, programs: Path
):
    told = 0

    def until_the_midst(count: int) -> None:
        nonlocal told
        told += count
        # Four parts are under way at once: by then one at least is sent in whole.
        if told > 4 * PART:
            raise InterruptedError

    with MediaPipeline(variable("MEDIA_URL"), token_of(company.id)) as media:
        await company.sign()
        with pytest.raises(InterruptedError):
            await asyncio.to_thread(media.upload, film, on_bytes=until_the_midst)
    found = await open_upload(company)
    assert found is not None
    upload, before = found
    assert 0 < len(before) < upload["parts"]

    size, digest = await asyncio.to_thread(digest_of, film)
    told_bytes, asset_id = await uploaded(programs, company, film)
    assert asset_id == upload["assetId"]
    assert (told_bytes[0], sum(told_bytes)) == (len(before) * upload["partSize"], size)
    assert (await company.ready(asset_id))["sha256"] == digest


async def test_what_fails_is_told_by_its_code(company: Company, programs: Path, tmp_path):
    broken = tmp_path / "photo.jpg"
    broken.write_bytes(b"x" * 99)
    (told,) = await printed(programs / "refusals.ts", broken, variables=named(company))
    failed = told["broken"]
    assert failed.pop("message")
    assert failed == {"name": "AssetFailedError", "code": "type_mismatch", "asset": "failed"}
    assert (told["profile"]["code"], told["profile"]["status"]) == ("unknown_profile", 400)
    assert told["type"]["code"] == "invalid_type"
    assert told["deleted"] == {}
    assert told["gone"]["code"] == "asset_not_found"


async def test_events_are_heard_through_a_restart_of_the_notifier(
    company: Company, parts: Parts, programs: Path, tmp_path
):
    photo = make_photo(tmp_path / "photo.jpg")
    listening = await start(programs / "events.ts", **named(company))
    told: list[JSON] = []
    hear = told.append

    async def listen() -> None:
        assert listening.stdout is not None
        async for line in listening.stdout:
            hear(json.loads(line))

    def outcomes(*assets: str) -> list[str]:
        found = [one["event"]["subject"] for one in told if one["kind"] == "media_processed"]
        return [one for one in found if one in assets]

    def statuses(asset: str) -> set[str]:
        data = [one["event"]["data"] for one in told if one["event"]["subject"] == asset]
        return {one["status"] for one in data if "status" in one}

    following = asyncio.create_task(listen())
    try:
        first = ""

        async def is_heard() -> bool:
            """Upload until the stream is open: it may be later than the first upload."""
            nonlocal first
            first = await company.upload(photo)
            await company.ready(first)
            return bool(outcomes(first))

        await eventually(is_heard, timeout=60)
        with parts.down("notifier"):
            second = await company.upload(photo)
            await company.ready(second)
        # An outcome and a status come from two topics, in either order.
        await eventually(lambda: outcomes(second) and "ready" in statuses(second), timeout=60)
    finally:
        os.killpg(listening.pid, signal.SIGKILL)
        await listening.wait()
        await following
    assert outcomes(first, second) == [first, second]
    ids = [one["event"]["id"] for one in told]
    assert len(ids) == len(set(ids)), "nothing is heard twice"
    assert {"processing", "ready"} <= statuses(second)


def request(body: bytes, headers: dict[str, str], secret: str) -> JSON:
    """Return a webhook's request, as the program takes it."""
    return {"secret": secret, "body": base64.b64encode(body).decode(), "headers": headers}


async def verified(programs: Path, *requests: JSON) -> list[Any]:
    """Return what becomes of requests."""
    lines = "".join(f"{json.dumps(one)}\n" for one in requests)
    return await printed(programs / "verify.ts", given=lines)


async def test_a_webhook_is_verified_as_the_server_signs_it(company: Company, programs: Path):
    manager = Manager(company)
    async with receiving() as receiver:
        endpoint = await manager.add(receiver.url)
        old = endpoint["secret"]
        new = (await manager.call("POST", f"/{endpoint['id']}/secret"))["secret"]
        await manager.call("POST", f"/{endpoint['id']}/ping", 202)
        await heard(receiver, PING)
    (one,) = receiver.taken
    by_new, by_old, by_another, changed = await verified(
        programs,
        request(one.body, one.headers, new),
        request(one.body, one.headers, old),
        request(one.body, one.headers, f"whsec_{base64.b64encode(os.urandom(24)).decode()}"),
        request(one.body.replace(b"ping", b"pong"), one.headers, new),
    )
    assert by_new == by_old == {"event": json.loads(one.body)}
    assert set(by_another) == set(changed) == {"refused"}


async def test_a_webhook_is_verified_as_others_sign_it(programs: Path):
    secret = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
    body = '{"id":"Füße"}'
    now = datetime.now(UTC)

    def by_library(at: datetime) -> JSON:
        headers = {
            "webhook-id": "one", "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign("one", at, body),
        }  # fmt: skip
        return request(body.encode(), headers, secret)

    at = int(now.timestamp())
    by_server = {
        "Webhook-Id": "one", "Webhook-Timestamp": str(at),
        "Webhook-Signature": f"v1,AAAA {signature_of(secret, 'one', at, body.encode())}",
    }  # fmt: skip
    library, server, old, early = await verified(
        programs,
        by_library(now),
        request(body.encode(), by_server, secret),
        by_library(now - timedelta(minutes=6)),
        by_library(now + timedelta(minutes=6)),
    )
    assert library == server == {"event": {"id": "Füße"}}
    assert set(old) == set(early) == {"refused"}

"""The Python SDK against the running pipeline, as a program of a user calls it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from media_pipeline import AssetFailedError, MediaError, MediaPipeline, verify_webhook
from media_pipeline.client import fingerprint_of
from support.clients import Company, token_of
from support.eventually import eventually
from support.in_parts import looked, numbers_in, sent
from support.media_files import make_photo, make_video
from support.receivers import receiving
from support.surroundings import variable

from .test_webhooks import PING, Manager, heard

README = Path(__file__).parents[2] / "libs" / "sdk_python" / "README.md"


@pytest.fixture
def media(company: Company):
    """The SDK in the name of the company."""
    with MediaPipeline(variable("MEDIA_URL"), token_of(company.id)) as found:
        yield found


async def test_the_program_of_the_readme_prints_a_link(company: Company, tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    make_video(tmp_path / "film.mp4", seconds=2)
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "TOKEN": token_of(company.id)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    link = run.stdout.strip()
    assert link.endswith(".m3u8")
    assert (await company.http.get(link)).status_code == 200


async def test_a_large_file_is_gone_on_with(company: Company, media: MediaPipeline, tmp_path):
    film = make_video(tmp_path / "film.mp4", seconds=2)
    with film.open("ab") as file:
        size = 24_000_000 - film.stat().st_size
        file.write(size.to_bytes(4, "big") + b"free" + os.urandom(size - 8))
    data = film.read_bytes()
    # Somebody began, and died.
    body = {
        "fileName": "film.mp4", "size": len(data), "type": "video/mp4",
        "fingerprint": fingerprint_of(film),
    }  # fmt: skip
    upload = (await company.post("/uploads", json=body)).json()
    await sent(company, upload, data, [2])
    told: list[int] = []
    asset_id = await asyncio.to_thread(media.upload, film, on_bytes=told.append)
    assert str(asset_id) == upload["assetId"]
    assert (told[0], sum(told)) == (upload["partSize"], len(data))
    asset = await asyncio.to_thread(media.wait, asset_id)
    assert asset.sha256 == hashlib.sha256(data).hexdigest()
    assert (await looked(company, upload)).json()["status"] == "complete"
    assert numbers_in(await looked(company, upload)) == []


async def test_what_fails_is_told_by_its_code(company: Company, media: MediaPipeline, tmp_path):
    broken = tmp_path / "photo.jpg"
    broken.write_bytes(b"x" * 99)
    asset_id = await asyncio.to_thread(media.upload, broken)
    with pytest.raises(AssetFailedError) as failed:
        await asyncio.to_thread(media.wait, asset_id)
    assert failed.value.code == "type_mismatch"
    with pytest.raises(MediaError) as refused:
        await asyncio.to_thread(media.upload, broken, profile="none-such")
    assert (refused.value.code, refused.value.status) == ("unknown_profile", 400)
    with pytest.raises(MediaError) as unknown:
        await asyncio.to_thread(media.upload, broken, content_type="text/html")
    assert unknown.value.code == "invalid_type"
    await asyncio.to_thread(media.delete, asset_id)
    with pytest.raises(MediaError) as gone:
        await asyncio.to_thread(media.asset, asset_id)
    assert gone.value.code == "asset_not_found"
    with pytest.raises(MediaError) as nonsense:
        media.asset("nonsense")
    assert nonsense.value.code == "invalid_id"


async def test_events_are_heard_until_the_outcome(company: Company, media: MediaPipeline, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg")
    await company.sign()

    def outcome() -> str:
        for event in media.events():
            if event.kind == "media_processed":
                return str(event.event["subject"])
        return ""

    listening = asyncio.create_task(asyncio.to_thread(outcome))

    async def said() -> str | None:
        asset_id = await asyncio.to_thread(media.upload, photo)
        await asyncio.wait([listening], timeout=5)
        return str(asset_id) if listening.done() else None

    # The stream may be opened after the first upload.
    assert await eventually(said, timeout=60)
    assert listening.result()


async def test_a_webhook_is_verified(company: Company):
    manager = Manager(company)
    async with receiving() as receiver:
        endpoint = await manager.add(receiver.url)
        await manager.call("POST", f"/{endpoint['id']}/ping", 202)
        await heard(receiver, PING)
    (one,) = receiver.taken
    assert verify_webhook(endpoint["secret"], one.body, one.headers)["type"] == PING


@asynccontextmanager
async def proxy(instead: Callable[[int], bytes | None]) -> AsyncIterator[tuple[str, list[float]]]:
    """
    Give the address of a proxy, and when it was asked.

    It answers with what *instead* says of a request, by its number, or else forwards it.
    """
    pipeline, asked = urlsplit(variable("MEDIA_API_URL")), list[float]()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        asked.append(time.monotonic())
        answer = instead(len(asked))
        if answer is None:
            theirs, to_them = await asyncio.open_connection(pipeline.hostname, pipeline.port)
            to_them.write(request.replace(b"Connection: keep-alive", b"Connection: close"))
            answer = await theirs.read()
            to_them.close()
            await to_them.wait_closed()
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_who_asks_too_often_waits_as_long_as_told_and_goes_on(company: Company):
    problem = {
        "type": "about:blank", "title": "Too Many Requests", "status": 429,
        "code": "rate_limited", "detail": "Ask again in 2 seconds.",
    }  # fmt: skip
    busy = (
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nConnection: close\r\n"
        f"Content-Type: application/problem+json\r\n\r\n{json.dumps(problem)}"
    ).encode()
    async with proxy(lambda number: busy if number == 1 else None) as (url, asked):
        with MediaPipeline(url, token_of(company.id)) as media, pytest.raises(MediaError) as told:
            await asyncio.to_thread(media.asset, uuid4())
    assert (told.value.code, len(asked)) == ("asset_not_found", 2)
    assert asked[1] - asked[0] >= 2


async def test_what_breaks_off_is_asked_again(company: Company):
    """A proxy that is started anew closes connections without an answer."""
    async with proxy(lambda number: b"" if number < 3 else None) as (url, asked):
        with MediaPipeline(url, token_of(company.id)) as media, pytest.raises(MediaError) as told:
            await asyncio.to_thread(media.asset, uuid4())
    assert (told.value.code, len(asked)) == ("asset_not_found", 3)


@pytest.mark.parametrize("call", ["asset", "delete"])
async def test_a_page_that_says_that_it_may_pass_is_asked_again(company: Company, call):
    """A proxy in front of the pipeline, while that is started anew."""
    page = (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
        b"Content-Type: text/html\r\n\r\n<html>In a moment</html>"
    )
    async with proxy(lambda number: page if number < 3 else None) as (url, asked):
        with MediaPipeline(url, token_of(company.id)) as media, pytest.raises(MediaError) as told:
            await asyncio.to_thread(getattr(media, call), uuid4())
    assert (told.value.code, len(asked)) == ("asset_not_found", 3)


async def test_a_page_of_a_proxy_is_no_answer(tmp_path):
    """Something else listens there: a proxy's page, with a status of success."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html>Bad gateway</html>"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with (
            MediaPipeline(f"http://127.0.0.1:{port}", "token") as media,
            pytest.raises(MediaError) as refused,
        ):
            await asyncio.to_thread(media.asset, "0d5f3c1e-8a44-4a4e-9d7b-6f6d7b1c2a11")
    assert refused.value.code == "invalid_answer"


async def test_a_batch_is_gone_on_with_by_the_same_call(
    company: Company, media: MediaPipeline, tmp_path
):
    photos = [make_photo(tmp_path / f"{name}.jpg") for name in "abc"]
    film = make_video(tmp_path / "film.mp4", seconds=2)
    with film.open("ab") as file:
        size = 17_000_000 - film.stat().st_size
        file.write(size.to_bytes(4, "big") + b"free" + bytes(size - 8))
    files, words = [*photos, film], {"shoot": "harbour"}
    sent_bytes: list[int] = []

    def stop(size: int) -> None:
        sent_bytes.append(size)
        if len(sent_bytes) == 2:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await asyncio.to_thread(media.upload_batch, files, metadata=words, on_bytes=stop)
    batch_id = await asyncio.to_thread(media.upload_batch, files, metadata=words)
    done = await asyncio.to_thread(media.wait_batch, batch_id, seconds=90)
    assert (done.uploads, done.counts.ready, done.metadata.to_dict()) == (4, 4, words)
    listed = (await company.get("/batches")).json()["items"]
    assert [one["batchId"] for one in listed] == [str(batch_id)]
    assets = (await company.get("/assets", params={"batch": str(batch_id)})).json()["items"]
    assert sorted(one["fileName"] for one in assets) == sorted(one.name for one in files)
    assert (await asyncio.to_thread(media.retry_batch, batch_id)).decided
    assert (await asyncio.to_thread(media.cancel_batch, batch_id)).counts.ready == 4


async def test_what_a_program_says_of_a_file_is_on_its_asset(media: MediaPipeline, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg")
    asset_id = await asyncio.to_thread(
        media.upload, photo, title="Harbour", metadata={"order": "4711"}
    )
    asset = await asyncio.to_thread(media.asset, asset_id)
    assert (asset.title, asset.metadata.to_dict()) == ("Harbour", {"order": "4711"})

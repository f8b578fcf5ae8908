"""Hostile files through the running system: each has its answer, and nobody else notices."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from statistics import median

import pytest
from mediactl.client import media_type

from fuzz.mutate import mutated
from support.clients import Company
from support.eventually import eventually
from support.hostile_files import READY, Evil, costly_films, costly_images, evil_files
from support.media_files import SAMPLES, make_heic, make_photo, make_video
from support.surroundings import Parts, command_lines_with, variable
from support.tiers import FULL, HOUR
from support.tripwires import make_canary, shows_canary
from support.web import web_server

OPENERS = ("ingest", "thumbnailer")
_AT_ONCE = 6
_PACE_SECONDS = 3.0


@asynccontextmanager
async def good_uploads(company: Company, data: bytes, *, pace: float = _PACE_SECONDS):
    """Upload a good photo every few seconds for the block; gives how long each took."""
    took: list[float] = []

    async def go_on() -> None:
        while True:
            started = time.monotonic()
            await company.ready(await company.upload_bytes("good.jpg", data, "image/jpeg"))
            took.append(time.monotonic() - started)
            await asyncio.sleep(pace)

    task = asyncio.create_task(go_on())
    try:
        await eventually(lambda: len(took) >= 2, timeout=60)
        yield took
    finally:
        task.cancel()
        problems = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(problems[0], asyncio.CancelledError), problems


@pytest.fixture
async def unharmed(other_company, parts: Parts, tmp_path):
    """Check around a test that no process died, that nothing was left, and others' pace."""
    before = {name: parts.pid(name) for name in OPENERS}
    photo = make_photo(tmp_path / "good.jpg", size=(800, 600)).read_bytes()
    async with good_uploads(other_company, photo) as took:
        alone = list(took)
        yield took
        await eventually(lambda: len(took) > len(alone), timeout=60)
    meanwhile = took[len(alone) :]
    sys.stdout.write(
        f"\n{len(meanwhile)} good photos meanwhile: ready after {median(meanwhile):.2f} s in the"
        f" median, {max(meanwhile):.2f} s at most; alone {median(alone):.2f} s\n"
    )
    assert {name: parts.pid(name) for name in OPENERS} == before
    assert max(took) < 30
    scratch = str(parts.home.data / "scratch")
    await eventually(lambda: not command_lines_with(scratch), timeout=30)


def mutated_body(data: bytes, chance: random.Random) -> bytes:
    """Return *data* changed behind its first bytes, so that it is still taken for what it was."""
    return data[:16] + mutated(data[16:], data, chance)


async def outcome(company: Company, evil: Evil) -> tuple[str, str]:
    """Upload a file; return ``ready`` or its code, and what is wrong with its outputs."""
    asset_id = await company.upload_bytes(evil.file_name, evil.data, evil.content_type)
    asset = await company.ended(asset_id, timeout=300)
    if asset["status"] == "failed":
        return asset["error"]["code"], ""
    for url in (asset["processedUrl"], asset["thumbnailUrl"]):
        served = await company.fetch(url)
        shown = await asyncio.to_thread(shows_canary, served.content)
        if shown or b"<script" in served.content:
            return READY, f"{evil.about}: the canary is in {url}"
        if not served.headers["content-type"].startswith(("image/", "video/")):
            return READY, f"{evil.about}: served as {served.headers['content-type']}"
    return READY, "" if asset["fileName"] == evil.file_name else f"called {asset['fileName']}"


async def outcomes(company: Company, files: list[Evil]) -> list[tuple[str, str]]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(evil: Evil) -> tuple[str, str]:
        async with limit:
            return await outcome(company, evil)

    return await asyncio.gather(*map(one, files))


async def tell_pace_beside_healthy_files(company, took: list[float], sources) -> None:
    """Say how fast good photos are while the same kinds of files come, unharmed, as densely."""
    files = [
        Evil(path.name, media_type(path), path.read_bytes(), ())
        for path in sources
        for _ in range(25)
    ]
    before = len(took)
    await outcomes(company, files)
    meanwhile = took[before:]
    sys.stdout.write(
        f"\nbeside {len(files)} healthy files: {len(meanwhile)} good photos, ready after"
        f" {median(meanwhile):.2f} s in the median, {max(meanwhile):.2f} s at most\n"
    )


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_costly_files_hold_up_nobody(company, other_company, tmp_path):
    """Beside them, another company's photo is ready about as soon as beside as many good files."""
    photo = make_photo(tmp_path / "good.jpg", size=(800, 600)).read_bytes()
    costly = await asyncio.to_thread(lambda: [*costly_images(), *costly_films(tmp_path)])
    film = make_video(tmp_path / "good.mp4", size="160x90", seconds=0.5).read_bytes()
    good = [
        Evil("good", kind, film if kind.startswith("video/") else photo, (READY,))
        for kind in ("video/mp4" if "video" in e.content_type else "image/jpeg" for e in costly)
    ]
    paces: list[list[float]] = [[], []]
    async with good_uploads(other_company, photo, pace=0.2) as took:
        # By turns: what else the machine does differs from minute to minute.
        for _ in range(4):
            for pace, files in zip(paces, (good, costly), strict=True):
                before = len(took)
                found = await outcomes(company, files)
                await eventually(lambda n=before: len(took) >= n + 2, timeout=60)
                pace.extend(took[before:])
                assert [code for code, _ in found] == [evil.codes[0] for evil in files]
    beside_good, beside_costly = map(median, paces)
    sys.stdout.write(
        f"\nanother's photo: {beside_good:.2f} s beside {len(good)} good files at a time,"
        f" {beside_costly:.2f} s beside as many costly ones\n"
    )
    assert beside_costly <= 1.5 * beside_good + 0.5


@pytest.mark.timeout(600)
async def test_every_evil_file_has_its_answer(company, unharmed, tmp_path):
    canary = make_canary(tmp_path)
    with web_server() as (url, visits):
        files = await asyncio.to_thread(evil_files, tmp_path, canary_file=canary, canary_url=url)
        found = await outcomes(company, files)
    assert len(files) >= 40
    wrong = [
        f"{evil.about} ({evil.content_type}): {code}, not {' or '.join(evil.codes)}"
        for evil, (code, _) in zip(files, found, strict=True)
        if code not in evil.codes
    ]
    assert wrong == [], "\n".join(wrong)
    assert [problem for _, problem in found if problem] == []
    assert visits == []


@pytest.mark.timeout(2 * HOUR if FULL else 600)
async def test_mutated_files_have_an_answer(company, unharmed, tmp_path):
    """Whatever becomes of them, it is an outcome with a known code, and no worker dies of it."""
    chance = random.Random(5)
    sources = [
        make_photo(tmp_path / "a.jpg", size=(320, 240)),
        make_photo(tmp_path / "a.png", size=(320, 240)),
        make_photo(tmp_path / "a.webp", size=(320, 240)),
        make_photo(tmp_path / "a.tiff", size=(100, 80)),
        make_photo(tmp_path / "a.gif", size=(100, 80)),
        make_video(tmp_path / "a.mp4", size="160x90", seconds=0.5),
        make_video(tmp_path / "a.mkv", size="160x90", seconds=0.5),
        make_video(tmp_path / "a.mov", size="160x90", seconds=0.5),
        make_video(tmp_path / "a.avi", size="160x90", seconds=0.5),
        make_heic(tmp_path / "a.heic", size=(320, 240)),
    ]
    if FULL:
        sources += SAMPLES.glob("*.HEIC")
        await tell_pace_beside_healthy_files(company, unharmed, sources)
    count = 2000 if FULL else 40
    picked = [chance.choice(sources) for _ in range(count)]
    files = [
        Evil(path.name, media_type(path), mutated_body(path.read_bytes(), chance), ())
        for path in picked
    ]
    found = await outcomes(company, files)
    codes = Counter(code for code, _ in found)
    told = ", ".join(f"{code} {n}" for code, n in codes.most_common())
    sys.stdout.write(f"\n{count} mutated files: {told}\n")
    assert codes.keys() <= {
        READY, "unreadable_image", "unreadable_media", "type_mismatch", "truncated_file",
        "transcode_failed", "no_video_stream", "dimensions_too_large", "too_many_pixels",
        "duration_too_long", "frame_rate_too_high", "bitrate_too_low", "no_frame",
        "image_out_of_memory", "image_crashed_decoder", "transcode_stalled", "too_many_frames",
        "encrypted_media", "too_many_streams", "samples_overlap", "edits_too_long",
        "too_many_scans", "image_timeout",
    }  # fmt: skip
    assert [problem for _, problem in found if problem] == []
    assert variable("MEDIA_API_URL")

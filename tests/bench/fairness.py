"""What others' floods and slow files cost a company: its own wait beside them, and alone."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

from mediactl.client import MediaClient

from bench.playable import playable
from bench.report import Row
from bench.stack import client, drop
from support.costly import jpeg_of_scans
from support.media_files import make_photo, make_video, run_ffmpeg
from support.surroundings import Parts

_FLOOD = 2000
_CONNECTIONS = 12
_SECONDS = 300
_CHUNKS_SECONDS = 5
Beside = Callable[[], AbstractAsyncContextManager[None]]


def run(rounds: int) -> list[Row]:
    """Return the wait of one company's upload beside each kind of load, and alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _files(folder)
        rows = [
            asyncio.run(_row(about, files[wanted], beside(files), rounds, target))
            for about, wanted, beside, target in (
                ("a photo beside six progressive JPEGs of 100 scans", "photo", _scans, 10),
                ("a video beside slow films of two companies", "video", _films, 20),
                ("a photo after a pause of ingest, beside 2000 uploads", "photo", _flood, 3),
            )
        ]
        return [*rows, asyncio.run(_long_film(files, rounds))]


async def _row(about: str, file: Path, beside: Beside, rounds: int, target: float) -> Row:
    alone, crowded = [], []
    for _ in range(rounds):
        alone.append(await _wait(file))
        async with beside():
            crowded.append(await _wait(file))
    delays = [one - other for one, other in zip(crowded, alone, strict=True)]
    return Row(
        name=f"fairness: {about}",
        ours=f"{max(crowded):.1f} s at worst, {max(delays):.1f} s of delay",
        other=f"{sorted(alone)[len(alone) // 2]:.1f} s alone",
        ratios=[one / other for one, other in zip(crowded, alone, strict=True)],
        target=f"delay under {target} s",
    )


async def _long_film(files: dict[str, Path], rounds: int) -> Row:
    alone, crowded = [], []
    for _ in range(rounds):
        async with playable(files["clip"]) as waited:
            alone.append(waited)
        async with playable(files["hours"]):
            # From then on its chunks are made by all workers.
            await asyncio.sleep(_CHUNKS_SECONDS)
            async with playable(files["clip"]) as waited:
                crowded.append(waited)
    return Row(
        name="fairness: a clip is playable beside another's film of 2 h",
        ours=f"{max(crowded):.1f} s at worst",
        other=f"{sorted(alone)[len(alone) // 2]:.1f} s alone",
        ratios=[one / other for one, other in zip(crowded, alone, strict=True)],
        target="1.5 and a chunk's time",
    )


def _files(folder: Path) -> dict[str, Path]:
    scans = folder / "scans.jpg"
    scans.write_bytes(jpeg_of_scans(100))
    return {
        "photo": make_photo(folder / "photo.jpg", size=(1600, 1200)),
        "small": make_photo(folder / "small.jpg", size=(160, 120)),
        "video": make_video(folder / "video.mp4", size="640x360", seconds=2),
        "film": make_video(folder / "film.mp4", size="1920x1080", seconds=60),
        "scans": scans,
        "clip": make_video(folder / "clip.mp4", size="1920x1080", seconds=10),
        "hours": _hours(folder),
    }


def _hours(folder: Path) -> Path:
    # As large as an upload may be, at most.
    minute = folder / "minute.mp4"
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration=60",
        "-f", "lavfi", "-i", "sine=frequency=330:duration=60",
        "-c:v", "libx264", "-preset", "veryfast", "-b:v", "380k", "-maxrate", "420k",
        "-bufsize", "800k", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "48k", str(minute),
    )  # fmt: skip
    run_ffmpeg("-stream_loop", "119", "-i", str(minute), "-c", "copy", str(folder / "hours.mp4"))
    return folder / "hours.mp4"


def _scans(files: dict[str, Path]) -> Beside:
    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        company = uuid4()
        async with client(company) as media:
            sent = [await _send(media, files["scans"]) for _ in range(6)]
            yield
        await drop(company, sent)

    return beside


def _films(files: dict[str, Path]) -> Beside:
    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        sent = {}
        for company in (uuid4(), uuid4()):
            async with client(company) as media:
                sent[company] = await _send(media, files["film"])
                await _until(media, sent[company], "processing")
        yield
        for company, asset_id in sent.items():
            await drop(company, [asset_id])

    return beside


def _flood(files: dict[str, Path]) -> Beside:
    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        at_once = asyncio.Semaphore(_CONNECTIONS)
        parts, company = Parts(), uuid4()
        async with client(company) as media:

            async def send() -> str:
                async with at_once:
                    return await _send(media, files["small"])

            parts.stop("ingest")
            try:
                sent = await asyncio.gather(*(send() for _ in range(_FLOOD)))
            finally:
                parts.start("ingest")
            yield
        await drop(company, sent)

    return beside


async def _wait(file: Path) -> float:
    """Return the seconds from a new company's upload until it is ready."""
    async with client(uuid4()) as media:
        # Its bucket is made at its first grant, which is not what is measured.
        await media.sign(file)
        sent = await _send(media, file)
        started = time.perf_counter()
        await _until(media, sent, "ready")
        return time.perf_counter() - started


async def _send(media: MediaClient, file: Path) -> str:
    grant = await media.sign(file)
    await media.upload(grant, file, on_bytes=lambda _: None)
    return str(grant["assetId"])


async def _until(media: MediaClient, asset_id: str, status: str) -> None:
    async with asyncio.timeout(_SECONDS):
        while (found := (await media.asset(asset_id))["status"]) != status:
            if found == "failed":
                raise AssertionError(f"{asset_id} failed")
            await asyncio.sleep(0.02)

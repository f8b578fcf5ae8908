"""From the end of an upload until its first seconds can be played: short films, and long ones."""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
from mediactl.client import Event

from bench.report import Row
from bench.stack import client, drop, variable
from support.eventually import eventually

_PICTURES = "testsrc2=size=1920x1080:rate=30:duration=10,noise=alls=8:allf=t"
_SHORT = (
    "-f", "lavfi", "-i", _PICTURES, "-f", "lavfi", "-i", "sine=frequency=330:duration=10",
    "-c:v", "libx264", "-preset", "veryfast", "-b:v", "1900k", "-maxrate", "2500k",
    "-bufsize", "5000k", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k",
)  # fmt: skip
_LONG_TIMES = 180
_LONG_EACH = 3
_SECONDS = 300
_RUNNING = re.compile(r"^ingest_tasks_running\{.*\} [1-9]", re.MULTILINE)


def run(rounds: int) -> list[Row]:
    """Return how long films of 10 s, in *rounds*, and of 30 min, in a third of them, take."""
    with tempfile.TemporaryDirectory() as name:
        short, long = Path(name) / "short.mp4", Path(name) / "long.mp4"
        _ffmpeg(*_SHORT, str(short))
        _ffmpeg("-stream_loop", str(_LONG_TIMES - 1), "-i", str(short), "-c", "copy", str(long))
        size = long.stat().st_size / 1e6
        return [
            asyncio.run(_row("1080p30 of 10 s", short, rounds)),
            asyncio.run(_row(f"1080p30 of 30 min, {size:.0f} MB", long, -(-rounds // _LONG_EACH))),
        ]


async def _row(about: str, film: Path, rounds: int) -> Row:
    waits = []
    for _ in range(rounds):
        await _until_idle()
        async with playable(film) as waited:
            waits.append(waited)
    waits.sort()
    p95 = waits[round(0.95 * (len(waits) - 1))]
    return Row(
        name=f"playable: {about}",
        ours=f"p50 {statistics.median(waits):.2f} s, p95 {p95:.2f} s of {len(waits)}",
        target="p50 3 s, p95 5 s",
    )


@asynccontextmanager
async def playable(film: Path) -> AsyncIterator[float]:
    """Hold a new company's upload that can be played; gives the seconds it took from its end on."""
    company = uuid4()
    async with client(company) as media:
        # Its bucket is made at its first grant, which is not what is measured.
        await media.sign(film)
        told: asyncio.Queue[Event] = asyncio.Queue()
        connected = asyncio.Event()

        async def listen() -> None:
            async for event in media.events(connected):
                told.put_nowait(event)

        listening = asyncio.create_task(listen())
        await connected.wait()
        grant = await media.sign(film)
        await media.upload(grant, film, on_bytes=lambda _: None)
        started = time.perf_counter()
        await asyncio.wait_for(_until(told, _is_playable), _SECONDS)
        taken = time.perf_counter() - started
        listening.cancel()
    yield taken
    await drop(company, [str(grant["assetId"])])


async def _until_idle() -> None:
    """Wait until no worker of ingest is left with what was deleted."""
    async with httpx.AsyncClient() as http:

        async def is_idle() -> bool:
            return not _RUNNING.search((await http.get(variable("INGEST_METRICS_URL"))).text)

        await eventually(is_idle, timeout=_SECONDS)


async def _until(told: asyncio.Queue[Event], wanted: Callable[[Event], bool]) -> None:
    while not wanted(await told.get()):
        pass


def _is_playable(event: Event) -> bool:
    if event.data.get("status") == "failed":
        raise RuntimeError(f"the film failed: {event.data}")
    return "seconds" in event.data


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)

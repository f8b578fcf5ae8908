"""From the end of an upload to ready, against bare ffmpeg with the same arguments."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from ingest.domain import Size
from ingest.outputs.rendition import EncodePlan, encode_command
from media_runtime.media.ffmpeg import InputLimits, input_options

from bench.report import Row
from bench.stack import client

_CLIP = (
    "-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25:duration=60,noise=alls=8:allf=t",
    "-f", "lavfi", "-i", "sine=frequency=330:duration=60",
    "-c:v", "libx264", "-preset", "ultrafast", "-crf", "28", "-pix_fmt", "yuv420p", "-c:a", "aac",
)  # fmt: skip
_STAGES = ("uploaded", "processing", "probed", "thumbnailed", "transcoded", "ready")


def run(rounds: int) -> list[Row]:
    """Return our time over that of bare ffmpeg, in paired rounds, and where ours goes."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-y", *_CLIP, str(clip)], check=True)
        pairs = []
        spent: list[dict[str, float]] = []
        for _ in range(rounds):
            bare = _bare(clip, Path(folder) / "bare.mp4")
            ours, stages = asyncio.run(_ours(clip))
            pairs.append((ours, bare))
            spent.append(stages)
    rows = [
        Row(
            name="video: upload finished to ready, 60 s of 1080p",
            ours=f"{statistics.median(ours for ours, _ in pairs):.1f} s",
            other=f"{statistics.median(bare for _, bare in pairs):.1f} s bare ffmpeg",
            ratios=[ours / bare for ours, bare in pairs],
            target="at most 1.10",
        )
    ]
    for stage in _STAGES:
        after = statistics.median(stages[stage] for stages in spent)
        rows.append(Row(name=f"  {stage} after", ours=f"{after:.2f} s"))
    return rows


def _bare(clip: Path, target: Path) -> float:
    plan = EncodePlan(Size(1920, 1080), has_audio=True, preset="veryfast", crf=23, max_seconds=3600)
    arguments = encode_command(clip, target, plan, input_options(InputLimits()))
    started = time.perf_counter()
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments], check=True)
    return time.perf_counter() - started


async def _ours(clip: Path) -> tuple[float, dict[str, float]]:
    reached: dict[str, float] = {}
    connected = asyncio.Event()
    async with client(uuid4()) as media:

        async def follow() -> None:
            async for event in media.events(connected):
                moment = datetime.fromisoformat(event.time).timestamp()
                stage = event.data.get("stage") or event.data.get("status")
                reached.setdefault(str(stage), moment)
                if event.data.get("status") in {"ready", "failed"}:
                    return

        following = asyncio.create_task(follow())
        await connected.wait()
        grant = await media.sign(clip)
        await media.upload(grant, clip, on_bytes=lambda _: None)
        finished, started = time.time(), time.perf_counter()
        await asyncio.wait_for(following, 600)
        taken = time.perf_counter() - started
    if "ready" not in reached:
        raise RuntimeError("the clip failed")
    return taken, {stage: reached[stage] - finished for stage in _STAGES}

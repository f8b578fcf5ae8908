"""
From the end of an upload to ready, against one ffmpeg that makes the same sizes on all cores.

That one writes a stream for players as well, and neither proves nor stores anything. Ours is told
twice: with all that the default profile makes, and of the sizes and their sound alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from uuid import UUID, uuid4

from ingest.domain import Size
from ingest.film.chunk import encoding
from ingest.film.ladder import rungs
from media_contracts.profiles import VideoOutput

from bench.report import Row
from bench.stack import client, others_cpu
from support.typed import mediactl

_CLIP = (
    "-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25:duration=60,noise=alls=8:allf=t",
    "-f", "lavfi", "-i", "sine=frequency=330:duration=60",
    "-c:v", "libx264", "-preset", "ultrafast", "-crf", "28", "-pix_fmt", "yuv420p", "-c:a", "aac",
)  # fmt: skip
_STAGES = ("uploaded", "processing", "probed", "playable", "thumbnailed", "transcoded", "ready")
_RATE = Fraction(25)
_SIZES_ALONE = {
    "name": "sizes",
    "outputs": [{"type": "video", "name": "video", "loudness": None}],
}


def run(rounds: int) -> list[Row]:
    """Return our time over that of bare ffmpeg, in paired rounds, and where ours goes."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-y", *_CLIP, str(clip)], check=True)
        pairs, cpu, alone = [], [], []
        spent: list[dict[str, float]] = []
        for _ in range(rounds):
            began = others_cpu()
            bare = _bare(clip, Path(folder) / "bare")
            between = others_cpu()
            ours, stages = asyncio.run(_ours(clip))
            pairs.append((ours, bare))
            cpu.append((others_cpu() - between, between - began))
            spent.append(stages)
            alone.append(asyncio.run(_ours(clip, _SIZES_ALONE))[0])
    rows = [
        Row(
            name="video: upload finished to ready, 60 s of 1080p",
            ours=f"{statistics.median(ours for ours, _ in pairs):.1f} s",
            other=f"{statistics.median(bare for _, bare in pairs):.1f} s bare ffmpeg",
            ratios=[ours / bare for ours, bare in pairs],
            target="at most 1.10",
        ),
        Row(
            name="video: the same, without pictures and loudness",
            ours=f"{statistics.median(alone):.1f} s",
            other="the same",
            ratios=[ours / bare for ours, (_, bare) in zip(alone, pairs, strict=True)],
            target="at most 1.03",
        ),
        Row(
            name="video: CPU of all processes for it",
            ours=f"{statistics.median(ours for ours, _ in cpu):.1f} s",
            other=f"{statistics.median(bare for _, bare in cpu):.1f} s with bare ffmpeg",
            ratios=[ours / bare for ours, bare in cpu],
        ),
    ]
    for stage in _STAGES:
        after = statistics.median(stages[stage] for stages in spent)
        rows.append(Row(name=f"  {stage} after", ours=f"{after:.2f} s"))
    return rows


def _bare(clip: Path, target: Path) -> float:
    target.mkdir(exist_ok=True)
    output = VideoOutput(name="video")
    ladder = rungs(Size(1920, 1080), output.short_sides, _RATE)
    split = f"[0:v]split={len(ladder)}" + "".join(f"[s{n}]" for n in range(len(ladder)))
    scaled = [
        f"[s{n}]scale={one.size.width}:{one.size.height}:flags=bicubic,setsar=1[v{n}]"
        for n, one in enumerate(ladder)
    ]
    words = ["-filter_complex", ";".join([split, *scaled])]
    for number, one in enumerate(ladder):
        words += ["-map", f"[v{number}]"]
        for name, value in encoding(one, _RATE, preset=output.preset, crf=output.crf).items():
            if name not in {"movflags", "f", "fflags", "map_metadata", "map_chapters"}:
                option = name.removesuffix(":v")
                words += [f"-{option}:v:{number}", str(value)]
    words += ["-map", "0:a", "-c:a", "aac", "-b:a", "128k"]
    streams = [f"v:{number},agroup:sound" for number in range(len(ladder))]
    words += ["-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod"]
    words += ["-hls_segment_type", "fmp4", "-hls_flags", "single_file"]
    words += ["-master_pl_name", "master.m3u8", "-var_stream_map"]
    words += [" ".join([*streams, "a:0,agroup:sound"]), str(target / "size%v.m3u8")]
    started = time.perf_counter()
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(clip), *words]
    subprocess.run(command, check=True)
    return time.perf_counter() - started


async def _ours(
    clip: Path, profile: Mapping[str, object] | None = None
) -> tuple[float, dict[str, float]]:
    reached: dict[str, float] = {}
    connected = asyncio.Event()
    company = uuid4()
    if profile is not None:
        _publish(company, profile)
    async with client(company) as media:

        async def follow() -> None:
            async for event in media.events(connected):
                moment = datetime.fromisoformat(event.time).timestamp()
                told = event.data.get("stage") or event.data.get("status")
                stage = told or ("playable" if "seconds" in event.data else None)
                reached.setdefault(str(stage), moment)
                if event.data.get("status") in {"ready", "failed"}:
                    return

        following = asyncio.create_task(follow())
        await connected.wait()
        grant = await media.sign(clip, profile=str(profile["name"]) if profile else None)
        await media.upload(grant, clip, on_bytes=lambda _: None)
        finished, started = time.time(), time.perf_counter()
        await asyncio.wait_for(following, 600)
        taken = time.perf_counter() - started
    if "ready" not in reached:
        raise RuntimeError("the clip failed")
    return taken, {stage: reached[stage] - finished for stage in _STAGES if stage in reached}


def _publish(company: UUID, profile: Mapping[str, object]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(profile, file)
        file.flush()
        done = mediactl(
            "profile", "set", file.name, "--company", str(company), environment=dict(os.environ)
        )
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)

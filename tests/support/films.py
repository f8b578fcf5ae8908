"""Films as people have them, and what a rendition of one looks and sounds like."""

from __future__ import annotations

import array
import asyncio
import itertools
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from ingest.inspect import Inspect
from ingest.outputs import audio, video
from ingest.outputs.source import Source
from ingest.outputs.transcode import Progress
from ingest.settings import IngestSettings
from ingest.trust.gate import check_file
from media_contracts import AudioOutput, MediaFile, VideoOutput
from media_contracts.formats import TYPE_OF_EXTENSION
from media_records.tables import Asset
from media_runtime.media.ffmpeg import Ffmpeg, MediaInfo
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import WantedPicture
from media_runtime.media.sandbox import Sandbox
from thumbnailer.frames import FindFrame

from support.making import Made, Making, an_asset
from support.media_files import run_ffmpeg

QUADS = [(200, 40, 40), (40, 180, 60), (40, 60, 200), (200, 180, 40)]
FFMPEG = Ffmpeg(Sandbox("bubblewrap"))
_RATE = 8000
_WANTED = [WantedPicture("thumbnail", 320, 240, "cover")]


@dataclass(frozen=True)
class Film:
    """What became of an upload."""

    path: Path
    source: Source
    info: MediaInfo
    warnings: frozenset[str]
    made: Made


def quads(path: Path, *options: str, size: str = "160x90", seconds: float = 0.4) -> Path:
    """Write four colours, one a quarter; *options* say as what."""
    width, height = map(int, size.split("x"))
    one = f"size={width // 2}x{height // 2}:rate=25:duration={seconds},format=gbrp"
    pieces = [f"color=0x{r:02x}{g:02x}{b:02x}:{one}[q{n}]" for n, (r, g, b) in enumerate(QUADS)]
    graph = ";".join([*pieces, "[q0][q1]hstack[t];[q2][q3]hstack[b];[t][b]vstack"])
    run_ffmpeg("-f", "lavfi", "-i", graph, *options, str(path))
    return path


def filmed(*tones: str, seconds: float = 0.6) -> list[str]:
    """Return ffmpeg's inputs of a small picture, and of sounds as *tones* say."""
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=160x90:rate=25:duration={seconds}"]
    return picture + [word for tone in tones for word in ("-f", "lavfi", "-i", tone)]


async def made_of(
    path: Path,
    folder: Path,
    output: VideoOutput | None = None,
    marks: Mapping[UUID, tuple[MediaFile, Path]] | None = None,
) -> Film:
    """Check, plan and encode the upload at *path*, as the services do, with *marks* in storage."""
    settings, asset = _settings_in(folder), _asset(path)
    source = await inspected(path, folder)
    making = Making(settings, FFMPEG, folder / "made")
    for picture, stored in (marks or {}).values():
        await making.store.upload("", picture.key, stored)
    pictures = {asset_id: picture for asset_id, (picture, _) in (marks or {}).items()}
    source = replace(source, marks=pictures)
    plan = video.plan([output or VideoOutput(name="video")], source) or audio.plan(
        [AudioOutput(name="audio")], source
    )
    made = await making.all(plan, path, asset)
    file = made.files["video" if source.video else "audio"]
    info = await FFMPEG.probe(file)
    warnings = frozenset(code.value for code in (*source.warnings, *made.warnings))
    return Film(file, source, info, warnings, made)


async def inspected(path: Path, folder: Path) -> Source:
    """Check the upload at *path*, and return what is known of it before anything is made."""
    settings, asset = _settings_in(folder), _asset(path)
    looked = folder / "looked"
    looked.mkdir(parents=True, exist_ok=True)
    found = check_file(path, asset, whole_part=settings.min_whole_part)
    inspect = Inspect(settings, FFMPEG, cast("Any", None))
    return await inspect._probe(asset, path, found, looked)


async def thumbnail_of(path: Path, film: Film, folder: Path, pool: PicturePool) -> Path:
    """Return the frame that the thumbnailer takes of the upload at *path*."""
    source = folder / "thumbnail" / "source"
    await asyncio.to_thread(_copy, path, source)
    find = FindFrame(pool, FFMPEG, timeout_seconds=60)
    return await find(source, film.source.duration_seconds, _WANTED)


def silence_progress(monkeypatch: Any) -> None:
    """Tell no client how far an encode is."""

    async def report(*_: object) -> None:
        return

    monkeypatch.setattr(Progress, "report", report)


def quarters(path: Path, *, seconds: float = 0) -> list[tuple[int, ...]]:
    """Return the colours in the middle of each quarter, as the tags say."""
    data = _read(path, "-frames:v", "1", "-vf", "scale=16:16:flags=area", "-pix_fmt", "rgb24",
                 "-f", "rawvideo", start=seconds)  # fmt: skip
    return [tuple(data[(y * 16 + x) * 3 :][:3]) for y in (3, 12) for x in (3, 12)]


def near(found: Sequence[tuple[int, ...]], wanted: Sequence[tuple[int, ...]], by: int) -> bool:
    """Return whether all colours differ by no more than so much."""
    pairs = zip(found, wanted, strict=True)
    return all(abs(a - b) <= by for one, two in pairs for a, b in zip(one, two, strict=True))


def frame_times(path: Path) -> list[float]:
    """Return when each frame is shown, in seconds."""
    words = ("-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0")
    command = ["ffprobe", "-v", "error", *words, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(map(float, done.stdout.replace(",", " ").split()))


def pitches(path: Path) -> list[tuple[int, float]]:
    """Return of the left and of the right the tone, in hertz, and how loud it is at most."""
    data = array.array(
        "h", _read(path, "-map", "0:a:0", "-ac", "2", "-ar", str(_RATE), "-f", "s16le")
    )
    return [_pitch(data[side::2]) for side in (0, 1)]


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir()
    shutil.copy(path, target)


def _asset(path: Path) -> Asset:
    return an_asset(TYPE_OF_EXTENSION[path.suffix], path.stat().st_size)


def _settings_in(folder: Path) -> IngestSettings:
    return IngestSettings(
        kafka_bootstrap_servers="k", database_url="postgresql://d", s3_endpoint_url="http://s",
        s3_access_key="k", s3_secret_key="s", scratch_dir=folder,
    )  # fmt: skip


def _pitch(samples: array.array[int]) -> tuple[int, float]:
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    rising = sum(before <= 0 < after for before, after in itertools.pairwise(middle))
    loudest = max(map(abs, middle), default=0) / 32768
    return round(rising * _RATE / max(1, len(middle))), loudest


def _read(path: Path, *options: str, start: float = 0) -> bytes:
    # A seek to the beginning goes to the first picture, which may come after the first sound.
    place = ["-ss", str(start)] if start else []
    command = ["ffmpeg", "-v", "error", *place, "-i", str(path), *options, "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def greys(path: Path, width: int, height: int) -> list[bytes]:
    """Return each frame of a film, scaled, as bytes."""
    scaled = ("-vf", f"scale={width}:{height}:flags=area", "-pix_fmt", "gray", "-f", "rawvideo")
    data = _read(path, "-fps_mode", "passthrough", *scaled)
    one = width * height
    return [data[at : at + one] for at in range(0, len(data), one)]


def combs(path: Path, width: int, height: int) -> float:
    """Return how much more lines differ from the next one than from the next but one, at most."""
    return max(_combs(frame, width) for frame in greys(path, width, height)[2:])


def _combs(frame: bytes, width: int) -> float:
    rows = [frame[at : at + width : 2] for at in range(0, len(frame), width)]
    steps = [
        statistics.fmean(
            abs(a - b)
            for one, other in zip(rows[8:], rows[8 + by : -8], strict=False)
            for a, b in zip(one, other, strict=True)
        )
        for by in (1, 2)
    ]
    return steps[0] - steps[1]


def roundness(frame: bytes, width: int) -> float:
    """Return how wide what is bright is, over how high."""
    bright = [at for at, value in enumerate(frame) if value > 150]
    columns, rows = [at % width for at in bright], [at // width for at in bright]
    return (max(columns) - min(columns)) / (max(rows) - min(rows))


def flash_and_beep(path: Path) -> tuple[float, float]:
    """Return when it becomes bright and when loud, in seconds."""
    light = [statistics.fmean(frame) for frame in greys(path, 16, 16)]
    jump = max(range(1, len(light)), key=lambda at: light[at] - light[at - 1])
    samples, step = array.array("h", _read(path, "-ac", "1", "-ar", str(_RATE), "-f", "s16le")), 80
    loud = next(at for at in range(0, len(samples), step) if max(samples[at : at + step]) > 3000)
    # ffmpeg leaves out the silence before a sound that begins late.
    return frame_times(path)[jump], loud / _RATE + _begins(path, "a:0")


def _begins(path: Path, stream: str) -> float:
    words = ("-select_streams", stream, "-show_entries", "stream=start_time", "-of", "csv=p=0")
    command = ["ffprobe", "-v", "error", *words, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])

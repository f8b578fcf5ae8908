"""
The files that the load uploads, made by Pillow and ffmpeg, each with its rightful outcome.

Invariant: one seed gives the same files; they are made once and then read from disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

READY = "ready"
# What was made by another version of this file is not used again.
_RECIPE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
_SMALLEST, _LARGEST = 20_000, 200_000
_TRIAL_SECONDS = 2.0


@dataclass(frozen=True)
class Sample:
    """A file and what must become of it: ``ready``, or the code of the error it must fail with."""

    name: str
    content_type: str
    data: bytes
    expect: str

    @property
    def kind(self) -> str:
        """``image``, ``clip`` or ``bad``: the classes of a load's mix."""
        if self.expect != READY:
            return "bad"
        return "clip" if self.content_type.startswith("video/") else "image"


def samples(seed: int) -> list[Sample]:
    """Return good images, good clips and bad files of *seed*; made at the first call."""
    return _cached("samples", f"{seed}", lambda: _make(random.Random(seed)))


def long_clip(seconds: float, size: str = "640x360") -> Sample:
    """Return a clip that takes ingest, if nothing else runs, about *seconds* to transcode."""
    return _cached("long", f"{seconds:g}-{size}", lambda: [_long(seconds, size)])[0]


def _make(chance: random.Random) -> list[Sample]:
    return [*_images(chance), *_clips(chance), *_bad(chance)]


def _images(chance: random.Random) -> Iterator[Sample]:
    for number, kind in enumerate(("JPEG",) * 5 + ("PNG",) * 3):
        data = _image(chance, kind)
        suffix = "jpg" if kind == "JPEG" else "png"
        yield Sample(f"photo-{number}.{suffix}", f"image/{kind.lower()}", data, READY)


def _image(chance: random.Random, kind: str) -> bytes:
    """Return a picture of 20 to 200 kB: noise, enlarged until it weighs enough."""
    wanted = chance.randint(_SMALLEST + 5_000, _LARGEST // 2)
    noise = Image.frombytes("RGB", (64, 48), chance.randbytes(64 * 48 * 3))
    for width in range(160, 2400, 80):
        buffer = io.BytesIO()
        noise.resize((width, width * 3 // 4), Image.Resampling.BICUBIC).save(buffer, kind)
        if buffer.tell() >= wanted:
            return buffer.getvalue()
    raise AssertionError(f"no {kind} reaches {wanted} bytes")


def _clips(chance: random.Random) -> Iterator[Sample]:
    forms = ((1, True, "mp4"), (2, False, "mp4"), (3, True, "mp4"), (1, False, "mov"))
    for number, (seconds, sound, suffix) in enumerate(forms):
        content_type = "video/mp4" if suffix == "mp4" else "video/quicktime"
        hue = chance.randint(0, 359)
        data = _clip(seconds, sound=sound, suffix=suffix, hue=hue)
        yield Sample(f"clip-{number}.{suffix}", content_type, data, READY)


def _bad(chance: random.Random) -> Iterator[Sample]:
    jpeg = _image(chance, "JPEG")
    clip = _clip(2, sound=True, suffix="mp4", hue=0)
    text = b"This is no picture. " * 200
    yield Sample("text.jpg", "image/jpeg", text, "type_mismatch")
    yield Sample("photo.mp4", "video/mp4", jpeg, "type_mismatch")
    yield Sample("torn.jpg", "image/jpeg", jpeg[: len(jpeg) // 2], "unreadable_image")
    yield Sample("head.png", "image/png", _image(chance, "PNG")[:20], "unreadable_image")
    yield Sample("sound.mp4", "video/mp4", _sound(), "no_video_stream")
    yield Sample("cut.mp4", "video/mp4", clip[: len(clip) // 3], "truncated_file")
    yield Sample("none.png", "image/png", clip, "type_mismatch")


def _clip(seconds: float, *, sound: bool, suffix: str, hue: int, size: str = "160x90") -> bytes:
    picture = f"testsrc2=size={size}:rate=25:duration={seconds},hue=h={hue}"
    tone = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}") if sound else ()
    arguments = ("-f", "lavfi", "-i", picture, *tone, "-preset", "ultrafast")
    return _ffmpeg(*arguments, "-pix_fmt", "yuv420p", suffix=suffix)


def _sound() -> bytes:
    return _ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=1", "-f", "mp4", suffix="mp4")


def _long(seconds: float, size: str) -> Sample:
    piece = _clip(_TRIAL_SECONDS, sound=False, suffix="mp4", hue=0, size=size)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "piece.mp4"
        source.write_bytes(piece)
        started = time.perf_counter()
        encode = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23")
        _ffmpeg("-stream_loop", "4", "-i", str(source), *encode, suffix="mp4")
        each = (time.perf_counter() - started) / 5
        loops = max(0, round(seconds / each) - 1)
        data = _ffmpeg("-stream_loop", str(loops), "-i", str(source), "-c", "copy", suffix="mp4")
    return Sample(f"long-{seconds:g}.mp4", "video/mp4", data, READY)


def _ffmpeg(*arguments: str, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"out.{suffix}"
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ffmpeg: {done.stderr}")
        return target.read_bytes()


_memory: dict[Path, list[Sample]] = {}


def _cached(kind: str, name: str, make: Callable[[], list[Sample]]) -> list[Sample]:
    folder = _home() / f"{kind}-{name}-{_RECIPE}"
    if folder not in _memory:
        if not folder.is_dir():
            _write(folder, make())
        _memory[folder] = _read(folder)
    return list(_memory[folder])


@cache
def _home() -> Path:
    folder = Path(tempfile.gettempdir()) / f"media-chaos-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _write(folder: Path, found: list[Sample]) -> None:
    # Made beside, then renamed: a run that is interrupted leaves nothing half made.
    beside = Path(tempfile.mkdtemp(dir=folder.parent))
    about = []
    for number, sample in enumerate(found):
        (beside / f"{number}").write_bytes(sample.data)
        about.append([sample.name, sample.content_type, sample.expect])
    (beside / "about.json").write_text(json.dumps(about))
    try:
        beside.rename(folder)
    except OSError:
        shutil.rmtree(beside)  # another run was faster
        if not folder.is_dir():
            raise


def _read(folder: Path) -> list[Sample]:
    about = json.loads((folder / "about.json").read_text())
    return [
        Sample(name, content_type, (folder / f"{number}").read_bytes(), expect)
        for number, (name, content_type, expect) in enumerate(about)
    ]

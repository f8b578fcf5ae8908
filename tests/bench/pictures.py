"""
A photo in four sizes and two formats: our CPU over that of plain loops with the same settings.

Each side decodes once and makes all sizes of that, on one thread.
"""

from __future__ import annotations

import io
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

from media_runtime.media import pictures
from media_runtime.media.pictures import WantedPicture, render
from PIL import Image, ImageChops

from bench.report import Row

_SIDES = (1920, 1280, 640, 320)
_PHOTOS = 20
_SIZE = (4000, 3000)
_OCTAVES = 7
_PROGRESSIVE_FROM = 640
_AVIF = {"quality": 70, "speed": 9, "max_threads": 1, "advanced": {"tune": "ssim"}}


def run(rounds: int) -> list[Row]:
    """Return CPU-seconds a photo, ours over those of a loop of Pillow and of libvips."""
    pictures.open_up_to(_SIZE[0] * _SIZE[1])
    with tempfile.TemporaryDirectory() as folder:
        photos = [_photo(Path(folder) / f"{number}.jpg", number) for number in range(_PHOTOS)]
        sides: dict[str, Callable[[Path], None]] = {"ours": _ours, "pillow": _pillow}
        with suppress(ImportError):  # pip install "pyvips[binary]"
            sides["libvips"] = _libvips()
        spent: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, make in sides.items():
                spent[name].append(_cpu_seconds(make, photos))
    ours = spent.pop("ours")
    return [
        Row(
            name=f"pictures: {_PHOTOS} photos of 12 megapixels in 4 sizes, AVIF and JPEG",
            ours=f"{1000 * median(ours):.0f} ms of CPU each",
            other=f"{1000 * median(other):.0f} ms {name}",
            ratios=[one / against for one, against in zip(ours, other, strict=True)],
            target={"pillow": "at most 1.05", "libvips": "at most 1.0"}[name],
        )
        for name, other in spent.items()
    ]


def _cpu_seconds(make: Callable[[Path], None], photos: list[Path]) -> float:
    started = time.process_time()
    for photo in photos:
        make(photo)
    return (time.process_time() - started) / len(photos)


def _ours(photo: Path) -> None:
    formats = ("avif", "jpeg")
    render(
        photo,
        [
            WantedPicture(f"{side}.{one}", side, side, "inside", one)
            for side in reversed(_SIDES)
            for one in formats
        ],
    )


def _pillow(photo: Path) -> None:
    with Image.open(photo) as image:
        image.draft("RGB", (int(1.5 * _SIDES[0]), int(1.5 * _SIDES[0])))
        all_sizes(image)


def all_sizes(image: Image.Image) -> None:
    """Make a picture's sizes, each of the one before, by Pillow alone."""
    for side in _SIDES:
        scale = min(1.0, side / max(image.size))
        size = round(image.width * scale), round(image.height * scale)
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        image.save(io.BytesIO(), "AVIF", subsampling="4:2:0", **_AVIF)
        image.save(io.BytesIO(), "JPEG", quality=80, progressive=side >= _PROGRESSIVE_FROM)


def _libvips() -> Callable[[Path], None]:
    os.environ["VIPS_CONCURRENCY"] = "1"
    import pyvips

    def make(photo: Path) -> None:
        shown = pyvips.Image.thumbnail(str(photo), _SIDES[0]).copy_memory()
        for side in _SIDES:
            sized = shown if side == _SIDES[0] else shown.thumbnail_image(side)
            sized.write_to_buffer(".avif", Q=70, effort=1, strip=True, subsample_mode="on")
            sized.write_to_buffer(
                ".jpg",
                Q=80,
                strip=True,
                interlace=side >= _PROGRESSIVE_FROM,
                optimize_coding=True,
            )

    return make


def _photo(path: Path, seed: int) -> Path:
    """Write what has the spectrum of a photo: noise whose grain is finer the fainter it is."""
    chance = random.Random(seed)
    total = Image.new("RGB", _SIZE, (128, 128, 128))
    for octave in range(_OCTAVES):
        size = 4 * 2**octave, 3 * 2**octave
        noise = Image.frombytes("RGB", size, chance.randbytes(3 * size[0] * size[1]))
        grain = noise.resize(_SIZE, Image.Resampling.BICUBIC)
        total = ImageChops.overlay(
            total, Image.blend(Image.new("RGB", _SIZE, (128,) * 3), grain, 0.7 / (octave + 1))
        )
    fine = Image.effect_noise(_SIZE, 6).convert("RGB")
    ImageChops.overlay(total, fine).save(path, quality=92)
    return path

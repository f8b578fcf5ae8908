"""A profile's picture lies on each frame of a video, where and as large as the profile says."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from ingest.domain import Size
from ingest.film.watermark import placed
from media_contracts import FileKind, MediaFile, VideoOutput
from media_contracts.profiles import Watermark
from PIL import Image

from support.films import Film, frame_times, made_of, silence_progress
from support.media_files import run_ffmpeg

ID = UUID(int=7)
RED, BLUE, GREY = (230, 20, 20), (20, 20, 230), (128, 128, 128)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


@pytest.fixture
def mark(tmp_path) -> tuple[MediaFile, Path]:
    """Give a picture whose left half is red, and whose right half is not there."""
    path = tmp_path / "mark.png"
    image = Image.new("RGBA", (80, 40), (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 40, 40))
    image.save(path)
    return picture(80, 40), path


def picture(width: int, height: int) -> MediaFile:
    return MediaFile(
        name="image", kind=FileKind.IMAGE, key=f"company/{uuid4()}/image.png",
        content_type="image/png", size=1, width=width, height=height,
    )  # fmt: skip


def grey(path: Path, *options: str, rate: str = "30000/1001") -> Path:
    """Make a grey film whose pictures have a blue stripe at the right from second 6 on."""
    stripe = "drawbox=x=120:y=0:w=40:h=120:color=0x1414e6:t=fill:enable='gte(t,6)'"
    run_ffmpeg(
        "-f", "lavfi", "-i", f"color=0x808080:s=160x120:r={rate}:d=9,{stripe}",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60",
        "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709",
        *options, str(path),
    )  # fmt: skip
    return path


def colour_at(path: Path, x: float, y: float, *, seconds: float) -> tuple[int, ...]:
    """Return the colour at a place, in shares of the sides, at a time."""
    frame = path.with_suffix(f".{seconds}.png")
    run_ffmpeg("-ss", str(seconds), "-i", str(path), "-frames:v", "1", str(frame))
    image = Image.open(frame).convert("RGB")
    found = image.getpixel((int(x * image.width), int(y * image.height)))
    assert isinstance(found, tuple)
    return tuple(map(int, found))


def is_near(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 14 for one, other in zip(found, wanted, strict=True))


def output(**watermark: object) -> VideoOutput:
    wanted = Watermark(asset_id=ID, **watermark)  # type: ignore[arg-type]
    return VideoOutput(name="video", short_sides=(60,), preset="ultrafast", watermark=wanted)


async def made(path: Path, mark: tuple[MediaFile, Path], wanted: VideoOutput) -> Film:
    return await made_of(path, path.parent / "made", wanted, {ID: mark})


async def test_a_mark_is_on_each_frame_of_each_size(tmp_path, mark):
    source = grey(tmp_path / "film.mp4")
    film = await made(source, mark, output(place="top-left", width=0.5, margin=0))
    assert [name for name in film.made.done if "whole" in name] == [], "joins are proven as ever"
    assert len(frame_times(film.path)) == len(frame_times(source))
    small = [path for name, path in film.made.files.items() if "-60-" in name]
    assert len(small) > 1
    for path, seconds in [(film.path, 0), (film.path, 8.9), *((one, 0) for one in small)]:
        assert is_near(colour_at(path, 0.1, 0.1, seconds=seconds), RED)
        assert is_near(colour_at(path, 0.4, 0.1, seconds=seconds), GREY), "it shines through"
        assert is_near(colour_at(path, 0.1, 0.6, seconds=seconds), GREY)
    assert is_near(colour_at(film.path, 0.9, 0.5, seconds=8), BLUE), "pictures go on below it"


async def test_what_is_made_in_one_piece_has_it_too_and_it_may_shine_through(tmp_path, mark):
    parts = []
    for number, late in enumerate((0, 40_000)):
        part = grey(tmp_path / f"{number}.ts", "-output_ts_offset", str(late), rate="25")
        parts.append(part.read_bytes())
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(parts))
    film = await made(path, mark, output(place="bottom-right", width=1, margin=0, opacity=0.5))
    assert "video-whole" in film.made.done
    half = tuple((one + other) // 2 for one, other in zip(RED, GREY, strict=True))
    for seconds in (0, 3, 14):
        assert is_near(colour_at(film.path, 0.2, 0.8, seconds=seconds), half)
        assert is_near(colour_at(film.path, 0.2, 0.2, seconds=seconds), GREY)


@pytest.mark.parametrize(
    ("place", "x", "y"),
    [
        ("top-left", 54, 54), ("top-right", 1578, 54), ("bottom-left", 54, 882),
        ("bottom-right", 1578, 882), ("middle", 816, 468),
    ],
)  # fmt: skip
def test_a_mark_lies_where_the_profile_says(place, x, y):
    wanted = Watermark(asset_id=ID, place=place, width=0.15, margin=0.05)
    found = placed(wanted, picture(100, 50), Size(1920, 1080))
    assert (found.width, found.height, found.x, found.y) == (288, 144, x, y)


def test_one_that_would_not_fit_is_smaller():
    wanted = Watermark(asset_id=ID, width=1, margin=0.1, place="middle")
    found = placed(wanted, picture(10, 100), Size(200, 100))
    assert (found.width, found.height, found.x, found.y) == (8, 80, 96, 10)

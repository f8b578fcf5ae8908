"""Moving images become films that show each frame for as long as the image did."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ingest.film.animation import last_for, mp4_command, webp_command
from media_runtime.errors import TransientError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.moving import Moving, write_frames
from media_runtime.media.picture_pool import PicturePool, Target
from media_runtime.media.pictures import PictureError
from media_runtime.media.sandbox import Sandbox
from PIL import Image, ImageDraw

MOST_PIXELS = 50_000_000
FRAME_MS = [40, 70, 100, 30, 500, 20, 90, 90, 1200]
FORMATS = {"gif": "GIF", "png": "PNG", "webp": "WEBP", "avif": "AVIF"}


def frames(size=(322, 240), *, ground: Any = (30, 60, 90), mode="RGB") -> list[Image.Image]:
    found = []
    for number in range(len(FRAME_MS)):
        image = Image.new(mode, size, ground)
        left = 5 + 20 * number
        ImageDraw.Draw(image).rectangle(
            (left, 50, left + 60, 130), (250, 220, 20, 255)[: len(mode)]
        )
        found.append(image)
    return found


def saved(path: Path, images: list[Image.Image], **options: Any) -> Path:
    options = {"duration": FRAME_MS, "loop": 0, **options}
    if path.suffix == ".avif":
        del options["loop"]
    images[0].save(
        path, FORMATS[path.suffix[1:]], save_all=True, append_images=images[1:], **options
    )
    return path


@pytest.fixture(scope="module")
async def pool():
    async with PicturePool(Sandbox("bubblewrap"), workers=1) as opened:
        yield opened


@pytest.fixture
def written(pool, tmp_path):
    """Write the frames of an image for ffmpeg, in the process that images are opened in."""

    async def one(source, *, max_side=1280, most_pixels=MOST_PIXELS, on_white=True) -> Moving:
        return await pool.run(
            write_frames, source, max_side, most_pixels, on_white,
            timeout_seconds=60, target=Target(tmp_path / "frames.png", 10**8),
        )  # fmt: skip

    return one


@pytest.fixture
async def ffmpeg():
    return Ffmpeg(Sandbox("bubblewrap"))


@pytest.fixture
def filmed(written, ffmpeg, tmp_path):
    async def one(source, **options) -> tuple[Moving, Path]:
        moving = await written(source, **options)
        film = tmp_path / "film.mp4"
        command = mp4_command(
            tmp_path / "frames.png", film, moving.frame_ms, crf=23,
            input_options=ffmpeg.input_options,
        )  # fmt: skip
        await ffmpeg.run(
            command, reads=tmp_path / "frames.png", writes=tmp_path, timeout_seconds=60,
            cpu_seconds=60, max_bytes=10**8,
        )  # fmt: skip
        return moving, film

    return one


async def probed(film: Path, *entries: str) -> Any:
    words = ["ffprobe", "-v", "error", "-of", "json", *entries, str(film)]
    found = await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)
    return json.loads(found.stdout)


@pytest.mark.parametrize("ending", FORMATS)
async def test_each_frame_is_shown_for_as_long_as_in_the_image(filmed, tmp_path, ending):
    moving, film = await filmed(saved(tmp_path / f"moving.{ending}", frames()))
    assert moving.frame_ms == FRAME_MS
    assert (moving.width, moving.height, moving.loops, moving.is_clear) == (322, 240, 0, False)
    told = await probed(film, "-show_entries", "packet=pts_time,duration_time:format=duration")
    shown = [round(1000 * float(one["duration_time"])) for one in told["packets"]]
    assert shown == FRAME_MS
    begins = [round(1000 * float(one["pts_time"])) for one in told["packets"]]
    assert begins == [sum(FRAME_MS[:number]) for number in range(len(FRAME_MS))]
    assert round(1000 * float(told["format"]["duration"])) == sum(FRAME_MS)


async def test_a_film_shows_what_the_image_shows_in_its_colours(filmed, tmp_path):
    _, film = await filmed(saved(tmp_path / "moving.webp", frames(), lossless=True))
    still = tmp_path / "still.png"
    words = ["ffmpeg", "-v", "error", "-y", "-ss", "0.8", "-i", str(film), "-frames:v", "1"]
    await asyncio.to_thread(subprocess.run, [*words, str(still)], check=True)
    image = Image.open(still).convert("RGB")
    assert image.getpixel((10, 10)) == pytest.approx((30, 60, 90), abs=4)
    assert image.getpixel((5 + 20 * 6 + 30, 90)) == pytest.approx((250, 220, 20), abs=6)
    (stream,) = (await probed(film, "-show_streams"))["streams"]
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert (stream["color_space"], stream["color_range"]) == ("bt709", "tv")


@pytest.mark.parametrize(
    ("ending", "said", "loops"),
    [("gif", 0, 0), ("gif", None, 1), ("gif", 2, 3), ("png", 2, 2), ("webp", 5, 5)],
)
async def test_a_moving_image_says_how_often_it_is_shown(written, tmp_path, ending, said, loops):
    """The number in a GIF is how often it is shown again."""
    path = saved(tmp_path / f"moving.{ending}", frames(), loop=said)
    assert (await written(path)).loops == loops


async def test_what_shines_through_is_white_in_the_film_and_shines_through_in_the_webp(
    filmed, written, ffmpeg, tmp_path
):
    source = saved(
        tmp_path / "moving.webp", frames(mode="RGBA", ground=(0, 0, 0, 0)), lossless=True, loop=4
    )
    moving, film = await filmed(source)
    assert moving.is_clear
    still = tmp_path / "still.png"
    words = ["ffmpeg", "-v", "error", "-y", "-i", str(film), "-frames:v", "1", str(still)]
    await asyncio.to_thread(subprocess.run, words, check=True)
    assert Image.open(still).convert("RGB").getpixel((300, 200)) == pytest.approx((255,) * 3, abs=3)

    moving = await written(source, on_white=False)
    clear = tmp_path / "clear.webp"
    command = webp_command(
        tmp_path / "frames.png", clear, loops=moving.loops, input_options=ffmpeg.input_options
    )
    await ffmpeg.run(
        command, reads=tmp_path / "frames.png", writes=tmp_path, timeout_seconds=60,
        cpu_seconds=60, max_bytes=10**8,
    )  # fmt: skip
    made = bytearray(clear.read_bytes())
    last_for(made, sum(moving.frame_ms))
    clear.write_bytes(made)
    image = Image.open(clear)
    shown = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        image.load()
        shown.append(image.info["duration"])
    assert (shown, image.info["loop"]) == (FRAME_MS, 4)
    alpha = image.convert("RGBA").getchannel("A")
    assert alpha.getpixel((300, 200)) < 5
    assert alpha.getpixel((5 + 20 * 8 + 30, 90)) > 250


async def test_times_that_no_browser_keeps_are_those_of_browsers(written, tmp_path):
    path = saved(tmp_path / "moving.gif", frames(), duration=[0, 10, 20, 30, 0, 40, 50, 60, 70])
    assert (await written(path)).frame_ms == [100, 100, 20, 30, 100, 40, 50, 60, 70]


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [((322, 240), 1280, (322, 240)), ((321, 241), 1280, (320, 240)), ((1, 1), 1280, (2, 2)),
     ((800, 400), 200, (200, 100)), ((3, 900), 300, (2, 300))],
)  # fmt: skip
async def test_sides_are_even_and_no_longer_than_wanted(filmed, tmp_path, size, most, expected):
    images = [Image.new("RGB", size, colour) for colour in ("red", "blue")]
    path = saved(tmp_path / "moving.gif", images, duration=[100, 100])
    moving, film = await filmed(path, max_side=most)
    assert (moving.width, moving.height) == expected
    (stream,) = (await probed(film, "-show_streams"))["streams"]
    assert (stream["width"], stream["height"]) == expected


async def test_frames_after_damage_are_left_out(written, tmp_path):
    path = saved(tmp_path / "moving.gif", frames())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    moving = await written(path)
    assert moving.damaged
    assert 1 < len(moving.frame_ms) < len(FRAME_MS)


async def test_more_pixels_than_are_worked_on_are_refused(written, tmp_path):
    path = saved(tmp_path / "moving.gif", frames())
    with pytest.raises(PictureError) as refused:
        await written(path, most_pixels=322 * 240 * len(FRAME_MS) - 1)
    assert refused.value.code == "too_many_pixels"


async def test_no_more_is_written_than_is_allowed(pool, tmp_path):
    path = saved(tmp_path / "moving.gif", frames())
    with pytest.raises(PictureError) as refused:
        await pool.run(
            write_frames, path, 1280, MOST_PIXELS, True,
            timeout_seconds=60, target=Target(tmp_path / "frames.png", 1000),
        )  # fmt: skip
    assert refused.value.code == "output_too_large"
    assert (tmp_path / "frames.png").stat().st_size <= 1000
    await pool.run(
        write_frames, path, 1280, MOST_PIXELS, True,
        timeout_seconds=60, target=Target(tmp_path / "frames.png", 10**8),
    )  # fmt: skip


async def test_a_full_disk_is_no_fault_of_an_image(pool, tmp_path):
    path = saved(tmp_path / "moving.gif", frames())
    with pytest.raises(TransientError):
        await pool.run(
            write_frames, path, 1280, MOST_PIXELS, True,
            timeout_seconds=60, target=Target(Path("/dev/full"), 10**8),
        )  # fmt: skip


async def test_a_preview_that_is_no_frame_of_an_apng_is_not_shown(written, tmp_path):
    path = tmp_path / "moving.png"
    preview = Image.new("RGB", (322, 240), "white")
    images = frames()
    preview.save(
        path, save_all=True, append_images=images, duration=FRAME_MS, loop=0, default_image=True
    )
    assert (await written(path)).frame_ms == FRAME_MS


async def test_a_film_takes_a_fraction_of_the_bytes_of_a_gif(filmed, tmp_path):
    grain = [Image.effect_noise((480, 270), 30).convert("RGB") for _ in range(3)]
    images = []
    for number in range(40):
        image = grain[number % 3].copy()
        ImageDraw.Draw(image).ellipse((number * 10, 80, number * 10 + 90, 170), "orange")
        images.append(image)
    path = saved(tmp_path / "moving.gif", images, duration=[50] * 40)
    _, film = await filmed(path)
    assert film.stat().st_size < 0.3 * path.stat().st_size

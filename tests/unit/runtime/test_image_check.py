"""An image's first look and first pictures, in one sandboxed process."""

from __future__ import annotations

import pytest
from media_runtime.media.image_check import check_and_render, decoding_seconds
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import PictureError, WantedPicture, probe_image, render
from media_runtime.media.sandbox import Sandbox
from PIL import Image

from support.media_files import make_photo

THUMBNAIL = WantedPicture("thumbnail", 32, 24, "cover")


@pytest.fixture(scope="module")
async def pool():
    async with PicturePool(Sandbox("bubblewrap"), workers=1) as running:
        yield running


async def look(pool, path, *wanted, quick=2.0):
    return await pool.run(check_and_render, path, wanted, 9, quick, timeout_seconds=60)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "heic", "avif", "gif"])
async def test_it_says_what_both_say(pool, tmp_path, suffix):
    path = make_photo(tmp_path / f"a.{suffix}", size=(64, 48))
    seen = await look(pool, path, THUMBNAIL)
    assert seen.info == probe_image(path, 9)
    assert seen.pictures == render(path, [THUMBNAIL])


async def test_of_a_film_it_shows_the_first_frame(pool, tmp_path):
    path, colours = tmp_path / "a.gif", ("red", "green", "blue")
    first, *others = (Image.new("RGB", (64, 48), one) for one in colours)
    first.save(path, save_all=True, append_images=others)
    seen = await look(pool, path, THUMBNAIL)
    assert (seen.info.frames, seen.pictures) == (3, render(path, [THUMBNAIL]))


async def test_of_a_slow_image_no_picture_is_made(pool, tmp_path):
    path = make_photo(tmp_path / "a.jpg", size=(640, 480))
    seconds = decoding_seconds(640, 480, 1)
    assert (await look(pool, path, THUMBNAIL, quick=seconds * 1.01)).pictures
    seen = await look(pool, path, THUMBNAIL, quick=seconds * 0.99)
    assert (seen.info.width, seen.pictures) == (640, [])


async def test_a_png_that_is_slow_is_not_decoded_for_what_stands_behind_its_pixels(pool, tmp_path):
    path, exif = tmp_path / "a.png", Image.Exif()
    exif[0x0112] = 6
    make_photo(tmp_path / "b.png", size=(64, 48))
    whole = tmp_path / "c.png"
    Image.open(tmp_path / "b.png").save(whole, exif=exif)
    path.write_bytes(exif_last(whole.read_bytes()))
    seconds = decoding_seconds(64, 48, 1)
    quick = await look(pool, path, quick=seconds * 1.01)
    slow = await look(pool, path, quick=seconds * 0.99)
    assert [(one.info.width, one.info.height) for one in (quick, slow)] == [(48, 64), (64, 48)]


def exif_last(png: bytes) -> bytes:
    """Return a PNG with its EXIF behind its pixels."""
    at = png.index(b"eXIf") - 4
    end = at + 12 + int.from_bytes(png[at : at + 4], "big")
    iend = png.index(b"IEND") - 4
    return png[:at] + png[end:iend] + png[at:end] + png[iend:]


async def test_no_picture_may_be_wanted(pool, tmp_path):
    seen = await look(pool, make_photo(tmp_path / "a.jpg", size=(64, 48)))
    assert (seen.info.width, seen.pictures) == (64, [])


async def test_of_an_image_whose_pixels_are_broken_the_head_is_told(pool, tmp_path):
    path = tmp_path / "a.jpg"
    Image.effect_noise((900, 900), 99).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(PictureError):
        render(path, [THUMBNAIL])
    seen = await look(pool, path, THUMBNAIL)
    assert (seen.info.width, seen.pictures) == (900, [])


async def test_what_is_no_image_is_refused(pool, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"hello")
    with pytest.raises(PictureError) as caught:
        await look(pool, path, THUMBNAIL)
    assert caught.value.code == "unreadable_image"


def test_each_scan_of_a_progressive_jpeg_costs():
    assert decoding_seconds(4000, 3000, 1) < 0.5
    assert decoding_seconds(4000, 3000, 100) > 10

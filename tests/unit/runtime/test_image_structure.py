"""Images that cost a decoder far more than their size are told by their structure alone."""

from __future__ import annotations

import io
import struct
import time

import pytest
from media_runtime.errors import PermanentError
from media_runtime.media.pictures import WantedPicture, probe_image, render
from PIL import Image

from support.costly import (
    jpeg_of_scans,
    tiff_of_overlapping_directories,
    tiff_of_pages,
    tiff_of_shared_strips,
)

_WANTED = [WantedPicture("thumbnail", 320, 240, "cover")]


def code_of(data: bytes) -> str:
    """Return what a probe says of an image: its code, or ``accepted``."""
    try:
        probe_image(io.BytesIO(data))
    except PermanentError as error:
        return error.code
    return "accepted"


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (jpeg_of_scans(101), "too_many_scans"),
        (jpeg_of_scans(2500), "too_many_scans"),
        # Few enough for a small picture.
        (jpeg_of_scans(60), "too_many_scans"),
        (jpeg_of_scans(101, side=64), "too_many_scans"),
        # An end marker within a comment hides nothing.
        (
            jpeg_of_scans(2500).replace(b"\xff\xda", b"\xff\xfe\0\4\xff\xd9\xff\xda"),
            "too_many_scans",
        ),
        (tiff_of_overlapping_directories(), "unreadable_image"),
        (tiff_of_overlapping_directories(pages=20), "unreadable_image"),
        (tiff_of_pages(5, back_to=0), "unreadable_image"),
        (tiff_of_pages(5, back_to=2), "unreadable_image"),
        (tiff_of_shared_strips(), "unreadable_image"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_costly_image_is_refused_in_no_time(data, code):
    started = time.process_time()
    assert code_of(data) == code
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize(
    "data",
    [
        jpeg_of_scans(20),
        jpeg_of_scans(60, side=2000),
        # Where pixels are many and scans few, each scan may be anything.
        jpeg_of_scans(24),
        tiff_of_pages(1),
        tiff_of_pages(500),
    ],
    ids=range(5),
)
def test_what_encoders_make_is_accepted(data):
    assert code_of(data) == "accepted"


def test_slow_scans_and_appended_films_are_no_offence():
    noise = Image.effect_noise((600, 400), 90).convert("RGB")
    progressive = saved(noise, "JPEG", progressive=True, quality=95)
    assert 5 < progressive.count(b"\xff\xda") < 20
    # What phones append to a photo has the same bytes anywhere.
    appended = progressive + b"\xff\xda\0\x08" * 1000
    preview = b"\xff\xe2" + struct.pack(">H", 60_002) + b"\xff\xda" * 30_000
    inside = progressive[:2] + preview + progressive[2:]
    for data in (progressive, appended, inside):
        assert code_of(data) == "accepted"
        assert len(render(io.BytesIO(data), _WANTED)) == 1


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"])
def test_an_honest_tiff_of_several_pages_is_shown_by_its_first(compression):
    pages = [Image.new("RGB", (300, 200), colour) for colour in ("red", "green", "blue")]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression=compression)
    assert probe_image(io.BytesIO(data)).frames == 3
    (picture,) = render(io.BytesIO(data), _WANTED)
    red, green, blue = Image.open(io.BytesIO(picture.data)).getpixel((160, 120))
    assert (red > 240, green < 20, blue < 20) == (True, True, True)


def test_pages_beyond_the_limit_are_not_counted():
    assert probe_image(io.BytesIO(tiff_of_pages(5000)), 3000).frames == 3001


def test_a_tiff_that_is_cut_has_the_pages_before():
    whole = tiff_of_pages(10)
    assert probe_image(io.BytesIO(whole[:-50])).frames == 9

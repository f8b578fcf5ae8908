"""Damage that decoding does not need is no refusal; rows that are missing are."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import pytest
from media_runtime.errors import PermanentError
from media_runtime.media.pictures import WantedPicture, probe_image, render
from PIL import Image, ImageFile

WANTED = [WantedPicture("whole", 1000, 1000, "inside"), WantedPicture("t", 320, 240, "cover")]
COLOURS = ((200, 40, 40), (40, 180, 60), (40, 60, 200), (200, 180, 40))


@cache
def quads(size: tuple[int, int] = (480, 360), *, grain: int = 30) -> Image.Image:
    """Return a picture of four colours, one a quarter, with grain."""
    width, height = size
    image = Image.new("RGB", size)
    for number, colour in enumerate(COLOURS):
        left, top = number % 2 * (width // 2), number // 2 * (height // 2)
        image.paste(colour, (left, top, left + width - width // 2, top + height - height // 2))
    if not grain:
        return image
    noise = Image.effect_noise(size, grain).convert("RGB")
    return Image.blend(image, noise, 0.02)


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes, *, crc: int | None = None) -> bytes:
    told = zlib.crc32(name + content) if crc is None else crc
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", told)


def with_chunk(png: bytes, added: bytes, before: bytes = b"IDAT") -> bytes:
    at = png.index(before) - 4
    return png[:at] + added + png[at:]


def seen(data: bytes) -> tuple[list[tuple[int, ...]], bool]:
    """Return the colours of the quarters as rendered, and whether anything is said to be hurt."""
    info = probe_image(io.BytesIO(data))
    whole, thumbnail = render(io.BytesIO(data), WANTED)
    assert (thumbnail.width, thumbnail.height) == (320, 240)
    image = Image.open(io.BytesIO(whole.data)).convert("RGB")
    places = [(x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    width, height = image.size
    pixels = [image.resize((32, 24)).getpixel((int(32 * x), int(24 * y))) for x, y in places]
    assert width >= 1
    assert height >= 1
    return pixels, info.damaged or whole.damaged


def is_whole(data: bytes, *, damaged: bool) -> bool:
    pixels, was_damaged = seen(data)
    near = [
        all(abs(a - b) <= 14 for a, b in zip(pixel, colour, strict=True))
        for pixel, colour in zip(pixels, COLOURS, strict=True)
    ]
    return all(near) and was_damaged == damaged


def code_of(data: bytes) -> str:
    try:
        seen(data)
    except PermanentError as error:
        return error.code
    return "accepted"


JPEGS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "best": {"quality": 95},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("size", [(600, 450), (100, 60), (3001, 777)])
def test_a_jpeg_needs_no_end_marker(options, size):
    whole = saved(quads(size), "JPEG", **options)
    assert is_whole(whole, damaged=False)
    assert is_whole(whole[:-2], damaged=True)
    assert is_whole(whole[:-1], damaged=True)
    assert is_whole(whole + b"\0" * 5000, damaged=False)


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_of_which_rows_are_missing_is_refused(options):
    whole = saved(quads((800, 600)), "JPEG", **options)
    for part in (0.3, 0.6, 0.9):
        assert code_of(whole[: int(len(whole) * part)]) == "unreadable_image"
        assert code_of(whole[: int(len(whole) * part)] + bytes(100)) == "unreadable_image"


def test_a_progressive_jpeg_without_its_last_scans_is_refused():
    whole = saved(quads((800, 600)), "JPEG", progressive=True)
    assert code_of(whole[: whole.rindex(b"\xff\xda")]) == "unreadable_image"


def test_the_last_rows_of_a_jpeg_may_be_missing():
    whole = saved(quads((800, 2400), grain=60), "JPEG", quality=90)
    rows = whole[: int(len(whole) * 0.995)]
    assert is_whole(rows, damaged=True)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_a_wrong_checksum_of_a_png_is_no_refusal(mode):
    whole = saved(quads().convert(mode), "PNG")
    wrong = with_chunk(whole, chunk(b"pHYs", bytes(9), crc=1))
    assert is_whole(wrong, damaged=True)
    for name in (b"IHDR", b"IDAT", b"IEND"):
        at = whole.index(name)
        end = at + 4 + int.from_bytes(whole[at - 4 : at], "big")
        assert is_whole(whole[:end] + b"\1\2\3\4" + whole[end + 4 :], damaged=True)


def test_a_png_needs_no_end():
    whole = saved(quads(), "PNG")
    assert is_whole(whole[:-12], damaged=True)
    assert is_whole(whole + b"trailer", damaged=False)


def test_a_wrong_checksum_of_a_png_s_pixels_is_no_refusal():
    image = quads(grain=0)
    rows = image.tobytes()
    stride = 3 * image.width
    lines = b"".join(b"\0" + rows[at : at + stride] for at in range(0, len(rows), stride))
    packed = zlib.compress(lines)[:-4] + b"\0\0\0\0"
    head = struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    png += chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    assert is_whole(png, damaged=True)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("WEBP", {}),
        ("AVIF", {}),
    ],
)
def test_an_image_of_which_rows_are_missing_is_refused(file_format, options, part):
    whole = saved(quads(), file_format, **options)
    if file_format == "TIFF" and part > 0.5:
        # Its directory stands at the end.
        whole = whole[:-1]
    assert code_of(whole[: int(len(whole) * part)]) == "unreadable_image"


def test_a_transparent_gif_of_which_rows_are_missing_is_refused():
    image = quads().convert("P")
    whole = saved(image, "GIF", transparency=0)
    assert code_of(whole) == "accepted"
    assert code_of(whole[: len(whole) // 2]) == "unreadable_image"


def test_the_last_rows_of_a_png_and_a_gif_may_be_missing():
    for file_format in ("PNG", "GIF"):
        whole = saved(quads((300, 2000)), file_format)
        assert is_whole(whole[: int(len(whole) * 0.99)], damaged=True)


TEXT = bytes(range(1, 256)) * 20_000


@pytest.mark.parametrize(
    "added",
    [
        chunk(b"zTXt", b"note\0\0" + zlib.compress(TEXT)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TEXT)),
        chunk(b"tEXt", b"note\0" + TEXT),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(TEXT)),
        chunk(b"iCCP", b"p\0\7" + TEXT[:100]),
        chunk(b"eXIf", TEXT),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", b"\0"),
        chunk(b"acTL", b"\0"),
        chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(50_000_000), 9)),
        b"".join(chunk(b"tEXt", b"note\0" + TEXT) for _ in range(15)),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_large_and_broken_notes_of_a_png_are_passed_over(added, before):
    assert is_whole(with_chunk(saved(quads(), "PNG"), added, before), damaged=False)


def test_large_and_broken_notes_of_other_images_are_passed_over():
    exif = b"Exif\0\0" + bytes(60_000)
    assert is_whole(saved(quads(), "JPEG", exif=exif, comment=TEXT[:60_000]), damaged=False)
    assert is_whole(saved(quads(), "JPEG", icc_profile=TEXT), damaged=False)
    assert is_whole(saved(quads(), "WEBP", exif=exif, xmp=TEXT, icc_profile=TEXT), damaged=False)
    assert is_whole(saved(quads(), "TIFF", icc_profile=TEXT), damaged=False)


FRAMES = [Image.new("RGB", (480, 360), colour) for colour in ("magenta", "cyan")]


@pytest.mark.parametrize("file_format", ["TIFF", "GIF", "WEBP", "PNG"])
def test_an_unreadable_second_frame_is_no_refusal(file_format):
    first = saved(quads(), file_format)
    both = saved(quads(), file_format, save_all=True, append_images=FRAMES)
    # The frames that follow are small in a GIF.
    middle = len(both) - 200 if file_format == "GIF" else (len(first) + len(both)) // 2
    for kept in (len(both) - 30, middle):
        pixels, damaged = seen(both[:kept])
        assert abs(pixels[0][0] - 200) < 16, pixels
        assert damaged or file_format == "TIFF"


def test_what_was_damaged_is_a_warning():
    whole = saved(quads(), "JPEG")
    assert probe_image(io.BytesIO(whole)).warnings == ()
    assert probe_image(io.BytesIO(whole[:-2])).warnings == ("file_damaged",)


def test_pillow_is_as_strict_as_before():
    seen(saved(quads(), "JPEG")[:-2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES

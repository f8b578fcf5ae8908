"""Images as cameras, scanners and browsers make them, in their true colours."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import pairwise

import pillow_heif
import pytest
from media_runtime.errors import PermanentError
from media_runtime.media import pictures
from media_runtime.media.image_colours import by_cicp, to_gamut
from media_runtime.media.image_memory import bytes_needed
from media_runtime.media.pictures import WantedPicture, probe_image, render
from PIL import Image, TiffImagePlugin

WANTED = [WantedPicture("whole", 1000, 1000, "inside")]
GREYS = (32, 96, 160, 224)
PQ, HLG, SRGB, BT2020, P3 = 16, 18, 13, 9, 12


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def shown(data: bytes) -> Image.Image:
    probe_image(io.BytesIO(data))
    (picture,) = render(io.BytesIO(data), WANTED)
    return Image.open(io.BytesIO(picture.data)).convert("RGB")


def middles(image: Image.Image, count: int = 4) -> list[tuple[int, ...]]:
    """Return the colours of so many bars of equal width."""
    step = image.width / count
    return [image.getpixel((int(step * (bar + 0.5)), image.height // 2)) for bar in range(count)]


def near(pixels, expected, by: int = 8) -> bool:
    return all(
        abs(a - b) <= by
        for pixel, other in zip(pixels, expected, strict=True)
        for a, b in zip(pixel, other, strict=True)
    )


def bars(values, mode: str = "L", size: tuple[int, int] = (400, 300)) -> Image.Image:
    image = Image.new(mode, size)
    step = size[0] // len(values)
    for number, value in enumerate(values):
        image.paste(value, (step * number, 0, step * (number + 1), size[1]))
    return image


def tiff(
    samples: bytes,
    *,
    bits: tuple[int, ...],
    kind: int = 1,
    order: str = "<",
    big: bool = False,
    photometric: int = 1,
) -> bytes:
    """Return a TIFF of 400x300 in one strip; *big* makes it a BigTIFF."""
    tags = [
        (256, 3, (400,)), (257, 3, (300,)), (258, 3, bits), (259, 3, (1,)),
        (262, 3, (photometric,)), (273, 4, (0,)), (277, 3, (len(bits),)), (278, 3, (300,)),
        (279, 4, (len(samples),)), (339, 3, (kind,) * len(bits)),
    ]  # fmt: skip
    number, inline = ("Q", 8) if big else ("I", 4)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "I", 8)
    counts = struct.pack(order + ("Q" if big else "H"), len(tags))
    end = len(head) + len(counts) + len(tags) * (20 if big else 12) + inline
    extra, entries = b"", b""
    for tag, form, values in tags:
        content = struct.pack(order + {3: "H", 4: "I"}[form] * len(values), *values)
        if len(content) > inline:
            place, extra = end + len(extra), extra + content
            content = struct.pack(order + number, place)
        if tag == 273:
            strip = len(entries) + len(head) + len(counts) + (12 if big else 8)
        entries += struct.pack(order + "HH" + number, tag, form, len(values))
        entries += content.ljust(inline, b"\0")
    file = bytearray(head + counts + entries + bytes(inline) + extra + samples)
    file[strip : strip + 4] = struct.pack(order + "I", end + len(extra))
    return bytes(file)


def row(values, form: str) -> bytes:
    return struct.pack(form[0] + form[1] * 400, *(values[at // 100] for at in range(400)))


SIXTEEN = [grey * 257 for grey in GREYS]
UNIT = [grey / 255 for grey in GREYS]
TIFFS = {
    "16 bits, little-endian": tiff(row(SIXTEEN, "<H") * 300, bits=(16,)),
    "16 bits, big-endian": tiff(row(SIXTEEN, ">H") * 300, bits=(16,), order=">"),
    "float": tiff(row(UNIT, "<f") * 300, bits=(32,), kind=3),
    "float, big-endian": tiff(row(UNIT, ">f") * 300, bits=(32,), kind=3, order=">"),
    "float up to 255": tiff(row(GREYS, "<f") * 300, bits=(32,), kind=3),
    "32 bits up to 65535": tiff(row(SIXTEEN, "<i") * 300, bits=(32,), kind=2),
    "BigTIFF": tiff(row(GREYS, "<B") * 300, bits=(8,), big=True),
    "BigTIFF, big-endian": tiff(row(GREYS, ">B") * 300, bits=(8,), order=">", big=True),
    "BigTIFF, 16 bits": tiff(row(SIXTEEN, ">H") * 300, bits=(16,), order=">", big=True),
    "16-bit colours": tiff(
        b"".join(struct.pack(">3H", *[SIXTEEN[x // 100]] * 3) for x in range(400)) * 300,
        bits=(16, 16, 16), order=">", photometric=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("data", TIFFS.values(), ids=TIFFS)
def test_greys_of_a_tiff_are_what_they_are(data):
    assert near(middles(shown(data)), [(grey,) * 3 for grey in GREYS])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3e38, 3e38])
def test_floats_that_are_no_greys_break_nothing(value):
    data = tiff(row([0.0, 1.0, value, 0.5], "<f") * 300, bits=(32,), kind=3)
    assert shown(data).size == (400, 300)


def test_a_bigtiff_has_its_pages_counted():
    pages = [bars(GREYS) for _ in range(3)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], big_tiff=True)
    assert data[:4] == b"II+\0"
    assert probe_image(io.BytesIO(data)).frames == 3
    assert near(middles(shown(data)), [(grey,) * 3 for grey in GREYS])


@pytest.mark.parametrize("options", [{}, {"compression": "jpeg"}, {"compression": "tiff_lzw"}])
def test_ycbcr_and_compressed_tiffs(options):
    image = bars([(200, 40, 40), (40, 60, 200)], "RGB")
    image = image.convert("YCbCr") if options.get("compression") != "tiff_lzw" else image
    pixels = middles(shown(saved(image, "TIFF", **options)), 2)
    assert near(pixels, [(200, 40, 40), (40, 60, 200)], 12)


def test_a_tiff_of_ink_is_shown_in_its_colours():
    image = bars([(0, 255, 255, 0), (255, 0, 255, 0), (255, 255, 0, 0), (0, 0, 0, 255)], "CMYK")
    expected = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    assert near(middles(shown(saved(image, "TIFF"))), expected, 12)


def test_ink_is_the_same_with_and_without_adobe_s_marker():
    """Browsers take it so: no ink is the highest value in both."""
    image = bars([(0, 255, 255, 0), (255, 0, 255, 0), (255, 255, 0, 0), (0, 0, 0, 255)], "CMYK")
    marked = saved(image, "JPEG", quality=95)
    at = marked.index(b"\xff\xee")
    plain = marked[:at] + marked[at + 2 + int.from_bytes(marked[at + 2 : at + 4], "big") :]
    expected = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    for data in (marked, plain):
        assert near(middles(shown(data)), expected, 12)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16"])
def test_black_and_white_in_every_mode(file_format, mode):
    grey = bars([0, 255])
    image = grey.convert("I").point(lambda value: value * 257) if mode == "I;16" else grey
    assert near(middles(shown(saved(image.convert(mode), file_format)), 2), [(0,) * 3, (255,) * 3])


def test_what_shines_through_a_palette_stands_on_white():
    image = bars([0, 1], "P")
    image.putpalette([200, 40, 40, 40, 60, 200])
    for transparency in (0, b"\x00\xff"):
        for file_format in ("PNG", "GIF"):
            if file_format == "GIF" and transparency:
                continue
            data = saved(image, file_format, transparency=transparency)
            (cover,) = render(io.BytesIO(data), [WantedPicture("t", 40, 30, "cover")])
            picture = Image.open(io.BytesIO(cover.data))
            assert near(middles(picture, 2), [(255,) * 3, (40, 60, 200)], 12)


# --- colours ---


def chunk(name: bytes, content: bytes) -> bytes:
    told = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", told)


def png_with(image: Image.Image, *chunks: bytes, sixteen: bool = False) -> bytes:
    """Return a PNG with chunks before its pixels, which it has in 16 bits where told."""
    if sixteen:
        lines = b"".join(
            b"\0" + b"".join(bytes((v, v)) for x in range(image.width)
                             for v in image.getpixel((x, y)))
            for y in range(image.height)
        )  # fmt: skip
        head = struct.pack(">IIBBBBB", *image.size, 16, 2, 0, 0, 0)
        return b"".join(
            (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *chunks,
             chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
        )  # fmt: skip
    data = saved(image, "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + b"".join(chunks) + data[at:]


def pq_code(nits: float) -> int:
    power = (nits / 10_000) ** 0.1593017578125
    return round(255 * ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def test_pq_is_shown_as_videos_show_it():
    shown_as = {0: 16, 1: 40, 10: 79, 26: 109, 50: 138, 100: 174, 203: 202, 400: 221, 1000: 235}
    for nits, luma in shown_as.items():
        image = Image.new("RGB", (2, 2), (pq_code(nits),) * 3)
        red, green, blue = to_gamut(image, by_cicp(BT2020, PQ)).getpixel((0, 0))
        assert max(red, green, blue) - min(red, green, blue) <= 2
        assert abs(16 + green * 219 / 255 - luma) <= 6


def test_no_step_of_pq_shows():
    image = Image.new("RGB", (256, 1))
    for code in range(256):
        image.putpixel((code, 0), (code,) * 3)
    converted = to_gamut(image, by_cicp(BT2020, PQ))
    greens = [converted.getpixel((code, 0))[1] for code in range(256)]
    steps = [after - before for before, after in pairwise(greens)]
    assert min(steps) >= 0
    assert max(steps) <= 4


def in_bt2020(transfer: int) -> Image.Image:
    """Return bars of red, green, blue and grey at about reference white, coded so."""
    full, grey = (148, 97) if transfer == PQ else (191, 120)
    return bars([(full, 0, 0), (0, full, 0), (0, 0, full), (grey,) * 3], "RGB", (96, 64))


def as_cicp(transfer: int) -> dict[str, bytes]:
    """Return an image of each format that tells its colours by H.273's numbers."""
    image = in_bt2020(transfer)
    avif = saved(image, "AVIF", quality=95, subsampling="4:4:4")
    at = avif.index(b"colrnclx") + 8
    avif = avif[:at] + struct.pack(">HH", BT2020, transfer) + avif[at + 4 :]
    heic = io.BytesIO()
    pillow_heif.from_pillow(image).save(
        heic, quality=95, chroma=444, color_primaries=BT2020, transfer_characteristics=transfer
    )
    cicp = chunk(b"cICP", bytes((BT2020, transfer, 0, 1)))
    return {
        "avif": avif,
        "heic": heic.getvalue(),
        "png": png_with(image, cicp),
        "png of 16 bits": png_with(image, cicp, sixteen=True),
    }


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("name", ["avif", "heic", "png", "png of 16 bits"])
def test_hdr_is_neither_dull_nor_dark(name, transfer):
    image = shown(as_cicp(transfer)[name])
    *pure, grey = middles(image)
    for number, pixel in enumerate(pure):
        assert pixel[number] >= 120
        assert all(value <= 60 for other, value in enumerate(pixel) if other != number)
    assert max(grey) - min(grey) <= 6
    assert 70 <= grey[0] <= 185


def test_p3_of_an_avif_and_a_png_is_wider_than_srgb():
    colour = (200, 40, 40)
    image = bars([colour, (128, 128, 128)], "RGB", (96, 64))
    avif = saved(image, "AVIF", quality=95, subsampling="4:4:4")
    at = avif.index(b"colrnclx") + 8
    told = avif[:at] + struct.pack(">HH", P3, SRGB) + avif[at + 4 :]
    png = png_with(image, chunk(b"cICP", bytes((P3, SRGB, 0, 1))))
    for data in (told, png):
        red, grey = middles(shown(data), 2)
        assert near([red, grey], [(218, 0, 26), (128, 128, 128)], 12)
    for data in (avif, png_with(image)):
        assert near(middles(shown(data), 2), [colour, (128, 128, 128)], 6)


def test_gamma_and_primaries_of_a_png_are_heeded():
    image = bars([(128, 128, 128), (200, 40, 40)], "RGB", (96, 64))
    linear = png_with(image, chunk(b"gAMA", struct.pack(">I", 100_000)))
    assert near(middles(shown(linear), 2)[:1], [(188, 188, 188)], 4)
    p3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    wide = png_with(image, chunk(b"cHRM", p3))
    assert near(middles(shown(wide), 2), [(128, 128, 128), (218, 0, 26)])
    usual = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    for chunks in (
        (chunk(b"gAMA", struct.pack(">I", 45_455)), chunk(b"cHRM", usual)),
        (chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")),
        (chunk(b"gAMA", bytes(4)), chunk(b"cHRM", bytes(32))),
        (chunk(b"cICP", bytes((2, 2, 0, 1))),),
        (chunk(b"cICP", b""),),
    ):
        assert near(middles(shown(png_with(image, *chunks)), 2), [(128,) * 3, (200, 40, 40)], 3)


# --- the first frame that is shown ---


def apng(default: Image.Image, frames: list[Image.Image]) -> bytes:
    """Return an APNG whose default image is no part of its film."""
    return saved(default, "PNG", save_all=True, default_image=True, append_images=frames)


def test_a_film_s_first_frame_is_shown_and_not_its_default_image():
    quads = bars([(200, 40, 40), (40, 60, 200)], "RGB")
    data = apng(Image.new("RGB", (400, 300), "magenta"), [quads, bars([(9, 9, 9)] * 2, "RGB")])
    assert near(middles(shown(data), 2), [(200, 40, 40), (40, 60, 200)])
    seen = apng(Image.new("RGBA", (400, 300), "magenta"), [Image.new("RGBA", (400, 300))] * 2)
    (cover,) = render(io.BytesIO(seen), [WantedPicture("t", 40, 30, "cover")])
    assert near([Image.open(io.BytesIO(cover.data)).getpixel((20, 15))], [(255,) * 3])


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "WEBP", "AVIF"])
def test_a_film_begins_with_its_first_frame(file_format):
    frames = [bars([colour] * 2, "RGB") for colour in ((200, 40, 40), (40, 60, 200))]
    data = saved(
        frames[0], file_format, save_all=True, append_images=frames[1:], duration=[5000, 20]
    )
    assert near(middles(shown(data), 2), [(200, 40, 40)] * 2, 12)


def test_a_gif_whose_first_frame_is_smaller_is_empty_around_it():
    frame = saved(bars([(200, 40, 40)], "RGB", (40, 30)), "GIF")
    at = frame.index(b"\x2c\0\0\0\0")
    offset = frame[:6] + struct.pack("<HH", 120, 90) + frame[10 : at + 1]
    data = offset + struct.pack("<HH", 40, 30) + frame[at + 5 :]
    (cover,) = render(io.BytesIO(data), [WantedPicture("t", 120, 90, "cover")])
    image = Image.open(io.BytesIO(cover.data))
    pixels = [image.getpixel(place) for place in ((60, 45), (5, 5))]
    assert near(pixels, [(200, 40, 40), (255,) * 3], 12)


# --- limits ---


@pytest.fixture
def little_memory():
    pictures.open_up_to(pictures.MAX_PIXELS, memory_bytes=1_000_000)
    yield
    pictures.open_up_to(pictures.MAX_PIXELS)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF", "GIF", "JPEG"])
def test_an_image_that_needs_more_memory_than_there_is_has_too_many_pixels(file_format):
    small, large = Image.new("RGB", (100, 100)), Image.new("RGB", (1000, 800))
    assert probe_image(io.BytesIO(saved(small, file_format))).width == 100
    with pytest.raises(PermanentError) as caught:
        probe_image(io.BytesIO(saved(large, file_format)))
    assert caught.value.code == "too_many_pixels"


def test_what_an_image_needs_depends_on_how_it_is_coded():
    image = Image.new("RGB", (800, 800))
    needs = [
        bytes_needed(Image.open(io.BytesIO(saved(image, *one[:1], **one[1]))))
        for one in (
            ("JPEG", {}),
            ("JPEG", {"progressive": True}),
            ("JPEG", {"progressive": True, "subsampling": 0}),
            ("AVIF", {}),
        )
    ]
    assert needs == sorted(needs)
    # As much as the sandbox has for a JPEG of 200 million pixels, whichever way it is coded.
    assert needs[0] / image.width / image.height * pictures.MAX_PIXELS < 1.6 * 1024**3


def test_an_image_may_be_long():
    data = saved(Image.new("L", (60_000, 40), 90), "PNG")
    assert probe_image(io.BytesIO(data)).width == 60_000
    assert shown(data).size == (1000, 1)


def test_tiff_prefixes_are_those_of_pillow():
    assert {b"II+\0", b"MM\0+"} <= set(TiffImagePlugin.PREFIXES)

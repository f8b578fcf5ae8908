"""
Colours of pictures beside those that littleCMS, or plain arithmetic, makes of the same source.

Differences are CIEDE2000, of the mean of each patch as it is decoded from what was made, by the
quality that photos have. littleCMS converts by the perceptual intent, as the code has it do: for
profiles of light that is relative colorimetry, and from ink it makes the darkest print black.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from statistics import mean, quantiles

import pillow_heif
import pytest
from media_runtime.media.display_p3 import DISPLAY_P3
from media_runtime.media.pictures import WantedPicture, render
from PIL import Image, ImageCms, ImageStat

from support import icc
from support.delta_e import Lab, delta_e

SRGB = ImageCms.createProfile("sRGB")
SRGB_COLOURS = (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)
ADOBE_GAMMA = 563 / 256
PATCH, ACROSS, DOWN = 60, 6, 4
LIGHT = [
    (255, 255, 255), (192, 192, 192), (128, 128, 128), (64, 64, 64), (24, 24, 24), (0, 0, 0),
    (200, 40, 40), (40, 180, 60), (40, 60, 200), (230, 200, 40), (180, 50, 160), (30, 160, 190),
    (224, 172, 140), (150, 100, 75), (90, 120, 60), (70, 90, 150), (250, 120, 30), (120, 60, 140),
    (255, 30, 30), (30, 255, 30), (30, 30, 255), (250, 250, 30), (20, 40, 20), (245, 235, 225),
]  # fmt: skip
GREY = [round(255 * at / 23) for at in range(24)]
# Between two steps of eight bits.
DEEP_GREY = [min(65_535, 257 * one + 100) for one in GREY]
INK = [
    (0, 0, 0, 0), (0, 0, 0, 64), (0, 0, 0, 128), (0, 0, 0, 192), (0, 0, 0, 255), (64, 50, 50, 0),
    (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (255, 255, 0, 0), (0, 255, 255, 0),
    (255, 0, 255, 0), (128, 0, 0, 0), (0, 128, 0, 0), (0, 0, 128, 0), (20, 90, 110, 10),
    (60, 120, 140, 40), (150, 60, 220, 30), (220, 140, 20, 0), (10, 40, 60, 0), (90, 90, 90, 0),
    (180, 160, 160, 120), (255, 255, 255, 255), (100, 20, 10, 5),
]  # fmt: skip
FORMATS = ("avif", "webp", "jpeg")


def chart(mode: str, colours: Sequence[object]) -> Image.Image:
    """Return patches of these colours, and grain below: without it they were drawn, not taken."""
    size = (PATCH * ACROSS, PATCH * DOWN)
    image = Image.new(mode, (size[0], size[1] + PATCH), colours[2])  # type: ignore[arg-type]
    for at, colour in enumerate(colours):
        left, top = at % ACROSS * PATCH, at // ACROSS * PATCH
        image.paste(colour, (left, top, left + PATCH, top + PATCH))  # type: ignore[arg-type]
    image.paste(Image.effect_noise((size[0], PATCH), 60).convert(mode), (0, size[1]))
    return image


def deep_chart() -> Image.Image:
    """Return the deep greys in 16 bits, without grain."""
    width, height = PATCH * ACROSS, PATCH * DOWN
    pixels = [
        DEEP_GREY[y // PATCH * ACROSS + x // PATCH] for y in range(height) for x in range(width)
    ]
    return Image.frombytes("I;16", (width, height), struct.pack(f"<{len(pixels)}H", *pixels))


def patches(image: Image.Image) -> list[tuple[float, ...]]:
    """Return the mean of each patch, as parts of 1, well away from its edges."""
    scale = image.width / (PATCH * ACROSS)
    found = []
    for at in range(ACROSS * DOWN):
        left, top = (at % ACROSS + 0.3) * PATCH * scale, (at // ACROSS + 0.3) * PATCH * scale
        inside = image.crop(
            (round(left), round(top), round(left + 24 * scale), round(top + 24 * scale))
        )
        found.append(tuple(value / 255 for value in ImageStat.Stat(inside).mean))
    return found


def of_srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def lab(light: Sequence[float], colours=SRGB_COLOURS) -> Lab:
    return icc.lab_of(icc.xyz_of(light, colours))


def shown(image: Image.Image) -> list[Lab]:
    """Return the colours of the patches of a picture that was made, by what it says of itself."""
    colours = icc.DISPLAY_P3 if image.info.get("icc_profile") == DISPLAY_P3 else SRGB_COLOURS
    return [
        lab([of_srgb(one) for one in patch], colours) for patch in patches(image.convert("RGB"))
    ]


def by_littlecms(source: Image.Image, profile: bytes) -> list[Lab]:
    converted = ImageCms.profileToProfile(
        source, ImageCms.ImageCmsProfile(io.BytesIO(profile)), SRGB, outputMode="RGB",
        renderingIntent=ImageCms.Intent.PERCEPTUAL,
    )  # fmt: skip
    return [lab([of_srgb(one) for one in patch]) for patch in patches(converted)]


def made(data: bytes, gamut="srgb") -> dict[str, Image.Image]:
    wanted = [
        WantedPicture(f"{side}.{one}", side, side, "inside", one, (0.5, 0.5), gamut)
        for side in (PATCH * ACROSS, PATCH * ACROSS // 2) for one in FORMATS
    ]  # fmt: skip
    wanted.append(WantedPicture("image", 4096, 4096, "inside"))
    return {one.name: Image.open(io.BytesIO(one.data)) for one in render(io.BytesIO(data), wanted)}


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    if file_format == "HEIF":
        heif = pillow_heif.from_pillow(image)
        heif.info["icc_profile"], heif.info["icc_profile_type"] = options.pop("icc_profile"), "prof"
        heif.save(file, **options)
    else:
        image.save(file, file_format, **options)
    return file.getvalue()


def png_of_16_bits(image: Image.Image, profile: bytes) -> bytes:
    """Return an RGB image as a PNG of 16 bits for each channel, half a step of eight bits above."""
    rows, width = image.tobytes(), 3 * image.width
    lines = [
        b"\0" + b"".join(bytes((one, 128)) for one in rows[at : at + width])
        for at in range(0, len(rows), width)
    ]
    head = struct.pack(">2I5B", *image.size, 16, 2, 0, 0, 0)
    parts = {
        b"IHDR": head, b"iCCP": b"p\0\0" + zlib.compress(profile),
        b"IDAT": zlib.compress(b"".join(lines)), b"IEND": b"",
    }  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts.items()
    )


def as_avif(primaries: int) -> bytes:
    """Return the chart as an AVIF that tells its colours by their number."""
    data = saved(chart("RGB", LIGHT), "AVIF", quality=100, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">H", primaries) + data[at + 2 :]


P3 = icc.rgb_profile(icc.DISPLAY_P3, ADOBE_GAMMA)
ADOBE = icc.rgb_profile(icc.ADOBE_RGB, ADOBE_GAMMA)
GREYS, INKS = icc.grey_profile(1.8), icc.ink_profile()
P3_NUMBER = 12


def of_light(file_format: str, profile: bytes) -> bytes:
    lossy = {"JPEG": {"subsampling": 0}, "HEIF": {"chroma": 444}, "AVIF": {"subsampling": "4:4:4"}}
    how = {"quality": 100, **lossy[file_format]} if file_format in lossy else {}
    return saved(chart("RGB", LIGHT), file_format, icc_profile=profile, **how)


def greys(depth: int) -> list[Lab]:
    """Return how light the greys are, by arithmetic."""
    steps = [one / 255 for one in GREY] if depth == 8 else [one / 65535 for one in DEEP_GREY]
    return [icc.lab_of([white * step**1.8 for white in icc.D50]) for step in steps]


SOURCES = {
    **{
        f"{name} in {one}": (
            lambda one=one, profile=profile: of_light(one, profile),
            lambda profile=profile: by_littlecms(chart("RGB", LIGHT), profile),
        )
        for name, profile in (("Display P3", P3), ("AdobeRGB", ADOBE))
        for one in ("PNG", "JPEG", "HEIF", "AVIF", "TIFF")
    },
    "AdobeRGB of 16 bits": (
        lambda: png_of_16_bits(chart("RGB", LIGHT), ADOBE),
        lambda: by_littlecms(chart("RGB", LIGHT), ADOBE),
    ),
    "Display P3 by its number": (
        lambda: as_avif(P3_NUMBER), lambda: by_littlecms(chart("RGB", LIGHT), DISPLAY_P3),
    ),
    "ink in TIFF": (
        lambda: saved(chart("CMYK", INK), "TIFF", icc_profile=INKS),
        lambda: by_littlecms(chart("CMYK", INK), INKS),
    ),
    "ink in JPEG": (
        lambda: saved(chart("CMYK", INK), "JPEG", quality=98, icc_profile=INKS),
        lambda: by_littlecms(chart("CMYK", INK), INKS),
    ),
    "grey in PNG": (
        lambda: saved(chart("L", GREY), "PNG", icc_profile=GREYS), lambda: greys(8),
    ),
    "grey in JPEG": (
        lambda: saved(chart("L", GREY), "JPEG", quality=95, icc_profile=GREYS), lambda: greys(8),
    ),
    "grey of 16 bits in PNG": (
        lambda: saved(deep_chart(), "PNG", icc_profile=GREYS),
        lambda: greys(16),
    ),
    "grey of 16 bits in TIFF": (
        lambda: saved(deep_chart(), "TIFF", icc_profile=GREYS),
        lambda: greys(16),
    ),
}  # fmt: skip


def check(image: Image.Image, reference: Sequence[Lab]) -> None:
    """
    Fail where colours are others: what is promised is a mean of 1, which can just be seen.

    A near-white is 1.2 off for one step of red and green, which eight bits of YCbCr cost each time.
    """
    found = [delta_e(one, other) for one, other in zip(shown(image), reference, strict=True)]
    assert mean(found) <= 0.6
    assert quantiles(found, n=20)[-1] <= 2.5


@pytest.mark.parametrize("name", SOURCES)
def test_colours_are_those_of_littlecms(name):
    data, reference = (one() for one in SOURCES[name])
    for image in made(data).values():
        check(image, reference)


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_that_are_kept_are_those_of_the_source(bits):
    """By arithmetic alone, as the source's own profile says."""
    image = chart("RGB", LIGHT)
    data = saved(image, "PNG", icc_profile=P3) if bits == 8 else png_of_16_bits(image, P3)
    step = 0 if bits == 8 else 128 / 65535
    reference = [
        lab([(one * (1 - step) + step) ** ADOBE_GAMMA for one in patch], icc.DISPLAY_P3)
        for patch in patches(image)
    ]
    kept = {name: one for name, one in made(data, "display-p3").items() if one.format == "AVIF"}
    assert len(kept) == 2
    for one in kept.values():
        check(one, reference)


@pytest.mark.parametrize("profile", [P3, ADOBE], ids=["Display P3", "AdobeRGB"])
def test_a_profile_that_is_passed_over_would_be_seen(profile):
    bare = made(saved(chart("RGB", LIGHT), "PNG"))
    for image in bare.values():
        with pytest.raises(AssertionError):
            check(image, by_littlecms(chart("RGB", LIGHT), profile))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((90.9257, -0.5406, -0.9208), (88.6381, -0.8985, -0.7239), 1.5381),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_differences_are_those_that_sharma_wu_and_dalal_published(one, other, expected):
    for found in (delta_e(one, other), delta_e(other, one)):
        assert found == pytest.approx(expected, abs=5e-5)

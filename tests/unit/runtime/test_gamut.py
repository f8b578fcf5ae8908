"""Pictures that keep colours which sRGB has not."""

import io
import struct
import zlib
from collections.abc import Callable

import pillow_heif
import pytest
from media_runtime.media.display_p3 import DISPLAY_P3
from media_runtime.media.pictures import WantedPicture, render
from PIL import Image, ImageCms

from support import icc

COLOUR = (200, 40, 40)
IN_SRGB = (218, 0, 26)
"""What of Display P3's COLOUR sRGB has."""
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = icc.rgb_profile(icc.DISPLAY_P3, 2.2)
ADOBE = icc.rgb_profile(icc.ADOBE_RGB, 2.19921875)
P3_NUMBER, SRGB_NUMBER, BT2020, PQ = 12, 13, 9, 16
FORMATS = ("avif", "webp", "jpeg")


def wanted(gamut="display-p3", **how) -> list[WantedPicture]:
    fit = how.get("fit", "inside")
    return [WantedPicture(one, 320, 320, fit, one, (0.5, 0.5), gamut) for one in FORMATS]


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def plain(mode="RGB", colour=COLOUR) -> Image.Image:
    return Image.new(mode, (640, 480), colour)


def made(data: bytes, gamut="display-p3", **how) -> dict[str, Image.Image]:
    found = render(io.BytesIO(data), wanted(gamut, **how))
    return {one.name: Image.open(io.BytesIO(one.data)) for one in found}


def middle(image: Image.Image):
    return image.convert("RGB").getpixel((image.width // 2, image.height // 2))


def as_avif(primaries: int, transfer: int) -> bytes:
    data = saved(plain(), "AVIF", quality=95, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def as_heic(primaries: int, transfer: int) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(plain()).save(
        file, quality=95, chroma=444, color_primaries=primaries, transfer_characteristics=transfer
    )
    return file.getvalue()


def as_png(primaries: int, transfer: int) -> bytes:
    data, content = saved(plain(), "PNG"), b"cICP" + bytes((primaries, transfer, 0, 1))
    at = data.index(b"IDAT") - 4
    told = struct.pack(">I", 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:at] + told + data[at:]


WIDE: dict[str, Callable[[], bytes]] = {
    "JPEG by profile": lambda: saved(plain(), "JPEG", quality=95, icc_profile=P3),
    "PNG by profile": lambda: saved(plain(), "PNG", icc_profile=P3),
    "WebP by profile": lambda: saved(plain(), "WEBP", lossless=True, icc_profile=P3),
    "AVIF by profile": lambda: saved(
        plain(), "AVIF", quality=95, subsampling="4:4:4", icc_profile=P3
    ),
    "AVIF by numbers": lambda: as_avif(P3_NUMBER, SRGB_NUMBER),
    "HEIC by numbers": lambda: as_heic(P3_NUMBER, SRGB_NUMBER),
    "PNG by numbers": lambda: as_png(P3_NUMBER, SRGB_NUMBER),
}
NARROW: dict[str, Callable[[], bytes]] = {
    "nothing told": lambda: saved(plain(), "JPEG", quality=95),
    "sRGB": lambda: saved(plain(), "JPEG", quality=95, icc_profile=SRGB),
    "sRGB by numbers": lambda: as_avif(1, SRGB_NUMBER),
    "grey": lambda: saved(plain("L", 120), "PNG", icc_profile=icc.grey_profile(1.8)),
    "a broken profile": lambda: saved(plain(), "PNG", icc_profile=P3[:200]),
    "a profile for other colours": lambda: saved(plain(), "PNG", icc_profile=icc.ink_profile()),
    "ink without a profile": lambda: saved(plain("CMYK", (0, 200, 200, 0)), "TIFF"),
    "HDR": lambda: as_png(BT2020, PQ),
}


def near(pixel, expected, by=8) -> bool:
    return all(abs(one - other) <= by for one, other in zip(pixel, expected, strict=True))


def test_the_profile_is_display_p3_and_tells_of_nobody():
    found = ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3)).profile
    colours = (found.red_colorant, found.green_colorant, found.blue_colorant)
    for (xyz, _), expected in zip(colours, icc.DISPLAY_P3, strict=True):
        assert xyz == pytest.approx(expected, abs=3e-5)
    assert found.profile_description == "Display P3"
    assert (found.manufacturer, found.model) == (None, None)
    assert len(DISPLAY_P3) < 500


@pytest.mark.parametrize("name", WIDE)
def test_an_avif_keeps_what_srgb_has_not_and_all_else_is_srgb(name):
    found = made(WIDE[name]())
    assert found["avif"].info["icc_profile"] == DISPLAY_P3
    assert near(middle(found["avif"]), COLOUR)
    for other in ("webp", "jpeg"):
        assert "icc_profile" not in found[other].info
        assert near(middle(found[other]), IN_SRGB)


@pytest.mark.parametrize(
    "data",
    [
        saved(plain(colour=(0, 255, 0)), "PNG", icc_profile=ADOBE),
        saved(plain("CMYK", (255, 0, 0, 0)), "TIFF", icc_profile=icc.ink_profile()),
    ],
    ids=["AdobeRGB", "ink"],
)
def test_other_wide_colours_are_kept_as_far_as_display_p3_has_them(data):
    kept, lost = made(data)["avif"], made(data, gamut="srgb")["avif"].convert("RGB")
    target = ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3))
    same = ImageCms.profileToProfile(lost, ImageCms.createProfile("sRGB"), target)
    assert kept.info["icc_profile"] == DISPLAY_P3
    assert middle(kept)[0] < middle(same)[0] - 20, "less red than sRGB can have"


@pytest.mark.parametrize("name", NARROW)
def test_what_is_not_wider_than_srgb_stays_srgb(name):
    data = NARROW[name]()
    assert render(io.BytesIO(data), wanted()) == render(io.BytesIO(data), wanted("srgb"))
    assert all("icc_profile" not in image.info for image in made(data).values())


def test_nobody_gets_display_p3_unasked():
    found = made(WIDE["JPEG by profile"](), gamut="srgb")
    assert all("icc_profile" not in image.info for image in found.values())
    assert all(near(middle(image), IN_SRGB) for image in found.values())


@pytest.mark.parametrize("gamut", ["srgb", "display-p3"])
def test_no_camera_s_own_profile_is_served(gamut):
    assert icc.MAKER.encode() in P3
    for picture in render(io.BytesIO(WIDE["JPEG by profile"]()), wanted(gamut)):
        assert icc.MAKER.encode() not in picture.data


def test_what_shines_through_does_so_in_display_p3():
    image = plain("RGBA", (*COLOUR, 255))
    image.paste((*COLOUR, 0), (0, 0, 320, 480))
    avif = made(saved(image, "PNG", icc_profile=P3))["avif"]
    assert avif.info["icc_profile"] == DISPLAY_P3
    clear, solid = (avif.convert("RGBA").getpixel((x, 100)) for x in (60, 260))
    assert clear[3] < 5
    assert near(solid, (*COLOUR, 255))


@pytest.mark.parametrize("fit", ["inside", "cover"])
def test_a_picture_in_display_p3_is_the_same_picture(fit):
    """Turned, cropped and in each size, with the same placeholder."""
    image = plain()
    image.paste((40, 60, 200), (0, 0, 640, 240))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(image, "JPEG", quality=95, icc_profile=P3, exif=exif)
    sizes = [
        WantedPicture(f"{side}.{one}", side, side, fit, one, (0.5, 0.5), "display-p3")
        for side in (50, 100, 200, 400) for one in FORMATS
    ]  # fmt: skip
    found = {one.name: one for one in render(io.BytesIO(data), sizes)}
    assert len({one.placeholder for one in found.values()}) == 1
    for side in (50, 100, 200, 400):
        avif, jpeg = (
            Image.open(io.BytesIO(found[f"{side}.{one}"].data)) for one in ("avif", "jpeg")
        )
        assert avif.size == jpeg.size
        # What was above is at the right, once it is turned.
        places = [(avif.width * part // 8, avif.height // 2) for part in (1, 7)]
        assert near(avif.convert("RGB").getpixel(places[0]), COLOUR, 12)
        assert near(avif.convert("RGB").getpixel(places[1]), (40, 60, 200), 12)
        assert near(jpeg.getpixel(places[0]), IN_SRGB, 12)

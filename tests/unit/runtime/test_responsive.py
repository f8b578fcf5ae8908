"""Pictures in several sizes and formats: what they are, what they cost, what they do not tell."""

import base64
import io
from itertools import product

import pytest
from media_runtime.media.pictures import RenderedPicture, WantedPicture, render
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageStat

from support.media_files import make_camera_photo

ORIENTATION, GPS = 0x0112, 0x8825
SIDES = (320, 640, 960)
FORMATS = ("avif", "webp", "jpeg")
SET = [
    WantedPicture(f"{side}.{one}", side, side, "inside", one)
    for side, one in product(SIDES, FORMATS)
]


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def made(path, wanted) -> dict[str, RenderedPicture]:
    return {one.name: one for one in render(path, wanted)}


def opened(picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.data))


def photo(size=(1200, 900)) -> Image.Image:
    """Something with soft colours and fine grain, as cameras make it."""
    width, height = size
    ramp = Image.linear_gradient("L").resize(size)
    image = Image.merge(
        "RGB", (ramp, ramp.rotate(180), ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    grain = Image.effect_noise(size, 12).convert("RGB")
    ImageDraw.Draw(image).ellipse((width // 4, height // 4, width // 2, height // 2), "orange")
    return Image.blend(image, grain, 0.12)


def test_each_size_is_there_in_each_format(tmp_path):
    found = made(saved(photo(), tmp_path / "a.jpg"), SET)
    for side, one in product(SIDES, FORMATS):
        picture = found[f"{side}.{one}"]
        assert picture.content_type == f"image/{one}"
        assert (picture.width, picture.height) == (side, side * 3 // 4) == opened(picture).size
        assert opened(picture).format == one.upper()
    for side in SIDES:
        sizes = {one: len(found[f"{side}.{one}"].data) for one in FORMATS}
        assert sizes["avif"] < 0.8 * sizes["jpeg"]
        assert sizes["webp"] < sizes["jpeg"]


def test_all_sizes_and_formats_show_the_same(tmp_path):
    source = photo()
    found = made(saved(source, tmp_path / "a.png"), SET)
    for picture in found.values():
        shown = opened(picture).convert("RGB")
        wanted = source.resize(shown.size, Image.Resampling.LANCZOS)
        off = ImageStat.Stat(ImageChops.difference(shown, wanted)).mean
        assert max(off) < 3, picture.name


def test_nothing_is_enlarged(tmp_path):
    found = made(saved(photo((500, 300)), tmp_path / "a.jpg"), SET)
    assert {(one.width, one.height) for one in found.values()} == {(320, 192), (500, 300)}


def test_large_jpegs_sharpen_as_they_load(tmp_path):
    found = made(saved(photo(), tmp_path / "a.jpg"), SET)
    progressive = {side: "progressive" in opened(found[f"{side}.jpeg"]).info for side in SIDES}
    assert progressive == {320: False, 640: True, 960: True}


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_what_shines_through_does_so_in_each_format(tmp_path, suffix):
    image = Image.new("RGBA", (800, 600), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 400, 600))
    found = made(saved(image, tmp_path / f"a.{suffix}", lossless=True), SET)
    assert {one.content_type for one in found.values()} == {"image/avif", "image/webp", "image/png"}
    for picture in found.values():
        shown = opened(picture).convert("RGBA")
        clear, solid = (
            shown.getpixel((shown.width * part // 8, shown.height // 2)) for part in (1, 7)
        )
        assert clear[3] < 5
        assert solid[0] > 245
        assert solid[3] > 250


def test_what_was_drawn_has_sharp_colours(tmp_path):
    """One red pixel line on blue: with coarse chroma it would be purple."""
    image = Image.new("RGB", (640, 480), "blue")
    for x in range(0, 640, 8):
        image.paste("red", (x, 0, x + 1, 480))
    wanted = [WantedPicture(one, 640, 640, "inside", one) for one in FORMATS]
    for picture in render(saved(image, tmp_path / "a.png"), wanted):
        red, _, blue = opened(picture).convert("RGB").getpixel((320, 240))
        assert red > 200, picture.name
        assert blue < 60, picture.name


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_grey_photo_is_no_drawing(tmp_path, mode):
    path = saved(photo().convert("L").convert(mode), tmp_path / "a.png")
    found = made(path, SET)
    for side in SIDES:
        assert len(found[f"{side}.webp"].data) < len(found[f"{side}.jpeg"].data)


def test_photos_have_coarse_chroma(tmp_path):
    wanted = [WantedPicture("jpeg", 640, 640, "inside", "jpeg")]
    (picture,) = render(saved(photo(), tmp_path / "a.jpg"), wanted)
    assert opened(picture).layer[1][1:3] == (1, 1)
    assert opened(picture).layer[0][1:3] == (2, 2)


def test_no_format_tells_anything(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker-of-cameras"
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(
        photo(), tmp_path / "a.jpg", exif=exif, icc_profile=profile, comment="secret",
        xmp=b"<x:xmpmeta>secret</x:xmpmeta>",
    )  # fmt: skip
    camera = make_camera_photo(tmp_path / "camera.jpg")
    for picture in [*render(path, SET), *render(camera, SET)]:
        image = opened(picture)
        assert not image.getexif()
        assert not set(image.info) & {"exif", "xmp", "comment", "icc_profile"}
        for trace in (b"secret", b"Maker", b"Exif", b"xmpmeta"):
            assert trace not in picture.data


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_is_round_its_focus_as_people_see_it(tmp_path, orientation):
    """Red is at the top right of what people see, whichever way the camera was held."""
    upright = Image.new("RGB", (1600, 400), "white")
    upright.paste("red", (1200, 0, 1600, 400))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(stored, tmp_path / "a.jpg", exif=exif)
    at = {"middle": (0.5, 0.5), "edge": (1.0, 0.0), "point": (0.75, 0.9)}
    wanted = [WantedPicture(name, 200, 200, "cover", "jpeg", focus) for name, focus in at.items()]
    greens = {one.name: ImageStat.Stat(opened(one)).mean[1] / 255 for one in render(path, wanted)}
    assert greens == pytest.approx({"middle": 1.0, "edge": 0.0, "point": 0.5}, abs=0.03)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_placeholder_is_of_the_whole_picture(tmp_path, orientation):
    image = Image.new("RGB", (1200, 400), (200, 40, 40))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(image, tmp_path / "a.jpg", exif=exif)
    (thumbnail,) = render(path, [WantedPicture("thumbnail", 320, 240, "cover")])
    placeholders = {one.placeholder for one in render(path, SET)}
    for one in (thumbnail.placeholder, *placeholders):
        red, green, blue = bytes.fromhex(one.colour[1:])
        assert (red, green, blue) == pytest.approx((200, 40, 40), abs=4)
        is_landscape = bool(base64.b64decode(one.thumbhash)[4] & 0x80)
        assert is_landscape == (orientation == 1)


def test_the_colour_of_a_placeholder_is_that_of_what_is_seen(tmp_path):
    image = Image.new("RGBA", (400, 400), (0, 0, 255, 0))
    image.paste((10, 200, 10, 255), (0, 0, 100, 400))
    path = saved(image, tmp_path / "a.png")
    (picture,) = render(path, [WantedPicture("320", 320, 320, "inside", "avif")])
    red, green, blue = bytes.fromhex(picture.placeholder.colour[1:])
    assert (red, green, blue) == pytest.approx((10, 200, 10), abs=4)

"""Pictures stand upright, however the camera was held and whatever format it wrote."""

import io
import re

import pillow_heif
import pytest
from media_runtime.media.pictures import WantedPicture, probe_image, render
from PIL import Image

UNDO = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
ORIENTATION = 0x0112
# Its entry in EXIF, up to the number's last byte.
ENTRY = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00"
WANTED = [
    WantedPicture("thumbnail", 320, 240, "cover"), WantedPicture("image", 480, 480, "inside"),
    *(WantedPicture(one, 320, 320, "inside", one) for one in ("avif", "webp", "jpeg")),
]  # fmt: skip


def upright() -> Image.Image:
    """Red at the top left, blue at the bottom right, on white."""
    image = Image.new("RGB", (480, 360), "white")
    image.paste("red", (0, 0, 240, 180))
    image.paste("blue", (240, 180, 480, 360))
    return image


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found


def taken(file_format: str, orientation: int) -> bytes:
    """Return what a camera writes that is held so."""
    stored = upright().transpose(UNDO[orientation]) if orientation > 1 else upright()
    file = io.BytesIO()
    if file_format == "HEIC":
        image = pillow_heif.from_pillow(stored)
        image.info["exif"] = exif(orientation).tobytes()
        image.save(file, quality=90)
        # Its container tells how it is to be turned, and so does its EXIF, as with phones.
        assert orientation == 1 or re.search(b"irot|imir", file.getvalue())
        assert ENTRY + bytes((orientation,)) in file.getvalue()
        return file.getvalue()
    stored.save(file, file_format, quality=90, exif=exif(orientation))
    return file.getvalue()


def is_upright(image: Image.Image) -> bool:
    width, height = image.size
    corners = [(8, 8), (width - 9, height - 9), (width - 9, 8), (8, height - 9)]
    found = [tuple(value > 128 for value in image.getpixel(place)) for place in corners]
    red, blue, white = (True, False, False), (False, False, True), (True, True, True)
    return width > height and found == [red, blue, white, white]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "HEIC", "AVIF"])
def test_what_is_made_stands_upright(file_format, orientation):
    data = taken(file_format, orientation)
    for picture in render(io.BytesIO(data), WANTED):
        image = Image.open(io.BytesIO(picture.data))
        assert is_upright(image.convert("RGB")), picture.name
        assert image.getexif().get(ORIENTATION, 1) == 1, "nobody turns it once more"
    info = probe_image(io.BytesIO(data))
    assert (info.width, info.height) == (480, 360)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_heic_is_turned_by_its_container_and_not_by_its_exif(orientation):
    """As players of HEIC do: the standard has it so."""
    file = io.BytesIO()
    upright().save(file, "HEIF", quality=90, exif=exif(orientation))
    assert not any(turn in file.getvalue() for turn in (b"irot", b"imir"))
    for picture in render(io.BytesIO(file.getvalue()), WANTED):
        assert is_upright(Image.open(io.BytesIO(picture.data)).convert("RGB"))

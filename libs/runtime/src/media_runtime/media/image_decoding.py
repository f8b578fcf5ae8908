"""Decodes the first frame of an image that is shown, and reads what it says of itself."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from media_runtime.errors import PermanentError
from media_runtime.media import image_colours
from media_runtime.media.image_colours import Colours
from media_runtime.media.image_damage import mended
from media_runtime.media.image_opening import bytes_of, open_bytes
from media_runtime.media.image_structure import count_tiff_pages
from media_runtime.media.tolerant_png import CICP, DEFAULT_IMAGE
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin

# Cameras add previews to a JPEG; it is still one picture.
_CAMERA_JPEG = "MPO"
# How much larger than wanted a JPEG is decoded: less shows, more costs.
_DRAFT_GAP = 1.5
_EXIF_ORIENTATION = 0x0112
TURNED_SIDEWAYS = frozenset({5, 6, 7, 8})


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation that is still to be done; of a PNG, once it is decoded."""
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, and gives their size as turned
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken EXIF raises anything; the pixels may be fine
        return 1


def format_of(image: Image.Image) -> str:
    """Return Pillow's name of the format."""
    return "JPEG" if image.format == _CAMERA_JPEG else str(image.format)


def count_frames(image: Image.Image, limit: int) -> tuple[int, bool]:
    """Return how many frames *image* has, or any number beyond *limit*, and if all are there."""
    if image.format == "TIFF":
        with bytes_of(image) as data:
            return count_tiff_pages(data, limit)
    if isinstance(image, GifImagePlugin.GifImageFile):
        return _count_gif_frames(image, limit)
    if image.format == _CAMERA_JPEG:
        return 1, True
    return int(getattr(image, "n_frames", 1)), True


def _count_gif_frames(image: GifImagePlugin.GifImageFile, limit: int) -> tuple[int, bool]:
    # Pillow's n_frames goes to the end: seconds for a million. And seek() decodes all on the way.
    for number in range(1, limit + 1):
        try:
            image._seek(number, update_image=False)  # noqa: SLF001
        except EOFError:
            return number, True
        except (OSError, IndexError, struct.error):
            return number, False  # what follows is broken; the first frame may be whole
    return limit + 1, True


def decoded(
    image: ImageFile.ImageFile, sizes: Sequence[tuple[int, int]] = ()
) -> tuple[Image.Image, bool]:
    """Return the first frame that is shown, large enough for *sizes*, and if it was damaged."""
    draft = None
    if sizes:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work.
        width = max(width for width, _ in sizes)
        height = max(height for _, height in sizes)
        draft = int(width * _DRAFT_GAP), int(height * _DRAFT_GAP)

    def opened(data: bytes) -> ImageFile.ImageFile:
        again = open_bytes(io.BytesIO(data))
        again.draft(None, draft)
        return again

    file_format = format_of(image)
    image.draft(None, draft)
    with bytes_of(image) as data:
        try:
            _seek_shown(image)
            box = image.tile[0].extents if file_format == "GIF" else None
            image.load()
        except (PermanentError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise all kinds of errors on broken files
            return mended(data, file_format, opened, error), True
    return (_on_its_canvas(image, box) if box else image), False


def _on_its_canvas(gif: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Return a GIF's first frame with nothing around it; Pillow puts its first colour there."""
    if box == (0, 0, *gif.size):
        return gif
    canvas = Image.new("RGBA", gif.size)
    canvas.paste(gif.convert("RGBA").crop(box), box[:2])
    return canvas


def _seek_shown(image: ImageFile.ImageFile) -> None:
    """Go to the first frame that is shown: the default image of an APNG may be no part of it."""
    if isinstance(image, PngImagePlugin.PngImageFile) and image.info.get(DEFAULT_IMAGE):
        image.seek(1)
        # The film begins on an empty canvas, not on the picture for those that show no films.
        image._prev_im = None  # noqa: SLF001


def told_colours(image: ImageFile.ImageFile) -> tuple[bytes | None, Colours | None]:
    """Return an image's ICC profile, and what else it tells of its colours where that counts."""
    profile = image.info.get("icc_profile")
    if cicp := image.info.get(CICP):
        return None, image_colours.by_cicp(*cicp[:2])
    if profile:
        return profile, None
    if image.format == "PNG":
        return None, image_colours.of_png(image.info)
    if image.format in {"AVIF", "HEIF"}:
        with bytes_of(image) as data:
            return None, image_colours.of_heif(data)
    return None, None

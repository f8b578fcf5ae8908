"""
Images: what they are, and the pictures that are made of them.

Invariant: these functions run in a PicturePool's processes, never on the event loop, and no
metadata survives.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from media_contracts.warnings import WarningCode
from media_runtime.media import image_colours
from media_runtime.media.image_colours import Colours
from media_runtime.media.image_decoding import (
    TURNED_SIDEWAYS,
    count_frames,
    decoded,
    format_of,
    orientation_of,
    told_colours,
)
from media_runtime.media.image_opening import (
    MAX_PIXELS,
    PictureError,
    Source,
    bytes_of,
    open_up_to,
    opened,
    will_make,
)
from media_runtime.media.image_structure import check_jpeg, is_damaged
from PIL import Image, ImageCms, ImageFile
from pydantic import Base64Bytes

__all__ = [
    "MAX_FRAMES",
    "MAX_PIXELS",
    "ImageInfo",
    "PictureError",
    "RenderedPicture",
    "Source",
    "WantedPicture",
    "open_up_to",
    "probe_image",
    "render",
]

MAX_FRAMES = 3000
_JPEG_QUALITY = 85
# How much larger than wanted any image is box-filtered before the slow filter.
_REDUCING_GAP = 2.0
_FLOAT_TOPS, _WHOLE_TOPS = (1.0, 255.0, 65_535.0), (255.0, 65_535.0)
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageInfo:
    """
    What an image's header says. ``width`` and ``height`` are as people see the image.

    ``frames`` are counted as far as one more than was asked for. ``scans`` is how often a decoder
    goes over a JPEG. ``damaged`` tells of what decoding does not need: an end marker, a checksum.
    """

    format: str
    width: int
    height: int
    frames: int
    scans: int = 1
    damaged: bool = False

    @property
    def warnings(self) -> tuple[WarningCode, ...]:
        """What the asset is ready in spite of."""
        return (WarningCode.FILE_DAMAGED,) if self.damaged else ()


@dataclass(frozen=True)
class WantedPicture:
    """A picture to be made; ``fit`` as in media_contracts.Fit, sizes in pixels."""

    name: str
    width: int
    height: int
    fit: Literal["cover", "inside"]


@dataclass(frozen=True)
class RenderedPicture:
    """A picture that was made, without any metadata; ``damaged`` tells of its source."""

    name: str
    content_type: Literal["image/jpeg", "image/png"]
    width: int
    height: int
    data: Base64Bytes
    damaged: bool = False


def probe_image(source: Source, max_frames: int = MAX_FRAMES) -> ImageInfo:
    """
    Return what the header of the image *source* says; raises PictureError.

    Of frames beyond *max_frames* it sees one at most. An image whose structure makes it cost far
    more than its size raises CostlyImageError.
    """
    with opened(source) as (image, was_mended):
        file_format = format_of(image)
        width, height = image.size
        with bytes_of(image) as data:
            scans = check_jpeg(data) if file_format == "JPEG" else 1
            is_hurt = was_mended or is_damaged(data, file_format)
        frames, is_whole = count_frames(image, max_frames)
        # The EXIF of a PNG may follow its pixels.
        shown, also_mended = decoded(image) if file_format == "PNG" else (image, False)
        if orientation_of(shown) in TURNED_SIDEWAYS:
            width, height = height, width
        frames = min(frames, max_frames + 1)
        damaged = is_hurt or also_mended or not is_whole
        return ImageInfo(file_format, width, height, frames, scans, damaged)


def render(source: Source, wanted: Sequence[WantedPicture]) -> list[RenderedPicture]:
    """
    Return the *wanted* pictures of the image *source*, of its first frame if it moves.

    ``cover`` gives a JPEG on white of exactly the wanted size, ``inside`` a JPEG or, where the
    image lets something shine through, a PNG. Colours are sRGB. Raises PictureError.
    """
    with opened(source) as (image, was_mended):
        told = told_colours(image)
        pixels = image.width * image.height
        shown, sizes, orientation, also_mended = _decoded_for(wanted, image)
        # The time for decoding leaves room for one picture as large as its source.
        will_make(max(pixels, sum(width * height for width, height in sizes)))
        plain = _plain(shown)
        return [
            _rendered(
                one,
                _resized(plain, one, size),
                orientation,
                told,
                damaged=was_mended or also_mended,
            )
            for one, size in zip(wanted, sizes, strict=True)
        ]


def _decoded_for(
    wanted: Sequence[WantedPicture], image: ImageFile.ImageFile
) -> tuple[Image.Image, list[tuple[int, int]], int, bool]:
    """Return the decoded image, the sizes to resize it to, its orientation, and if it was hurt."""
    size = image.size
    if image.format == "PNG":
        # Its EXIF may follow its pixels.
        shown, damaged = decoded(image)
        orientation = orientation_of(shown)
        return shown, [_target(one, size, orientation) for one in wanted], orientation, damaged
    orientation = orientation_of(image)
    sizes = [_target(one, size, orientation) for one in wanted]
    shown, damaged = decoded(image, sizes)
    return shown, sizes, orientation, damaged


def _target(wanted: WantedPicture, source: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the size to resize to, in the stored (not yet turned) direction."""
    width, height = wanted.width, wanted.height
    if orientation in TURNED_SIDEWAYS:
        width, height = height, width
    if wanted.fit == "cover":
        return width, height
    scale = min(width / source[0], height / source[1], 1.0)
    return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))


def _plain(image: Image.Image) -> Image.Image:
    """Return *image* in a mode that resizes well: L, RGB, RGBA or CMYK, eight bits each."""
    if image.mode == "I;16":
        return image.point(lambda value: value / 256).convert("L")
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in {"I", "F"}:
        return _eight_bits(image)
    if image.mode in {"La", "RGBa"}:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode == "RGBA":
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in {"L", "RGB", "CMYK"} else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    # 32-bit samples have no agreed range. The least of those in use that holds them all is it;
    # where none does, the darkest is black and the lightest white.
    low, high = (float(bound) for bound in image.getextrema())  # type: ignore[arg-type]
    tops = _FLOAT_TOPS if image.mode == "F" else _WHOLE_TOPS
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if not math.isfinite(low + high):
        low, top = 0.0, 1.0
    elif top is not None:
        low = 0.0
    else:
        top = high - low
    scale = 255 / top if top else 0.0
    return image.point(lambda value: value * scale - low * scale).convert("L")


def _resized(image: Image.Image, wanted: WantedPicture, size: tuple[int, int]) -> Image.Image:
    box = _centred(image.size, size) if wanted.fit == "cover" else None
    if box is None and image.size == size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=_REDUCING_GAP)


def _centred(source: tuple[int, int], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the largest box with the proportions of *shape* in the middle of *source*."""
    scale = min(source[0] / shape[0], source[1] / shape[1])
    left = max(0.0, (source[0] - shape[0] * scale) / 2)
    top = max(0.0, (source[1] - shape[1] * scale) / 2)
    return left, top, source[0] - left, source[1] - top


def _rendered(
    wanted: WantedPicture,
    image: Image.Image,
    orientation: int,
    told: tuple[bytes | None, Colours | None],
    *,
    damaged: bool,
) -> RenderedPicture:
    image = _in_srgb(image, told)
    if orientation in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[orientation])
    if wanted.fit == "inside" and _shines_through(image):
        return RenderedPicture(
            wanted.name, "image/png", *image.size, _encoded(image, "PNG"), damaged
        )
    data = _encoded(_on_white(image), "JPEG", quality=_JPEG_QUALITY)
    return RenderedPicture(wanted.name, "image/jpeg", *image.size, data, damaged)


def _in_srgb(image: Image.Image, told: tuple[bytes | None, Colours | None]) -> Image.Image:
    profile, colours = told
    if colours is not None and image.mode != "CMYK":
        return image_colours.to_srgb(image, colours)
    if profile:
        try:
            return _converted(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile, or one for other colours: as if there were none
    return image.convert("RGB") if image.mode in {"CMYK", "L"} else image


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if alpha else image
    converted = ImageCms.profileToProfile(
        colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # noqa: S101 - not in place
    if alpha:
        converted.putalpha(alpha)
    return converted


def _shines_through(image: Image.Image) -> bool:
    return image.mode == "RGBA" and image.getchannel("A").getextrema()[0] < 255  # type: ignore[operator]  # noqa: PLR2004


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    # A copy without ``info``: encoders would write its profile, EXIF and comments.
    image = image.copy()
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()

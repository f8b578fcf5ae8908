"""
Images: what they are, and the pictures that are made of them.

Invariant: these functions run in a PicturePool's processes, never on the event loop, and no
metadata survives.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from media_contracts.files import Placeholder
from media_contracts.warnings import WarningCode
from media_runtime.media import image_colours
from media_runtime.media.attention import WORKING_SIDE, attention
from media_runtime.media.display_p3 import DISPLAY_P3
from media_runtime.media.image_colours import Gamut
from media_runtime.media.image_decoding import (
    TURNED_SIDEWAYS,
    count_frames,
    decoded,
    format_of,
    orientation_of,
    told_colours,
)
from media_runtime.media.image_gamut import Told, in_gamut, is_wide
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
from media_runtime.media.thumbhash import MOST_SIDE, thumbhash
from PIL import Image, ImageFile
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
# Of pictures in several sizes: AVIF has about two thirds of the JPEG's bytes, at an SSIM that is
# 0.003 lower at most, measured with photos of cameras and phones.
_SIZED_JPEG_QUALITY, _AVIF_QUALITY, _WEBP_QUALITY = 80, 70, 80
# Measured with Pillow 13's libaom 3.14: the bytes and the SSIM of speed 8 for a third of its CPU,
# of speed 6 (Pillow's default) for an eighth. Threads beside those of other pictures gain nothing.
_AVIF: dict[str, Any] = {"speed": 9, "max_threads": 1, "advanced": {"tune": "ssim"}}
_WEBP_METHOD = 4
# From this long side on, a JPEG appears whole at once, and then sharpens.
_PROGRESSIVE_FROM = 640
_FEW_COLOURS = 256
# How Android's Ultra HDR, ISO 21496-1 and Apple name the second picture that makes one brighter.
_GAIN_MAPS = (b"hdrgm:Version", b"urn:iso:std:iso:ts:21496:-1", b"aux:hdrgainmap")
_HEAD_BYTES = 512 * 1024
# How much larger than wanted any image is box-filtered before the slow filter.
_REDUCING_GAP = 2.0
# How much larger than wanted a picture is that another one is made of.
_LEAST_GAP = 1.5
_FLOAT_TOPS, _WHOLE_TOPS = (1.0, 255.0, 65_535.0), (255.0, 65_535.0)
Box: TypeAlias = tuple[float, float, float, float]
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
    ``hdr`` is whether it can be brighter than white on screens that can: by its curve, or by a map.
    """

    format: str
    width: int
    height: int
    frames: int
    scans: int = 1
    damaged: bool = False
    hdr: bool = False

    @property
    def warnings(self) -> tuple[WarningCode, ...]:
        """What the asset is ready in spite of."""
        return (WarningCode.FILE_DAMAGED,) if self.damaged else ()


@dataclass(frozen=True)
class WantedPicture:
    """
    A picture to be made; ``fit`` as in media_contracts.Fit, sizes in pixels.

    Without a ``format`` it is a JPEG of high quality. Of one with a format there are several sizes,
    of which the one is loaded that fits: where there is no need, they have no more bytes than that.
    ``focus`` is the point that a crop has in its middle, if it can: shares of width and height, or
    the point that people look at first. ``gamut`` is what an AVIF keeps of colours that are wider
    than sRGB; all else is in sRGB.
    """

    name: str
    width: int
    height: int
    fit: Literal["cover", "inside"]
    format: Literal["jpeg", "avif", "webp"] | None = None
    focus: tuple[float, float] | Literal["attention"] = (0.5, 0.5)
    gamut: Gamut = "srgb"


@dataclass(frozen=True)
class RenderedPicture:
    """
    A picture that was made, without any metadata; ``damaged`` tells of its source.

    ``placeholder`` is of the whole picture that it was made of.
    """

    name: str
    content_type: Literal["image/jpeg", "image/png", "image/avif", "image/webp"]
    width: int
    height: int
    data: Base64Bytes
    damaged: bool
    placeholder: Placeholder


def probe_image(
    source: Source, max_frames: int = MAX_FRAMES, *, decode_up_to: float = MAX_PIXELS
) -> ImageInfo:
    """
    Return what the header of the image *source* says; raises PictureError.

    Of frames beyond *max_frames* it sees one at most. An image whose structure makes it cost far
    more than its size raises CostlyImageError. A PNG may say at its end how it is turned: one of
    more pixels than *decode_up_to* is taken as it is stored.
    """
    with opened(source) as (image, was_mended):
        file_format = format_of(image)
        width, height = image.size
        with bytes_of(image) as data:
            scans = check_jpeg(data) if file_format == "JPEG" else 1
            is_hurt = was_mended or is_damaged(data, file_format)
            head = data[:_HEAD_BYTES]
            has_map = any(word in head for word in _GAIN_MAPS)
        _, colours = told_colours(image)
        hdr = has_map or image_colours.is_hdr(colours)
        frames, is_whole = count_frames(image, max_frames)
        is_read = file_format == "PNG" and width * height <= decode_up_to
        shown, also_mended = decoded(image) if is_read else (image, False)
        # Pillow decodes a PNG to look for an EXIF behind its pixels.
        is_unknown = file_format == "PNG" and not is_read and "exif" not in image.info
        if not is_unknown and orientation_of(shown) in TURNED_SIDEWAYS:
            width, height = height, width
        frames = min(frames, max_frames + 1)
        damaged = is_hurt or also_mended or not is_whole
        return ImageInfo(file_format, width, height, frames, scans, damaged, hdr)


def render(source: Source, wanted: Sequence[WantedPicture]) -> list[RenderedPicture]:
    """
    Return the *wanted* pictures of the image *source*, of its first frame if it moves.

    ``cover`` gives exactly the wanted size or, of a smaller source, its shape. A JPEG is on white
    where it covers its box; elsewhere it is a PNG where the image lets something shine through.
    Colours are sRGB where no other gamut is wanted. Raises PictureError.
    """
    with opened(source) as (image, was_mended):
        told = told_colours(image)
        pixels = image.width * image.height
        shown, sizes, orientation, also_mended = _decoded_for(wanted, image)
        # The time for decoding leaves room for one picture as large as its source.
        will_make(max(pixels, sum(width * height for width, height in sizes)))
        sized = _Sized(_plain(shown), orientation, told)
        # The large ones first: others are made of them.
        order = sorted(range(len(wanted)), key=lambda at: sizes[at][0] * sizes[at][1], reverse=True)
        made = {at: sized.picture(wanted[at], sizes[at]) for at in order}
        placeholder = sized.placeholder()
        return [
            _rendered(
                one, made[at], placeholder,
                gamut=sized.gamut(one), few_colours=sized.has_few_colours,
                damaged=was_mended or also_mended,
            )
            for at, one in enumerate(wanted)
        ]  # fmt: skip


class _Sized:
    """An image in several sizes, upright and in a gamut; *plain* is as it was stored."""

    def __init__(self, plain: Image.Image, orientation: int, told: Told) -> None:
        self._plain = plain
        self._orientation = orientation
        self._told = told
        self._whole: dict[Gamut, list[Image.Image]] = {"srgb": [], "display-p3": []}
        self._again: dict[tuple[tuple[int, int], Box | None], Image.Image] = {}
        self._made: dict[tuple[Any, ...], Image.Image] = {}

    @cached_property
    def has_few_colours(self) -> bool:
        """
        Whether it was drawn, as screenshots are: coarse colours would blur its edges.

        A grey photo has as few, and no colours that could blur.
        """
        if self._plain.mode not in {"RGB", "RGBA"}:
            return False
        found = self._plain.getcolors(_FEW_COLOURS) or []
        return any(len(set(colour[:3])) > 1 for _, colour in found)  # type: ignore[index]

    @cached_property
    def _is_wide(self) -> bool:
        return is_wide(self._plain.mode, self._told)

    def gamut(self, wanted: WantedPicture) -> Gamut:
        """Return a picture's gamut: one that its source does not need would only cost bytes."""
        is_kept = wanted.format == "avif" and wanted.gamut != "srgb" and self._is_wide
        return wanted.gamut if is_kept else "srgb"

    def picture(self, wanted: WantedPicture, size: tuple[int, int]) -> Image.Image:
        """Return it in a *size*, as stored, that _target gave for *wanted*."""
        focus = wanted.focus if wanted.fit == "cover" else None
        kind = wanted.fit, size, focus, self.gamut(wanted)
        if kind not in self._made:
            self._made[kind] = self._resized(wanted, size)
        return self._made[kind]

    def placeholder(self) -> Placeholder:
        """Return what stands in for it."""
        rgba = self._small(MOST_SIDE).convert("RGBA")
        mean = rgba.convert("RGBa").resize((1, 1), Image.Resampling.BOX).convert("RGBA")
        red, green, blue, _ = mean.getpixel((0, 0))  # type: ignore[misc]
        return Placeholder(
            thumbhash=base64.b64encode(thumbhash(rgba)).decode(),
            colour=f"#{red:02x}{green:02x}{blue:02x}",
        )

    @cached_property
    def _attention(self) -> tuple[float, float]:
        """The point that people look at first, as they see it."""
        return attention(on_white_ground(self._small(WORKING_SIDE)).convert("RGB"))

    def _small(self, longest: int) -> Image.Image:
        """Return the whole of it, with no side longer than that."""
        large = [one for one in self._whole["srgb"] if max(one.size) >= longest]
        image = min(large, key=_pixels, default=self._plain)
        scale = min(1.0, longest / max(image.size))
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        small = image.resize(size, Image.Resampling.BOX, reducing_gap=_REDUCING_GAP)
        return self._finished(small) if image is self._plain else small

    def _resized(self, wanted: WantedPicture, size: tuple[int, int]) -> Image.Image:
        gamut = self.gamut(wanted)
        if wanted.fit == "cover":
            focus = self._attention if wanted.focus == "attention" else wanted.focus
            box = _cropped(self._plain.size, size, _as_stored(focus, self._orientation))
            return self._finished(self._scaled(size, box, gamut), gamut)
        seen = size if self._orientation not in TURNED_SIDEWAYS else size[::-1]
        # Of a picture that is little larger it would be soft.
        whole = self._whole[gamut]
        large = [one for one in whole if one.width >= _LEAST_GAP * seen[0]]
        if wanted.format is not None and large:
            image = _scaled(min(large, key=_pixels), seen, None)
        else:
            image = self._finished(self._scaled(size, None, gamut), gamut)
        whole.append(image)
        return image

    def _scaled(self, size: tuple[int, int], box: Box | None, gamut: Gamut) -> Image.Image:
        """Return it in a size, as it was stored."""
        image = self._again.pop((size, box), None) or _scaled(self._plain, size, box)
        # The same size follows in sRGB. No other is kept, as it may be large.
        self._again = {} if gamut == "srgb" else {(size, box): image}
        return image

    def _finished(self, image: Image.Image, gamut: Gamut = "srgb") -> Image.Image:
        return upright(in_gamut(image, self._told, gamut), self._orientation)


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


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


def _scaled(image: Image.Image, size: tuple[int, int], box: Box | None) -> Image.Image:
    if box is None and image.size == size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=_REDUCING_GAP)


def _cropped(source: tuple[int, int], shape: tuple[int, int], focus: tuple[float, float]) -> Box:
    """Return the largest box of *shape*, with *focus* as near its middle as the source lets it."""
    scale = min(source[0] / shape[0], source[1] / shape[1])
    width, height = min(source[0], shape[0] * scale), min(source[1], shape[1] * scale)
    left = min(max(0.0, source[0] * focus[0] - width / 2), source[0] - width)
    top = min(max(0.0, source[1] * focus[1] - height / 2), source[1] - height)
    return left, top, left + width, top + height


def _as_stored(point: tuple[float, float], orientation: int) -> tuple[float, float]:
    """Return where a point that people see is in an image that is still to be turned."""
    x, y = point
    return {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (y, 1 - x),
        7: (1 - y, 1 - x),
        8: (1 - y, x),
    }.get(orientation, point)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return *image* turned as its EXIF *orientation* says."""
    turn = _TRANSPOSITIONS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _rendered(
    wanted: WantedPicture,
    image: Image.Image,
    placeholder: Placeholder,
    *,
    gamut: Gamut,
    few_colours: bool,
    damaged: bool,
) -> RenderedPicture:
    is_clear = _shines_through(image)
    content_type: Literal["image/jpeg", "image/png", "image/avif", "image/webp"]
    if wanted.format == "avif":
        content_type = "image/avif"
        chroma = "4:4:4" if few_colours else "4:2:0"
        data = _encoded(
            image if is_clear else _opaque(image), "AVIF",
            quality=_AVIF_QUALITY, subsampling=chroma, **_AVIF,
            icc_profile=DISPLAY_P3 if gamut == "display-p3" else None,
        )  # fmt: skip
    elif wanted.format == "webp":
        content_type = "image/webp"
        data = _encoded(
            image if is_clear else _opaque(image), "WEBP",
            quality=_WEBP_QUALITY, method=_WEBP_METHOD, lossless=few_colours,
        )  # fmt: skip
    elif is_clear and (wanted.fit == "inside" or wanted.format):
        content_type = "image/png"
        data = _encoded(image, "PNG")
    elif wanted.format == "jpeg":
        content_type = "image/jpeg"
        data = _encoded(
            _opaque(image), "JPEG", quality=_SIZED_JPEG_QUALITY,
            progressive=max(image.size) >= _PROGRESSIVE_FROM, subsampling=0 if few_colours else 2,
        )  # fmt: skip
    else:
        content_type = "image/jpeg"
        data = _encoded(on_white_ground(image), "JPEG", quality=_JPEG_QUALITY)
    return RenderedPicture(wanted.name, content_type, *image.size, data, damaged, placeholder)


def _opaque(image: Image.Image) -> Image.Image:
    return image.convert("RGB") if image.mode == "RGBA" else image


def _shines_through(image: Image.Image) -> bool:
    return image.mode == "RGBA" and image.getchannel("A").getextrema()[0] < 255  # type: ignore[operator]  # noqa: PLR2004


def on_white_ground(image: Image.Image) -> Image.Image:
    """Return *image* without what shines through, as on a white page."""
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    # Encoders would write its profile, EXIF and comments. What was opened knows them itself.
    if isinstance(image, ImageFile.ImageFile):
        image = image.copy()
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()

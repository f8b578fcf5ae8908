"""
Images: the only place that opens them.

Invariant: these functions run in a PicturePool's processes, never on the event loop; only
the formats that are accepted for upload are decoded, and no metadata survives.
"""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import pillow_heif
from media_contracts import MediaKind
from media_contracts.errors import ErrorCode
from media_contracts.formats import readers
from media_contracts.warnings import WarningCode
from media_runtime.errors import PermanentError
from media_runtime.media.image_structure import Data, check_jpeg, count_tiff_pages
from PIL import GifImagePlugin, Image, ImageCms, ImageFile, ImageStat
from pydantic import Base64Bytes

MAX_PIXELS = 40_000_000
MAX_FRAMES = 3000
# Cameras add previews to a JPEG; it is still one picture.
_CAMERA_JPEG = "MPO"
_FORMATS = readers(MediaKind.IMAGE)
_JPEG_QUALITY = 85
# How much larger than wanted a JPEG is decoded, and any image is box-filtered, before the
# slow filter: less shows, more costs.
_DRAFT_GAP = 1.5
_REDUCING_GAP = 2.0
_EXIF_ORIENTATION = 0x0112
_TURNED_SIDEWAYS = frozenset({5, 6, 7, 8})
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Source: TypeAlias = Path | BinaryIO
"""An image: where it lies, or the open file."""

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
_before_decoding: Callable[[int], None] | None = None


class PictureError(PermanentError):
    """
    No picture can be made of this file; ``detail`` is for logs.

    Codes: ``unreadable_image``, ``too_many_pixels``, ``image_out_of_memory``,
    ``image_timeout``, ``image_crashed_decoder``.
    """


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
    """A picture that was made, without any metadata."""

    name: str
    content_type: Literal["image/jpeg", "image/png"]
    width: int
    height: int
    data: Base64Bytes


def open_up_to(pixels: int, *, before_decoding: Callable[[int], None] | None = None) -> None:
    """
    Let this process open images of up to so many pixels; at first it is MAX_PIXELS.

    *before_decoding* is called with the pixels of each image, as its header gives them.
    """
    global _before_decoding  # noqa: PLW0603 - like Pillow's own limit, of the process
    Image.MAX_IMAGE_PIXELS = pixels
    _before_decoding = before_decoding


def probe_image(source: Source, max_frames: int = MAX_FRAMES) -> ImageInfo:
    """
    Return what the header of the image *source* says; raises PictureError.

    Of frames beyond *max_frames* it sees one at most. An image whose structure makes it cost far
    more than its size raises CostlyImageError.
    """
    with _opened(source) as image:
        width, height = image.size
        if _orientation(image) in _TURNED_SIDEWAYS:
            width, height = height, width
        if image.format in {"JPEG", _CAMERA_JPEG}:
            with _bytes_of(image) as data:
                scans = check_jpeg(data, _most_pixels())
            return ImageInfo("JPEG", width, height, frames=1, scans=scans)
        frames = min(_count_frames(image, max_frames), max_frames + 1)
        return ImageInfo(str(image.format), width, height, frames)


def render(source: Source, wanted: Sequence[WantedPicture]) -> list[RenderedPicture]:
    """
    Return the *wanted* pictures of the image *source*, of its first frame if it moves.

    ``cover`` gives a JPEG on white of exactly the wanted size, ``inside`` a JPEG or, where the
    image lets something shine through, a PNG. Colours are sRGB. Raises PictureError.
    """
    with _opened(source) as image:
        orientation = _orientation(image)
        profile = image.info.get("icc_profile")
        sizes = [_target(one, image.size, orientation) for one in wanted]
        _decode(image, sizes)
        plain = _plain(image)
        return [
            _rendered(one, _resized(plain, one, size), orientation, profile)
            for one, size in zip(wanted, sizes, strict=True)
        ]


def brightness(source: Source) -> float:
    """Return the mean brightness of the image *source*, from 0 (black) to 1 (white)."""
    with _opened(source) as image:
        return float(ImageStat.Stat(_in_srgb(_plain(image), None).convert("L")).mean[0]) / 255


@contextmanager
def _opened(source: Source) -> Iterator[Image.Image]:
    with source.open("rb") if isinstance(source, Path) else source as file:
        try:
            with (
                warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
                Image.open(file, formats=_FORMATS) as image,
            ):
                _check_pixels(image)
                if _before_decoding is not None:
                    _before_decoding(image.width * image.height)
                yield image
        except (PermanentError, MemoryError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_many_pixels(repr(error)) from error
        except Exception as error:  # decoders raise all kinds of errors on broken files
            raise PictureError(ErrorCode.UNREADABLE_IMAGE, detail=repr(error)) from error


def _check_pixels(image: Image.Image) -> None:
    # Pillow's own check is of the size that the header gave first.
    if image.width * image.height > _most_pixels():
        raise _too_many_pixels(f"{image.width}x{image.height}")


def _too_many_pixels(detail: str) -> PictureError:
    millions = _most_pixels() / 1_000_000
    return PictureError(ErrorCode.TOO_MANY_PIXELS, kind="image", millions=millions, detail=detail)


def _most_pixels() -> int:
    assert Image.MAX_IMAGE_PIXELS is not None  # noqa: S101 - see open_up_to
    return Image.MAX_IMAGE_PIXELS


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, and gives their size as turned
    if image.format == "PNG":
        # Its EXIF may follow the pixels: getexif() decodes them, and would swallow their errors.
        image.load()
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken EXIF raises anything; the pixels may be fine
        return 1


def _count_frames(image: Image.Image, limit: int) -> int:
    """Return how many frames *image* has, or any number beyond *limit*."""
    if image.format == "TIFF":
        with _bytes_of(image) as data:
            return count_tiff_pages(data, limit)
    if isinstance(image, GifImagePlugin.GifImageFile):
        return _count_gif_frames(image, limit)
    return int(getattr(image, "n_frames", 1))


def _count_gif_frames(image: GifImagePlugin.GifImageFile, limit: int) -> int:
    # Pillow's n_frames goes to the end: seconds for a million. And seek() decodes all on the way.
    for number in range(1, limit + 1):
        try:
            image._seek(number, update_image=False)  # noqa: SLF001
        except EOFError:
            return number
    return limit + 1


@contextmanager
def _bytes_of(image: Image.Image) -> Iterator[Data]:
    assert isinstance(image, ImageFile.ImageFile)  # noqa: S101 - it was just opened
    assert image.fp is not None  # noqa: S101
    with ExitStack() as stack:
        try:
            mapped = mmap.mmap(image.fp.fileno(), 0, access=mmap.ACCESS_READ)
        except io.UnsupportedOperation:  # no file of the system
            image.fp.seek(0)
            yield image.fp.read()
        else:
            yield stack.enter_context(mapped)


def _target(wanted: WantedPicture, source: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the size to resize to, in the stored (not yet turned) direction."""
    width, height = wanted.width, wanted.height
    if orientation in _TURNED_SIDEWAYS:
        width, height = height, width
    if wanted.fit == "cover":
        return width, height
    scale = min(width / source[0], height / source[1], 1.0)
    return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))


def _decode(image: Image.Image, sizes: Sequence[tuple[int, int]]) -> None:
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work.
    width = max(width for width, _ in sizes)
    height = max(height for _, height in sizes)
    image.draft(None, (int(width * _DRAFT_GAP), int(height * _DRAFT_GAP)))
    image.load()


def _plain(image: Image.Image) -> Image.Image:
    """Return *image* in a mode that resizes well: L, RGB, RGBA or CMYK, eight bits each."""
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 256).convert("L")
    if image.mode in {"I", "F"}:
        return _stretched(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in {"L", "RGB", "CMYK"} else image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    # 32-bit samples have no agreed range: show darkest to lightest.
    low, high = (float(bound) for bound in image.getextrema())  # type: ignore[arg-type]
    scale = 255 / (high - low) if high > low else 0.0
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
    wanted: WantedPicture, image: Image.Image, orientation: int, profile: bytes | None
) -> RenderedPicture:
    image = _in_srgb(image, profile)
    if orientation in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[orientation])
    if wanted.fit == "inside" and _shines_through(image):
        return RenderedPicture(wanted.name, "image/png", *image.size, _encoded(image, "PNG"))
    data = _encoded(_on_white(image), "JPEG", quality=_JPEG_QUALITY)
    return RenderedPicture(wanted.name, "image/jpeg", *image.size, data)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
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

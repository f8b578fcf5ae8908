"""
Opens images: the only place that does.

Invariant: only the formats that are accepted for upload are opened, and none of more pixels, or
more need of memory, than this process was told.
"""

from __future__ import annotations

import io
import math
import mmap
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import pillow_heif
from media_contracts import MediaKind
from media_contracts.errors import ErrorCode
from media_contracts.formats import readers
from media_runtime.errors import PermanentError
from media_runtime.media.big_tiff import read_big_tiffs
from media_runtime.media.image_damage import whole_webp
from media_runtime.media.image_memory import BYTES_A_PIXEL, bytes_needed
from media_runtime.media.image_structure import Data
from media_runtime.media.tolerant_png import read_tolerantly
from PIL import Image, ImageFile, WebPImagePlugin

MAX_PIXELS = 200_000_000
_FORMATS = readers(MediaKind.IMAGE)
_WEBP_HEAD_BYTES = 30

Source: TypeAlias = Path | BinaryIO
"""An image: where it lies, or the open file."""

pillow_heif.register_heif_opener()
read_tolerantly()
Image.preinit()
read_big_tiffs()
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
_before_decoding: Callable[[int], None] | None = None
_memory_bytes: int | None = None


class PictureError(PermanentError):
    """
    No picture can be made of this file; ``detail`` is for logs.

    Codes: ``unreadable_image``, ``too_many_pixels``, ``image_out_of_memory``,
    ``image_timeout``, ``image_crashed_decoder``.
    """


def open_up_to(
    pixels: int,
    *,
    memory_bytes: int | None = None,
    before_decoding: Callable[[int], None] | None = None,
) -> None:
    """
    Let this process open images of up to so many pixels; at first it is MAX_PIXELS.

    One that would need more than *memory_bytes* has too many as well.
    *before_decoding* is called with the pixels of each image, as its header gives them.
    """
    global _before_decoding, _memory_bytes
    Image.MAX_IMAGE_PIXELS = pixels
    _before_decoding, _memory_bytes = before_decoding, memory_bytes


def will_make(pixels: int) -> None:
    """Tell what limits this process how many pixels are worked on in all, once one is decoded."""
    if _before_decoding is not None:
        _before_decoding(pixels)


@contextmanager
def opened(source: Source) -> Iterator[tuple[ImageFile.ImageFile, bool]]:
    """Yield the image *source*, and whether its bytes had to be put right for that."""
    with source.open("rb") if isinstance(source, Path) else source as file:
        try:
            with (
                warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
                _opened_bytes(file) as (image, was_mended),
            ):
                _check_pixels(image)
                if _before_decoding is not None:
                    _before_decoding(image.width * image.height)
                yield image, was_mended
        except (PermanentError, MemoryError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_many_pixels(repr(error)) from error
        except Exception as error:  # decoders raise all kinds of errors on broken files
            raise PictureError(ErrorCode.UNREADABLE_IMAGE, detail=repr(error)) from error


@contextmanager
def _opened_bytes(file: BinaryIO) -> Iterator[tuple[ImageFile.ImageFile, bool]]:
    try:
        image = Image.open(file, formats=_FORMATS)
    except OSError:
        file.seek(0)
        _check_webp(file.read(_WEBP_HEAD_BYTES))
        # libwebp takes no file that was cut, though its first frame may be whole.
        file.seek(0)
        whole = whole_webp(file.read())
        if whole is None:
            raise
        with open_bytes(io.BytesIO(whole)) as image:
            yield image, True
    else:
        with image:
            yield image, False


def open_bytes(file: BinaryIO) -> ImageFile.ImageFile:
    """Return the image in *file*, unchecked."""
    return Image.open(file, formats=_FORMATS)


def _check_pixels(image: Image.Image) -> None:
    # Pillow's own check is of the size that the header gave first.
    if image.width * image.height > _most_pixels():
        raise _too_many_pixels(f"{image.width}x{image.height}")
    needed = bytes_needed(image)
    if _memory_bytes is not None and needed > _memory_bytes:
        most = image.width * image.height * _memory_bytes / needed
        raise _too_many_pixels(f"{needed} bytes for {image.format} {image.mode}", most)


def _check_webp(head: bytes) -> None:
    # Its canvas is made when it is opened: of one that is too large there is no image to check.
    size = WebPImagePlugin._get_size(head) if head[8:12] == b"WEBP" else None  # noqa: SLF001
    if size is None:
        return
    pixels = size[0] * size[1]
    most = min(_most_pixels(), (_memory_bytes or math.inf) / BYTES_A_PIXEL["WEBP"])
    if pixels > most:
        raise _too_many_pixels(f"{size[0]}x{size[1]}", most)


def _too_many_pixels(detail: str, most: float | None = None) -> PictureError:
    millions = round((most or _most_pixels()) / 1_000_000, 2)
    return PictureError(ErrorCode.TOO_MANY_PIXELS, kind="image", millions=millions, detail=detail)


def _most_pixels() -> int:
    assert Image.MAX_IMAGE_PIXELS is not None  # noqa: S101 - see open_up_to
    return Image.MAX_IMAGE_PIXELS


@contextmanager
def bytes_of(image: Image.Image) -> Iterator[Data]:
    """Yield the bytes of the file that *image* was opened from."""
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

"""
Images that are damaged, decoded as far as what is missing does not show.

Invariant: nothing that a decoder made up counts as decoded. Pillow leaves rows that it has no
data for as they were before, and libjpeg fills them from what came last; so a damaged image is
decoded twice, on different grounds, and the rows in which both differ are not the file's own.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from media_runtime.media.image_structure import Data, has_all_scans
from PIL import GifImagePlugin, Image, ImageFile

Open = Callable[[bytes], ImageFile.ImageFile]
"""Opens the bytes of an image of the accepted formats."""

# Of the rows, at their end or anywhere, this part may be missing.
_MOST_MISSING = 0.02
_STRIP_ROWS = 64
_END_OF_JPEG = b"\xff\xd9"
# Long enough for the first block that is missing to come out otherwise.
_NOISE = random.Random(0).randbytes(4096).replace(b"\xff", b"\x5a")  # noqa: S311 - no secret
_RESTART_INTERVAL = b"\xff\xdd\0\4"
# Where restart markers are due, a decoder reads on at one of them and at nothing else.
_NOISE_OF_RESTARTS = b"".join(
    bytes([0xFF, 0xD0 + number % 8]) + _NOISE[number : number + 256] for number in range(16)
)
_RIFF_HEAD, _CHUNK_HEAD = 12, 8
_WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")
_ANIMATED = 0x02


def mended(data: Data, file_format: str, open_bytes: Open, error: Exception) -> Image.Image:
    """Return the image of *data*, all but a few rows of it; else raises *error*, as it was met."""
    if file_format in {"JPEG", "MPO"}:
        return _jpeg(data, open_bytes, error)
    if file_format in {"PNG", "GIF", "TIFF"}:
        return _on_two_grounds(bytes(data), open_bytes, error)
    raise error


def whole_webp(data: Data) -> bytes | None:
    """Return a WebP of the chunks that are whole in *data*, if a picture is among them."""
    if data[:4] != b"RIFF":
        return None
    kept, at, has_picture = [], _RIFF_HEAD, False
    while at + _CHUNK_HEAD <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + _CHUNK_HEAD + size
        if end > len(data):
            break
        has_picture |= name in _WEBP_PICTURES
        kept.append(data[at:end] + bytes(size % 2))
        at = end + size % 2
    if not has_picture:
        return None
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg(data: Data, open_bytes: Open, error: Exception) -> Image.Image:
    if not has_all_scans(data):
        raise error
    # A lone byte of a marker would make one of what is added.
    known = bytes(data).rstrip(b"\xff")
    noise = _NOISE_OF_RESTARTS if _RESTART_INTERVAL in known else _NOISE
    # What follows the last block is no part of the picture: noise there changes nothing.
    noisy = _row_sums(_loaded(open_bytes(known + noise + _END_OF_JPEG), error))
    image = _loaded(open_bytes(known + _END_OF_JPEG), error)
    sums = _row_sums(image)
    differ = (row for row, pair in enumerate(zip(sums, noisy, strict=True)) if pair[0] != pair[1])
    # Below the first missing block nothing is known, noise or no noise.
    return _if_few(image, len(sums) - next(differ, len(sums)), error)


def _on_two_grounds(data: bytes, open_bytes: Open, error: Exception) -> Image.Image:
    light = _row_sums(_loaded(open_bytes(data), error, on_light=True))
    image = _loaded(open_bytes(data), error)
    missing = sum(one != other for one, other in zip(_row_sums(image), light, strict=True))
    return _if_few(image, missing, error)


def _if_few(image: Image.Image, missing: int, error: Exception) -> Image.Image:
    if missing > image.height * _MOST_MISSING:
        raise error
    return image


def _loaded(
    image: ImageFile.ImageFile, error: Exception, *, on_light: bool = False
) -> ImageFile.ImageFile:
    with _truncated_images():
        if on_light:
            _lay_ground(image)
        try:
            image.load()
        except OSError:
            # libtiff says so after all strips before the broken one are decoded.
            if image.format != "TIFF" or image._im is None:  # noqa: SLF001
                raise error from None
            image.tile = []
    return image


def _lay_ground(image: ImageFile.ImageFile) -> None:
    """Let *image* decode onto something else than zeros."""
    bands = len(image.getbands())
    image._im = Image.new(image.mode, image.size, 255 if bands == 1 else (255,) * bands).im  # noqa: SLF001
    if isinstance(image, GifImagePlugin.GifImageFile) and image._frame_transparency is not None:  # noqa: SLF001
        image._frame_transparency ^= 1  # noqa: SLF001


@contextmanager
def _truncated_images() -> Iterator[None]:
    # It is of the process; here each image has one of its own, but for tests.
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _row_sums(image: Image.Image) -> list[int]:
    """Return a checksum of each row, so that two images need not be there at once."""
    sums = []
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        strip = image.crop((0, top, image.width, bottom)).tobytes()
        size = len(strip) // (bottom - top)
        sums += [zlib.crc32(strip[at : at + size]) for at in range(0, len(strip), size)]
    return sums

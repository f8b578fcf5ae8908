"""What decoding an image takes of memory, by what its header says, before it is decoded."""

from __future__ import annotations

from PIL import Image, JpegImagePlugin

_BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_BYTES_OF_OTHERS = 4
# Modes that are resized as they are; of all others a copy is made, in four bytes at most.
_PLAIN = frozenset({"L", "RGB", "CMYK"})
_COPY = 4
# The decoders of these have the picture in several forms at a time. An AVIF has its planes, of
# 16 bits each where it is deep, its colours, their copy, and Pillow's own; a HEIC likewise; a
# WebP has its canvas twice, the decoder's own, a copy and Pillow's own.
BYTES_A_PIXEL = {"AVIF": 18, "HEIF": 18, "WEBP": 20}
# A progressive JPEG is held as coefficients of two bytes, before it is a picture.
_COEFFICIENT = 2
_BITS, _SAMPLES = 258, 277


def bytes_needed(image: Image.Image) -> int:
    """Return how many bytes decoding and resizing *image* takes, as it was opened."""
    return int(image.width * image.height * _bytes_a_pixel(image))


def _bytes_a_pixel(image: Image.Image) -> float:
    file_format = str(image.format)
    if file_format in BYTES_A_PIXEL:
        return BYTES_A_PIXEL[file_format]
    made = _BYTES_OF_MODE.get(image.mode, _BYTES_OF_OTHERS)
    if image.mode not in _PLAIN:
        made += _COPY
    if image.has_transparency_data:
        made += _COPY  # colours are weighed by what shines through, in a copy
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Where it is far larger than wanted, it is decoded at half or less.
        return made / 2 + (_coefficients(image) if image.info.get("progressive") else 0)
    return made + (_strip_bytes(image) if file_format == "TIFF" else 0)


def _coefficients(image: JpegImagePlugin.JpegImageFile) -> float:
    factors = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in factors) * max(down for _, down in factors)
    return _COEFFICIENT * sum(across * down for across, down in factors) / max(1, most)


def _strip_bytes(image: Image.Image) -> float:
    """Return what libtiff holds of a pixel; a page may be one strip."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (8,))
    widest = max(bits) if isinstance(bits, tuple) else bits
    return float(widest / 8 * tags.get(_SAMPLES, 1))

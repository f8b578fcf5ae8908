"""
The rules of ingest, without I/O: what a file is, how it is encoded, how long that may take.

Families group the MIME types that one container format serves: a camera's .mov declared as
video/mp4 is the same kind of file, a photo declared as a video is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from media_contracts import MediaKind

HEADER_BYTES = 64

_FAMILIES = {
    "video/mp4": "isobmff",
    "video/quicktime": "isobmff",
    "video/3gpp": "isobmff",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpeg",
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/heic": "heif",
    "image/heif": "heif",
    "image/avif": "avif",
    "image/tiff": "tiff",
}
# By what ffprobe and Pillow call them.
_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "isobmff",
    "matroska,webm": "matroska",
    "avi": "avi",
    "mpeg": "mpeg",
    "mpegts": "mpeg",
    "mpegvideo": "mpeg",
}
_IMAGES = {
    "JPEG": "jpeg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "TIFF": "tiff",
    "AVIF": "avif",
    "HEIF": "heif",
}
_PREFIXES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpeg"),
)
_RIFF = {b"AVI ": "avi", b"WEBP": "webp"}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# QuickTime files older than the ftyp box begin with one of these.
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
_SECONDS_PER_MINUTE_OF_SOURCE = 300.0
_LEAST_CPU_SECONDS = 60
_CPU_SECONDS_OF_SOUND, _CPU_SECONDS_A_MEGAPIXEL = 0.5, 0.15
_UNKNOWN_FRAME_RATE = 60.0
_LEAST_OUTPUT_BYTES = 256 * 1024**2


def kind_of(content_type: str) -> MediaKind:
    """Return whether a declared type is of videos or images."""
    return MediaKind.VIDEO if content_type.startswith("video/") else MediaKind.IMAGE


def family_of(content_type: str) -> str | None:
    """Return the family of a declared MIME type, or None for one that is not accepted."""
    return _FAMILIES.get(content_type)


def family_of_container(format_name: str) -> str | None:
    """Return the family of what ffprobe calls a format, or None for one that is not accepted."""
    return _CONTAINERS.get(format_name)


def family_of_image(format_name: str) -> str | None:
    """Return the family of what Pillow calls a format, or None for one that is not accepted."""
    return _IMAGES.get(format_name)


def sniff(header: bytes, *, at_188: bytes = b"") -> str | None:
    """Return the family that a file's first bytes prove, or None; *at_188* helps with MPEG-TS."""
    for prefix, family in _PREFIXES:
        if header.startswith(prefix):
            return family
    if header[:4] == b"RIFF":
        return _RIFF.get(header[8:12])
    if header[:1] == b"G" and at_188[:1] == b"G":
        return "mpeg"
    return _sniff_boxes(header)


def _sniff_boxes(header: bytes) -> str | None:
    box, brand = header[4:8], header[8:12]
    if box in _QUICKTIME_ATOMS:
        return "isobmff"
    if box != b"ftyp":
        return None
    if brand in _AVIF_BRANDS:
        return "avif"
    if brand in _HEIF_BRANDS:
        # mif1 is the generic brand; the compatible ones that follow tell HEIC from AVIF.
        return "avif" if _AVIF_BRANDS & _compatible_brands(header) else "heif"
    return "isobmff"


def _compatible_brands(header: bytes) -> set[bytes]:
    length = min(int.from_bytes(header[:4], "big"), len(header))
    return {header[at : at + 4] for at in range(16, length, 4)}


@dataclass(frozen=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int


def fit_video(source: Size, *, max_long_side: int, max_short_side: int) -> Size:
    """
    Return the largest even size with the shape of *source* within the limits, never enlarged.

    H.264 with 4:2:0 chroma needs even sides; a side is at least two pixels.
    """
    long_side, short_side = max(source.width, source.height), min(source.width, source.height)
    scale = min(1.0, max_long_side / long_side, max_short_side / short_side)
    return Size(_even(source.width * scale), _even(source.height * scale))


def _even(side: float) -> int:
    return max(2, int(side / 2 + 1e-9) * 2)


def transcode_limit_seconds(duration_seconds: float | None) -> float:
    """Return how long a transcode may take: 5 minutes for each minute of source, at least 5."""
    minutes = (duration_seconds or 0.0) / 60
    return _SECONDS_PER_MINUTE_OF_SOURCE * max(1.0, minutes)


def transcode_cpu_seconds(duration_seconds: float, frame_rate: float | None, size: Size) -> int:
    """
    Return what a transcode may take on the CPU, of all its threads together.

    That is many times what the pixels of all frames cost; a film that claims fewer than it has
    ends there.
    """
    rate = frame_rate or _UNKNOWN_FRAME_RATE
    megapixels = duration_seconds * rate * size.width * size.height / 1_000_000
    seconds = _CPU_SECONDS_OF_SOUND * duration_seconds + _CPU_SECONDS_A_MEGAPIXEL * megapixels
    return math.ceil(_LEAST_CPU_SECONDS + seconds)


def most_output_bytes(source_bytes: int) -> int:
    """
    Return how large the rendition of a source may become: four times as large, at least 256 MiB.

    H.264 needs about twice the bytes of the best codecs of today; noise that a decoder makes up
    (AV1's film grain) has no bound.
    """
    return max(_LEAST_OUTPUT_BYTES, 4 * source_bytes)


def retry_delay_seconds(tries: int, *, base_seconds: float, jitter: float) -> float:
    """Return the wait before try *tries* + 1: base * 4^(tries-1), spread by *jitter* (0 to 1)."""
    delay: float = base_seconds * 4.0 ** max(0, tries - 1)
    return delay * (0.8 + 0.4 * jitter)

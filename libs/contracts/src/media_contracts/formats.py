"""
The accepted kinds of files: MIME types, families, first bytes, readers, file extensions.

A family has the MIME types that one container format serves: a camera's .mov declared as
video/mp4 is the same kind of file, a photo declared as a video is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from media_contracts.files import MediaKind

Magic = tuple[tuple[int, bytes], ...]
"""Bytes that a file has, each with its offset."""


@dataclass(frozen=True)
class Format:
    """
    One family.

    ``types`` has the file extensions of each MIME type. ``readers`` are the names that ffprobe,
    or for images Pillow, has for it. A file of the family begins with one of ``magics``, or with
    an ``ftyp`` box of one of ``brands``.
    """

    family: str
    kind: MediaKind
    types: Mapping[str, tuple[str, ...]]
    readers: tuple[str, ...]
    magics: tuple[Magic, ...] = ()
    brands: frozenset[bytes] = frozenset()


# The first that fits is it: byte 188 of a GIF may be a G, and a box may follow any four bytes.
FORMATS = (
    Format(
        "matroska",
        MediaKind.VIDEO,
        {"video/webm": (".webm",), "video/x-matroska": (".mkv",)},
        readers=("matroska,webm",),
        magics=(((0, b"\x1aE\xdf\xa3"),),),
    ),
    Format(
        "avi",
        MediaKind.VIDEO,
        {"video/x-msvideo": (".avi",)},
        readers=("avi",),
        magics=(((0, b"RIFF"), (8, b"AVI ")),),
    ),
    Format(
        "jpeg",
        MediaKind.IMAGE,
        {"image/jpeg": (".jpg", ".jpeg")},
        readers=("JPEG",),
        magics=(((0, b"\xff\xd8\xff"),),),
    ),
    Format(
        "png",
        MediaKind.IMAGE,
        {"image/png": (".png",)},
        readers=("PNG",),
        magics=(((0, b"\x89PNG\r\n\x1a\n"),),),
    ),
    Format(
        "webp",
        MediaKind.IMAGE,
        {"image/webp": (".webp",)},
        readers=("WEBP",),
        magics=(((0, b"RIFF"), (8, b"WEBP")),),
    ),
    Format(
        "gif",
        MediaKind.IMAGE,
        {"image/gif": (".gif",)},
        readers=("GIF",),
        magics=(((0, b"GIF87a"),), ((0, b"GIF89a"),)),
    ),
    Format(
        "tiff",
        MediaKind.IMAGE,
        {"image/tiff": (".tif", ".tiff")},
        readers=("TIFF",),
        magics=(((0, b"II*\x00"),), ((0, b"MM\x00*"),)),
    ),
    Format(
        "avif",
        MediaKind.IMAGE,
        {"image/avif": (".avif",)},
        readers=("AVIF",),
        brands=frozenset({b"avif", b"avis"}),
    ),
    Format(
        "heif",
        MediaKind.IMAGE,
        {"image/heic": (".heic",), "image/heif": (".heif",)},
        readers=("HEIF",),
        brands=frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}),
    ),
    Format(
        "mpeg",
        MediaKind.VIDEO,
        {"video/mpeg": (".mpg", ".mpeg", ".ts")},
        readers=("mpeg", "mpegts", "mpegvideo"),
        magics=(
            ((0, b"\x00\x00\x01\xba"),),
            ((0, b"\x00\x00\x01\xb3"),),
            ((0, b"G"), (188, b"G")),
        ),
    ),
    Format(
        "isobmff",
        MediaKind.VIDEO,
        {
            "video/mp4": (".mp4", ".m4v"),
            "video/quicktime": (".mov", ".qt"),
            "video/3gpp": (".3gp",),
        },
        readers=("mov,mp4,m4a,3gp,3g2,mj2",),
        # QuickTime files older than the ftyp box. An ftyp box of any brand but those below is one.
        magics=tuple(((4, atom),) for atom in (b"moov", b"mdat", b"wide", b"free", b"skip")),
    ),
)

_FAMILY_OF_TYPE = {name: one.family for one in FORMATS for name in one.types}
_FAMILY_OF_READER = {name: one.family for one in FORMATS for name in one.readers}

ACCEPTED_TYPES = frozenset(_FAMILY_OF_TYPE)
"""The MIME types that may be declared for an upload."""

TYPE_OF_EXTENSION = {
    extension: name for one in FORMATS for name, all_of in one.types.items() for extension in all_of
}


def kind_of(content_type: str) -> MediaKind:
    """Return whether a declared type is of videos or images."""
    return MediaKind.VIDEO if content_type.startswith("video/") else MediaKind.IMAGE


def family_of(content_type: str) -> str | None:
    """Return the family of a declared MIME type, or None for one that is not accepted."""
    return _FAMILY_OF_TYPE.get(content_type)


def family_of_reader(name: str) -> str | None:
    """Return the family of what ffprobe or Pillow call a format, or None for no accepted one."""
    return _FAMILY_OF_READER.get(name)


def readers(kind: MediaKind) -> tuple[str, ...]:
    """Return the names of the readers that may open files of a kind."""
    return tuple(name for one in FORMATS if one.kind is kind for name in one.readers)

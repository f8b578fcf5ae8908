"""
The accepted kinds of files: MIME types, families, first bytes, readers, file extensions.

A family has the MIME types that one container format serves: a camera's .mov declared as
video/mp4 is the same kind of file, a photo declared as a video is not. A container of both films
and sound has types of both kinds.
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
    types: Mapping[str, tuple[str, ...]]
    readers: tuple[str, ...]
    magics: tuple[Magic, ...] = ()
    brands: frozenset[bytes] = frozenset()

    def types_of(self, kind: MediaKind) -> list[str]:
        """Return its MIME types of one kind."""
        return [name for name in self.types if kind_of(name) is kind]


_QUICKTIME_ATOMS = (
    *(b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"PICT", b"junk", b"uuid"),
)

# The first that fits is it: byte 188 of a GIF may be a G, and a box may follow any four bytes.
FORMATS = (
    Format(
        "matroska",
        {"video/webm": (".webm",), "video/x-matroska": (".mkv",), "audio/webm": (".weba", ".mka")},
        readers=("matroska,webm",),
        magics=(((0, b"\x1aE\xdf\xa3"),),),
    ),
    Format(
        "avi",
        {"video/x-msvideo": (".avi",)},
        readers=("avi",),
        magics=(((0, b"RIFF"), (8, b"AVI ")),),
    ),
    Format(
        "wav",
        {"audio/wav": (".wav", ".wave")},
        readers=("wav",),
        # The latter two are of more than 4 GB.
        magics=tuple(((0, word), (8, b"WAVE")) for word in (b"RIFF", b"RF64", b"BW64")),
    ),
    Format(
        "aiff",
        {"audio/aiff": (".aif", ".aiff", ".aifc")},
        readers=("aiff",),
        magics=tuple(((0, b"FORM"), (8, word)) for word in (b"AIFF", b"AIFC")),
    ),
    Format(
        "flac",
        {"audio/flac": (".flac",)},
        readers=("flac",),
        magics=(((0, b"fLaC"),),),
    ),
    Format(
        "ogg",
        {"audio/ogg": (".ogg", ".oga", ".opus")},
        readers=("ogg",),
        magics=(((0, b"OggS"),),),
    ),
    Format(
        "aac",
        {"audio/aac": (".aac",)},
        readers=("aac",),
        # An ADTS header: MPEG-4 or MPEG-2, with a checksum or without.
        magics=tuple(((0, bytes([0xFF, flags])),) for flags in (0xF0, 0xF1, 0xF8, 0xF9)),
    ),
    Format(
        "mp3",
        {"audio/mpeg": (".mp3", ".mp2")},
        readers=("mp3",),
        # A tag, or a frame of layer III or II, of MPEG 1, 2 or 2.5.
        magics=(
            ((0, b"ID3"),),
            *(
                ((0, bytes([0xFF, flags])),)
                for flags in (
                    *(0xFA, 0xFB, 0xF2, 0xF3, 0xE2, 0xE3),
                    *(0xFC, 0xFD, 0xF4, 0xF5),
                )
            ),
        ),
    ),
    Format(
        "jpeg",
        {"image/jpeg": (".jpg", ".jpeg")},
        readers=("JPEG",),
        magics=(((0, b"\xff\xd8\xff"),),),
    ),
    Format(
        "png",
        {"image/png": (".png",)},
        readers=("PNG",),
        magics=(((0, b"\x89PNG\r\n\x1a\n"),),),
    ),
    Format(
        "webp",
        {"image/webp": (".webp",)},
        readers=("WEBP",),
        magics=(((0, b"RIFF"), (8, b"WEBP")),),
    ),
    Format(
        "gif",
        {"image/gif": (".gif",)},
        readers=("GIF",),
        magics=(((0, b"GIF87a"),), ((0, b"GIF89a"),)),
    ),
    Format(
        "tiff",
        {"image/tiff": (".tif", ".tiff")},
        readers=("TIFF",),
        # The latter two are BigTIFF.
        magics=tuple(((0, word),) for word in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")),
    ),
    Format(
        "avif",
        {"image/avif": (".avif",)},
        readers=("AVIF",),
        brands=frozenset({b"avif", b"avis"}),
    ),
    Format(
        "heif",
        {"image/heic": (".heic",), "image/heif": (".heif",)},
        readers=("HEIF",),
        brands=frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}),
    ),
    Format(
        "mpeg",
        {"video/mpeg": (".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob")},
        readers=("mpeg", "mpegts", "mpegvideo"),
        magics=(
            ((0, b"\x00\x00\x01\xba"),),
            ((0, b"\x00\x00\x01\xb3"),),
            ((0, b"G"), (188, b"G")),
            # Cameras have a time stamp before each packet, some receivers a checksum after it.
            ((4, b"G"), (196, b"G")),
            ((0, b"G"), (204, b"G")),
        ),
    ),
    Format(
        "isobmff",
        {
            "video/mp4": (".mp4", ".m4v"),
            "video/quicktime": (".mov", ".qt"),
            "video/3gpp": (".3gp",),
            "audio/mp4": (".m4a", ".m4b"),
        },
        readers=("mov,mp4,m4a,3gp,3g2,mj2",),
        # QuickTime files older than the ftyp box. An ftyp box of any brand but those below is one.
        magics=tuple(((4, atom),) for atom in _QUICKTIME_ATOMS),
    ),
)

_FAMILY_OF_TYPE = {name: one.family for one in FORMATS for name in one.types}
_FAMILY_OF_READER = {name: one.family for one in FORMATS for name in one.readers}

ACCEPTED_TYPES = frozenset(_FAMILY_OF_TYPE)
"""The MIME types that may be declared for an upload."""

ALIASES = {
    alias: name
    for name, aliases in {
        "image/jpeg": "image/jpg image/jpe image/jfif image/pjpeg image/pipeg image/x-jpeg"
        " image/x-jpg image/x-citrix-jpeg image/mpo image/vnd.jpeg",
        "image/png": "image/x-png image/apng image/vnd.mozilla.apng image/x-citrix-png",
        "image/webp": "image/x-webp",
        "image/gif": "image/x-gif",
        "image/tiff": "image/tif image/x-tif image/x-tiff image/tiff-fx",
        "image/avif": "image/avif-sequence image/avifs image/x-avif",
        "image/heic": "image/heic-sequence image/heics image/x-heic",
        "image/heif": "image/heif-sequence image/heifs image/x-heif",
        "video/mp4": "video/x-m4v video/m4v video/x-mp4 video/mp4v video/mp4v-es video/mpeg4"
        " video/vnd.objectvideo application/mp4",
        "video/quicktime": "video/mov video/x-mov video/x-quicktime",
        "video/3gpp": "video/3gp video/x-3gp video/x-3gpp video/3gpp2 video/3gp2 video/3g2",
        "video/webm": "video/x-webm application/webm",
        "video/x-matroska": "video/matroska video/mkv video/x-mkv video/matroska-3d"
        " video/x-matroska-3d application/x-matroska",
        "video/x-msvideo": "video/avi video/msvideo video/x-avi video/vnd.avi"
        " application/x-troff-msvideo",
        "video/mpeg": "video/mpg video/x-mpg video/x-mpeg video/x-mpeg2 video/mpeg2 video/mpeg-2"
        " video/x-mpeg-system video/mp1s video/mp2p video/mp2t video/mpegts video/x-mpegts"
        " video/ts video/mts video/m2ts video/x-mts video/x-m2ts video/avchd"
        " video/vnd.dlna.mpeg-tts video/vnd.mpegts",
        "audio/mpeg": "audio/mp3 audio/x-mp3 audio/mpeg3 audio/x-mpeg audio/x-mpeg-3 audio/mpg"
        " audio/x-mpg audio/mpa audio/mp2 audio/x-mp2",
        "audio/mp4": "audio/x-m4a audio/m4a audio/x-mp4 audio/mp4a-latm audio/x-m4b audio/m4b"
        " audio/3gpp audio/3gpp2",
        "audio/aac": "audio/x-aac audio/aacp audio/x-hx-aac-adts audio/vnd.dlna.adts",
        "audio/flac": "audio/x-flac",
        "audio/ogg": "audio/opus audio/vorbis audio/x-ogg audio/x-opus+ogg audio/x-vorbis+ogg"
        " application/ogg",
        "audio/wav": "audio/x-wav audio/wave audio/x-pn-wav audio/vnd.wave",
        "audio/webm": "audio/x-webm audio/matroska audio/x-matroska",
        "audio/aiff": "audio/x-aiff audio/aif audio/x-aifc",
    }.items()
    for alias in aliases.split()
}
"""Other names of accepted types, as clients send them, each with its plain one."""

TYPE_OF_EXTENSION = {
    extension: name for one in FORMATS for name, all_of in one.types.items() for extension in all_of
}


def plain_type(text: str) -> str | None:
    """
    Return the accepted MIME type that *text* names, or None where it names none.

    Case, parameters (``; codecs="…"``) and white space do not count, and aliases are resolved.
    """
    name = text.partition(";")[0].strip().lower()
    name = ALIASES.get(name, name)
    return name if name in ACCEPTED_TYPES else None


def kind_of(content_type: str) -> MediaKind:
    """Return what an accepted type is of: videos, images or sound."""
    return MediaKind(content_type.partition("/")[0])


def family_of(content_type: str) -> str | None:
    """Return the family of a declared MIME type, or None for one that is not accepted."""
    return _FAMILY_OF_TYPE.get(content_type)


def type_of_family(family: str, kind: MediaKind) -> str | None:
    """Return the first MIME type of a family for files of a kind; None where it has no such."""
    (found,) = (one for one in FORMATS if one.family == family)
    return next(iter(found.types_of(kind)), None)


def family_of_reader(name: str) -> str | None:
    """Return the family of what ffprobe or Pillow call a format, or None for no accepted one."""
    return _FAMILY_OF_READER.get(name)


def readers(*kinds: MediaKind) -> tuple[str, ...]:
    """Return the names of the readers that may open files of these kinds."""
    found = (one for one in FORMATS if any(map(one.types_of, kinds)))
    return tuple(name for one in found for name in one.readers)

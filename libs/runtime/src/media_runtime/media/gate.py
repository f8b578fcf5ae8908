"""
The trust gate, as far as it knows no films: what an upload is by its bytes, against its grant.

Each refusal has a code of its own and a sentence for the person who uploaded the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from media_contracts.errors import ErrorCode
from media_contracts.formats import FORMATS, family_of, family_of_reader, kind_of, type_of_family
from media_contracts.warnings import WarningCode
from media_runtime.errors import PermanentError
from media_runtime.media.pictures import ImageInfo

HEADER_BYTES = 64
_TS_PACKET = 188
_AVIF_BRANDS = next(one.brands for one in FORMATS if one.family == "avif")


class RefusedFileError(PermanentError):
    """The stored file is not what its grant allowed, or more than is worked on."""


@dataclass(frozen=True)
class Found:
    """What a file is by its bytes, and what clients are told of that."""

    family: str
    content_type: str
    warnings: tuple[WarningCode, ...] = ()


def sniff(header: bytes, *, at_188: bytes = b"") -> str | None:
    """
    Return the family that a file's first bytes prove, or None.

    *at_188* is what stands from there on: it helps with transport streams.
    """
    seen = header[:HEADER_BYTES].ljust(_TS_PACKET, b"\0") + at_188
    for one in FORMATS:
        for magic in one.magics:
            if all(seen.startswith(word, at) for at, word in magic):
                return one.family
    return _sniff_brands(header) if header[4:8] == b"ftyp" else None


def check_size(path: Path, declared: int) -> None:
    """Raise RefusedFileError unless the file has as many bytes as its grant allowed."""
    size = path.stat().st_size
    if size != declared:
        raise RefusedFileError(ErrorCode.SIZE_MISMATCH, size=size, declared=declared)


def found_of(family: str | None, declared: str, *, accept_other_types: bool) -> Found:
    """
    Return what a file of a *family* is; raises RefusedFileError unless its grant allowed it.

    One of another type than *declared*, but of the same kind, is taken as what it is where
    *accept_other_types*.
    """
    if family is not None and family == family_of(declared):
        return Found(family, declared)
    content_type = type_of_family(family, kind_of(declared)) if family else None
    if not accept_other_types or family is None or content_type is None:
        raise other_type(declared)
    return Found(family, content_type, (WarningCode.TYPE_DIFFERS,))


def other_type(declared: str) -> RefusedFileError:
    """Return the refusal of a file that is not what was *declared*."""
    return RefusedFileError(ErrorCode.TYPE_MISMATCH, declared=declared)


def check_image_file(path: Path, *, size: int, declared: str, accept_other_types: bool) -> Found:
    """Return what the image is; raises RefusedFileError unless it is what its grant allowed."""
    check_size(path, size)
    with path.open("rb") as file:
        family = sniff(file.read(HEADER_BYTES))
    return found_of(family, declared, accept_other_types=accept_other_types)


def check_image(info: ImageInfo, found: Found, *, declared: str, max_frames: int) -> None:
    """Raise RefusedFileError unless the image is what was *found*, of *max_frames* at most."""
    if family_of_reader(info.format) != found.family:
        raise other_type(declared)
    if info.frames > max_frames:
        raise RefusedFileError(ErrorCode.TOO_MANY_FRAMES, limit=max_frames)


def _sniff_brands(header: bytes) -> str:
    brand = header[8:12]
    family = next((one.family for one in FORMATS if brand in one.brands), "isobmff")
    # mif1 is the generic brand; the compatible ones that follow tell HEIC from AVIF.
    if family == "heif" and _AVIF_BRANDS & _compatible_brands(header):
        return "avif"
    return family


def _compatible_brands(header: bytes) -> set[bytes]:
    length = min(int.from_bytes(header[:4], "big"), len(header))
    return {header[at : at + 4] for at in range(16, length, 4)}

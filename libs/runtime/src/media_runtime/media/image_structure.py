"""
What an image costs to open, read from its structure before any decoder sees it.

Invariant: reading decodes nothing, and takes less time than decoding would.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import pairwise
from mmap import mmap
from typing import TypeAlias

from media_contracts.errors import ErrorCode
from media_runtime.errors import PermanentError

MAX_SCANS = 100
# Each scan visits every block of the picture again. Encoders make about 10, the most patient
# 20; only where the picture is small are more of them cheap.
_FULL_SIZE_SCANS = 25
# How many times the bytes of a file its own tables may refer to.
_MAX_OVERLAP = 4
_MAX_TAGS = 4096
_MAX_STRIPS = 1_000_000

Data: TypeAlias = bytes | mmap

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# Within entropy-coded data, 0xFF stands before 0 or a restart marker.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_LITTLE_ENDIAN = b"II"
_SHORT, _LONG = 3, 4
_COMPRESSION, _STRIP_BYTES, _TILE_BYTES = 259, 279, 325
_NOT_COMPRESSED = 1


class CostlyImageError(PermanentError):
    """
    The structure of an image makes it cost far more than its size; ``detail`` is for logs.

    Codes: ``too_many_scans``, ``unreadable_image``.
    """


def check_jpeg(data: Data, most_pixels: int) -> int:
    """
    Return in how many scans a JPEG's picture is coded.

    Raises CostlyImageError where those are far more than encoders make.
    *most_pixels* is what an image may have: the more pixels, the fewer scans.
    """
    start = data.find(bytes([0xFF, _SOS]))
    # What a scan begins with can be nowhere in the coded data: this is the most there can be.
    scans = _count(data, bytes([0xFF, _SOS]), start, _FULL_SIZE_SCANS) if start >= 0 else 1
    if scans < _FULL_SIZE_SCANS:
        return scans
    pixels, scans = 0, 0
    for marker, content in _segments(data):
        if marker in _FRAMES and not pixels:
            height, width = struct.unpack(">HH", data[content + 1 : content + 5].ljust(4, b"\0"))
            pixels = height * width
        scans += marker == _SOS
        if scans > MAX_SCANS or scans * pixels > _FULL_SIZE_SCANS * most_pixels:
            raise CostlyImageError(ErrorCode.TOO_MANY_SCANS)
    return scans


def count_tiff_pages(data: Data, most: int) -> int:
    """
    Return how many pages a TIFF has, as far as *most* + 1; raises CostlyImageError.

    They are counted by the chain of their directories. Those that overlap, or have tags by the
    thousand, are no camera's and no scanner's; nor are strips that share their bytes.
    """
    order = "<" if data[:2] == _LITTLE_ENDIAN else ">"
    places: list[tuple[int, int]] = []
    at = _number(data, order + "I", 4)
    while at and len(places) <= most:
        tags = _number(data, order + "H", at)
        end = at + 2 + 12 * tags + 4
        if tags > _MAX_TAGS:
            raise _absurd("a directory of thousands of tags")
        if end > len(data):
            break  # a file that was cut has the pages before
        places.append((at, end))
        at = _number(data, order + "I", end - 4)
    if _overlap(places):
        raise _absurd("directories that overlap")
    if places:
        _check_strips(data, order, *places[0])
    return max(1, len(places))


def _check_strips(data: Data, order: str, start: int, end: int) -> None:
    # Of a tag that comes twice, decoders take the first.
    tags = {
        tag: (kind, count, at)
        for at in reversed(range(start + 2, end - 4, 12))
        for tag, kind, count in struct.iter_unpack(order + "HHI", data[at : at + 8])
    }
    _, _, at = tags.get(_COMPRESSION, (0, 0, 0))
    if at and _number(data, order + "H", at + 8) == _NOT_COMPRESSED:
        return
    for tag in (_STRIP_BYTES, _TILE_BYTES):
        kind, count, at = tags.get(tag, (0, 0, 0))
        size = {_SHORT: 2, _LONG: 4}.get(kind, 0)
        if count > _MAX_STRIPS:
            raise _absurd("strips by the million")
        if size * count <= 4 or not size:  # noqa: PLR2004 - it stands in the tag itself
            continue
        values = _number(data, order + "I", at + 8)
        table = data[values : values + size * count]
        table = table[: len(table) // size * size]
        letter = "H" if kind == _SHORT else "I"
        total = sum(value for (value,) in struct.iter_unpack(order + letter, table))
        if total > _MAX_OVERLAP * len(data):
            raise _absurd("strips that share their bytes")


def _segments(data: Data) -> Iterator[tuple[int, int]]:
    """Yield each marker of a JPEG's first picture and where its content begins."""
    at, size = 2, len(data)
    while found := _MARKER.search(data, at):
        marker, content = data[found.start() + 1], found.end()
        if marker == _EOI:
            return
        yield marker, content + 2
        if marker in _WITHOUT_LENGTH:
            at = content
        elif content + 2 > size:
            return
        else:
            at = content + max(2, int.from_bytes(data[content : content + 2], "big"))


def _count(data: Data, words: bytes, start: int, most: int) -> int:
    count = 0
    while count < most and start >= 0:
        count += 1
        start = data.find(words, start + len(words))
    return count


def _overlap(places: list[tuple[int, int]]) -> bool:
    ordered = sorted(places)
    return any(end > start for (_, end), (start, _) in pairwise(ordered))


def _number(data: Data, form: str, at: int) -> int:
    """Return a number, or 0 where the file ends before it."""
    word = data[at : at + struct.calcsize(form)]
    return int(struct.unpack(form, word)[0]) if len(word) == struct.calcsize(form) else 0


def _absurd(detail: str) -> CostlyImageError:
    return CostlyImageError(ErrorCode.UNREADABLE_IMAGE, detail=detail)

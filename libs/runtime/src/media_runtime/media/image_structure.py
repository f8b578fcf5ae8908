"""
What an image costs to open, read from its structure before any decoder sees it.

Invariant: reading decodes nothing, and takes less time than decoding would.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from mmap import mmap
from typing import Self, TypeAlias

from media_contracts.errors import ErrorCode
from media_runtime.errors import PermanentError

MAX_SCANS = 100
# Each scan visits every block of the picture again. Encoders make about 10, the most patient
# 20; only where the picture is small are more of them cheap.
_USUAL_SCANS, _SCANNED_PIXELS = 20, 25 * 40_000_000
# How many times the bytes of a file its own tables may refer to.
_MAX_OVERLAP = 4
_MAX_TAGS = 4096
_MAX_STRIPS = 1_000_000

Data: TypeAlias = bytes | mmap

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_END_OF_JPEG = bytes([0xFF, _EOI])
_COEFFICIENTS = 64
# Writers append zeros to a GIF, up to a whole block.
_TRAILER = 4096
# A PNG has its pixels in chunks of 8 kB or more.
_MOST_CHUNKS, _STEP = 200_000, 1024**2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# Within entropy-coded data, 0xFF stands before 0 or a restart marker.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_LITTLE_ENDIAN = b"II"
_SHORT, _LONG, _LONG8 = 3, 4, 16
_BIG_TIFF = 43
_COMPRESSION, _STRIP_BYTES, _TILE_BYTES = 259, 279, 325
_NOT_COMPRESSED = 1


class CostlyImageError(PermanentError):
    """
    The structure of an image makes it cost far more than its size; ``detail`` is for logs.

    Codes: ``too_many_scans``, ``unreadable_image``.
    """


def check_jpeg(data: Data) -> int:
    """
    Return in how many scans a JPEG's picture is coded.

    Raises CostlyImageError where those are far more than encoders make: the more pixels, the
    fewer scans.
    """
    start = data.find(bytes([0xFF, _SOS]))
    # What a scan begins with can be nowhere in the coded data: this is the most there can be.
    scans = _count(data, bytes([0xFF, _SOS]), start, _USUAL_SCANS) if start >= 0 else 1
    if scans < _USUAL_SCANS:
        return scans
    pixels, scans = 0, 0
    for marker, content in _segments(data):
        if marker in _FRAMES and not pixels:
            height, width = struct.unpack(">HH", data[content + 1 : content + 5].ljust(4, b"\0"))
            pixels = height * width
        scans += marker == _SOS
        is_costly = scans > _USUAL_SCANS and scans * pixels > _SCANNED_PIXELS
        if scans > MAX_SCANS or is_costly:
            raise CostlyImageError(ErrorCode.TOO_MANY_SCANS)
    return scans


def has_all_scans(data: Data) -> bool:
    """
    Return whether the scans of a JPEG, together, say all of each of its components.

    A progressive one that was cut between two scans is decoded in full, but in a blur.
    """
    whole: dict[int, set[int]] = {}
    components: set[int] = set()
    for marker, content in _segments(data):
        if marker in _FRAMES and not components:
            count = min(data[content + 5], (len(data) - content - 6) // 3)
            components = {data[content + 6 + 3 * number] for number in range(count)}
        if marker == _SOS and content < len(data):
            end = content + 1 + 2 * data[content]
            if end + 3 > len(data):
                break
            first, last, accuracy = data[end], data[end + 1], data[end + 2] & 0x0F
            if accuracy == 0:
                for at in range(content + 1, end, 2):
                    whole.setdefault(data[at], set()).update(range(first, last + 1))
    return bool(components) and all(len(whole.get(one, ())) >= _COEFFICIENTS for one in components)


def is_damaged(data: Data, file_format: str) -> bool:
    """Return whether something is wrong with an image that decoding its pixels does not show."""
    if file_format == "PNG":
        return not _has_true_checksums(data)
    if file_format == "JPEG":
        start = data.find(bytes([0xFF, _SOS]))
        return data[-2:] != _END_OF_JPEG and data.rfind(_END_OF_JPEG) < start
    if file_format == "GIF":
        return not data[-_TRAILER:].rstrip(b"\0").endswith(b";")
    if file_format == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    return False


def _has_true_checksums(png: Data) -> bool:
    at = 8
    for _ in range(_MOST_CHUNKS):
        size, name = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        end = at + 8 + size
        if end + 4 > len(png):
            return False
        told = 0
        for start in range(at + 4, end, _STEP):
            told = zlib.crc32(png[start : min(start + _STEP, end)], told)
        if told != int.from_bytes(png[end : end + 4], "big"):
            return False
        if name == b"IEND":
            return True
        at = end + 4
    return True


@dataclass(frozen=True)
class _Layout:
    """How the directories of a TIFF are written: a BigTIFF has wider numbers in all places."""

    order: str
    first: int
    count: str
    value: str

    @classmethod
    def of(cls, data: Data) -> Self:
        order = "<" if data[:2] == _LITTLE_ENDIAN else ">"
        if _number(data, order + "H", 2) == _BIG_TIFF:
            return cls(order, 8, order + "Q", order + "Q")
        return cls(order, 4, order + "H", order + "I")

    @property
    def tag(self) -> str:
        return self.order + "HH" + self.value[-1]

    @property
    def tag_bytes(self) -> int:
        return struct.calcsize(self.tag) + struct.calcsize(self.value)


def count_tiff_pages(data: Data, most: int) -> tuple[int, bool]:
    """
    Return how many pages a TIFF has, as far as *most* + 1, and whether their chain is whole.

    Raises CostlyImageError.

    They are counted by the chain of their directories. Those that overlap, or have tags by the
    thousand, are no camera's and no scanner's; nor are strips that share their bytes.
    """
    layout = _Layout.of(data)
    places: list[tuple[int, int]] = []
    at = _number(data, layout.value, layout.first)
    is_whole = True
    while at and len(places) <= most:
        tags = _number(data, layout.count, at)
        link = at + struct.calcsize(layout.count) + layout.tag_bytes * tags
        end = link + struct.calcsize(layout.value)
        if tags > _MAX_TAGS:
            raise _absurd("a directory of thousands of tags")
        if end > len(data):
            is_whole = False  # a file that was cut has the pages before
            break
        places.append((at, end))
        at = _number(data, layout.value, link)
    if _overlap(places):
        raise _absurd("directories that overlap")
    if places:
        _check_strips(data, layout, *places[0])
    return max(1, len(places)), is_whole


def _check_strips(data: Data, layout: _Layout, start: int, end: int) -> None:
    order, field = layout.order, struct.calcsize(layout.tag)
    # Of a tag that comes twice, decoders take the first.
    tags = {
        tag: (kind, count, at)
        for at in reversed(
            range(
                start + struct.calcsize(layout.count),
                end - struct.calcsize(layout.value),
                layout.tag_bytes,
            )
        )
        for tag, kind, count in struct.iter_unpack(layout.tag, data[at : at + field])
    }
    _, _, at = tags.get(_COMPRESSION, (0, 0, 0))
    if at and _number(data, order + "H", at + field) == _NOT_COMPRESSED:
        return
    for tag in (_STRIP_BYTES, _TILE_BYTES):
        kind, count, at = tags.get(tag, (0, 0, 0))
        size = {_SHORT: 2, _LONG: 4, _LONG8: 8}.get(kind, 0)
        if count > _MAX_STRIPS:
            raise _absurd("strips by the million")
        if size * count <= struct.calcsize(layout.value) or not size:
            continue  # it stands in the tag itself
        values = _number(data, layout.value, at + field)
        table = data[values : values + size * count]
        table = table[: len(table) // size * size]
        letter = {2: "H", 4: "I", 8: "Q"}[size]
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

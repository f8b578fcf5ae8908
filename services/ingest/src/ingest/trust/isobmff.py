"""
The boxes of an ISO base media file (ISO/IEC 14496-12), read as far as ingest cares.

Invariant: reading is bounded in boxes, depth and bytes, whatever the file claims.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Of the file itself, which a recording in fragments of a second has many of; and on the way to
# the sample entries.
_MOST_BOXES = 100_000
_MOST_ON_THE_WAY = 10_000
_SHORT_HEADER, _LONG_HEADER = 8, 16
# Sample entries of protected streams (ISO/IEC 14496-12, 8.12).
_PROTECTED = frozenset({b"encv", b"enca", b"encs", b"enct"})
_MEDIA = frozenset({b"mdat", b"moov", b"moof"})
_PATH_TO_ENTRIES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_PATH_TO_SIZES = (*_PATH_TO_ENTRIES[:-1], b"stsz")
_FULL_BOX_AND_COUNT = 8


@dataclass(frozen=True)
class Layout:
    """
    ``is_truncated``: a box reaches beyond the end. ``is_encrypted``: a track is protected.

    ``whole_part`` is how much of what the boxes claim is there; nothing without the index.
    """

    is_truncated: bool
    is_encrypted: bool
    whole_part: float = 1.0


@dataclass(frozen=True)
class Box:
    """What it is, and between which positions its content stands."""

    kind: bytes
    start: int
    end: int


def read(path: Path) -> Layout:
    """Return what the boxes of the file at *path* say; broken ones are left to the demuxer."""
    size = path.stat().st_size
    with path.open("rb") as file:
        entries = Reader(file, _MOST_ON_THE_WAY).entries(size)
        encrypted = any(kind in _PROTECTED for kind in entries)
        # Bytes that somebody appended are no box, whatever length they spell.
        boxes = [box for box in Reader(file, _MOST_BOXES).boxes(0, size) if box.kind in _MEDIA]
        end = max((box.end for box in boxes), default=0)
        indexed = any(box.kind == b"moov" and box.end <= size for box in boxes)
        part = min(1.0, size / end) if end else 1.0
        return Layout(end > size, encrypted, part if indexed else 0.0)


def samples_in(path: Path) -> list[int]:
    """Return how many samples each track of a film has, by its index."""
    with path.open("rb") as file:
        counts = []
        # Behind a version, flags and the size that all of them may have.
        for box in Reader(file, _MOST_ON_THE_WAY).find(_PATH_TO_SIZES, 0, path.stat().st_size):
            file.seek(box.start + _FULL_BOX_AND_COUNT)
            counts.append(int.from_bytes(file.read(4), "big"))
        return counts


class Reader:
    """Reads box headers; after so many of them it sees no more."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._left = most

    @property
    def is_spent(self) -> bool:
        """Whether there may be more than it saw."""
        return self._left <= 0

    def boxes(self, start: int, end: int) -> Iterator[Box]:
        """Yield the boxes between two positions; the last may claim to end later."""
        # A length may be more than any file's, which no system seeks to.
        end = min(end, self._size)
        while start + _SHORT_HEADER <= end and self._left > 0:
            self._left -= 1
            self._file.seek(start)
            header = self._file.read(_LONG_HEADER)
            length, kind, content = int.from_bytes(header[:4], "big"), header[4:8], _SHORT_HEADER
            if length == 1:  # 64 bits follow
                length, content = int.from_bytes(header[8:16], "big"), _LONG_HEADER
            elif length == 0:  # to the end of what holds it
                length = end - start
            if length < content:
                return
            yield Box(kind, start + content, start + length)
            start += length

    def entries(self, size: int) -> Iterator[bytes]:
        """Yield the kinds of all tracks' sample entries."""
        for box in self.find(_PATH_TO_ENTRIES, 0, size):
            # A sample description begins with a version, flags and a count of entries.
            start = box.start + _FULL_BOX_AND_COUNT
            yield from (entry.kind for entry in self.boxes(start, min(box.end, size)))

    def find(self, path: Sequence[bytes], start: int, end: int) -> Iterator[Box]:
        """Yield the boxes that *path* leads to, from those between two positions on."""
        for box in self.boxes(start, end):
            if box.kind != path[0]:
                continue
            if len(path) == 1:
                yield box
            else:
                yield from self.find(path[1:], box.start, min(box.end, end))

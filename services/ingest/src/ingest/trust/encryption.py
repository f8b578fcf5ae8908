"""
Whether a Matroska file or a transport stream is encrypted, told by its first bytes.

Invariant: reading is bounded in elements, depth and bytes, whatever the file claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ingest.trust.transport import SYNC, packets

_MOST_ELEMENTS = 10_000
_HEAD_BYTES = 16
_LONGEST_ID, _LONGEST_SIZE = 4, 8
# Segment, Tracks, TrackEntry, ContentEncodings, ContentEncoding, ContentEncryption (RFC 9559).
_PATH = (
    b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\x6d\x80", b"\x62\x40", b"\x50\x35",
)  # fmt: skip
_CLUSTER = b"\x1f\x43\xb6\x75"
_LONGEST_PACKET = 204
_MOST_PACKETS = 10_000


def is_encrypted(path: Path, family: str) -> bool:
    """Return whether the file at *path*, of the *family* that was sniffed, is encrypted."""
    with path.open("rb") as file:
        if family == "matroska":
            return any(_Reader(file).found(_PATH, 0, path.stat().st_size))
        return _is_scrambled(file.read(_LONGEST_PACKET * _MOST_PACKETS))


def _is_scrambled(stream: bytes) -> bool:
    """Return whether most packets of a transport stream (ISO/IEC 13818-1) say so of themselves."""
    found = packets(stream)
    if found is None:
        return False
    packet, start = found
    heads = [
        stream[at + 3] >> 6 for at in range(start, len(stream) - 3, packet) if stream[at] == SYNC
    ]
    return 2 * sum(map(bool, heads)) > len(heads)


class _Reader:
    """Reads heads of EBML elements; after _MOST_ELEMENTS of them it sees no more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_ELEMENTS

    def found(self, path: tuple[bytes, ...], start: int, end: int) -> Iterator[bool]:
        """Yield True for each element at *path* between two positions."""
        for name, content, after in self._elements(start, end):
            if name != path[0]:
                continue
            if len(path) == 1:
                yield True
            else:
                yield from self.found(path[1:], content, after)

    def _elements(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        while start < end and self._left > 0:
            self._left -= 1
            self._file.seek(start)
            head = self._file.read(_HEAD_BYTES)
            name_length = _length(head[:1], _LONGEST_ID)
            size_length = _length(head[name_length : name_length + 1], _LONGEST_SIZE)
            if not (name_length and size_length):
                return
            name, content = head[:name_length], start + name_length + size_length
            bits = 7 * size_length
            size = int.from_bytes(head[name_length : name_length + size_length], "big")
            size &= (1 << bits) - 1
            # All ones: to the end of what holds it.
            after = end if size == (1 << bits) - 1 else min(content + size, end)
            if name == _CLUSTER:
                return  # tracks come before media
            yield name, content, after
            start = after


def _length(first: bytes, longest: int) -> int:
    """Return of how many bytes a number of EBML is, or 0 where it is none."""
    length = 9 - first[0].bit_length() if first else 0
    return length if length <= longest else 0

"""
How much of a film or a sound is there, told by what its container says of its own length.

Invariant: reading is bounded in chunks and bytes, whatever the file claims.
"""

from __future__ import annotations

import struct
from pathlib import Path

_MOST_CHUNKS = 10_000
_HEAD_BYTES = 16
_SEGMENT = b"\x18\x53\x80\x67"
_UNKNOWN = 0xFFFFFFFF
_NOT_CLOSED = frozenset({0, _UNKNOWN})
_SOUND_DATA = frozenset({b"data", b"SSND"})


def part_of_matroska(path: Path) -> float:
    """Return which part of the file at *path* is there, by the length of its segment."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = 0
        for _ in range(_MOST_CHUNKS):
            # A length may be more than any file's, which no system seeks to.
            if start >= size:
                break
            file.seek(start)
            name, length, content = _element(file.read(_HEAD_BYTES))
            if not content or length is None:
                break
            start += content + length
            if name == _SEGMENT:
                return min(1.0, size / start)
    return 1.0


def part_of_avi(path: Path) -> float:
    """
    Return which part of the file at *path* is there, by its lists of media and its indexes.

    The length of the whole is no proof: writers count it wrongly, and no player minds.
    """
    size, start, end = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        for _ in range(_MOST_CHUNKS):
            file.seek(start)
            head = file.read(8)
            if len(head) < 8:  # noqa: PLR2004 - a name and a length
                break
            kind, length = struct.unpack("<4sI", head)
            if kind == b"RIFF":
                start += 12
                continue
            # What somebody appended is no chunk, whatever length it spells.
            if kind not in {b"LIST", b"idx1", b"JUNK"} or length in _NOT_CLOSED:
                break
            start += 8 + length + length % 2
            end = start - length % 2
    return min(1.0, size / end) if end else 1.0


def part_of_wav_or_aiff(path: Path) -> float:
    """Return which part of the file at *path* is there, by the length of its sound."""
    size, start, length_of_data = path.stat().st_size, 12, _UNKNOWN
    with path.open("rb") as file:
        order = ">" if file.read(4) == b"FORM" else "<"
        for _ in range(_MOST_CHUNKS):
            file.seek(start)
            head = file.read(8)
            if len(head) < 8:  # noqa: PLR2004 - a name and a length
                break
            kind, length = struct.unpack(f"{order}4sI", head)
            if kind == b"ds64":  # the lengths of what has more than 4 GB: of all, and of the sound
                length_of_data = int.from_bytes(file.read(16)[8:], "little")
            if kind in _SOUND_DATA:
                length = length_of_data if length == _UNKNOWN else length
                return 1.0 if length in _NOT_CLOSED else min(1.0, size / (start + 8 + length))
            start += 8 + length + length % 2
    return 1.0


def _element(head: bytes) -> tuple[bytes, int | None, int]:
    """Return name, length (None: to the end) and head length of an EBML element; 0 of no one."""
    name_length = 9 - head[0].bit_length() if head and head[0] else 0
    size_byte = head[name_length : name_length + 1]
    size_length = 9 - size_byte[0].bit_length() if name_length and size_byte and size_byte[0] else 0
    if not size_length or name_length + size_length > len(head):
        return b"", None, 0
    ones = (1 << 7 * size_length) - 1
    length = int.from_bytes(head[name_length : name_length + size_length], "big") & ones
    return head[:name_length], None if length == ones else length, name_length + size_length

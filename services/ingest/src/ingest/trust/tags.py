"""
Tags that stand before the sound of a file (ID3v2, id3.org).

Invariant: reading is bounded in tags, whatever the file claims.
"""

from __future__ import annotations

from typing import BinaryIO

_MOST_TAGS = 8
_HEADER_BYTES, _FLAGS_AT, _SIZE_AT = 10, 5, 6
_HAS_FOOTER = 0x10


def behind_tags(file: BinaryIO) -> int:
    """Return where the tags at the beginning of *file* end; 0 where there are none."""
    end = 0
    for _ in range(_MOST_TAGS):
        file.seek(end)
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(b"ID3"):
            break
        # Seven bits of each byte count: no size looks like a frame of sound.
        size = 0
        for byte in header[_SIZE_AT:]:
            size = size << 7 | byte & 0x7F
        footer = _HEADER_BYTES if header[_FLAGS_AT] & _HAS_FOOTER else 0
        end += _HEADER_BYTES + size + footer
    return end

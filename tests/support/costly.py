"""
Small files that cost a decoder minutes: their own tables make it decode the same bytes again.

Each function returns a file's bytes; what its arguments make of it is in the tests.
"""

from __future__ import annotations

import struct
import zlib

_END_OF_BAND_RUN = 32_767
_RUN_BITS = 14


def jpeg_of_scans(scans: int, *, side: int = 6300) -> bytes:
    """Return a progressive JPEG of so many scans, each of which goes through all of it."""
    head = struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\0"
    # One code, of one bit: a run of blocks in which nothing changes.
    code = b"\x10\x01" + bytes(15) + bytes([_RUN_BITS << 4])
    runs = _end_of_band_runs(((side + 7) // 8) ** 2)
    # The second scan and all after it refine, which visits each coefficient.
    first, others = (_segment(0xDA, b"\x01\x01\x00\x01\x3f" + bits) for bits in (b"\x01", b"\x10"))
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\0" + b"\x01" * 64),
            _segment(0xC2, head),
            _segment(0xC4, code),
            first + runs,
            (others + runs) * (scans - 1),
            b"\xff\xd9",
        )
    )


def tiff_of_overlapping_directories(*, pages: int = 3000, tags: int = 3100) -> bytes:
    """
    Return a TIFF whose directories begin one tag apart and share nearly all of their tags.

    A directory's length stands in the value of the tag before it.
    """
    filler = struct.pack("<HHIHH", 0, 0, 0, 0, tags)
    real = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in _page(pixels=0))
    entries = filler * (tags - len(real) // 12) + real
    start = 8 + 12
    following = (start + 12 * page - 2 for page in range(1, pages))
    links = b"".join(struct.pack("<IQ", place, 0) for place in following)
    return b"II*\0" + struct.pack("<I", start - 2) + filler + entries + links + bytes(12)


def tiff_of_pages(pages: int, *, back_to: int | None = None) -> bytes:
    """Return a TIFF of small grey pages; its last leads back to page *back_to*."""
    place, size = 8, 8 * 12 + 6 + 8
    file = bytearray(b"II*\0\x08\0\0\0")
    for page in range(pages):
        start = place + size * page
        following = start + size
        if page == pages - 1:
            following = 0 if back_to is None else place + size * back_to
        pixels = start + size - 8
        tags = _page(pixels)
        file += struct.pack("<H", len(tags))
        file += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        file += struct.pack("<I", following) + bytes(8)
    return bytes(file)


def tiff_of_shared_strips(*, rows: int = 16_000, strip_bytes: int = 80_000) -> bytes:
    """Return a deflated TIFF of one strip a row, all of which are the same long nothing."""
    row = bytes(64)
    nothing = b"\x78\x9c" + b"\0\0\0\xff\xff" * (strip_bytes // 5)
    nothing += b"\x01\x40\0\xbf\xff" + row + struct.pack(">I", zlib.adler32(row))
    tags: list[tuple[int, int, int]] = [
        (256, 1, 64), (257, 1, rows), (258, 1, 8), (259, 1, 8), (262, 1, 1), (277, 1, 1),
        (273, rows, 0), (278, 1, 1), (279, rows, 0),
    ]  # fmt: skip
    tags.sort()
    start = 8 + len(nothing)
    tables = start + 2 + 12 * len(tags) + 4
    file = b"II*\0" + struct.pack("<I", start) + nothing + struct.pack("<H", len(tags))
    values = {273: tables, 279: tables + 4 * rows}
    for tag, count, value in tags:
        file += struct.pack("<HHII", tag, 4, count, values.get(tag, value))
    file += struct.pack("<I", 0) + struct.pack("<I", 8) * rows
    return file + struct.pack("<I", len(nothing)) * rows


def _page(pixels: int) -> tuple[tuple[int, int], ...]:
    return (256, 8), (257, 1), (258, 8), (259, 1), (262, 1), (273, pixels), (278, 1), (279, 8)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _end_of_band_runs(blocks: int) -> bytes:
    bits = ""
    while blocks > 0:
        run = max(min(blocks, _END_OF_BAND_RUN), 1 << _RUN_BITS)
        bits += "0" + format(run - (1 << _RUN_BITS), f"0{_RUN_BITS}b")
        blocks -= run
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

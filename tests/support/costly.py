"""
Small files that cost a decoder minutes: their own tables make it decode the same bytes again.

Each function returns a file's bytes; what its arguments make of it is in the tests.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from support.media_files import make_video
from support.tripwires import box

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


def film_of_one_frame(folder: Path, *, times: int, size: str = "3840x2160") -> bytes:
    """Return an MP4 of one frame that its index names so many times."""
    frame, description = _one_frame(folder, size)
    sizes = box(b"stsz", struct.pack(">III", 0, len(frame), times))
    return _film(frame, description, times=times, sizes=sizes)


def film_of_tiny_frames(folder: Path, *, times: int) -> bytes:
    """Return an MP4 of frames of 15 bytes, whose sizes take half a byte each."""
    _, description = _one_frame(folder, "640x360")
    sizes = box(b"stz2", struct.pack(">III", 0, 4, times) + b"\xff" * ((times + 1) // 2))
    return _film(bytes(15), description, times=times, sizes=sizes, per_chunk=times)


def film_of_edits(folder: Path, *, edits: int, seconds: float = 10, size: str = "640x360") -> bytes:
    """Return an MP4 whose edit list shows all of it so many times."""
    path = folder / "edited.mp4"
    make_video(path, size=size, seconds=seconds, sound=False)
    whole = path.read_bytes()
    listed = struct.pack(">IiI", round(seconds * 1000), 0, 1 << 16) * edits
    table = box(b"edts", box(b"elst", struct.pack(">II", 0, edits) + listed))
    old = _found(whole, b"edts")
    grown = whole.replace(old, table)
    for kind in (b"moov", b"trak"):
        at = grown.index(kind) - 4
        length = int.from_bytes(grown[at : at + 4], "big") + len(table) - len(old)
        grown = grown[:at] + struct.pack(">I", length) + grown[at + 4 :]
    return grown


def film_of_one_fragment(folder: Path, *, times: int, size: str = "3840x2160") -> bytes:
    """Return a fragmented MP4, each of whose fragments names the same frame."""
    frame, description = _one_frame(folder, size)
    tables = (description, *(box(kind, bytes(8)) for kind in (b"stts", b"stsc", b"stco")))
    defaults = struct.pack(">IIIIII", 0, 1, 1, 1, len(frame), 0)
    movie = _movie((*tables, box(b"stsz", bytes(12))), 0, box(b"mvex", box(b"trex", defaults)))
    head = box(b"ftyp", b"isom\0\0\2\0isom") + movie + box(b"mdat", frame)
    place = len(head) - len(frame)
    runs = b""
    for number in range(times):
        track = box(b"tfhd", struct.pack(">IIQ", 1, 1, place))
        track += box(b"tfdt", struct.pack(">II", 0, number))
        track += box(b"trun", struct.pack(">II", 0, 1))
        runs += box(b"moof", box(b"mfhd", struct.pack(">II", 0, number)) + box(b"traf", track))
    return head + runs


def avi_of_one_frame(folder: Path, *, times: int) -> bytes:
    """Return an AVI whose index names its only frame so many times."""
    path = folder / "one-frame.avi"
    make_video(path, size="1280x720", seconds=0.04, sound=False, options=("-c:v", "mjpeg"))
    whole = path.read_bytes()
    at = whole.index(b"idx1")
    entry = whole[at + 8 : at + 24]
    index = b"idx1" + struct.pack("<I", 16 * times) + entry * times
    return b"RIFF" + struct.pack("<I", at + len(index) - 8) + whole[8:at] + index


def avi_of_one_index(folder: Path, *, times: int) -> bytes:
    """Return an AVI whose OpenDML index names the index of its only frame so many times."""
    whole = avi_of_one_frame(folder, times=1)
    at = whole.index(b"idx1")
    frame = whole.index(b"00dc", whole.index(b"movi"))
    length = int.from_bytes(whole[frame + 4 : frame + 8], "little")
    inner = struct.pack("<HBBI4sQIII", 2, 0, 1, 1, b"00dc", 0, 0, frame + 8, length)
    outer = struct.pack("<HBBI4s12x", 4, 0, 0, times, b"00dc")
    outer += struct.pack("<QII", at, len(inner) + 8, 1) * times
    added = b"ix00" + struct.pack("<I", len(inner)) + inner
    added += b"LIST" + struct.pack("<I", len(outer) + 12) + b"strl"
    added += b"indx" + struct.pack("<I", len(outer)) + outer
    return b"RIFF" + struct.pack("<I", at + len(added) - 8) + whole[8:at] + added


def _film(
    frame: bytes, description: bytes, *, times: int, sizes: bytes, per_chunk: int = 1
) -> bytes:
    head = box(b"ftyp", b"isom\0\0\2\0isom")
    chunks = times // per_chunk
    tables = (
        description,
        box(b"stts", struct.pack(">IIII", 0, 1, times, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, per_chunk, 1)),
        sizes,
        box(b"stco", struct.pack(">II", 0, chunks) + struct.pack(">I", len(head) + 8) * chunks),
    )
    return head + box(b"mdat", frame) + _movie(tables, times)


def _one_frame(folder: Path, size: str) -> tuple[bytes, bytes]:
    """Return the bytes of a frame and the description of its stream."""
    path = make_video(folder / "one-frame.mp4", size=size, seconds=0.04, sound=False)
    whole = path.read_bytes()
    return _found(whole, b"mdat")[8:], _found(whole, b"stsd")


def _found(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


def _movie(tables: tuple[bytes, ...], duration: int, extra: bytes = b"") -> bytes:
    """Return the header of a film of 25 frames a second."""
    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = struct.pack(">IIIII", 0, 0, 0, 25, duration) + struct.pack(">IH10x", 1 << 16, 256)
    track = struct.pack(">IIIIII", 3, 0, 0, 1, 0, duration) + bytes(16) + matrix + bytes(8)
    reference = box(b"dref", struct.pack(">II", 0, 1) + box(b"url ", b"\0\0\0\1"))
    media = (
        box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 25, duration, 0, 0)),
        box(b"hdlr", bytes(8) + b"vide" + bytes(13)),
        box(
            b"minf",
            box(b"vmhd", b"\0\0\0\1" + bytes(8))
            + box(b"dinf", reference)
            + box(b"stbl", b"".join(tables)),
        ),
    )
    whole = box(b"trak", box(b"tkhd", track) + box(b"mdia", b"".join(media)))
    ending = matrix + bytes(24) + struct.pack(">I", 2)
    return box(b"moov", box(b"mvhd", header + ending) + whole + extra)


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

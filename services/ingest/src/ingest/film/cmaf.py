"""
The fragments of a CMAF track (ISO/IEC 23000-19), read from our own files.

A track is a head, which says how to decode, and fragments, each with its place in time. Tracks of
equal heads are joined by appending the fragments of one to those of the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import cast

from ingest.trust.isobmff import Box, Reader
from media_runtime.media.manifests import Layout

_AAC_LC = "mp4a.40.2"
_CONSTRAINTS = 6
_MOST_BOXES = 100_000
_NOT_SYNC = 0x10000
# Flags of a track fragment's header and of its run (ISO/IEC 14496-12, 8.8.7 and 8.8.8), each with
# how many bytes it puts there.
_HEADER_FIELDS = ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4), (0x20, 4))
_HAS_DURATION, _HAS_FLAGS = 0x8, 0x20
_RUN_OFFSET, _RUN_FIRST_FLAGS = 0x1, 0x4
_SAMPLE_DURATION, _SAMPLE_SIZE, _SAMPLE_FLAGS, _SAMPLE_SHIFT = 0x100, 0x200, 0x400, 0x800


class CmafError(ValueError):
    """The bytes are no CMAF track."""


@dataclass(frozen=True)
class Fragment:
    """
    One fragment: when it is decoded and how long it lasts in ticks, and where its bytes stand.

    ``shift`` is how much later than it is decoded the first sample is shown, in ticks;
    ``key_end`` is where its bytes end.
    """

    decoded_at: int
    samples: int
    ticks: int
    begins_with_key: bool
    shift: int
    start: int
    key_end: int
    end: int


@dataclass(frozen=True)
class Track:
    """A CMAF file: its head, how many ticks a second has, and its fragments."""

    head: bytes
    timescale: int
    fragments: tuple[Fragment, ...]

    def layout(self, rate: Fraction | None = None, ssim: float | None = None) -> Layout:
        """Return where its fragments stand, for manifests; *rate* and *ssim* are its pictures'."""
        return Layout(
            codecs=self.codecs,
            timescale=self.timescale,
            head=len(self.head),
            fragments=[(one.start, one.key_end, one.end, one.ticks) for one in self.fragments],
            rate=str(rate) if rate else None,
            ssim=ssim,
        )

    @property
    def codecs(self) -> str:
        """What a track is called by RFC 6381, from its own configuration; AAC where it has none."""
        for box, name in _NAMES.items():
            at = self.head.find(box)
            if at >= 0:
                return name(self.head[at + len(box) :])
        return _AAC_LC

    @property
    def samples(self) -> int:
        """How many there are altogether."""
        return sum(one.samples for one in self.fragments)

    @property
    def ticks(self) -> int:
        """How long it lasts."""
        return sum(one.ticks for one in self.fragments)

    @property
    def has_edits(self) -> bool:
        """Whether players are told to leave out or to wait."""
        return b"elst" in self.head


def _avc(box: bytes) -> str:
    # After the version: profile, compatibility, level.
    return f"avc1.{box[1:4].hex()}"


def _hevc(box: bytes) -> str:
    """Return what ISO/IEC 14496-15, annex E.3, makes of a configuration."""
    space = ("", "A", "B", "C")[box[1] >> 6]
    tier = "H" if box[1] & 0x20 else "L"
    # The flags are written in the other direction, and bytes of nothing at the end not at all.
    compatible = int(f"{int.from_bytes(box[2:6], 'big'):032b}"[::-1], 2)
    constraints = box[6 : 6 + _CONSTRAINTS].rstrip(b"\0")
    words = [f"{space}{box[1] & 0x1F}", f"{compatible:X}", f"{tier}{box[12]}"]
    return ".".join(["hvc1", *words, *(f"{byte:X}" for byte in constraints)])


def _av1(box: bytes) -> str:
    """Return what "AV1 Codec ISO Media File Format Binding", 5, makes of a configuration."""
    profile, level = box[1] >> 5, box[1] & 0x1F
    tier = "H" if box[2] & 0x80 else "M"
    depth = (12 if box[2] & 0x20 else 10) if box[2] & 0x40 else 8
    return f"av01.{profile}.{level:02}{tier}.{depth:02}"


_NAMES: Mapping[bytes, Callable[[bytes], str]] = {
    b"avcC": _avc, b"hvcC": _hevc, b"av1C": _av1,
}  # fmt: skip


def read(data: bytes) -> Track:
    """Return the track in *data*; raises CmafError."""
    boxes = list(_reader(data).boxes(0, len(data)))
    begin = next((n for n, box in enumerate(boxes) if box.kind == b"moof"), len(boxes))
    start = boxes[begin].start - 8 if begin < len(boxes) else len(data)
    head = data[:start]
    try:
        duration, flags = _defaults(head)
        fragments = tuple(
            _fragment(data, box, boxes[number + 1], duration, flags)
            for number, box in enumerate(boxes)
            if box.kind == b"moof"
        )
        return Track(head, _timescale(head), fragments)
    except (IndexError, struct.error, StopIteration) as error:
        raise CmafError("a track of other boxes than ours") from error


def faults(
    track: Track, *, first: int, frames: int, rate: Fraction, group: int, head: bytes | None = None
) -> list[str]:
    """
    Return what is wrong with a track that should have *frames* pictures from *first* on.

    Each fragment should be one group of *group* pictures that stands alone, except for the last.
    *head* is that of the track's first chunk.
    """
    found = []
    tick = track.timescale / rate
    if track.samples != frames:
        found.append(f"{track.samples} pictures, not {frames}")
    if track.has_edits:
        found.append("there is an edit list")
    if head is not None and head != track.head:
        found.append("the head is another one")
    at = first
    for number, one in enumerate(track.fragments):
        if one.decoded_at != at * tick or one.ticks != one.samples * tick:
            found.append(f"fragment {number} is not at its time")
        if not one.begins_with_key or one.shift:
            found.append(f"fragment {number} does not stand alone")
        if one.samples != group and number + 1 < len(track.fragments):
            found.append(f"fragment {number} has {one.samples} pictures")
        at += one.samples
    return found


def _reader(data: bytes) -> Reader:
    return Reader(BytesIO(data), _MOST_BOXES)


def _one(data: bytes, path: tuple[bytes, ...], box: Box | None = None) -> Box:
    start, end = (box.start, box.end) if box else (0, len(data))
    return next(_reader(data).find(path, start, end))


def _numbers(form: str, data: bytes, at: int) -> tuple[int, ...]:
    return cast("tuple[int, ...]", struct.unpack_from(form, data, at))


def _timescale(head: bytes) -> int:
    box = _one(head, (b"moov", b"trak", b"mdia", b"mdhd"))
    # Version 1 has times of 64 bits before it.
    return _numbers(">I", head, box.start + (20 if head[box.start] else 12))[0]


def _defaults(head: bytes) -> tuple[int, int]:
    """Return how long a sample lasts, and its flags, where a fragment says nothing."""
    box = _one(head, (b"moov", b"mvex", b"trex"))
    duration, _, flags = _numbers(">3I", head, box.start + 12)
    return duration, flags


def _fragment(data: bytes, moof: Box, mdat: Box, duration: int, flags: int) -> Fragment:
    time = _one(data, (b"traf", b"tfdt"), moof)
    decoded_at = _numbers(">Q" if data[time.start] else ">I", data, time.start + 4)[0]
    header = _one(data, (b"traf", b"tfhd"), moof)
    has, at = _numbers(">I", data, header.start)[0], header.start + 8
    for flag, size in _HEADER_FIELDS:
        if has & flag:
            if flag == _HAS_DURATION:
                duration = _numbers(">I", data, at)[0]
            if flag == _HAS_FLAGS:
                flags = _numbers(">I", data, at)[0]
            at += size
    run = _Run(data, _one(data, (b"traf", b"trun"), moof), duration, flags)
    start = moof.start - 8
    return Fragment(
        decoded_at, run.count, run.ticks, run.first_is_key, run.shift,
        start, start + run.key_end, mdat.end,
    )  # fmt: skip


class _Run:
    """The samples of a fragment."""

    def __init__(self, data: bytes, box: Box, duration: int, flags: int) -> None:
        has = _numbers(">I", data, box.start)[0] & 0xFFFFFF
        self.count = _numbers(">I", data, box.start + 4)[0]
        at = box.start + 8
        offset = _numbers(">I", data, at)[0]
        if not has & _RUN_OFFSET:
            raise IndexError("a run does not say where its samples are")
        at += 4
        if has & _RUN_FIRST_FLAGS:
            first_flags = _numbers(">I", data, at)[0]
            at += 4
        fields = [
            flag
            for flag in (_SAMPLE_DURATION, _SAMPLE_SIZE, _SAMPLE_FLAGS, _SAMPLE_SHIFT)
            if has & flag
        ]
        rows = list(struct.iter_unpack(
            ">" + "".join("i" if one == _SAMPLE_SHIFT else "I" for one in fields),
            data[at : at + 4 * len(fields) * self.count],
        )) if fields else []  # fmt: skip
        if fields and len(rows) != self.count:
            raise IndexError("a run is cut off")

        def column(flag: int, default: int) -> list[int]:
            if flag not in fields:
                return [default] * self.count
            return [row[fields.index(flag)] for row in rows]

        # From the fragment's first byte on.
        self.key_end = offset + column(_SAMPLE_SIZE, 0)[0]
        self.ticks = sum(column(_SAMPLE_DURATION, duration))
        self.shift = column(_SAMPLE_SHIFT, 0)[0]
        if not has & _RUN_FIRST_FLAGS:
            first_flags = column(_SAMPLE_FLAGS, flags)[0]
        self.first_is_key = not first_flags & _NOT_SYNC

"""
What a film's own tables make a decoder work through, read before any decoder sees it.

A table may name the same bytes again and again, and an edit list the same stretch: a file of
kilobytes then decodes for hours. Invariant: reading is bounded in boxes, depth and bytes.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, ClassVar

from ingest.trust.isobmff import Box, Reader

_MAX_BOXES = 500_000
_MAX_DEPTH = 12
_MAX_HEADER_BYTES = 64 * 1024**2
_CHUNK = 1024**2
# How often the bytes of a file, or the time of a track, may be used.
_MAX_USES = 4
# An edit begins at the key frame before it. A few of them may come at any cost.
_FREE_EDITS = 10
_MAX_EDITS = 50_000
_CONTAINERS = frozenset(
    {
        *(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf"),
        *(b"udta", b"dinf", b"tref", b"wave", b"meta", b"cmov"),
    }
)
# Demuxers look for an index in what is said to be free as well.
_MAYBE_CONTAINERS = frozenset({b"free", b"skip", b"hoov"})
_ODML_HEAD, _ODML_OF_INDEXES, _ODML_OF_CHUNKS = 24, 0, 1
_HALF_A_BYTE, _TWO_BYTES = 4, 16
_IS_SIZE, _IS_DEFAULT_SIZE, _FIELDS = 0x200, 0x10, (0x100, 0x200, 0x400, 0x800)


@dataclass
class _Track:
    time_scale: int = 1
    media_time: int = 0
    samples: int = 0
    longest_gap: int = 0
    """Samples between two that need no other, the most."""
    last_sync: int | None = None
    edits: list[tuple[int, int]] = field(default_factory=list)
    """Their durations, in the film's time, and where they begin."""

    @property
    def key_frame_gap(self) -> float:
        """Which part of the track may have to be decoded before an edit begins."""
        if self.last_sync is None or not self.samples:
            return 0.0
        return max(self.longest_gap, self.samples - self.last_sync) / self.samples


@dataclass(frozen=True)
class Tables:
    """
    What tables tell of a film.

    ``sample_bytes`` is the size of all samples together, each as often as it is named;
    ``repeats`` is whether edits make a track many times as long; ``is_absurd``, that there is
    more of it than any writer makes.
    """

    sample_bytes: int
    repeats: bool
    is_absurd: bool = False

    def overlap(self, size: int) -> bool:
        """Return whether samples share the bytes of a file of *size*."""
        return self.sample_bytes > _MAX_USES * size


def read_isobmff(path: Path) -> Tables:
    """Return what the tables of an ISO base media file say (ISO/IEC 14496-12)."""
    with path.open("rb") as file:
        film = _Film(Reader(file, _MAX_BOXES), file)
        try:
            film.read(0, path.stat().st_size)
        except _AbsurdError:
            return Tables(0, repeats=False, is_absurd=True)
    return Tables(film.sample_bytes, any(map(film.repeats, film.tracks)))


def read_avi(path: Path) -> Tables:
    """Return what the indexes of an AVI file say, the old one and OpenDML's."""
    total, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for kind, start, end in _riff_chunks(file, 0, size):
            if kind == b"idx1":
                total += _Words(file, start, min(end, size)).sum(step=4, first=3, little=True)
            elif kind == b"indx":
                try:
                    total += _odml_bytes(file, start, min(end, size), depth=1)
                except _AbsurdError:
                    return Tables(0, repeats=False, is_absurd=True)
    return Tables(total, repeats=False)


class _AbsurdError(Exception):
    """More boxes, or deeper ones, than any writer makes."""


class _Film:
    """Goes through the boxes as a demuxer does: a table counts wherever it stands."""

    def __init__(self, reader: Reader, file: BinaryIO) -> None:
        self._reader, self._file = reader, file
        self._time_scale = 1
        self._default_sizes: dict[int, int] = {}
        self._fragment_default = 0
        self.sample_bytes = 0
        self.tracks = [_Track()]

    def read(self, start: int, end: int, depth: int = 0) -> None:
        """Take in all boxes between two positions."""
        if depth > _MAX_DEPTH:
            raise _AbsurdError
        for box in self._reader.boxes(start, end):
            self._take(box, min(box.end, end), depth)
        if self._reader.is_spent:
            raise _AbsurdError

    def repeats(self, track: _Track) -> bool:
        """Return whether the edits of *track* make it many times as long."""
        edits = [duration / self._time_scale for duration, at in track.edits if at >= 0]
        if len(edits) <= _FREE_EDITS:
            return False
        length = track.media_time / track.time_scale
        total = sum(min(seconds or length, length) for seconds in edits)
        total += len(edits) * length * track.key_frame_gap
        return total > _MAX_USES * length

    def _take(self, box: Box, end: int, depth: int) -> None:
        if box.kind in _CONTAINERS:
            if box.kind == b"trak":
                self.tracks.append(_Track())
            self.read(self._first_inside(box), end, depth + 1)
        elif box.kind in _MAYBE_CONTAINERS:
            if self._bytes(box.start, min(box.start + 8, end))[4:] in {b"moov", b"cmov"}:
                self.read(box.start, end, depth + 1)
        elif take := self._TABLES.get(box.kind):
            take(self, box.start, end)

    def _first_inside(self, box: Box) -> int:
        # Only some kinds of "meta" have a version before their boxes.
        has_version = box.kind == b"meta" and self._bytes(box.start, box.start + 8)[4:] != b"hdlr"
        return box.start + (4 if has_version else 0)

    def _bytes(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(max(0, end - start))

    def _words(self, start: int, end: int) -> tuple[int, ...]:
        data = self._bytes(start, end)
        return struct.unpack(f">{len(data) // 4}I", data[: len(data) // 4 * 4])

    def _table(self, start: int, end: int) -> tuple[int, _Words]:
        """Return the count that a table states, and the words after it."""
        words = self._words(start, min(start + 8, end))
        count = words[1] if len(words) > 1 else 0
        return count, _Words(self._file, start + 8, end)

    def _compressed(self, start: int, end: int) -> None:
        header = zlib.decompressobj()
        try:
            data = header.decompress(
                self._bytes(start + 4, min(end, start + _MAX_HEADER_BYTES)), _MAX_HEADER_BYTES
            )
        except zlib.error:
            return
        inner = _Film(Reader(io.BytesIO(data), _MAX_BOXES), io.BytesIO(data))
        inner.read(0, len(data))
        self.sample_bytes += inner.sample_bytes
        self.tracks += inner.tracks
        self._time_scale = inner._time_scale

    def _movie_header(self, start: int, end: int) -> None:
        self._time_scale = self._scale(start, end)

    def _media_header(self, start: int, end: int) -> None:
        self.tracks[-1].time_scale = self._scale(start, end)

    def _scale(self, start: int, end: int) -> int:
        words = self._words(start, min(end, start + 24))
        at = 5 if words and words[0] >> 24 else 3
        return max(1, words[at]) if len(words) > at else 1

    def _sizes(self, start: int, end: int) -> None:
        same, count = (*self._words(start + 4, min(end, start + 12)), 0, 0)[:2]
        self.tracks[-1].samples += count
        words = _Words(self._file, start + 12, min(end, start + 12 + 4 * count))
        # Of old codecs, sizes of one stand for each moment of the sound.
        self.sample_bytes += (
            same * count // (_MAX_USES if same == 1 else 1) if same else words.sum()
        )

    def _compact_sizes(self, start: int, end: int) -> None:
        form, count = (*self._words(start + 4, min(end, start + 12)), 0, 0)[:2]
        bits = form & 0xFF
        self.tracks[-1].samples += count
        words = _Words(self._file, start + 12, min(end, start + 12 + (count * bits + 7) // 8))
        self.sample_bytes += words.sum_of_bits(bits)

    def _durations(self, start: int, end: int) -> None:
        count, words = self._table(start, end)
        self.tracks[-1].media_time += words.limited(8 * count).sum_of_products()

    def _sync_samples(self, start: int, end: int) -> None:
        count, words = self._table(start, end)
        track = self.tracks[-1]
        for numbers in words.limited(4 * count).parts():
            gaps = (after - before for before, after in pairwise([track.last_sync or 1, *numbers]))
            track.longest_gap = max(track.longest_gap, *gaps)
            track.last_sync = numbers[-1]

    def _edit_list(self, start: int, end: int) -> None:
        version = self._bytes(start, start + 1)
        count, _ = self._table(start, end)
        form = struct.Struct(">QqI" if version == b"\1" else ">IiI")
        if (end - start) // form.size > _MAX_EDITS:
            raise _AbsurdError
        data = self._bytes(start + 8, min(end, start + 8 + form.size * count))
        data = data[: len(data) // form.size * form.size]
        self.tracks[-1].edits += [(span, at) for span, at, _ in form.iter_unpack(data)]

    def _track_defaults(self, start: int, end: int) -> None:
        words = (*self._words(start, min(end, start + 24)), 0, 0, 0, 0, 0)
        self._default_sizes[words[1]] = words[4]

    def _fragment_header(self, start: int, end: int) -> None:
        words = (*self._words(start, min(end, start + 32)), 0, 0, 0)
        at = 2 + 2 * (words[0] & 1) + (words[0] >> 1 & 1) + (words[0] >> 3 & 1)
        given = words[at] if words[0] & _IS_DEFAULT_SIZE and at < len(words) else None
        self._fragment_default = self._default_sizes.get(words[1], 0) if given is None else given

    def _run(self, start: int, end: int) -> None:
        flags, count = (*self._words(start, min(end, start + 8)), 0, 0)[:2]
        if not flags & _IS_SIZE:
            self.sample_bytes += count * self._fragment_default
            return
        skipped = 8 + 4 * (flags & 1) + 4 * (flags >> 2 & 1)
        step = sum(bool(flags & bit) for bit in _FIELDS)
        words = _Words(self._file, start + skipped, end).limited(4 * step * count)
        self.sample_bytes += words.sum(step=step, first=flags >> 8 & 1)

    _TABLES: ClassVar[dict[bytes, Callable[[_Film, int, int], None]]] = {
        b"cmvd": _compressed,
        b"mvhd": _movie_header,
        b"mdhd": _media_header,
        b"stsz": _sizes,
        b"stz2": _compact_sizes,
        b"stts": _durations,
        b"stss": _sync_samples,
        b"elst": _edit_list,
        b"trex": _track_defaults,
        b"tfhd": _fragment_header,
        b"trun": _run,
    }


@dataclass(frozen=True)
class _Words:
    """Numbers of 32 bits in a file, read a megabyte at a time."""

    file: BinaryIO
    start: int
    end: int

    def limited(self, size: int) -> _Words:
        return _Words(self.file, self.start, min(self.end, self.start + size))

    def parts(self, *, little: bool = False, step: int = 1) -> Iterator[array[int]]:
        for data in self._chunks(4 * step):
            words = array("I", data[: len(data) // (4 * step) * 4 * step])
            if little != (sys.byteorder == "little"):
                words.byteswap()
            if words:
                yield words

    def sum(self, *, step: int = 1, first: int = 0, little: bool = False) -> int:
        return sum(sum(words[first::step]) for words in self.parts(little=little, step=step))

    def sum_of_products(self) -> int:
        return sum(
            count * delta
            for words in self.parts(step=2)
            for count, delta in zip(words[::2], words[1::2], strict=True)
        )

    def sum_of_bits(self, bits: int) -> int:
        if bits == _TWO_BYTES:
            return sum(sum(data[::2]) * 256 + sum(data[1::2]) for data in self._chunks(2))
        high = bytes(byte >> 4 for byte in range(256))
        fold = 15 if bits == _HALF_A_BYTE else 0
        return sum(sum(data) - fold * sum(data.translate(high)) for data in self._chunks(1))

    def _chunks(self, unit: int) -> Iterator[bytes]:
        at, size = self.start, _CHUNK // unit * unit
        while at < self.end:
            self.file.seek(at)
            data = self.file.read(min(size, self.end - at))
            if not data:
                return
            yield data
            at += len(data)


def _riff_chunks(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks of all RIFF lists at the top: their kind, and between what they stand."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        kind, size = struct.unpack("<4sI", file.read(8))
        # Lists are gone into, but for the one of the media.
        if kind == b"RIFF" or (kind == b"LIST" and file.read(4) != b"movi"):
            start += 12
            continue
        yield kind, start + 8, start + 8 + size
        start += 8 + size + size % 2


def _odml_bytes(file: BinaryIO, start: int, end: int, *, depth: int) -> int:
    """
    Return the size of all samples that an OpenDML index names, as often as it names them.

    With a *depth*, it may be one of indexes.
    """
    file.seek(start)
    head = file.read(_ODML_HEAD)
    if len(head) < _ODML_HEAD:
        return 0
    _, _, kind, count = struct.unpack("<HBBI", head[:8])
    if kind == _ODML_OF_CHUNKS:
        words = _Words(file, start + _ODML_HEAD, end).limited(8 * count)
        # Of a size, the highest bit says that the sample needs others.
        return sum(
            sum(word & 0x7FFFFFFF for word in part[1::2])
            for part in words.parts(little=True, step=2)
        )
    if kind != _ODML_OF_INDEXES or not depth:
        return 0
    data = file.read(min(16 * min(count, _MAX_EDITS + 1), end - start - _ODML_HEAD))
    places = [place for place, _, _ in struct.iter_unpack("<QII", data[: len(data) // 16 * 16])]
    if len(places) > _MAX_EDITS:
        raise _AbsurdError
    size = file.seek(0, io.SEEK_END)
    known = {
        place: _odml_bytes(file, place + 8, size, depth=0) if place < size else 0
        for place in set(places)
    }
    return sum(known[place] for place in places)

"""The sizes that a film is made in, and the chunks that it is cut into. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ingest.domain import Size
from ingest.film.codecs import CODECS, H264
from ingest.film.grid import Grid

# The most that a rung takes, in kbit/s: what HLS players on phones, tablets and screens expect
# (HLS Authoring Specification, "Video average bit rates", rounded).
_CAPS = {240: 350, 360: 700, 480: 1200, 720: 2800, 1080: 5000, 1440: 9000, 2160: 16000}
# More pictures a second than this need half as much again.
_USUAL_RATE, _MORE = 33, 1.5
# A size is worth having below one that it is clearly smaller than.
_CLEARLY_SMALLER = 0.8
_GOP_SECONDS = 2
# The first is short, so that a film can be watched soon. The following grow, so that who watches it
# while it is made waits little and seldom for the next.
_FIRST_CHUNK_SECONDS, _GROWS = 2, 2
_LEAST_CHUNK_SECONDS, _CHUNK_SECONDS, _LEAST_CHUNKS = 8, 24, 6
# Decoding begins at a picture that stands alone, this much before the chunk: of open groups the
# pictures right after it need those before.
_RUN_UP_SECONDS = Fraction(1, 2)
# With fewer pictures that stand alone each chunk would be decoded from far before.
_MOST_SECONDS_A_KEY = 30


@dataclass(frozen=True)
class Rung:
    """One size of a film in one codec, and the most bits that it takes."""

    short_side: int
    size: Size
    kbits_per_second: int
    codec: str = H264

    @property
    def track(self) -> str:
        """What it is called in its stream: by its short side, and by a codec that not all know."""
        return f"{self.short_side}" if self.codec == H264 else f"{self.short_side}-{self.codec}"

    @property
    def pixels(self) -> int:
        """Those of one picture."""
        return self.size.width * self.size.height


@dataclass(frozen=True)
class Chunk:
    """
    Some of a film's frames, on the grid.

    ``seek`` is the time of the picture that decoding begins at, in seconds of the source's
    clock; None of the beginning.
    """

    number: int
    first: int
    frames: int
    seek: Fraction | None = None


def rungs(largest: Size, short_sides: Iterable[int], rate: Fraction) -> list[Rung]:
    """
    Return the sizes that a film is made in, the smallest first.

    They are *largest*, which has even sides, and those of *short_sides* that are clearly smaller.
    """
    short = min(largest.width, largest.height)
    smaller = sorted({side for side in short_sides if side <= short * _CLEARLY_SMALLER})
    sizes = [(side, _scaled(largest, side, short)) for side in smaller] + [(short, largest)]
    return [Rung(side, size, _kbits(side, rate)) for side, size in sizes]


def further_rungs(ladder: Iterable[Rung], codecs: Iterable[str]) -> list[Rung]:
    """Return the sizes of *ladder*, which is H.264, in each other codec that takes them."""
    return [
        replace(
            rung, codec=codec, kbits_per_second=round(rung.kbits_per_second * CODECS[codec].share)
        )
        for codec in codecs
        if codec != H264
        for rung in ladder
        if CODECS[codec].takes(rung.size)
    ]


def gop_frames(rate: Fraction) -> int:
    """Return how many frames a group of pictures has, and a segment is made of."""
    return max(1, round(_GOP_SECONDS * rate))


def cut(grid: Grid) -> list[Chunk]:
    """Return the chunks of a film: one alone where its packets cannot be believed."""
    gop = gop_frames(grid.rate)
    # Of a short film they are short as well, so that no worker waits long for the last one.
    usual = min(_CHUNK_SECONDS, max(_LEAST_CHUNK_SECONDS, int(grid.seconds / _LEAST_CHUNKS)))
    step, usual = (
        round(Fraction(seconds, _GOP_SECONDS)) * gop for seconds in (_FIRST_CHUNK_SECONDS, usual)
    )
    # What is decoded of a chunk has to begin with a picture, and so no chunk is without one.
    step = max(step, (grid.lead // gop + 1) * gop)
    shown, cuts = grid.frames - grid.held, [0]
    while not _is_one(grid) and shown - cuts[-1] > step + gop:
        cuts.append(cuts[-1] + step)
        step = min(_GROWS * step, usual)
    ends = [*cuts[1:], grid.frames]
    keys = sorted(grid.keys)
    return [
        Chunk(number, first, end - first, _seek(grid, keys, first))
        for number, (first, end) in enumerate(zip(cuts, ends, strict=True))
    ]


def _kbits(side: int, rate: Fraction) -> int:
    cap = next((cap for known, cap in _CAPS.items() if known >= side), max(_CAPS.values()))
    return round(cap * _MORE) if rate > _USUAL_RATE else cap


def _is_one(grid: Grid) -> bool:
    few = grid.seconds > _CHUNK_SECONDS and len(grid.keys) * _MOST_SECONDS_A_KEY < grid.seconds
    return bool(grid.faults) or few


def _seek(grid: Grid, keys: Sequence[Fraction], first: int) -> Fraction | None:
    if not first:
        return None
    at = grid.origin + first / grid.rate
    before = bisect_right(keys, at - _RUN_UP_SECONDS)
    return keys[before - 1] if before else None


def _scaled(size: Size, side: int, short: int) -> Size:
    return Size(_even(size.width * side / short), _even(size.height * side / short))


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))

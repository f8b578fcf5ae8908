"""
The frames that are made of a film, known from its packets alone. Pure.

A constant frame rate puts frame *n* at the time ``origin + n / rate``. Which source picture
stands there is what ffmpeg's filter ``fps`` decides, by rounding to the nearest: here the same is
reckoned with whole numbers, so that a chunk's frames are known before anything is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# The rates of film, television and screens.
_USUAL = (
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30),
    Fraction(48), Fraction(50), Fraction(60000, 1001), Fraction(60),
    Fraction(100), Fraction(120000, 1001), Fraction(120), Fraction(240000, 1001), Fraction(240),
)  # fmt: skip
_MOST_FRAMES_A_SECOND = 60
# A usual rate is that of a film whose step, or whose average, is so close to it.
_NEAR_STEP, _NEAR_AVERAGE = Fraction(1, 10), Fraction(1, 200)
# In eighths of a frame: times on the edge of rounding would fall to either side of it.
_PHASES = (0, 1, -1, 2, -2, 3, -3)
# Times that are closer to a rate's grid than this part of a frame are on it. A rate that is wrong
# by a thousandth loses no frame of a short clip, but drifts away from its sound.
_ON_GRID = 0.1
_LONGEST_GAP_SECONDS = 10
_LEAST_STEP = Fraction(1, 1000)
_JITTER = 61 / 60
_MOST_OF_64_BITS = 2**62

Ticks: TypeAlias = NDArray[Any]
"""Times, as whole numbers of 64 bits, or of any size where those do not hold them."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One picture as stored; times are in ticks of the stream, None where there are none."""

    shown: int | None
    decoded: int | None
    lasts: int = 0
    is_key: bool = False
    is_left_out: bool = False


@dataclass(frozen=True)
class Grid:
    """
    A film's frames: how many there are, at which rate, from when on.

    ``origin`` is the time of frame 0 in seconds of the source's clock, ``tick`` the same in ticks
    of its stream. ``doubled`` frames show a picture once more, ``dropped`` pictures have no frame.
    ``keys`` are the times of pictures that can be decoded by themselves, in seconds. ``faults``
    are reasons not to believe the packets' times. The first picture is shown for ``lead`` frames
    before it comes, and the last one for ``held`` frames more than it lasts. Where it
    ``is_filled``, packets lack times, which all who decode it have to fill in as well.
    """

    rate: Fraction
    frames: int
    origin: Fraction
    tick: int
    doubled: int = 0
    dropped: int = 0
    keys: tuple[Fraction, ...] = ()
    faults: tuple[str, ...] = field(default=())
    lead: int = 0
    held: int = 0
    is_filled: bool = False

    @property
    def seconds(self) -> Fraction:
        """How long the film lasts."""
        return self.frames / self.rate

    def at_most(self, rate: float) -> Grid:
        """Return the grid of every second frame, or third, and so on: of so many a second."""
        each = every(self.rate, rate)
        return replace(
            self,
            rate=self.rate / each,
            frames=-(-self.frames // each),
            lead=-(-self.lead // each),
            held=self.held // each,
        )

    def until(self, time: float) -> Grid:
        """Return the grid with its last picture held until *time*, of the source's clock."""
        frames = math.ceil((Fraction(time) - self.origin) * self.rate)
        more = max(0, frames - self.frames)
        return replace(self, frames=self.frames + more, held=self.held + more)


def every(rate: Fraction, most: float) -> int:
    """Return which frames of *rate* make no more than *most* a second: 2 is every second one."""
    # 59.94 and 60 come with a little jitter of their clocks.
    return max(1, math.ceil(rate / Fraction(most * _JITTER)))


def fit(packets: Sequence[Packet], time_base: Fraction, *, lead: Fraction = Fraction(0)) -> Grid:
    """
    Return the grid that shows a film's pictures best.

    *lead* is how many seconds of sound come before the first picture, which stands still then.
    Raises ValueError for a film without pictures, and for times that are none of a film.
    """
    live = [one for one in packets if not one.is_left_out]
    faults = tuple(_faults(live, packets, time_base))
    timed = [(time, one) for one in live if (time := _time(one)) is not None]
    if not timed:
        raise ValueError("no picture has a time")
    times = np.sort(np.array([time for time, _ in timed]))
    first, span = int(times[0]), int(times[-1]) - int(times[0])
    if span > _MOST_OF_64_BITS:
        raise ValueError("no film is so long")
    step = Fraction(_usual_step(times)) * time_base
    _, last = max(timed, key=itemgetter(0))
    end = span + (last.lasts or round(step / time_base))
    rate, phase, counted = _best(times - first, end, time_base, step)
    before = int(lead * rate) if lead > Fraction(1, 10) else 0
    origin = first * time_base - phase - Fraction(before) / rate
    return Grid(
        rate=rate,
        frames=counted.frames + before,
        origin=origin,
        tick=round(origin / time_base),
        doubled=counted.doubled,
        dropped=counted.dropped,
        keys=tuple(
            one.shown * time_base for one in packets if one.is_key and one.shown is not None
        ),
        faults=faults,
        lead=before,
    )


@dataclass(frozen=True)
class _Counted:
    frames: int
    doubled: int
    dropped: int
    shown_longer: int


def _time(packet: Packet) -> int | None:
    return packet.decoded if packet.shown is None else packet.shown


def _faults(
    live: Sequence[Packet], packets: Sequence[Packet], time_base: Fraction
) -> Iterator[str]:
    if any(one.shown is None for one in live):
        yield "a picture has no time"
    decoded = np.diff(np.array([one.decoded for one in packets if one.decoded is not None]))
    if (decoded <= 0).any():
        yield "the order of decoding goes back"
    shown = np.diff(np.sort(np.array([one.shown for one in live if one.shown is not None])))
    if (shown == 0).any():
        yield "two pictures have one time"
    if shown.size and int(shown.max()) * time_base > _LONGEST_GAP_SECONDS:
        yield "a gap is too long"


def _usual_step(times: Ticks) -> int:
    """Return the median of steps, of two the lower one."""
    steps = np.diff(times)
    steps = np.sort(steps[steps > 0])
    return int(steps[(steps.size - 1) // 2]) if steps.size else 1


def _best(
    ticks: Ticks, end: int, time_base: Fraction, step: Fraction
) -> tuple[Fraction, Fraction, _Counted]:
    """Return the rate, by how much it is shifted, and what becomes of the pictures."""
    usual, others = _candidates(ticks, time_base, step)
    tried = list[_Try]()
    for rate in usual or others:
        tried += _tries(ticks, end, time_base, rate, _PHASES[:1])
        if tried[-1].order == _PERFECT:
            break  # as most films of any length are: no other rate or phase is better
    else:
        more = (_tries(ticks, end, time_base, rate, _PHASES[1:]) for rate in usual or others)
        tried += (one for tries in more for one in tries)
    if not any(one.is_on_grid for one in tried):
        # Nobody's rate, but this film's: where all of it is there, and not on average alone.
        more = (_tries(ticks, end, time_base, rate, _PHASES) for rate in others)
        tried += (one for tries in more for one in tries if one.is_on_grid)
    best = min(tried, key=lambda one: one.order)
    each = every(best.rate, _MOST_FRAMES_A_SECOND)
    rate = best.rate / each
    if each == 1:
        return rate, best.phase, best.counted
    counted, _ = _count(ticks, end, rate * time_base, best.phase * rate)
    return rate, best.phase, counted


@dataclass(frozen=True)
class _Try:
    rate: Fraction
    phase: Fraction
    counted: _Counted
    off: float

    @property
    def is_on_grid(self) -> bool:
        return self.off < _ON_GRID

    @property
    def order(self) -> tuple[float, int, float, Fraction]:
        on_grid = round(self.off, 2) if self.is_on_grid else 1.0
        # Not how often each is doubled: of a gap that would be more at any higher rate.
        changed = self.counted.shown_longer + self.counted.dropped
        return on_grid, changed, round(self.off, 2), abs(self.phase * self.rate)


_PERFECT = (0.0, 0, 0.0, Fraction(0))


def _tries(
    ticks: Ticks, end: int, time_base: Fraction, rate: Fraction, phases: Sequence[int]
) -> Iterator[_Try]:
    for eighths in phases:
        phase = Fraction(eighths, 8) / rate
        counted, off = _count(ticks, end, rate * time_base, phase * rate)
        yield _Try(rate, phase, counted, off)


def _candidates(
    ticks: Ticks, time_base: Fraction, step: Fraction
) -> tuple[list[Fraction], list[Fraction]]:
    """Return the usual rates that this may be, and its very own."""
    span = int(ticks[-1]) * time_base
    average = Fraction(len(ticks) - 1) / span if span else Fraction(25)
    step = max(step, _LEAST_STEP)
    usual = [
        rate
        for rate in _USUAL
        if abs(rate * step - 1) < _NEAR_STEP or abs(rate / average - 1) < _NEAR_AVERAGE
    ]
    others = [1 / step]
    # A clock that counts milliseconds has no steps of 8.34 of them.
    if span and abs(1 / average - step) <= time_base:
        others.append(average)
    whole = [Fraction(round(rate)) for rate in others if rate >= 1]
    return usual, [*whole, *(rate.limit_denominator(1001) for rate in others)]


def _count(ticks: Ticks, end: int, scale: Fraction, phase: Fraction) -> tuple[_Counted, float]:
    """
    Return what ``fps`` makes of pictures at *ticks*, and how far they are from the grid.

    *scale* is frames a tick, *phase* is in frames.
    """
    # floor(x + 1/2) of x = tick * scale + phase, in whole numbers over one denominator.
    below = 2 * scale.denominator * phase.denominator
    by = 2 * scale.numerator * phase.denominator
    add = 2 * phase.numerator * scale.denominator + below // 2
    if int(ticks[-1]) * by + abs(add) > _MOST_OF_64_BITS:
        ticks = ticks.astype(object)
    wholes = np.maximum(ticks * by + add, below // 2)
    places = wholes // below
    steps = np.diff(places)
    shown = 1 + int(np.count_nonzero(steps))
    frames = max((end * by + add) // below, int(places[-1]) + 1)
    spread = float(np.std((wholes - places * below).astype(float) / below))
    counted = _Counted(
        frames, frames - int(places[0]) - shown, len(ticks) - shown,
        int(np.count_nonzero(steps > 1)),
    )  # fmt: skip
    return counted, spread

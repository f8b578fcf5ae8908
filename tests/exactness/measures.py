"""What a film shows and sounds like, read by plain ffmpeg from its beginning, without a seek."""

from __future__ import annotations

import math
import subprocess
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from exactness.signals import SIDE, TONE, Samples, chirp, chirp_times, numbers_in

Floats = NDArray[np.float64]

_WINDOW_SECONDS, _HOP_SECONDS, _APART = 0.02, 0.005, 4
_HIGH_PASS, _TAPS = 7000.0, 101
# A chirp that is there has at least so much of the clearest one's likeness.
_LIKENESS = 0.35
_SEARCH_SECONDS, _LEAST_RATE = 0.08, 16_000
# Matroska rounds times to milliseconds.
_ROUNDED_SECONDS = 0.0012


@dataclass(frozen=True)
class Shown:
    """The pictures of a film, in order: their numbers, and when each is shown."""

    numbers: list[int]
    times: list[Fraction]


@dataclass(frozen=True)
class Heard:
    """The sound of a film from the time ``start`` on; where nothing is said there is silence."""

    samples: Samples
    rate: int
    start: float

    @property
    def end(self) -> float:
        """When it ends."""
        return self.start + len(self.samples) / self.rate


def shown(path: Path) -> Shown:
    """Return what a film shows."""
    small = f"scale={SIDE}:{SIDE}:flags=area,format=gray,split[a][b]"
    data, rows, base = _decoded(
        path, "v", ("-filter_complex", f"[0:V:0]{small}"), ("-map", "[a]"), ("-map", "[b]"),
        "rawvideo", ("-fps_mode", "passthrough", "-enc_time_base", "-1"),
    )  # fmt: skip
    return Shown(numbers_in(data), [time * base for time, _ in rows])


def heard(path: Path) -> Heard | None:
    """Return what a film sounds like, its channels as one; None where there is no sound."""
    mono = "aformat=sample_fmts=flt:channel_layouts=mono,asplit[a][b]"
    try:
        data, rows, base = _decoded(
            path, "a", ("-filter_complex", f"[0:a:0]{mono}"), ("-map", "[a]"), ("-map", "[b]"),
            "f32le", ("-c:a", "pcm_f32le"),
        )  # fmt: skip
    except LookupError:
        return None
    rate = round(1 / base)
    samples = np.frombuffer(data, np.float32)
    start, sizes = rows[0][0], [size for _, size in rows]
    places = _placed(rows, round(_ROUNDED_SECONDS * rate))
    whole = np.zeros(max(place + size for place, size in zip(places, sizes, strict=True)),
                     np.float32)  # fmt: skip
    at = 0
    for place, size in zip(places, sizes, strict=True):
        whole[place : place + size] = samples[at : at + size]
        at += size
    return Heard(whole, rate, start / rate)


def _placed(rows: Sequence[tuple[int, int]], least: int) -> list[int]:
    """Return where each piece begins: where the one before ends, but for *least* and more."""
    found, end = [], 0
    for time, size in rows:
        place = time - rows[0][0]
        found.append(end if abs(place - end) < least else max(0, place))
        end = found[-1] + size
    return found


def begins(path: Path) -> tuple[list[Fraction], Fraction | None]:
    """Return when the pictures of a file are shown, in order, and when its sound begins."""
    found = {kind: _packet_times(path, kind) for kind in ("v", "a")}
    return sorted(found["v"]), min(found["a"], default=None)


def _packet_times(path: Path, kind: str) -> list[Fraction]:
    words = ("-show_entries", "packet=pts:stream=time_base", "-of", "csv=p=0")
    command = ["ffprobe", "-v", "error", "-select_streams", f"{kind}:0", *words, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = done.stdout.replace(",", " ").split()
    base = next((Fraction(row) for row in rows if "/" in row), Fraction(1))
    return [int(row) * base for row in rows if "/" not in row]


def _decoded(
    path: Path,
    kind: str,
    graph: Sequence[str],
    raw: Sequence[str],
    told: Sequence[str],
    form: str,
    options: Sequence[str],
) -> tuple[bytes, list[tuple[int, int]], Fraction]:
    """Return what is decoded, of each piece of it its time and length, and their time base."""
    with TemporaryDirectory() as folder:
        target, times = Path(folder) / "raw", Path(folder) / "times"
        command = [
            "ffmpeg", "-v", "error", "-nostdin", "-y", "-copyts", "-i", str(path), *graph,
            *raw, *options, "-f", form, str(target), *told, *options, "-f", "framecrc", str(times),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "matches no streams" in done.stderr:
            raise LookupError(kind)
        assert done.returncode == 0, done.stderr
        lines = times.read_text().splitlines()
        base = next(line.split()[-1] for line in lines if line.startswith("#tb"))
        fields = [line.split(",") for line in lines if line and not line.startswith("#")]
        return target.read_bytes(), [(int(f[2]), int(f[3])) for f in fields], Fraction(base)


def places(times: Sequence[Fraction], origin: Fraction, rate: Fraction) -> list[int]:
    """Return the frame of a grid that is nearest to each of these times, in order."""
    return [math.floor((time - origin) * rate + Fraction(1, 2)) for time in sorted(times)]


def on_grid(source: Shown, origin: Fraction, rate: Fraction, frames: int) -> list[int]:
    """Return the number that each frame of a grid has to show."""
    order = sorted(range(len(source.times)), key=lambda n: source.times[n])
    taken = places(source.times, origin, rate)
    return [
        source.numbers[order[max(0, bisect_right(taken, frame) - 1)]] for frame in range(frames)
    ]


@dataclass(frozen=True)
class Compared:
    """How what is shown differs from what has to be: numbers lost, and frames shown once more."""

    lost: int
    doubled: int
    wrong: int


def compared(made: Sequence[int], wanted: Sequence[int]) -> Compared:
    """Compare the numbers of frames."""
    lost = set(wanted) - set(made)
    again = sum(a == b for a, b in pairwise(made)) - sum(a == b for a, b in pairwise(wanted))
    wrong = sum(a != b for a, b in zip(made, wanted, strict=False)) + abs(len(made) - len(wanted))
    return Compared(len(lost), max(0, again), wrong)


def chirps(film: Heard, seconds: float) -> dict[int, float]:
    """Return when each chirp of a sound of so many seconds is heard, as far as it is."""
    # There is nothing above the tone that matters here.
    every = max(1, film.rate // _LEAST_RATE)
    samples, rate = film.samples[::every], film.rate / every
    one = chirp(film.rate)[::every]
    size = 1 << (len(samples) + len(one)).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(one, size))
    found = np.fft.irfft(spectrum, size)[: len(samples)]
    likeness = np.abs(found) / max(1e-9, float(np.abs(found).max()))
    wanted = chirp_times(seconds)
    begin = _begin(likeness, wanted, rate)
    times = {}
    for number, time in enumerate(wanted):
        middle = round((begin + time) * rate)
        reach = round(_SEARCH_SECONDS * rate)
        first = max(0, middle - reach)
        part = likeness[first : max(0, middle + reach)]
        if len(part) and part.max() > _LIKENESS:
            times[number] = film.start + _peak(part, first) / rate
    return times


def lag(one: Heard, other: Heard) -> float:
    """Return by how many seconds *one* is later than the same sound in *other*."""
    count = min(len(one.samples), len(other.samples))
    size = 1 << (2 * count).bit_length()
    spectrum = np.fft.rfft(one.samples[:count], size)
    found = np.fft.irfft(spectrum * np.conj(np.fft.rfft(other.samples[:count], size)), size)
    at = int(found.argmax())
    return (at if at < size // 2 else at - size) / one.rate


def _begin(likeness: Floats, wanted: Sequence[float], rate: float) -> float:
    """Return when a sound begins whose chirps are where those here are, in seconds."""
    step = int(rate / 500)
    count = len(likeness) // step
    rough = likeness[: count * step].reshape(count, step).max(axis=1)
    scores = np.zeros(3 * count)
    for time in wanted:
        # From a shift of minus the whole length on.
        at = count - round(time * rate / step)
        if at + count > 0:
            scores[max(0, at) : at + count] += rough[max(0, -at) :]
    return float((int(scores.argmax()) - count) * step / rate)


def _peak(part: Floats, first: int) -> float:
    """Return where the highest value is, between samples."""
    at = int(part.argmax())
    if not 0 < at < len(part) - 1:
        return first + at
    before, top, after = part[at - 1 : at + 2]
    return float(first + at + 0.5 * (before - after) / (before - 2 * top + after))


@dataclass(frozen=True)
class Steadiness:
    """
    How steady a sound's tone is: the largest step of its phase in degrees, and where, in seconds.

    ``clicks`` is how much of what is above all that is in the sound is at its joins at most, over
    what there is elsewhere.
    """

    degrees: float
    at: float
    clicks: float


def steadiness(film: Heard, joins: Sequence[float] = ()) -> Steadiness:
    """Return how steady the tone is, and whether there are clicks at *joins*, in seconds."""
    phases, times = _phases(film)
    # From one window to the next that has nothing in common with it.
    steps = np.abs(np.angle(np.exp(1j * (phases[_APART:] - phases[:-_APART]))))
    steps[~np.isfinite(steps)] = 0
    worst = int(steps.argmax()) if len(steps) else 0
    return Steadiness(
        float(np.degrees(steps[worst])) if len(steps) else 0.0,
        float(times[worst]) if len(steps) else 0.0,
        _clicks(film, joins),
    )


def _phases(film: Heard) -> tuple[Floats, Floats]:
    """Return the tone's phase at many times, not a number where there is none."""
    t = film.start + np.arange(len(film.samples)) / film.rate
    turned = film.samples * np.exp(-2j * np.pi * TONE * t).astype(np.complex64)
    window = np.hanning(int(_WINDOW_SECONDS * film.rate)).astype(np.float32)
    hop = int(_HOP_SECONDS * film.rate)
    found = np.lib.stride_tricks.sliding_window_view(turned, len(window))[::hop] @ window
    times = t[len(window) // 2 :][::hop][: len(found)]
    loud = np.abs(found)
    there = loud > 0.5 * np.median(loud[loud > 0.1 * loud.max()])
    # Beside a silence the tone begins or ends within a window.
    whole = there.copy()
    for by in range(1, 5):
        whole[by:] &= there[:-by]
        whole[:-by] &= there[by:]
    return np.where(whole, np.angle(found), np.nan), times


def _clicks(film: Heard, joins: Sequence[float]) -> float:
    if not joins:
        return 0.0
    n = np.arange(_TAPS) - _TAPS // 2
    cut = _HIGH_PASS / film.rate
    high = (n == 0) - 2 * cut * np.sinc(2 * cut * n)
    left = np.abs(np.convolve(film.samples, high * np.hamming(_TAPS), mode="same"))
    near = round(0.004 * film.rate)
    places = [round((join - film.start) * film.rate) for join in joins]
    most = max((left[max(0, p - near) : p + near].max(initial=0) for p in places), default=0.0)
    inner = left[round(0.1 * film.rate) : -round(0.1 * film.rate)]
    return float(most / max(1e-5, np.percentile(inner, 99.9)))

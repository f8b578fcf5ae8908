"""
What films here are made of: pictures that number themselves, and sound that tells its time.

Each picture is 4 by 4 cells, which are black or white. The sound is one tone all the time, whose
phase shows each sample that is lost, and a chirp about each second, never at the same distance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

SIDE, _BITS = 4, 12
TONE = 3000.0
_TONE_LOUD, _CHIRP_LOUD = 0.12, 0.3
_CHIRP_SECONDS, _CHIRP_FROM, _CHIRP_TO = 0.06, 400.0, 1600.0
_FADE_SECONDS = 0.01


def cells(number: int) -> bytes:
    """Return a picture: white, black, the bits of *number*, one that makes them even, and black."""
    bits = [number >> place & 1 for place in reversed(range(_BITS))]
    return bytes(255 * bit for bit in [1, 0, *bits, sum(bits) % 2, 0])


def numbers_in(data: bytes) -> list[int]:
    """Return the numbers of pictures of SIDE by SIDE grey pixels; -1 for what is none."""
    pictures = np.frombuffer(data, np.uint8).reshape(-1, SIDE * SIDE) > 128
    bits = pictures[:, 2 : 2 + _BITS]
    numbers = bits @ (1 << np.arange(_BITS)[::-1])
    fits = (bits.sum(axis=1) % 2 == pictures[:, -2]) & pictures[:, 0]
    fits &= ~pictures[:, 1] & ~pictures[:, -1]
    return [int(number) for number in np.where(fits, numbers, -1)]


def write_numbers(path: Path, count: int) -> Path:
    """Write so many pictures, one after the other, of one byte a cell."""
    path.write_bytes(b"".join(cells(number) for number in range(count)))
    return path


def chirp_times(seconds: float) -> list[float]:
    """Return when each chirp of a sound begins."""
    times = (n + 0.3 + 0.045 * (7 * n % 9) for n in range(int(seconds) + 1))
    return [time for time in times if time + _CHIRP_SECONDS < seconds]


def chirp(rate: int) -> Samples:
    """Return a chirp."""
    t = np.arange(int(_CHIRP_SECONDS * rate)) / rate
    climbs = (_CHIRP_TO - _CHIRP_FROM) / _CHIRP_SECONDS
    wave = np.sin(2 * np.pi * (_CHIRP_FROM * t + climbs * t * t / 2))
    edges = np.minimum(t, t[::-1]) / _FADE_SECONDS
    return (wave * np.minimum(1, edges)).astype(np.float32)


def sound(seconds: float, rate: int) -> Samples:
    """Return a sound of so many samples a second."""
    t = np.arange(round(seconds * rate)) / rate
    found: Samples = (_TONE_LOUD * np.sin(2 * np.pi * TONE * t)).astype(np.float32)
    one = _CHIRP_LOUD * chirp(rate)
    for time in chirp_times(seconds):
        at = round(time * rate)
        found[at : at + len(one)] += one[: len(found) - at]
    return found


def write_sound(path: Path, seconds: float, rate: int, channels: int) -> Path:
    """Write a sound as floats, the same in all channels."""
    np.repeat(sound(seconds, rate)[:, None], channels, axis=1).tofile(path)
    return path

"""
ThumbHash: a blurred picture in some 25 bytes, which pages show until the real one is there.

By the reference of its author, Evan Wallace (https://evanw.github.io/thumbhash/, MIT); readers are
in npm's ``thumbhash`` and its ports. The frequencies are summed row by row, then column by column,
which gives the same and takes a hundredth of the reference's steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from PIL import Image

MOST_SIDE = 50
"""The longest side of what is hashed. The reference takes 100, which looks the same."""
_MOST_L, _MOST_L_BESIDE_ALPHA = 7, 5
_OPAQUE = 255

_Rows: TypeAlias = Sequence[Sequence[float]]


def thumbhash(image: Image.Image) -> bytes:
    """Return the hash of an RGB or RGBA *image* with no side longer than MOST_SIDE."""
    width, height = image.size
    pixels = image.convert("RGBA").tobytes()
    red, green, blue, alpha = (
        [byte / _OPAQUE for byte in pixels[channel::4]] for channel in range(4)
    )
    shown = sum(alpha)
    has_alpha = shown < width * height
    if has_alpha:
        # What shines through is as the mean of what does not.
        red, green, blue = (_over_its_mean(one, alpha, shown) for one in (red, green, blue))
    luma, yellow_blue, red_green = [], [], []
    for r, g, b in zip(red, green, blue, strict=True):
        luma.append((r + g + b) / 3)
        yellow_blue.append((r + g) / 2 - b)
        red_green.append(r - g)

    most = _MOST_L_BESIDE_ALPHA if has_alpha else _MOST_L
    across = max(1, _rounded(most * width / max(width, height)))
    down = max(1, _rounded(most * height / max(width, height)))
    l_mean, l_waves, l_scale = _encoded(luma, width, max(3, across), max(3, down))
    p_mean, p_waves, p_scale = _encoded(yellow_blue, width, 3, 3)
    q_mean, q_waves, q_scale = _encoded(red_green, width, 3, 3)

    is_landscape = width > height
    head = _rounded(63 * l_mean)
    head |= _rounded(31.5 + 31.5 * p_mean) << 6 | _rounded(31.5 + 31.5 * q_mean) << 12
    head |= _rounded(31 * l_scale) << 18 | has_alpha << 23
    more = (down if is_landscape else across) | _rounded(63 * p_scale) << 3
    more |= _rounded(63 * q_scale) << 9 | is_landscape << 15
    found = bytearray(head.to_bytes(3, "little") + more.to_bytes(2, "little"))
    waves = [*l_waves, *p_waves, *q_waves]
    if has_alpha:
        a_mean, a_waves, a_scale = _encoded(alpha, width, 5, 5)
        found.append(_rounded(15 * a_mean) | _rounded(15 * a_scale) << 4)
        waves += a_waves
    halves = [_rounded(15 * wave) for wave in waves]
    halves += [0] * (len(halves) % 2)
    found += bytes(low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True))
    return bytes(found)


def _over_its_mean(channel: list[float], alpha: list[float], shown: float) -> list[float]:
    mean = sum(map(float.__mul__, channel, alpha)) / shown if shown else 0.0
    return [mean * (1 - a) + a * value for value, a in zip(channel, alpha, strict=True)]


def _encoded(
    channel: Sequence[float], width: int, across: int, down: int
) -> tuple[float, list[float], float]:
    """Return a channel's mean, its lowest frequencies from 0 to 1, and what they were scaled by."""
    height = len(channel) // width
    rows = [channel[at : at + width] for at in range(0, len(channel), width)]
    columns = list(zip(*_waves(rows, across), strict=True))
    sums = list(zip(*_waves(columns, down), strict=True))  # by frequency down, then across
    mean, *found = (
        sums[cy][cx] / (width * height)
        for cy in range(down)
        for cx in range(across)
        if cx * down < across * (down - cy)
    )
    scale = max(map(abs, found), default=0.0)
    if scale:
        found = [0.5 + 0.5 / scale * one for one in found]
    return mean, found, scale


def _waves(rows: _Rows, count: int) -> list[list[float]]:
    """Return the sums of each row weighted by its first *count* cosines."""
    size = len(rows[0])
    cosines = [
        [math.cos(math.pi / size * frequency * (place + 0.5)) for place in range(size)]
        for frequency in range(count)
    ]
    return [[sum(map(float.__mul__, row, cosine)) for cosine in cosines] for row in rows]


def _rounded(value: float) -> int:
    # As JavaScript rounds: halves go up.
    return math.floor(value + 0.5)

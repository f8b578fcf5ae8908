"""ICC profiles made on the spot: what cameras, programs and presses bring."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

D50 = (0.9642, 1.0, 0.8249)
ADOBE_RGB = (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)
"""X, Y and Z of red, green and blue under D50."""
DISPLAY_P3 = (0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)
MAKER = "Camera-of-somebody"
"""The name of each profile, which nothing that is served may have."""

_GRID = 9
_DARKEST = 12
_PAPER = (0.83, 0.86, 0.66)
# How much each ink lets through of red, green and blue light, those of Display P3.
_INKS = (0.02, 0.35, 0.8), (0.75, 0.03, 0.3), (0.95, 0.85, 0.03), (0.02, 0.02, 0.02)


def rgb_profile(colours: Sequence[tuple[float, float, float]], gamma: float) -> bytes:
    """Return the profile of light of these *colours*, by a power."""
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    tags = {name: _xyz(colour) for name, colour in zip(names, colours, strict=True)}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**tags, **curves})


def grey_profile(gamma: float) -> bytes:
    """Return the profile of greys, by a power."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def ink_profile() -> bytes:
    """
    Return the profile of a press, on paper that is yellowish and is to be seen as white.

    Its cyan is beyond sRGB, and all its inks together are no full black.
    """
    straight = bytes(range(256))
    colours = bytes(
        value
        for inks in product(range(_GRID), repeat=4)
        for value in _coded(_printed([ink / (_GRID - 1) for ink in inks]))
    )
    table = b"".join(
        (b"mft1", bytes(4), bytes((4, 3, _GRID, 0)),
         struct.pack(">9i", *(0x10000 * (at % 4 == 0) for at in range(9))),
         straight * 4, colours, straight * 3)
    )  # fmt: skip
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table, b"wtpt": _xyz(_PAPER)})


def lab_of(xyz: Sequence[float]) -> tuple[float, float, float]:
    """Return L*, a* and b* of a colour under D50."""
    x, y, z = (_root(one / white) for one, white in zip(xyz, D50, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def xyz_of(
    light: Sequence[float], colours: Sequence[tuple[float, float, float]]
) -> tuple[float, ...]:
    """Return the X, Y and Z of an amount of *light* of each of three *colours*."""
    return tuple(
        sum(part * colour[at] for part, colour in zip(light, colours, strict=True))
        for at in range(3)
    )


def _printed(inks: Sequence[float]) -> tuple[float, float, float]:
    light = [1.0, 1.0, 1.0]
    for amount, through in zip(inks, _INKS, strict=True):
        light = [
            one * (1 - amount + amount * part) for one, part in zip(light, through, strict=True)
        ]
    lightness, green_red, blue_yellow = lab_of(xyz_of(light, DISPLAY_P3))
    return _DARKEST + lightness * (1 - _DARKEST / 100), green_red, blue_yellow


def _coded(lab: tuple[float, float, float]) -> Iterator[int]:
    for value in (lab[0] * 2.55, lab[1] + 128, lab[2] + 128):
        yield min(255, max(0, round(value)))


def _root(part: float) -> float:
    return part ** (1 / 3) if part > 216 / 24389 else (24389 / 27 * part + 16) / 116


def _xyz(colour: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(one * 0x10000) for one in colour))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))


def _text(text: str) -> bytes:
    return b"text" + bytes(4) + text.encode() + b"\0"


def _description(text: str) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text.encode() + bytes(79)


def _profile(kind: bytes, space: bytes, between: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    whole = {
        b"desc": _description(MAKER), b"cprt": _text(MAKER), b"wtpt": _xyz(D50), **tags,
    }  # fmt: skip
    at, rows, contents = 132 + 12 * len(whole), b"", b""
    for name, content in whole.items():
        rows += struct.pack(">4s2I", name, at + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4xI4s4s4s6H4s28x12s48x", at + len(contents), 0x02400000, kind, space, between,
        2020, 1, 1, 0, 0, 0, b"acsp", _xyz(D50)[8:],
    )  # fmt: skip
    return head + struct.pack(">I", len(whole)) + rows + contents

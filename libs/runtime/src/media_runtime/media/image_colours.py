"""
What the numbers of an image mean as colours, where it has no ICC profile, and their way to sRGB
or Display P3.

Invariant: HDR is shown as the videos made here show it: reference white is at 203 nits, and
what is brighter is bent below white by the curve that ffmpeg calls mobius.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

from media_runtime.media.image_structure import Data
from PIL import Image, ImageFilter

Vector: TypeAlias = tuple[float, float, float]
Matrix: TypeAlias = tuple[Vector, Vector, Vector]
Primaries: TypeAlias = tuple[float, ...]
"""x and y of white, red, green and blue, as in PNG's cHRM."""

Gamut: TypeAlias = Literal["srgb", "display-p3"]
"""The colours that a picture is made in; both have the curve of sRGB."""

_D65 = (0.3127, 0.3290)
_BT709: Primaries = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# By their numbers in H.273. Those of 601 differ from 709's by less than shows.
_PRIMARIES: Mapping[int, Primaries] = {
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_P3 = 12
_GAMMA_22, _GAMMA_28, _LINEAR, _PQ, _HLG = 4, 5, 8, 16, 18
_SRGB_GAMMA = 2.2
_REFERENCE_WHITE, _PEAK = 203.0, 1000.0
# Screens show BT.709 video by this power.
_VIDEO_GAMMA = 2.4
_KNEE = 0.3
# Eight bits suffice: no two neighbours among PQ's come out more than two steps apart.
_NODES = 33
# Of PQ's codes, those above the peak all come out white: no node is spent on them.
_PQ_CEILING = 0.752
_CLOSE_GAMMA, _CLOSE_PRIMARY = 0.02, 0.006
_BRADFORD: Matrix = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)


@dataclass(frozen=True)
class Colours:
    """What is not sRGB: *transfer* as in H.273, or a plain power *gamma* where it is None."""

    primaries: Primaries = _BT709
    transfer: int | None = None
    gamma: float | None = None


def by_cicp(primaries: int, transfer: int) -> Colours | None:
    """Return the colours that H.273's numbers name, or None for sRGB or as good as that."""
    wide = _PRIMARIES.get(primaries)
    odd = transfer if transfer in {_GAMMA_22, _GAMMA_28, _LINEAR, _PQ, _HLG} else None
    if wide is None and odd in {None, _GAMMA_22}:
        return None
    return Colours(wide or _BT709, odd)


def is_hdr(colours: Colours | None) -> bool:
    """Return whether white is not the brightest of these colours."""
    return colours is not None and colours.transfer in {_PQ, _HLG}


def of_png(info: Mapping[Any, Any]) -> Colours | None:
    """Return the colours that a PNG's gAMA and cHRM tell, or None for sRGB."""
    if "srgb" in info:
        return None
    gamma, told = info.get("gamma"), info.get("chromaticity")
    power = 1 / gamma if gamma else None
    if power is not None and abs(power - _SRGB_GAMMA) < _CLOSE_GAMMA * _SRGB_GAMMA:
        power = None
    is_srgb = told is None or all(
        abs(one - other) < _CLOSE_PRIMARY for one, other in zip(told, _BT709, strict=True)
    )
    if power is None and is_srgb:
        return None
    return Colours(tuple(told or _BT709) if not is_srgb else _BT709, None, power)


def of_heif(data: Data) -> Colours | None:
    """Return the colours that an AVIF or HEIC tells of its primary picture, or None for sRGB."""
    for kind, content in _primary_properties(data):
        if kind == b"colr" and content[:4] == b"nclx":
            primaries, transfer = (int.from_bytes(content[at : at + 2], "big") for at in (4, 6))
            return by_cicp(primaries, transfer)
    return None


def to_gamut(image: Image.Image, colours: Colours, gamut: Gamut = "srgb") -> Image.Image:
    """Return an RGB or RGBA *image* of these colours in *gamut*; as it is if they make no sense."""
    try:
        table = _table(colours, gamut)
    except (ArithmeticError, ValueError):
        return image
    if image.mode not in {"RGB", "RGBA"}:
        image = image.convert("RGB")
    if colours.transfer == _PQ:
        image = image.point(_stretch(image))
    return image.filter(table)


def _stretch(image: Image.Image) -> list[int]:
    colour = [min(255, round(value / _PQ_CEILING)) for value in range(256)]
    return colour * 3 + list(range(256)) * (len(image.getbands()) - 3)


@cache
def _table(colours: Colours, gamut: Gamut) -> ImageFilter.Color3DLUT:
    is_hdr = colours.transfer in {_PQ, _HLG}
    to_light = _to_light(colours)
    ceiling = _PQ_CEILING if colours.transfer == _PQ else 1.0
    steps = [to_light(ceiling * step / (_NODES - 1)) for step in range(_NODES)]
    matrix = _between(colours.primaries, _BT709 if gamut == "srgb" else _PRIMARIES[_P3])
    finish = _toned if is_hdr else _shown
    values = [
        value
        for blue in steps
        for green in steps
        for red in steps
        for value in finish(_times(matrix, _scene((red, green, blue), colours)))
    ]
    return ImageFilter.Color3DLUT(_NODES, values)


def _to_light(colours: Colours) -> Callable[[float], float]:
    if colours.transfer is None:
        gamma = colours.gamma
        return _from_srgb if gamma is None else lambda value: value**gamma
    return {
        _GAMMA_22: lambda value: value**2.2,
        _GAMMA_28: lambda value: value**2.8,
        _LINEAR: lambda value: value,
        _PQ: _from_pq,
        _HLG: _from_hlg,
    }[colours.transfer]


def _scene(light: Vector, colours: Colours) -> Vector:
    """Return the light of a screen; HLG codes that of the scene."""
    if colours.transfer != _HLG:
        return light
    red, green, blue = light
    luminance = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    scale = _PEAK / _REFERENCE_WHITE * luminance**0.2
    return red * scale, green * scale, blue * scale


def _from_srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB's own


def _from_pq(value: float) -> float:
    power = value ** (1 / 78.84375)
    light = max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return float(light ** (1 / 0.1593017578125)) * 10_000 / _REFERENCE_WHITE


def _from_hlg(value: float) -> float:
    if value <= 0.5:  # noqa: PLR2004 - HLG's own
        return value * value / 3
    return float((2.718281828459045 ** ((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)


def _toned(light: Vector) -> Iterator[float]:
    # Each channel by itself: bent by the brightest, as ffmpeg does, channels would depend on one
    # another so much that greys ripple between the nodes of a table.
    return (_mobius(max(one, 0.0)) ** (1 / _VIDEO_GAMMA) for one in light)


def _mobius(light: float) -> float:
    peak, knee = _PEAK / _REFERENCE_WHITE, _KNEE
    if light <= knee:
        return light
    light = min(light, peak)
    a = -knee * knee * (peak - 1) / (knee * knee - 2 * knee + peak)
    b = (knee * knee - 2 * knee * peak + peak) / (peak - 1)
    return (b * b + 2 * b * knee + knee * knee) / (b - a) * (light + a) / (light + b)


def _shown(light: Vector) -> Iterator[float]:
    return (_as_srgb(min(max(one, 0.0), 1.0)) for one in light)


def _as_srgb(light: float) -> float:
    return light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055  # noqa: PLR2004 - sRGB's own


def _between(primaries: Primaries, target: Primaries) -> Matrix:
    """Return the matrix from the light of *primaries* to that of *target*, white to white."""
    adapted = _product(_adaptation(primaries[:2], target[:2]), _to_xyz(primaries))
    return _product(_inverse(_to_xyz(target)), adapted)


def _to_xyz(primaries: Primaries) -> Matrix:
    white, red, green, blue = (_xyz(primaries[at : at + 2]) for at in (0, 2, 4, 6))
    columns = _transposed((red, green, blue))
    return _scaled(columns, _times(_inverse(columns), white))


def _adaptation(source: Primaries, target: Primaries) -> Matrix:
    before, after = (_times(_BRADFORD, _xyz(white)) for white in (source, target))
    ratio = (after[0] / before[0], after[1] / before[1], after[2] / before[2])
    return _product(_scaled(_inverse(_BRADFORD), ratio), _BRADFORD)


def _xyz(point: Primaries) -> Vector:
    x, y = point
    return x / y, 1.0, (1 - x - y) / y


def _scaled(matrix: Matrix, columns: Vector) -> Matrix:
    a, b, c = ((row[0] * columns[0], row[1] * columns[1], row[2] * columns[2]) for row in matrix)
    return a, b, c


def _times(matrix: Matrix, vector: Vector) -> Vector:
    x, y, z = vector
    a, b, c = (row[0] * x + row[1] * y + row[2] * z for row in matrix)
    return a, b, c


def _product(one: Matrix, other: Matrix) -> Matrix:
    a, b, c = (_times(one, column) for column in _transposed(other))
    return _transposed((a, b, c))


def _transposed(matrix: Matrix) -> Matrix:
    a, b, c = zip(*matrix, strict=True)
    return a, b, c


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    factor = 1 / (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
    return (
        ((e * i - f * h) * factor, (c * h - b * i) * factor, (b * f - c * e) * factor),
        ((f * g - d * i) * factor, (a * i - c * g) * factor, (c * d - a * f) * factor),
        ((d * h - e * g) * factor, (b * g - a * h) * factor, (a * e - b * d) * factor),
    )


def _primary_properties(data: Data) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each property of the primary picture."""
    meta = next((part for kind, part in _boxes(data, 0) if kind == b"meta"), b"")
    parts = dict(_boxes(meta, 4))
    item = parts.get(b"pitm", b"")
    primary = int.from_bytes(item[4:6] if item[:1] == b"\0" else item[4:8], "big")
    shared = dict(_boxes(parts.get(b"iprp", b""), 0))
    properties = list(_boxes(shared.get(b"ipco", b""), 0))
    for number in _associations(shared.get(b"ipma", b""), primary):
        if 0 < number <= len(properties):
            yield properties[number - 1]


def _boxes(data: Data, start: int) -> Iterator[tuple[bytes, bytes]]:
    at = start
    while at + 8 <= len(data):
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0:
            size = len(data) - at
        if size < head:
            return
        kind = bytes(data[at + 4 : at + 8])
        # Pictures are not read: theirs is the box that may be large.
        yield kind, b"" if kind == b"mdat" else bytes(data[at + head : at + size])
        at += size


def _associations(table: bytes, item: int) -> Iterator[int]:
    """Yield the numbers of an item's properties, from 1."""
    version, flags = table[:1], table[3:4]
    wide, wide_numbers = version != b"\0", bool(flags and flags[0] & 1)
    at, item_bytes, number_bytes = 8, 4 if wide else 2, 2 if wide_numbers else 1
    while at + item_bytes < len(table):
        of = int.from_bytes(table[at : at + item_bytes], "big")
        count = table[at + item_bytes]
        at += item_bytes + 1
        if of == item:
            for place in range(at, at + count * number_bytes, number_bytes):
                # The highest bit says whether the property is essential.
                mask = 0x7FFF if wide_numbers else 0x7F
                yield int.from_bytes(table[place : place + number_bytes], "big") & mask
        at += count * number_bytes

"""How different two colours look: CIEDE2000."""

from __future__ import annotations

from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt
from typing import TypeAlias

Lab: TypeAlias = tuple[float, float, float]

_FAR = 25**7


def delta_e(one: Lab, other: Lab) -> float:
    """Return the difference of two colours: 1 can just be seen, side by side."""
    mean_chroma = (hypot(*one[1:]) + hypot(*other[1:])) / 2
    stretch = 1.5 - 0.5 * sqrt(mean_chroma**7 / (mean_chroma**7 + _FAR))
    chroma_1, chroma_2 = hypot(one[1] * stretch, one[2]), hypot(other[1] * stretch, other[2])
    hue_1 = degrees(atan2(one[2], one[1] * stretch)) % 360
    hue_2 = degrees(atan2(other[2], other[1] * stretch)) % 360
    light, chroma = (one[0] + other[0]) / 2, (chroma_1 + chroma_2) / 2
    turn, hue = _between(hue_1, hue_2) if chroma_1 * chroma_2 else (0.0, hue_1 + hue_2)
    weight = (
        1
        - 0.17 * cos(radians(hue - 30))
        + 0.24 * cos(radians(2 * hue))
        + 0.32 * cos(radians(3 * hue + 6))
        - 0.20 * cos(radians(4 * hue - 63))
    )
    lights = (other[0] - one[0]) / (1 + 0.015 * (light - 50) ** 2 / sqrt(20 + (light - 50) ** 2))
    chromas = (chroma_2 - chroma_1) / (1 + 0.045 * chroma)
    hues = 2 * sqrt(chroma_1 * chroma_2) * sin(radians(turn / 2)) / (1 + 0.015 * chroma * weight)
    tilt = 2 * sqrt(chroma**7 / (chroma**7 + _FAR))
    tilt *= -sin(radians(60 * exp(-(((hue - 275) / 25) ** 2))))
    return sqrt(lights**2 + chromas**2 + hues**2 + tilt * chromas * hues)


def _between(one: float, other: float) -> tuple[float, float]:
    """Return the turn from a hue to another one, the shorter way, and the hue halfway."""
    turn = (other - one + 180) % 360 - 180
    return turn, (one + turn / 2) % 360

"""
The CRF by which one film looks as good as another: by what encoding samples of it loses. Pure.

A CRF loses more of a film with grain than of drawings. Luma's SSIM in decibels, which is
-10 log10(1 - SSIM), falls with x264's CRF in something near a straight line, and two CRFs give a
line. The idea, with bitrates of a ladder, is of "Per-Title Encode Optimization" (Netflix, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ingest.film.ladder import Chunk

TRIED = (20, 30)
"""CRFs by which samples are encoded."""
_LEAST, _MOST = 16, 36
_SAMPLES = 3
# Of a black picture nothing is lost.
_MOST_DECIBELS = 40.0


def samples(chunks: Sequence[Chunk], frames: int) -> list[Chunk]:
    """Return chunks of so many *frames*, spread over all of a film's *chunks*."""
    count = min(_SAMPLES, len(chunks))
    chosen = [chunks[(2 * number + 1) * len(chunks) // (2 * count)] for number in range(count)]
    return [replace(one, frames=min(one.frames, frames)) for one in chosen]


def crf_for(ssim: float, measured: Mapping[int, Sequence[float]]) -> int:
    """Return the CRF that gives about this SSIM, by those that were *measured*, by their CRFs."""
    (first, before), (second, after) = (
        (crf, sum(map(_decibels, found)) / len(found)) for crf, found in sorted(measured.items())
    )
    wanted, fall = _decibels(ssim), (before - after) / (second - first)
    if fall <= 0:
        return _MOST if before >= wanted else _LEAST
    return max(_LEAST, min(_MOST, math.floor(first + (before - wanted) / fall)))


def _decibels(ssim: float) -> float:
    return min(_MOST_DECIBELS, -10 * math.log10(max(1e-9, 1 - ssim)))

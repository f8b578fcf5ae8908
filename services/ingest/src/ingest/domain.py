"""The rules of ingest, without I/O: how a file is encoded, and how long that may take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from media_contracts.errors import ErrorCode
from media_runtime.errors import PermanentError

_SECONDS_PER_MINUTE_OF_SOURCE = 300.0
_LEAST_CPU_SECONDS = 60
_CPU_SECONDS_OF_SOUND, _CPU_SECONDS_A_MEGAPIXEL = 0.5, 0.15
_UNKNOWN_FRAME_RATE = 60.0
_LEAST_OUTPUT_BYTES = 256 * 1024**2


class GaveUpError(PermanentError):
    """What the attempt needed stayed away for too long."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.PROCESSING_TIMEOUT)


@dataclass(frozen=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int


def fit_video(source: Size, *, max_long_side: int, max_short_side: int) -> Size:
    """
    Return the largest even size with the shape of *source* within the limits, never enlarged.

    H.264 with 4:2:0 chroma needs even sides; a side is at least two pixels.
    """
    long_side, short_side = max(source.width, source.height), min(source.width, source.height)
    scale = min(1.0, max_long_side / long_side, max_short_side / short_side)
    return Size(_even(source.width * scale), _even(source.height * scale))


def _even(side: float) -> int:
    return max(2, int(side / 2 + 1e-9) * 2)


def transcode_limit_seconds(duration_seconds: float | None) -> float:
    """Return how long a transcode may take: 5 minutes for each minute of source, at least 5."""
    minutes = (duration_seconds or 0.0) / 60
    return _SECONDS_PER_MINUTE_OF_SOURCE * max(1.0, minutes)


def transcode_cpu_seconds(duration_seconds: float, frame_rate: float | None, size: Size) -> int:
    """
    Return what a transcode may take on the CPU, of all its threads together.

    That is many times what the pixels of all frames cost; a film that claims fewer than it has
    ends there.
    """
    rate = frame_rate or _UNKNOWN_FRAME_RATE
    megapixels = duration_seconds * rate * size.width * size.height / 1_000_000
    seconds = _CPU_SECONDS_OF_SOUND * duration_seconds + _CPU_SECONDS_A_MEGAPIXEL * megapixels
    return math.ceil(_LEAST_CPU_SECONDS + seconds)


def most_output_bytes(source_bytes: int) -> int:
    """
    Return how large the rendition of a source may become: four times as large, at least 256 MiB.

    H.264 needs about twice the bytes of the best codecs of today; noise that a decoder makes up
    (AV1's film grain) has no bound.
    """
    return max(_LEAST_OUTPUT_BYTES, 4 * source_bytes)


def retry_delay_seconds(tries: int, *, base_seconds: float, jitter: float) -> float:
    """Return the wait before try *tries* + 1: base * 4^(tries-1), spread by *jitter* (0 to 1)."""
    delay: float = base_seconds * 4.0 ** max(0, tries - 1)
    return delay * (0.8 + 0.4 * jitter)

"""
A film's preview: which moments it has, and the moving picture of them. Pure.

Its pictures are those of the smallest rendition, as those of the storyboard are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ffmpeg
from ingest.domain import Size
from media_runtime.media.colour import Filter, apply

FRAME_RATE = 10
QUALITIES = (60, 35, 15)
"""The first one by which a preview is small enough is taken, or the last one."""
MOST_BYTES = 300_000
_MOMENT_SECONDS = 0.6
# What is shown of each side is the beginning and the end of a film: credits, mostly.
_MARGIN = 0.05
# Less is no picture.
_LEAST_SECONDS = 0.02


class Moment(NamedTuple):
    """A part of a film: from when on, and for how long."""

    at: float
    seconds: float


class Clip(NamedTuple):
    """A part of a file with a film's pictures, from so many seconds after its beginning on."""

    path: Path
    at: float
    seconds: float


def moments_of(seconds: float, count: int) -> list[Moment]:
    """Return *count* moments of a film, evenly spread; all of one that is no longer than they."""
    if seconds <= count * _MOMENT_SECONDS:
        return [Moment(0.0, seconds)]
    inner = seconds * (1 - 2 * _MARGIN)
    each = inner / count
    shown = min(_MOMENT_SECONDS, each)
    begin = seconds * _MARGIN + (each - shown) / 2
    return [Moment(begin + number * each, shown) for number in range(count)]


def clips_of(lengths: Sequence[float], count: int) -> list[tuple[int, float, float]]:
    """
    Return which parts of a film's pieces, of these *lengths* in seconds, its moments are.

    Each is the number of a piece, from when on in it, and for how long.
    """
    found = []
    for moment in moments_of(sum(lengths), count):
        begin = 0.0
        for number, length in enumerate(lengths):
            first = max(moment.at, begin)
            last = min(moment.at + moment.seconds, begin + length)
            if last - first > _LEAST_SECONDS:
                found.append((number, first - begin, last - first))
            begin += length
    return found


def size_of(rung: Size, max_long_side: int) -> Size:
    """Return the size of the preview of a rendition of size *rung*."""
    shrunk = min(1.0, max_long_side / max(rung.width, rung.height))
    width, height = (max(2, 2 * round(side * shrunk / 2)) for side in (rung.width, rung.height))
    return Size(width, height)


def preview_command(
    clips: Sequence[Clip],
    target: Path,
    size: Size,
    quality: int,
    input_options: Mapping[str, object],
) -> list[str]:
    """Return ffmpeg's arguments that write *clips* one after the other, as an animated WebP."""
    shown = [
        ffmpeg.input(
            f"file:{clip.path}",
            **{**input_options, "threads": 1, "ss": f"{clip.at:.3f}", "t": f"{clip.seconds:.3f}"},
        )["v:0"].filter("fps", fps=FRAME_RATE)
        for clip in clips
    ]
    # WebP is BT.601 in limited range, whatever is in it.
    filters = [
        Filter(
            "scale",
            {
                "w": size.width,
                "h": size.height,
                "flags": "area",
                "out_color_matrix": "bt601",
                "out_range": "tv",
            },
        ),
        Filter("format", {"pix_fmts": "yuv420p"}),
        Filter("setsar", {"sar": 1}),
    ]
    arguments: list[str] = (
        apply(ffmpeg.concat(*shown, n=len(shown), v=1, a=0), filters)
        .output(
            f"file:{target}",
            **{
                "c:v": "libwebp_anim",
                "quality": quality,
                "compression_level": 4,
                "loop": 0,
                "threads:v": 1,
                "fflags": "+bitexact",
                "map_metadata": -1,
                "f": "webp",
            },
        )
        .get_args()
    )
    return arguments

"""
The pictures of a film's storyboard: which they are, and their sheets. Pure.

They are those of the smallest rendition that stand alone: their times are known, they are upright
and in colours as players show them, and they are decoded in a tenth of the time of the source's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ffmpeg
from ingest.domain import Size
from ingest.film.grid import Grid
from ingest.film.ladder import gop_frames
from media_runtime.media.colour import Filter, apply
from media_runtime.media.tiles import Board

# In pixels: as wide as players show them, and as high as that of a phone held upright.
_WIDTH, _MOST_HEIGHT = 160, 284
_COLUMNS = _ROWS = 10
# A bar to seek on is some 1,000 pixels wide: nobody could point at more tiles. Players fetch the
# sheets one by one, when somebody points at them.
_MOST_SHEETS = 10
_QUALITY = 4


def board_of(grid: Grid, size: Size) -> Board:
    """
    Return the board of a film whose smallest rendition has *size*.

    There is a tile for each picture that stands alone, every two seconds, or, of a film of more
    than 33 minutes, for every so many of them that ten sheets of a hundred are enough.
    """
    step = _step(grid)
    count = -(-_keys(grid) // step)
    columns = min(_COLUMNS, count)
    tile = _tile(size)
    return Board(
        width=tile.width,
        height=tile.height,
        columns=columns,
        rows=min(_ROWS, -(-count // columns)),
        interval=step * gop_frames(grid.rate) / grid.rate,
        seconds=grid.seconds,
    )


def shown(grid: Grid) -> list[int]:
    """
    Return which pictures that stand alone are on the tiles, from 0 on.

    Each is the one in the middle of those that its tile is for.
    """
    step, last = _step(grid), _keys(grid) - 1
    return [min(first + step // 2, last) for first in range(0, last + 1, step)]


def sheets_command(
    source: Path, target: Path, grid: Grid, size: Size, input_options: Mapping[str, object]
) -> list[str]:
    """
    Return ffmpeg's arguments that write ``<target>0.jpg`` and so on, the sheets of a film.

    *source* is its smallest rendition, of *size*, as one file.
    """
    board, step = board_of(grid, size), _step(grid)
    options = {**input_options, "threads": 1, "skip_frame": "nokey"}
    wanted = f"eq(mod(n,{step}),{step // 2})"
    last = shown(grid)[-1]
    if last % step != step // 2:
        wanted += f"+eq(n,{last})"
    # A JPEG is taken for BT.601 in full range (JFIF), whatever is in it.
    colours = {"out_color_matrix": "bt601", "out_range": "pc"}
    filters = [
        Filter("select", {"expr": wanted}),
        Filter("scale", {"w": board.width, "h": board.height, "flags": "area", **colours}),
        Filter("format", {"pix_fmts": "yuvj420p"}),
        Filter("setsar", {"sar": 1}),
        Filter("tile", {"layout": f"{board.columns}x{board.rows}"}),
    ]
    sheets = apply(ffmpeg.input(f"file:{source}", **options)["v:0"], filters)
    arguments: list[str] = sheets.output(
        f"file:{target}%d.jpg",
        **{
            "c:v": "mjpeg",
            "q:v": _QUALITY,
            "threads:v": 1,
            "fps_mode": "passthrough",
            "fflags": "+bitexact",
            "flags:v": "+bitexact",
            "map_metadata": -1,
            "start_number": 0,
            "f": "image2",
        },
    ).get_args()
    return arguments


def _keys(grid: Grid) -> int:
    """Return how many pictures of a rendition stand alone."""
    return -(-grid.frames // gop_frames(grid.rate))


def _step(grid: Grid) -> int:
    """Return how many of them a tile is for."""
    return -(-_keys(grid) // (_MOST_SHEETS * _COLUMNS * _ROWS))


def _tile(size: Size) -> Size:
    shrunk = min(1.0, _WIDTH / size.width, _MOST_HEIGHT / size.height)
    width, height = (max(2, 2 * round(side * shrunk / 2)) for side in (size.width, size.height))
    return Size(width, height)

"""
Small pictures of a film on sheets, for finding a place in it, told of in three ways. Pure.

One set of JPEG sheets is named by a WebVTT file, an HLS image playlist and a DASH manifest alike.
Sources: WebVTT with media fragments (W3C, #xywh), Roku's "HLS image media playlists", DASH-IF
IOP 4.3, 6.2.6.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Self
from xml.sax.saxutils import quoteattr

_TILES = "http://dashif.org/guidelines/thumbnail_tile"


@dataclass(frozen=True)
class Board:
    """
    Which times of a film are on which place of which sheet.

    ``width`` and ``height`` are those of a tile in pixels. A sheet has ``columns`` times ``rows``
    of them, the last one too, where what is left is black. A tile is for ``interval`` seconds, the
    last one for what is left of the film's ``seconds``.
    """

    width: int
    height: int
    columns: int
    rows: int
    interval: Fraction
    seconds: Fraction

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return math.ceil(self.seconds / self.interval)

    @property
    def sheets(self) -> int:
        """How many sheets there are."""
        return math.ceil(self.seconds / self.sheet_seconds)

    @property
    def sheet_seconds(self) -> Fraction:
        """How much of a film a whole sheet is for."""
        return self.columns * self.rows * self.interval

    def lasts(self, sheet: int) -> Fraction:
        """Return how much of the film a sheet is for, in seconds."""
        return min(self.sheet_seconds, self.seconds - sheet * self.sheet_seconds)

    def place(self, tile: int) -> tuple[int, int, int]:
        """Return the sheet that a tile is on, and its left and upper edge there, in pixels."""
        sheet, place = divmod(tile, self.columns * self.rows)
        row, column = divmod(place, self.columns)
        return sheet, column * self.width, row * self.height

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"), default=str)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return what text() wrote."""
        found = json.loads(text)
        times = {name: Fraction(found[name]) for name in ("interval", "seconds")}
        return cls(**{**found, **times})


@dataclass(frozen=True)
class Tiles:
    """
    The sheets of a board as they are stored: ``<prefix>0.jpg`` and so on, of so many bytes each.

    ``name`` is what their image playlist is called. Both are relative to the manifests.
    """

    name: str
    prefix: str
    board: Board
    sizes: Sequence[int]

    @property
    def bandwidth(self) -> int:
        """The bits a second that the largest sheet takes, were it for a whole one's time."""
        return math.ceil(8 * max(self.sizes) / self.board.lasts(0))


def webvtt(tiles: Tiles) -> str:
    """Return which tile is for which time, as a WebVTT file."""
    board = tiles.board
    lines = ["WEBVTT", ""]
    for tile in range(board.count):
        sheet, x, y = board.place(tile)
        ends = min((tile + 1) * board.interval, board.seconds)
        lines += [
            f"{_clock(tile * board.interval)} --> {_clock(ends)}",
            f"{tiles.prefix}{sheet}.jpg#xywh={x},{y},{board.width},{board.height}",
            "",
        ]
    return "\n".join(lines)


def hls_images(tiles: Tiles) -> str:
    """Return the image playlist of the sheets."""
    board = tiles.board
    longest = math.ceil(max(board.lasts(sheet) for sheet in range(board.sheets)))
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{longest}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-IMAGES-ONLY",
    ]
    about = (
        f"RESOLUTION={board.width}x{board.height},LAYOUT={board.columns}x{board.rows},"
        f"DURATION={float(board.interval):.6f}"
    )
    for sheet in range(board.sheets):
        lines += [
            f"#EXTINF:{float(board.lasts(sheet)):.6f},",
            f"#EXT-X-TILES:{about}",
            f"{tiles.prefix}{sheet}.jpg",
        ]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def hls_images_line(tiles: Tiles) -> str:
    """Return the line of a main playlist that names the image playlist, ``<name>.m3u8``."""
    board = tiles.board
    return (
        f"#EXT-X-IMAGE-STREAM-INF:BANDWIDTH={tiles.bandwidth},"
        f'RESOLUTION={board.width}x{board.height},CODECS="jpeg",URI="{tiles.name}.m3u8"'
    )


def dash_images(tiles: Tiles) -> str:
    """Return the AdaptationSet of the sheets."""
    board, sheet = tiles.board, tiles.board.sheet_seconds
    return (
        '<AdaptationSet contentType="image" mimeType="image/jpeg">'
        f"<SegmentTemplate media={quoteattr(tiles.prefix + '$Number$.jpg')} "
        f'startNumber="0" timescale="{sheet.denominator}" duration="{sheet.numerator}"/>'
        f"<Representation id={quoteattr(tiles.name)} "
        f'bandwidth="{tiles.bandwidth}" '
        f'width="{board.columns * board.width}" height="{board.rows * board.height}">'
        f'<EssentialProperty schemeIdUri="{_TILES}" value="{board.columns}x{board.rows}"/>'
        "</Representation></AdaptationSet>"
    )


def _clock(seconds: Fraction) -> str:
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"

"""The tiles of a film show what is at their times, whoever tells where they are."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ingest.domain import Size
from ingest.film.grid import Grid
from ingest.film.ladder import gop_frames
from ingest.film.storyboard import board_of, sheets_command, shown
from media_runtime.media.manifests import Part, Rendition, dash, hls_master
from media_runtime.media.tiles import Board, Tiles, hls_images, webvtt
from PIL import Image

from support.media_files import run_ffmpeg
from unit.ingest.test_chunk import FFMPEG

MPD = "{urn:mpeg:dash:schema:mpd:2011}"
NTSC = Fraction(30000, 1001)
RUNG = Size(426, 240)


def grid_of(frames: int, rate: Fraction = Fraction(25)) -> Grid:
    return Grid(rate, frames, Fraction(0), 0)


def rung_of(path: Path, grid: Grid, size: Size, light: str, chroma: str = "cb=128:cr=128") -> Path:
    """Write a small film in groups as ours are; *light* is an expression of the frame's number."""
    group = str(gop_frames(grid.rate))
    tags = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    run_ffmpeg(
        "-f", "lavfi", "-i", f"color=black:size={size.width}x{size.height}:rate={grid.rate}",
        "-frames:v", str(grid.frames),
        "-vf", f"geq=lum='{light}':{chroma},{tags}", "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-g", group,
        "-keyint_min", group, "-sc_threshold", "0", "-bf", "2", str(path),
    )  # fmt: skip
    return path


async def sheets_of(source: Path, folder: Path, grid: Grid, size: Size) -> list[Path]:
    command = sheets_command(source, folder / "tiles", grid, size, FFMPEG.input_options)
    await FFMPEG.run(command, reads=source, writes=folder, timeout_seconds=60)
    return sorted(
        folder.glob(  # noqa: ASYNC240 - a test waits for its own files
            "tiles*.jpg"
        ),
        key=lambda one: int(one.stem[5:]),
    )


def tiles_of(board: Board, *sizes: int) -> Tiles:
    return Tiles("film.tiles", "../3/tiles", board, sizes or [9000] * board.sheets)


@pytest.mark.parametrize(
    ("frames", "rate", "size"),
    [
        (110, Fraction(1), Size(64, 36)),
        (7, Fraction(1), Size(36, 64)),
        (2501, Fraction(1), Size(16, 16)),
    ],
)
async def test_each_tile_shows_the_picture_of_its_time(tmp_path, frames, rate, size):
    grid = grid_of(frames, rate)
    group = gop_frames(rate)
    source = rung_of(tmp_path / "film.mp4", grid, size, f"16+mod(7*floor(N/{group}),200)")
    found = await sheets_of(source, tmp_path, grid, size)
    board = board_of(grid, size)
    assert len(found) == board.sheets
    pictures = [Image.open(one).convert("YCbCr") for one in found]
    assert {one.size for one in pictures} == {
        (board.columns * board.width, board.rows * board.height)
    }
    keys = shown(grid)
    assert len(keys) == board.count
    for tile, key in enumerate(keys):
        middle = (tile + Fraction(1, 2)) * board.interval
        assert abs(key * group / rate - min(middle, grid.seconds)) <= board.interval / 2
        sheet, x, y = board.place(tile)
        at = (x + board.width // 2, y + board.height // 2)
        light = pictures[sheet].getpixel(at)[0] / 255 * 219 + 16
        assert light == pytest.approx(16 + 7 * key % 200, abs=5), (tile, key)
    if board.count < board.sheets * board.columns * board.rows:
        sheet, x, y = board.place(board.count)
        assert pictures[sheet].getpixel((x + 1, y + 1))[0] < 5


async def test_tiles_have_the_colours_of_the_film(tmp_path):
    grid = grid_of(50)
    source = rung_of(tmp_path / "film.mp4", grid, Size(64, 36), "120", "cb=100:cr=160")
    (sheet,) = await sheets_of(source, tmp_path, grid, Size(64, 36))
    # BT.709 of Y 120, Cb 100, Cr 160.
    light, blue, red = (120 - 16) / 219, (100 - 128) / 224, (160 - 128) / 224
    wanted = (
        light + 1.5748 * red,
        light - 0.1873 * blue - 0.4681 * red,
        light + 1.8556 * blue,
    )
    shown_as = Image.open(sheet).convert("RGB").getpixel((30, 15))
    assert shown_as == pytest.approx([255 * one for one in wanted], abs=4)


@pytest.mark.parametrize(
    ("size", "tile"),
    [
        (Size(426, 240), (160, 90)),
        (Size(240, 426), (160, 284)),
        (Size(320, 240), (160, 120)),
        (Size(240, 2400), (28, 284)),
        (Size(2400, 240), (160, 16)),
        (Size(64, 48), (64, 48)),
        (Size(2, 2), (2, 2)),
    ],
)
def test_tiles_fit_and_have_even_sides(size, tile):
    board = board_of(grid_of(100), size)
    assert (board.width, board.height) == tile


@pytest.mark.parametrize(
    ("seconds", "interval", "count", "layout", "sheets"),
    [
        (1, 2, 1, (1, 1), 1),
        (15, 2, 8, (8, 1), 1),
        (30, 2, 15, (10, 2), 1),
        (200, 2, 100, (10, 10), 1),
        (201, 2, 101, (10, 10), 2),
        (2000, 2, 1000, (10, 10), 10),
        (2001, 4, 501, (10, 10), 6),
        (7200, 8, 900, (10, 10), 9),
        (24 * 3600, 88, 982, (10, 10), 10),
    ],
)
def test_a_film_of_any_length_has_at_most_ten_sheets(seconds, interval, count, layout, sheets):
    grid = grid_of(25 * seconds)
    board = board_of(grid, RUNG)
    assert (board.interval, board.count, board.sheets) == (interval, count, sheets)
    assert (board.columns, board.rows) == layout
    assert len(shown(grid)) == count
    assert sum(board.lasts(sheet) for sheet in range(sheets)) == seconds


def test_times_are_those_of_the_grid():
    board = board_of(grid_of(301, NTSC), RUNG)
    assert board.interval == Fraction(2002, 1000)
    cues = webvtt(tiles_of(board)).split("\n\n")
    assert cues[0] == "WEBVTT"
    assert cues[2] == "00:00:02.002 --> 00:00:04.004\n../3/tiles0.jpg#xywh=160,0,160,90"
    assert cues[6] == "00:00:10.010 --> 00:00:10.043\n../3/tiles0.jpg#xywh=800,0,160,90\n"
    assert len(cues) == 7
    long = webvtt(tiles_of(board_of(grid_of(25 * 7200), RUNG)))
    assert "\n01:59:52.000 --> 02:00:00.000\n../3/tiles8.jpg#xywh=1440,810,160,90\n" in long


def test_every_place_is_on_its_sheet():
    board = board_of(grid_of(25 * 411), RUNG)
    found = re.findall(r"tiles(\d)\.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", webvtt(tiles_of(board)))
    assert len(found) == len(set(found)) == 206
    for sheet, x, y, width, height in (map(int, one) for one in found):
        assert sheet < board.sheets
        assert x + width <= 1600
        assert y + height <= 900


def test_an_image_playlist_has_whole_seconds_at_most_and_lasts_as_the_film():
    lines = hls_images(tiles_of(board_of(grid_of(12060, NTSC), RUNG))).splitlines()
    assert "#EXT-X-TARGETDURATION:201" in lines
    assert "#EXT-X-IMAGES-ONLY" in lines
    assert lines[-4:] == [
        "#EXTINF:2.002000,",
        "#EXT-X-TILES:RESOLUTION=160x90,LAYOUT=10x10,DURATION=2.002000",
        "../3/tiles2.jpg",
        "#EXT-X-ENDLIST",
    ]
    lasts = [float(line[8:-1]) for line in lines if line.startswith("#EXTINF:")]
    assert sum(lasts) == pytest.approx(12060 * 1001 / 30000)


def test_main_manifests_name_the_sheets():
    tiles = tiles_of(board_of(grid_of(6030, NTSC), RUNG), 100_000, 20_000)
    part = Part("c.mp4", 0, 5, 100, 50)
    ladder = [Rendition("v64", "avc1.640015", 25, "c.mp4", 100, (part,), 96, 64, Fraction(25))]
    told = (
        '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=3997,RESOLUTION=160x90,CODECS="jpeg",'
        'URI="film.tiles.m3u8"'
    )
    assert hls_master(ladder, None, tiles=tiles).splitlines()[-1] == told
    assert "IMAGE" not in hls_master(ladder, None)
    root = ET.fromstring(dash(ladder, None, tiles))
    found = next(
        one for one in root.iter(f"{MPD}AdaptationSet") if one.get("contentType") == "image"
    )
    template = found.find(f"{MPD}SegmentTemplate")
    assert template is not None
    assert template.get("media") == "../3/tiles$Number$.jpg"
    seconds = Fraction(int(template.get("duration", "")), int(template.get("timescale", "")))
    assert seconds == Fraction(2002, 10)
    about = found.find(f"{MPD}Representation")
    assert about is not None
    assert (about.get("width"), about.get("height")) == ("1600", "900")
    assert about.get("bandwidth") == "3997"
    layout = about.find(f"{MPD}EssentialProperty")
    assert layout is not None
    assert layout.get("value") == "10x10"
    assert "image" not in dash(ladder, None)


def test_a_board_is_kept_as_text():
    board = board_of(grid_of(301, NTSC), RUNG)
    assert Board.of(board.text()) == board

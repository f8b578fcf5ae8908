"""The grid that packets tell is the one that ffmpeg makes of the pictures."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from ingest.domain import Size
from ingest.film.grid import Grid, Packet, fit
from ingest.film.ladder import cut, gop_frames, rungs

from support.media_files import run_ffmpeg
from support.tiers import FULL

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def scanned(path: Path) -> tuple[list[Packet], Fraction]:
    words = ("-show_entries", "packet=pts,dts,duration,flags:stream=time_base", "-of", "json")
    command = ["ffprobe", "-v", "error", "-select_streams", "V:0", *words, str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    packets = [
        Packet(one.get("pts"), one.get("dts"), one.get("duration", 0), "K" in one["flags"],
               "D" in one["flags"])
        for one in found["packets"]
    ]  # fmt: skip
    return packets, Fraction(found["streams"][0]["time_base"])


def grid_of(path: Path) -> Grid:
    return fit(*scanned(path))


def made_by_ffmpeg(path: Path, grid: Grid) -> tuple[int, int]:
    """Return how many frames ffmpeg's filter makes on the grid, and how many different ones."""
    # The last picture is held until the last frame: the filter leaves it out where it is short.
    held = f"setpts=PTS-({grid.tick}),tpad=stop=-1:stop_mode=clone"
    filters = f"{held},fps={grid.rate}:start_time=0,trim=end_frame={grid.frames}"
    command = ["ffmpeg", "-v", "error", "-copyts", "-i", str(path), "-map", "0:V:0", "-vf", filters,
               "-fps_mode", "passthrough", "-f", "framemd5", "-"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [row.split()[-1] for row in done.stdout.splitlines() if not row.startswith("#")]
    return len(rows), len(set(rows))


def film(path: Path, rate: str, *options: str, seconds: float = 3, codec=X264) -> Path:
    source = f"testsrc2=size=96x64:rate={rate}:duration={seconds}"
    run_ffmpeg("-f", "lavfi", "-i", source, *codec, *options, str(path))
    return path


FURTHER_RATES = [
    ("film.mkv", "24000/1001", ()),
    ("film.mp4", "24", ()),
    ("film.mkv", "25", ()),
    ("film.mp4", "30000/1001", ()),
    ("film.ts", "30000/1001", ("-bf", "2")),
    ("film.mp4", "50", ()),
    ("film.ts", "60000/1001", ()),
]


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("film.mp4", "24000/1001", ()),
        ("film.mkv", "30000/1001", ("-bf", "3")),
        ("film.ts", "60000/1001", ("-bf", "2")),
        ("film.mp4", "30", ("-video_track_timescale", "600")),
        ("film.avi", "25", ("-c:v", "mpeg4")),
        ("film.webm", "30", ("-c:v", "libvpx", "-deadline", "realtime")),
        ("film.mp4", "12", ()),
        *(FURTHER_RATES if FULL else []),
    ],
)
def test_a_film_of_one_rate_keeps_each_of_its_pictures(tmp_path, name, rate, options):
    path = film(tmp_path / name, rate, *options)
    grid = grid_of(path)
    assert grid.rate == Fraction(rate)
    assert (grid.doubled, grid.dropped, grid.faults) == (0, 0, ())
    count, different = made_by_ffmpeg(path, grid)
    assert count == different == grid.frames == len(scanned(path)[0])


def test_a_fast_film_is_halved(tmp_path):
    path = film(tmp_path / "film.mp4", "120")
    grid = grid_of(path)
    assert grid.rate == 60
    assert made_by_ffmpeg(path, grid)[0] == grid.frames
    assert grid.frames == pytest.approx(180, abs=1)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_a_film_that_slows_down_is_doubled_as_planned(tmp_path, name):
    path = tmp_path / name
    parts = (f"testsrc2=size=96x64:rate={rate}:duration=1.5,settb=1/1000" for rate in (30, 10))
    graph = "{}[a];{}[b];[a][b]concat".format(*parts)
    run_ffmpeg("-filter_complex", graph, *X264, "-fps_mode", "passthrough", str(path))
    grid = grid_of(path)
    assert grid.rate == 30
    count, different = made_by_ffmpeg(path, grid)
    assert count == grid.frames
    assert count - different == grid.doubled > 0
    assert len(scanned(path)[0]) - different == grid.dropped


def test_what_an_edit_list_leaves_out_is_on_no_grid(tmp_path):
    whole, path = tmp_path / "whole.mp4", tmp_path / "film.mp4"
    film(whole, "25", "-g", "100")
    run_ffmpeg("-ss", "1", "-i", str(whole), "-c", "copy", str(path))
    grid = grid_of(path)
    assert grid.frames == made_by_ffmpeg(path, grid)[0] == 50


def test_times_that_cannot_be_believed_are_told(tmp_path):
    parts = []
    for number in range(2):
        part = film(tmp_path / f"{number}.ts", "25")
        parts.append(part.read_bytes())
    joined = tmp_path / "film.ts"
    joined.write_bytes(b"".join(parts))
    assert grid_of(joined).faults
    packets = [Packet(None, n, 1, is_key=not n) for n in range(9)]
    assert fit(packets, Fraction(1, 25)).faults == ("a picture has no time",)
    with pytest.raises(ValueError, match="no picture"):
        fit([], Fraction(1, 25))


@pytest.mark.parametrize(
    ("rate", "made"),
    [
        ("120000/1001", "60000/1001"), ("240000/1001", "60000/1001"), ("90", "45"), ("144", "48"),
        ("180", "60"), ("27", "27"), ("25/2", "25/2"), ("30000/1001", "30000/1001"),
    ],
)  # fmt: skip
def test_a_clock_of_milliseconds_does_not_change_the_rate(rate, made):
    times = [round(n / Fraction(rate) * 1000) for n in range(round(19 * Fraction(rate)))]
    packets = [Packet(time, time, 0, is_key=n % 50 == 0) for n, time in enumerate(times)]
    grid = fit(packets, Fraction(1, 1000))
    assert (grid.rate, grid.doubled) == (Fraction(made), 0)
    assert grid.frames + grid.dropped == len(times)


@pytest.mark.parametrize("shift", [0, 1300, 1700])
def test_a_gap_does_not_lower_the_rate(shift):
    times = [n * 3600 + (n >= 250) * (2_700_000 + shift) for n in range(500)]
    grid = fit([Packet(one, one, 3600, is_key=True) for one in times], Fraction(1, 90_000))
    assert (grid.rate, grid.dropped, grid.faults) == (25, 0, ("a gap is too long",))


def test_an_hour_is_reckoned_in_a_moment(tmp_path):
    packets = [Packet(n * 3003, n * 3003, 3003, is_key=n % 250 == 0) for n in range(108_000)]
    grid = fit(packets, Fraction(1, 90_000))
    assert (grid.rate, grid.frames) == (Fraction(30000, 1001), 108_000)


def grid(frames: int, rate: int = 25, *, step: int = 50, faults: tuple[str, ...] = ()) -> Grid:
    keys = tuple(Fraction(n, rate) for n in range(0, frames, step))
    return Grid(Fraction(rate), frames, Fraction(0), 0, keys=keys, faults=faults)


def test_chunks_cover_all_frames_in_whole_groups_and_begin_at_keys():
    chunks = cut(grid(3_333))
    assert [one.number for one in chunks] == list(range(len(chunks)))
    assert [one.first for one in chunks] == [0, 50, 150, 350, *range(750, 3_000, 550)]
    assert sum(one.frames for one in chunks) == 3_333
    assert chunks[0].seek is None
    for one in chunks[1:]:
        assert one.first % gop_frames(Fraction(25)) == 0
        assert Fraction(one.first, 25) - one.seek >= Fraction(1, 2)


@pytest.mark.parametrize(
    "doubtful", [grid(3_333, faults=("x",)), grid(3_333, step=4_000), grid(99)]
)
def test_a_film_that_is_short_or_doubtful_is_one_chunk(doubtful):
    (one,) = cut(doubtful)
    assert (one.first, one.frames, one.seek) == (0, doubtful.frames, None)


SIDES = (240, 360, 480, 720, 1080)


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        (Size(1920, 1080), [240, 360, 480, 720, 1080]),
        (Size(1080, 1920), [240, 360, 480, 720, 1080]),
        (Size(854, 480), [240, 360, 480]),
        (Size(640, 358), [240, 358]),
        (Size(160, 90), [90]),
        (Size(1920, 816), [240, 360, 480, 816]),
    ],
)
def test_a_ladder_ends_with_its_film_and_has_what_is_clearly_smaller(size, sides):
    found = rungs(size, SIDES, Fraction(30))
    assert [one.short_side for one in found] == sides
    assert found[-1].size == size
    assert [one.kbits_per_second for one in found] == sorted(one.kbits_per_second for one in found)
    assert all(one.size.width % 2 == one.size.height % 2 == 0 for one in found)


def test_more_pictures_a_second_take_more_bits():
    usual, fast = (rungs(Size(640, 360), SIDES, Fraction(rate)) for rate in (30, 60))
    assert all(a.kbits_per_second < b.kbits_per_second for a, b in zip(usual, fast, strict=True))


@pytest.mark.parametrize(
    ("rate", "most", "made"),
    [
        ("50", 25, Fraction(25)),
        ("60000/1001", 30, Fraction(30000, 1001)),
        ("60", 24, Fraction(20)),
        ("25", 24, Fraction(25, 2)),
        ("25", 60, Fraction(25)),
        ("30", 30, Fraction(30)),
    ],
)
def test_a_lower_rate_is_every_second_frame_or_third(tmp_path, rate, most, made):
    path = film(tmp_path / "film.mp4", rate)
    whole = grid_of(path)
    grid = whole.at_most(most)
    assert grid.rate == made
    assert abs(grid.seconds - whole.seconds) < 1 / made
    assert made_by_ffmpeg(path, grid) == (grid.frames, grid.frames)


def test_no_chunk_is_without_a_picture_of_its_own():
    chunks = cut(grid(300).until(60))
    assert [(one.first, one.frames) for one in chunks] == [(0, 50), (50, 100), (150, 1_350)]
    late = cut(replace(grid(1_000), lead=249))
    assert [(one.first, one.frames) for one in late][:2] == [(0, 250), (250, 200)]

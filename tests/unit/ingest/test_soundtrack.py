"""The first seconds of a film's sound are heard as those of the whole are."""

from __future__ import annotations

import subprocess
from array import array
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from ingest.film import cmaf
from ingest.film.grid import Grid
from ingest.film.sound import Sound
from ingest.film.soundtrack import (
    EARLY_PACKETS,
    PACKET,
    packets_of,
    sound_command,
)
from media_runtime.media.colour import Filter

from support.media_files import run_ffmpeg
from unit.ingest.test_chunk import FFMPEG

SOUND = Sound((0,), "aresample=async=1")
CHORD = "0.3*sin(2*PI*440*t)+0.2*sin(2*PI*1237*t)|0.3*sin(2*PI*330*t)"


def tone(path: Path, text: str, seconds: int, *options: str, rate: int = 48_000) -> Path:
    run_ffmpeg("-f", "lavfi", "-i", f"aevalsrc='{text}':d={seconds}:s={rate}", *options, str(path))
    return path


def grid_of(seconds: int) -> Grid:
    return Grid(Fraction(25), seconds * 25, Fraction(0), 0)


async def heard(
    source: Path,
    target: Path,
    grid: Grid,
    *,
    packets: int | None = None,
    louder: Sequence[Filter] = (),
) -> bytes:
    command = sound_command(
        source, target, grid, SOUND, FFMPEG.input_options, louder=louder, packets=packets
    )
    await FFMPEG.run(command, reads=source, writes=target.parent, timeout_seconds=60)
    return target.read_bytes()  # noqa: ASYNC240 - a test waits for its own file


def samples(path: Path) -> array[float]:
    """Return those of both sides, one after the other."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    return array("f", subprocess.run(command, capture_output=True, check=True).stdout)


def times(track: cmaf.Track) -> list[tuple[int, int, int]]:
    return [(one.decoded_at, one.samples, one.ticks) for one in track.fragments]


@pytest.mark.parametrize(
    ("name", "rate", "codec"), [("film.m4a", 48_000, "aac"), ("film.mka", 44_100, "flac")]
)
async def test_first_packets_are_heard_as_in_the_whole(tmp_path, name, rate, codec):
    source = tone(tmp_path / name, CHORD, 5, "-c:a", codec, rate=rate)
    grid = grid_of(5)
    count = EARLY_PACKETS // 2
    whole = await heard(source, tmp_path / "whole.mp4", grid)
    first = await heard(source, tmp_path / "first.mp4", grid, packets=count)
    track, begun = cmaf.read(whole), cmaf.read(first)
    assert begun.head == track.head
    packets = EARLY_PACKETS // 4
    assert times(begun) == [(at, packets, packets * PACKET) for at in (0, packets * PACKET)]
    assert times(track)[:2] == times(begun)
    # A player that has played them goes on with the whole.
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(first + whole[track.fragments[2].start :])
    one, other = samples(tmp_path / "whole.mp4"), samples(joined)
    assert len(one) == len(other) == 2 * packets_of(grid) * PACKET
    # Where nothing is encoded after them, the last differ by 0.1 and more.
    around = range(2 * (count - 2) * PACKET, 2 * (count + 2) * PACKET)
    assert max(abs(one[n] - other[n]) for n in around) < 0.02


async def test_the_first_packets_of_a_short_film_are_all_of_it(tmp_path):
    source = tone(tmp_path / "film.m4a", CHORD, 3)
    grid = grid_of(3)
    whole = await heard(source, tmp_path / "whole.mp4", grid)
    assert await heard(source, tmp_path / "first.mp4", grid, packets=EARLY_PACKETS) == whole


def is_loud_from(path: Path) -> float:
    """Return when a sound is loud for the first time, in seconds."""
    found = samples(path)
    return next(n for n, sample in enumerate(found) if abs(sample) > 0.1) / 2 / 48_000


async def test_sound_is_no_earlier_after_packets_that_are_missing(tmp_path):
    """Two are, 43 ms: ffmpeg's own filter closes gaps of less than 100 ms."""
    source, gap = tmp_path / "film.mka", tmp_path / "gap.mka"
    tone(source, "0.3*gt(t,3)*sin(2*PI*440*t)", 4, "-c:a", "aac")
    run_ffmpeg("-i", str(source), "-c", "copy", "-bsf:a", "noise=drop='between(n,50,51)'", str(gap))
    times = []
    for path in (source, gap):
        await heard(path, tmp_path / "made.mp4", grid_of(4))
        times.append(is_loud_from(tmp_path / "made.mp4"))
    assert times[1] == pytest.approx(times[0], abs=0.005)

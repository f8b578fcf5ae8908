"""Other codecs than H.264: the same frames, in the same groups, of the same bytes each time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ingest.domain import Size
from ingest.film import cmaf
from ingest.film.chunk import ChunkPlan, chunk_command, film_filters, seam_of
from ingest.film.codecs import CODECS, ENCODERS
from ingest.film.grid import Grid, fit
from ingest.film.ladder import Chunk, Rung, further_rungs, gop_frames, rungs
from media_runtime.media.ffmpeg import FfmpegInterruptedError

from unit.ingest.test_chunk import FFMPEG, apart, chunks_of, pictures
from unit.ingest.test_grid import film, scanned

FURTHER = [codec for codec in CODECS if codec != "h264"]
LADDER = [Rung(64, Size(96, 64), 200), Rung(72, Size(108, 72), 400)]


async def made(source: Path, folder: Path, grid: Grid, chunk: Chunk, ladder: list[Rung]) -> Path:
    """Make one chunk; return its folder."""
    info = await FFMPEG.probe(source)
    assert info.video is not None
    await asyncio.to_thread(folder.mkdir)
    plan = ChunkPlan(
        info.video.index, film_filters(info.video, LADDER[-1].size), grid, chunk, ladder,
        "ultrafast", 18, info.start_seconds,
    )  # fmt: skip
    command = chunk_command(source, folder, plan, FFMPEG.input_options)
    await FFMPEG.run(command, reads=source, writes=folder, timeout_seconds=120)
    return folder


def probed(path: Path) -> dict[str, Any]:
    colours = ("range", "space", "transfer", "primaries")
    entries = ",".join(
        ["codec_name", "codec_tag_string", "profile", "level", "pix_fmt"]
        + [f"color_{one}" for one in colours]
    )
    words = ("-show_entries", f"stream={entries}")
    command = ["ffprobe", "-v", "error", "-of", "json", *words, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (stream,) = json.loads(done.stdout)["streams"]
    return stream


def named(path: Path) -> str:
    """Return what a track is called, as ffprobe reads its bits."""
    told = probed(path)
    assert (told["profile"], told["pix_fmt"]) == ("Main", "yuv420p")
    if told["codec_name"] == "hevc":
        # Main profile, which is also one of Main 10; progressive, of frames alone.
        return f"{told['codec_tag_string']}.1.6.L{told['level']}.90"
    return f"{told['codec_tag_string']}.0.{told['level']:02}M.08"


@pytest.mark.parametrize("codec", FURTHER)
async def test_joined_chunks_of_each_codec_have_each_picture_once(tmp_path, codec):
    path = film(tmp_path / "film.mp4", "25", "-bf", "2", seconds=5)
    grid = fit(*scanned(path))
    chunks = chunks_of(grid, 50)
    ladder = further_rungs(LADDER[:1], ["h264", codec])
    folders = [await made(path, tmp_path / f"{one.number}", grid, one, ladder) for one in chunks]

    assert [rung.track for rung in ladder] == [f"64-{codec}"]
    head, joined = None, b""
    for chunk, folder in zip(chunks, folders, strict=True):
        data = (folder / f"64-{codec}.mp4").read_bytes()
        track = cmaf.read(data)
        head = head or track.head
        assert not cmaf.faults(
            track, first=chunk.first, frames=chunk.frames, rate=grid.rate,
            group=gop_frames(grid.rate), head=head,
        )  # fmt: skip
        joined += data[len(track.head) :] if joined else data
    whole = tmp_path / "whole.mp4"
    whole.write_bytes(joined)
    shown, wanted = pictures(whole), pictures(path)
    assert len(shown) == len(wanted) == grid.frames
    found = [apart(seen, wanted) for seen in shown]
    # AV1's first picture of a group is a little of those after it as well.
    off = [number for number, one in enumerate(found) if one[number] > min(one)]
    assert len(off) <= len(chunks)
    assert all(found[number][number] < 2 for number in off)
    seams = [seam_of((folder / "seam").read_text()) for folder in folders]
    assert all(before[1] == after[0] for before, after in pairwise(seams))
    assert cmaf.read(joined).codecs == named(whole)


@pytest.mark.parametrize("codec", FURTHER)
async def test_each_codec_gives_the_same_bytes_and_colours_that_are_true(tmp_path, codec):
    path = film(tmp_path / "film.mp4", "25", seconds=2)
    grid = fit(*scanned(path))
    ladder = further_rungs(LADDER, ["h264", codec])
    folders = [
        await made(path, tmp_path / name, grid, Chunk(0, 0, grid.frames), ladder) for name in "ab"
    ]
    for rung in ladder:
        one, other = ((folder / f"{rung.track}.mp4").read_bytes() for folder in folders)
        assert hashlib.sha256(one).digest() == hashlib.sha256(other).digest()
    h264 = await made(path, tmp_path / "h264", grid, Chunk(0, 0, grid.frames), LADDER)
    colours = [
        {name: word for name, word in probed(track).items() if name.startswith("color_")}
        for track in (folders[0] / f"72-{codec}.mp4", h264 / "72.mp4")
    ]
    assert colours[0] == colours[1]
    assert seam_of((folders[0] / "seam").read_text()) == seam_of((h264 / "seam").read_text())


@pytest.mark.parametrize("frames", [1, 2, 51])
async def test_the_shortest_films_are_made_in_each_codec(tmp_path, frames):
    path = film(tmp_path / "film.mp4", "25", seconds=frames / 25)
    grid = fit(*scanned(path))
    ladder = further_rungs(LADDER[:1], CODECS)
    folder = await made(path, tmp_path / "made", grid, Chunk(0, 0, grid.frames), ladder)
    assert grid.frames == frames
    for rung in ladder:
        track = cmaf.read((folder / f"{rung.track}.mp4").read_bytes())
        assert not cmaf.faults(track, first=0, frames=frames, rate=grid.rate, group=50)


def test_further_codecs_have_the_sizes_that_they_can_have_at_a_lower_rate():
    ladder = rungs(Size(1920, 1080), [32, 240], Fraction(25))
    found = {rung.track: rung.kbits_per_second for rung in further_rungs(ladder, CODECS)}
    assert found == {
        "32-hevc": 228, "240-hevc": 228, "1080-hevc": 3250, "240-av1": 193, "1080-av1": 2750,
    }  # fmt: skip
    assert not further_rungs(rungs(Size(8192, 4320), [], Fraction(25)), CODECS)
    assert not further_rungs(ladder, ["h264"])


@pytest.mark.parametrize(
    ("box", "name"),
    [
        (b"hvcC" + bytes.fromhex("01 01 60000000 b00000000000 5d"), "hvc1.1.6.L93.B0"),
        (b"hvcC" + bytes.fromhex("01 22 20000000 900000000001 99"), "hvc1.2.4.H153.90.0.0.0.0.1"),
        (b"hvcC" + bytes.fromhex("01 41 00000001 000000000000 1e"), "hvc1.A1.80000000.L30"),
        (b"av1C" + bytes.fromhex("81 04 0c 00"), "av01.0.04M.08"),
        (b"av1C" + bytes.fromhex("81 2d cc 00"), "av01.1.13H.10"),
        (b"av1C" + bytes.fromhex("81 4d 6c 00"), "av01.2.13M.12"),
    ],
)
def test_a_track_is_called_what_its_configuration_says(box, name):
    assert cmaf.Track(b"moov" + box, 1, ()).codecs == name


async def test_a_machine_that_lacks_an_encoder_is_told_of():
    await FFMPEG.require_encoders(ENCODERS)
    with pytest.raises(FfmpegInterruptedError, match="cannot encode by libfirst, libsecond:"):
        await FFMPEG.require_encoders({*ENCODERS, "libsecond", "libfirst"})

"""Chunks that were made apart are one film: each frame is there, once, at its time."""

from __future__ import annotations

import hashlib
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ingest.domain import Size
from ingest.film import cmaf
from ingest.film.chunk import ChunkPlan, chunk_command, film_filters, seam_of, ssims_in
from ingest.film.grid import Grid, fit
from ingest.film.ladder import Chunk, Rung, gop_frames
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.sandbox import Sandbox

from support.media_files import run_ffmpeg
from support.tiers import FULL
from unit.ingest.test_grid import X264, film, scanned

FFMPEG = Ffmpeg(Sandbox("bubblewrap"))
LADDER = [Rung(48, Size(72, 48), 200), Rung(64, Size(96, 64), 400)]


def chunks_of(grid: Grid, frames: int) -> list[Chunk]:
    """Cut a short film as a long one is cut, at each so many frames."""
    group = gop_frames(grid.rate)
    step = max(group, frames // group * group)
    starts = [*range(0, grid.frames - group, step)]
    found = []
    for number, first in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else grid.frames
        at = grid.origin + first / grid.rate
        before = [key for key in grid.keys if key <= at - 1 / grid.rate]
        found.append(Chunk(number, first, end - first, before[-1] if first and before else None))
    return found


async def made(
    source: Path, folder: Path, grid: Grid, chunks: list[Chunk], *, threads: int = 1
) -> list[Path]:
    """Make all chunks; return their folders."""
    info = await FFMPEG.probe(source)
    assert info.video is not None
    folders = []
    for chunk in chunks:
        target = folder / f"{chunk.number}"
        target.mkdir()
        plan = ChunkPlan(
            info.video.index, film_filters(info.video, LADDER[-1].size), grid, chunk, LADDER,
            "ultrafast", 18, info.start_seconds, threads=threads,
        )  # fmt: skip
        command = chunk_command(source, target, plan, FFMPEG.input_options)
        await FFMPEG.run(command, reads=source, writes=target, timeout_seconds=60)
        folders.append(target)
    return folders


def pictures(path: Path, *filters: str) -> list[bytes]:
    """Return each picture, small and grey."""
    scale = ",".join([*filters, "scale=24:16:flags=area", "format=gray"])
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", scale, "-fps_mode", "passthrough",
               "-f", "rawvideo", "-"]  # fmt: skip
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return [data[at : at + 384] for at in range(0, len(data), 384)]


def apart(seen: bytes, wanted: list[bytes]) -> list[float]:
    """Return how much a picture differs from each of others."""
    others = np.frombuffer(b"".join(wanted), np.uint8).reshape(len(wanted), len(seen))
    found: list[float] = np.abs(others - np.frombuffer(seen, np.uint8).astype(int)).mean(1).tolist()
    return found


def is_in_order(shown: list[bytes], wanted: list[bytes]) -> bool:
    """Return whether each picture is nearest to the wanted one, or hardly differs from it."""
    return all(
        min(found := apart(seen, wanted)) == found[number] or found[number] < 1
        for number, seen in enumerate(shown)
    )


FILMS = [
    ("film.mp4", "30000/1001", ()),
    ("film.mkv", "24000/1001", ("-bf", "3")),
    ("film.ts", "25", ("-bf", "2", "-g", "25")),
    ("film.mp4", "60", ("-g", "30")),
    ("film.webm", "25", ("-c:v", "libvpx", "-deadline", "realtime", "-g", "25")),
    ("film.avi", "25", ("-c:v", "mpeg4", "-g", "25")),
]


# One of each codec, and one with pictures that need later ones.
@pytest.mark.parametrize(("name", "rate", "options"), FILMS if FULL else [FILMS[1], *FILMS[4:]])
async def test_two_threads_decode_the_same_pictures_as_one(tmp_path, name, rate, options):
    """What is urgent is decoded by two: a worker that dies leaves it to be made the same again."""
    path = film(tmp_path / name, rate, *options, seconds=4)
    grid = fit(*scanned(path))
    first = chunks_of(grid, gop_frames(grid.rate))[:1]
    found = []
    for threads in (1, 2):
        (tmp_path / f"{threads}").mkdir()
        (made_by,) = await made(path, tmp_path / f"{threads}", grid, first, threads=threads)
        found.append({one.name: one.read_bytes() for one in made_by.iterdir()})
    assert found[0].keys() == {"48.mp4", "64.mp4", "seam"}
    assert found[0] == found[1]


@pytest.mark.parametrize(("name", "rate", "options"), FILMS)
async def test_joined_chunks_have_each_picture_once(tmp_path, name, rate, options):
    path = film(tmp_path / name, rate, *options, seconds=7)
    grid = fit(*scanned(path))
    chunks = chunks_of(grid, gop_frames(grid.rate))
    assert len(chunks) == 3
    folders = await made(path, tmp_path, grid, chunks)

    for rung in LADDER:
        head, joined = None, b""
        for chunk, folder in zip(chunks, folders, strict=True):
            data = (folder / f"{rung.short_side}.mp4").read_bytes()
            track = cmaf.read(data)
            head = head or track.head
            assert not cmaf.faults(
                track, first=chunk.first, frames=chunk.frames, rate=grid.rate,
                group=gop_frames(grid.rate), head=head,
            )  # fmt: skip
            joined += data[len(track.head) :] if joined else data
        whole = tmp_path / f"{rung.short_side}.mp4"
        whole.write_bytes(joined)
        assert cmaf.read(joined).samples == grid.frames
        shown, wanted = pictures(whole), pictures(path)
        assert len(shown) == len(wanted) == grid.frames
        assert is_in_order(shown, wanted)
    seams = [seam_of((folder / "seam").read_text()) for folder in folders]
    assert all(before[1] == after[0] for before, after in pairwise(seams))


async def test_joined_chunks_of_a_lower_rate_have_every_second_picture(tmp_path):
    path = film(tmp_path / "film.mkv", "50", "-bf", "2", "-g", "30", seconds=5)
    grid = fit(*scanned(path)).at_most(30)
    chunks = chunks_of(grid, 50)
    assert (grid.rate, len(chunks)) == (25, 2)
    folders = await made(path, tmp_path, grid, chunks)
    wanted = pictures(path)[::2]
    shown = [one for folder in folders for one in pictures(folder / "64.mp4")]
    assert len(shown) == len(wanted) == 125
    assert is_in_order(shown, wanted)
    seams = [seam_of((folder / "seam").read_text()) for folder in folders]
    assert all(before[1] == after[0] for before, after in pairwise(seams))


async def test_the_same_chunk_has_the_same_bytes(tmp_path):
    path = film(tmp_path / "film.mp4", "25", seconds=5)
    grid = fit(*scanned(path))
    chunk = chunks_of(grid, 50)[1]
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (folder,) = await made(path, tmp_path / name, grid, [chunk])
        digests.append([hashlib.sha256(one.read_bytes()).digest() for one in folder.iterdir()])
    assert sorted(digests[0]) == sorted(digests[1])


async def test_a_seek_that_lands_elsewhere_is_seen(tmp_path):
    path = film(tmp_path / "film.mp4", "25", "-g", "25", seconds=7)
    grid = fit(*scanned(path))
    first, second, _ = chunks_of(grid, 50)
    late = Chunk(second.number, second.first, second.frames, grid.keys[3])
    folders = await made(path, tmp_path, grid, [first, late])
    before, after = (seam_of((folder / "seam").read_text()) for folder in folders)
    assert before[1] != after[0]
    track = cmaf.read((folders[1] / "64.mp4").read_bytes())
    assert cmaf.faults(track, first=late.first, frames=late.frames, rate=grid.rate, group=50)


@pytest.mark.parametrize("change", ["another time", "an edit list", "fewer", "other groups"])
async def test_what_is_wrong_with_a_track_is_told(tmp_path, change):
    path = tmp_path / "film.mp4"
    flags = "+cmaf+frag_keyframe+empty_moov+default_base_moof"
    options = {
        "another time": ("-movflags", flags + "+negative_cts_offsets", "-output_ts_offset", "0"),
        "an edit list": (
            "-movflags",
            "+frag_keyframe+delay_moov+default_base_moof",
            "-preset",
            "medium",
        ),
        "fewer": ("-movflags", flags + "+negative_cts_offsets", "-frames:v", "40"),
        "other groups": ("-movflags", flags + "+negative_cts_offsets"),
    }[change]
    group = "20" if change == "other groups" else "25"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=2", *X264, "-g", group,
               *options, str(path))  # fmt: skip
    first = 50 if change == "another time" else 0
    track = cmaf.read(path.read_bytes())
    found = cmaf.faults(track, first=first, frames=50, rate=Fraction(25), group=25)
    told = {
        "another time": "not at its time",
        "an edit list": "edit list",
        "fewer": "40 pictures, not 50",
        "other groups": "has 20 pictures",
    }[change]
    assert any(told in one for one in found), found


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\0\0\0\x10moof" + bytes(8)])
def test_other_bytes_are_no_track(data):
    with pytest.raises(cmaf.CmafError):
        cmaf.read(data)


def test_what_a_film_says_of_itself_is_no_measure():
    line = "[libx264 @ 0x55a14cd7d700] SSIM Mean Y:{} ( 9.9db)\n"
    said = "  comment : x\n" + line.format("1.0000000") + line.format("0.9015887")
    said += "[libx264 @ 0x55a14cd7d700] kb/s:181.57\n" + line.format("0.9967905")
    assert ssims_in(said, 2) == [0.9015887, 0.9967905]
    assert ssims_in(said, 4) == [None] * 4

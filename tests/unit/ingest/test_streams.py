"""A film is many tasks, and all their pieces together are the film, or it is made in one piece."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from ingest.film import chunk as chunks
from ingest.film import cmaf, codecs
from ingest.film.film import Film, chunk_of, chunk_params
from ingest.film.ladder import Chunk
from ingest.film.scan import Packets, grid_of, packets_in, read_packets
from ingest.film.sound import candidates, choose
from ingest.outputs import package
from ingest.outputs import stream as streams
from ingest.outputs.source import Source
from ingest.outputs.video import plan
from ingest.settings import IngestSettings
from media_contracts import MediaKind, VideoOutput
from media_contracts.warnings import WarningCode
from media_records.files import Segment
from media_records.tasks import NewTask
from media_runtime.errors import PermanentError
from media_runtime.media.manifests import Layout

from support.films import FFMPEG, silence_progress
from support.making import Made, Making, an_asset
from support.media_files import run_ffmpeg
from support.tiers import FULL

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
OUTPUT = VideoOutput(name="video", short_sides=(48,), preset="ultrafast")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


def filmed(path: Path, *options: str, seconds: float = 26) -> Path:
    run_ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=size=128x72:rate=25:duration={seconds}",
        "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}",
        *X264, "-g", "25", "-c:a", "aac", *options, str(path),
    )  # fmt: skip
    return path


def settings_in(folder: Path) -> IngestSettings:
    return IngestSettings(
        kafka_bootstrap_servers="k", database_url="postgresql://d", s3_endpoint_url="http://s",
        s3_access_key="k", s3_secret_key="s", scratch_dir=folder,
    )  # fmt: skip


async def source_of(path: Path) -> Source:
    info = await FFMPEG.probe(path)
    assert info.video is not None
    sound = choose(candidates(info.audio_streams), {})
    packets = await packets_in(FFMPEG, path, info)
    grid = packets and grid_of(packets, info, sound, most_seconds=3600)
    return Source(
        MediaKind.VIDEO, info.video.width, info.video.height, frame_rate=info.video.frame_rate,
        duration_seconds=info.duration_seconds, video=info.video, sound=sound, grid=grid,
        starts_at=info.start_seconds,
    )  # fmt: skip


async def made_of(
    path: Path, folder: Path, source: Source | None = None, output: VideoOutput = OUTPUT
) -> Made:
    making = Making(settings_in(folder), FFMPEG, folder / "made")
    tasks = plan([output], source or await source_of(path))
    return await making.all(tasks, path, an_asset("video/mp4", 1_000_000))


def kinds(made: Made) -> list[str]:
    return list(made.done)


def frames_of(made: Made, track: str) -> list[int]:
    parts = sorted(
        (file.part, path)
        for done in made.done.values()
        for file in done.files
        if isinstance(file, Segment) and file.track == track
        if (path := made.files.get(file.name))
    )
    assert [number for number, _ in parts] == list(range(len(parts)))
    return [cmaf.read(path.read_bytes()).samples for _, path in parts]


async def test_the_pieces_of_a_film_are_all_of_it(tmp_path):
    made = await made_of(filmed(tmp_path / "film.mp4"), tmp_path)
    assert kinds(made) == [
        "video-early", *(f"video-{number:04}" for number in range(1, 5)), "video-sound", "video",
    ]  # fmt: skip
    for track in ("48", "72"):
        assert sum(frames_of(made, track)) == 26 * 25
    pieces = [one for done in made.done.values() for one in done.files if isinstance(one, Segment)]
    ssims = [Layout.of(one.layout).ssim for one in pieces if one.track in {"48", "72"}]
    assert all(0.9 < ssim < 1 for ssim in ssims)
    info = await FFMPEG.probe(made.files["video"])
    assert (info.video.width, info.video.height) == (128, 72)
    assert info.duration_seconds == pytest.approx(26, abs=0.05)
    (told,) = made.done["video-early"].tells
    assert (told.seconds, told.duration_seconds) == (2, 26)


EVERY = OUTPUT.model_copy(update={"codecs": ("h264", "hevc", "av1"), "short_sides": (64,)})


async def test_a_film_in_every_codec_is_proven_in_every_codec(tmp_path):
    path = filmed(tmp_path / "film.mp4", "-s", "176x98", "-an", seconds=6)
    source = await source_of(path)
    made = await made_of(path, tmp_path, source, EVERY)
    assert kinds(made) == [
        "video-early", "video-0001", "video-98-hevc-0000", "video-98-hevc-0001",
        "video-98-av1-0000", "video-98-av1-0001", "video",
    ]  # fmt: skip
    for track in ("64", "98", "64-hevc", "98-hevc", "64-av1", "98-av1"):
        assert frames_of(made, track) == [50, 100]
    assert not made.warnings
    assert (await FFMPEG.probe(made.files["video"])).video.codec == "h264"


async def test_a_codec_that_fails_leads_to_the_film_in_h264(tmp_path, monkeypatch):
    words = codecs.CODECS["av1"]
    broken = replace(words, words=lambda *_: {"c:v": "libsvtav1", "preset": 99})
    monkeypatch.setattr(codecs, "CODECS", {**codecs.CODECS, "av1": broken})
    monkeypatch.setattr(chunks, "CODECS", codecs.CODECS)
    path = filmed(tmp_path / "film.mp4", "-s", "176x98", seconds=3)
    made = await made_of(path, tmp_path, await source_of(path), EVERY)
    assert kinds(made)[-3:] == ["video-98-av1-0000", "video-whole", "video-whole-package"]
    assert made.warnings == [WarningCode.CODECS_LEFT_OUT]
    assert [frames_of(made, track) for track in ("64", "98")] == [[75], [75]]
    assert not any("hevc" in name or "av1" in name for name in made.files)


@pytest.mark.parametrize("lead", [9, *([6] if FULL else [])])
async def test_a_picture_that_comes_late_stands_still_before(tmp_path, lead):
    path = tmp_path / "film.mkv"
    run_ffmpeg(
        "-itsoffset", str(lead), "-f", "lavfi", "-i", "testsrc2=s=128x72:r=25:d=8",
        "-f", "lavfi", "-i", f"sine=frequency=440:duration={8 + lead}",
        *X264, "-g", "25", "-c:a", "aac", str(path),
    )  # fmt: skip
    made = await made_of(path, tmp_path)
    assert kinds(made)[-2:] == ["video-sound", "video"]
    assert sum(frames_of(made, "72")) == pytest.approx((8 + lead) * 25, abs=2)


FIELDS = ("-vf", "interlace=lowpass=0,setfield=tff", "-flags", "+ilme+ildct")


MPEG2 = ("-c:v", "mpeg2video", "-b:v", "4M", "-bf", "2", "-g", "15")
INTERLACED = {
    "MPEG-2 in fields": (*MPEG2, *FIELDS),
    "H.264 in fields": (*X264, *FIELDS, "-g", "25"),
    **({"MPEG-2": MPEG2} if FULL else {}),
}


@pytest.mark.parametrize("codec", INTERLACED.values(), ids=INTERLACED)
async def test_films_of_fields_are_made_in_chunks_that_meet(tmp_path, codec):
    path = tmp_path / "film.ts"
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=128x72:r=50:d=9",
        "-f", "lavfi", "-i", "sine=frequency=440:duration=9",
        *codec, "-r", "25", "-c:a", "aac", str(path),
    )  # fmt: skip
    made = await made_of(path, tmp_path)
    assert len([name for name in kinds(made) if "whole" in name]) == 0
    assert sum(frames_of(made, "72")) == pytest.approx(225, abs=2)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("film.avi", "mpeg4"),
        ("film.mpg", "mpeg2video"),
        *([("film.mpg", "mpeg1video")] if FULL else []),
    ],
)
async def test_pictures_without_times_that_their_order_tells_are_made_in_chunks(
    tmp_path, name, codec
):
    path = filmed(tmp_path / name, "-c:v", codec, "-g", "25", "-bf", "2", "-an", seconds=9)
    source = await source_of(path)
    assert source.grid is not None
    assert (source.grid.faults, source.grid.is_filled) == ((), True)
    made = await made_of(path, tmp_path, source)
    assert not [name for name in kinds(made) if "whole" in name]
    assert sum(frames_of(made, "72")) == 225


@pytest.mark.parametrize("late", [0.7, 3.2])
async def test_a_matroska_film_that_begins_late_is_as_long_as_it_is(tmp_path, late):
    path = filmed(tmp_path / "film.mkv", "-output_ts_offset", str(late), seconds=8)
    source = await source_of(path)
    assert source.grid is not None
    assert (source.grid.frames, source.grid.held) == (200, 0)
    assert source.duration_seconds == pytest.approx(8, abs=0.05)


async def test_sound_that_outlasts_the_picture_is_heard_to_its_end(tmp_path):
    sound = tmp_path / "sound.wav"
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=8", str(sound))
    film, path = filmed(tmp_path / "film.mkv", "-an", seconds=8), tmp_path / "late.mkv"
    run_ffmpeg("-i", str(film), "-itsoffset", "1.5", "-i", str(sound), "-c:v", "copy", str(path))
    source = await source_of(path)
    assert source.grid is not None
    assert source.grid.seconds == pytest.approx(9.5, abs=0.06)


async def test_a_film_whose_clock_cannot_be_believed_is_made_in_one_piece(tmp_path):
    parts = []
    for number, late in enumerate((0, 40_000)):
        part = filmed(tmp_path / f"{number}.ts", "-output_ts_offset", str(late), seconds=4)
        parts.append(part.read_bytes())
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(parts))
    source = await source_of(path)
    assert source.grid is None or source.grid.faults
    made = await made_of(path, tmp_path, source)
    assert kinds(made) == ["video-whole", "video-whole-package"]
    for track in ("48", "72"):
        assert sum(frames_of(made, track)) == pytest.approx(200, abs=3)


async def test_a_chunk_that_does_not_fit_leads_to_the_film_in_one_piece(tmp_path, monkeypatch):
    read = cmaf.faults

    def doubtful(track, *, first, **more):
        return ["a picture is missing"] if first else read(track, first=first, **more)

    monkeypatch.setattr(streams.cmaf, "faults", doubtful)
    made = await made_of(filmed(tmp_path / "film.mp4", seconds=8), tmp_path)
    assert kinds(made) == ["video-early", "video-0001", "video-whole", "video-whole-package"]
    assert made.done["video-0001"].instead_of == "video"
    # A worker that has lost its chunk may still store it: no two tasks have a key in common.
    keys = [
        {file.key.rpartition("/")[2] for file in made.done[name].files}
        for name in ("video-early", "video-whole")
    ]
    assert not keys[0] & keys[1]
    info = await FFMPEG.probe(made.files["video"])
    assert info.duration_seconds == pytest.approx(8, abs=0.1)


async def test_a_join_that_is_not_proven_leads_to_the_film_in_one_piece(tmp_path, monkeypatch):
    def doubtful(film, told):
        return ["chunk 0 does not meet chunk 1"] if film.grid.frames else faults(film, told)

    faults = package.faults
    monkeypatch.setattr(package, "faults", doubtful)
    made = await made_of(filmed(tmp_path / "film.mp4", seconds=8), tmp_path)
    assert kinds(made)[-3:] == ["video", "video-whole", "video-whole-package"]
    assert made.done["video"].instead_of == "video"


@pytest.mark.parametrize("times", [1, 2])
async def test_a_join_that_loses_pictures_is_no_film(tmp_path, monkeypatch, times):
    """It is made in one piece instead, and where that fails as well it is none."""
    command, left = package.join_command, [times]

    def losing(*arguments, **options):
        words = command(*arguments, **options)
        left[0] -= 1
        return words if left[0] < 0 else [*words[:-1], "-frames:v", "90", words[-1]]

    monkeypatch.setattr(package, "join_command", losing)
    path = filmed(tmp_path / "film.mp4", seconds=4)
    if times > 1:
        with pytest.raises(PermanentError, match="cannot be processed"):
            await made_of(path, tmp_path)
        return
    made = await made_of(path, tmp_path)
    assert kinds(made)[-3:] == ["video", "video-whole", "video-whole-package"]
    info = await FFMPEG.probe(made.files["video"])
    assert info.duration_seconds == pytest.approx(4, abs=0.1)


def told(number: int, first: str, after: str | None, **tracks: int) -> dict[str, Any]:
    files = {
        side.removeprefix("v"): {"head": f"head {side}", "samples": samples}
        for side, samples in tracks.items()
    }
    return {"number": number, "seam": [first, after], "files": files}


def a_film(**more: Any) -> Film:
    params = {
        "track": 0, "filters": [], "rate": "25", "frames": 100, "origin": "0", "tick": 0,
        "ladder": [[48, 86, 48, 350], [72, 128, 72, 350]], "preset": "ultrafast", "crf": 23,
        "seen": [128, 72], "starts_at": 0.0, "sound": None, "loudness": -16.0,
        "claimed_seconds": None, "duration_seconds": 4.0, "frame_rate": 25.0,
    }  # fmt: skip
    return Film.of({**params, **more})


WHOLE = [
    told(0, "a", "b", v48=50),
    told(0, "a", "b", v72=50),
    told(1, "b", None, v48=50, v72=50),
]


def test_pieces_that_fit_have_no_faults():
    assert package.faults(a_film(), WHOLE) == []
    assert package.faults(a_film(), list(reversed(WHOLE))) == []


@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        (WHOLE[:2], "not 100"),
        ([*WHOLE[:2], told(1, "x", None, v48=50, v72=50)], "does not meet"),
        ([*WHOLE[:2], told(2, "b", None, v48=50, v72=50)], "does not meet"),
        ([told(0, "z", "b", v48=50), *WHOLE[1:]], "two decodes"),
        ([*WHOLE[:2], told(1, "b", None, v48=50)], "1 pieces of 72, not 2"),
        ([*WHOLE[:2], told(1, "b", None, v48=50, v72=49)], "99 pictures of 72"),
    ],
)
def test_pieces_that_do_not_fit_are_told(pieces, fault):
    assert any(fault in one for one in package.faults(a_film(), pieces))


def test_another_head_is_told():
    pieces = json.loads(json.dumps(WHOLE))
    pieces[2]["files"]["72"]["head"] = "another"
    assert package.faults(a_film(), pieces) == ["the heads of 72 differ"]


def test_pieces_of_every_codec_must_fit():
    film = a_film(further=[[72, 128, 72, 192, "av1"]])
    assert package.faults(film, WHOLE) == [
        "0 pieces of 72-av1, not 2",
        "0 pictures of 72-av1, not 100",
    ]

    def of_av1(number: int, first: str, after: str | None) -> dict[str, Any]:
        return {"number": number, "seam": [first, after],
                "files": {"72-av1": {"head": "h", "samples": 50}}}  # fmt: skip

    assert package.faults(film, [*WHOLE, of_av1(0, "a", "b"), of_av1(1, "b", None)]) == []
    assert package.faults(film, [*WHOLE, of_av1(0, "a", "x"), of_av1(1, "b", None)])[0] == (
        "two decodes of one chunk differ"
    )


def test_what_tasks_know_of_a_film_survives_as_json():
    film = a_film(further=[[72, 128, 72, 192, "av1"]])
    assert Film.of(json.loads(json.dumps(film.params()))) == film
    for chunk in (Chunk(0, 0, 50), Chunk(3, 150, 50, Fraction(1001, 30))):
        assert chunk_of(json.loads(json.dumps(chunk_params(chunk)))) == chunk


async def planned(tmp_path, **changed: Any) -> list[NewTask]:
    source = await source_of(filmed(tmp_path / "film.mp4", seconds=1))
    assert source.grid is not None
    grid = replace(source.grid, frames=3_000, keys=tuple(Fraction(n) for n in range(120)))
    return list(plan([VideoOutput(name="video")], replace(source, grid=grid, **changed)))


async def test_the_beginning_of_a_large_film_comes_first(tmp_path):
    tasks = await planned(tmp_path, width=1920, height=1080)
    assert tasks[0].name == "video-early"
    assert tasks[-1].priority < tasks[0].priority < min(task.priority for task in tasks[1:-1])
    assert tasks[0].cost_seconds < tasks[1].cost_seconds / 2
    assert tasks[-1].needs == tuple(task.name for task in tasks[:-1])


async def test_a_small_film_has_no_task_too_many(tmp_path):
    tasks = await planned(tmp_path, sound=None)
    assert [task.name for task in tasks if task.kind == "chunk"][:2] == [
        "video-early",
        "video-0001",
    ]
    assert all(task.kind != "sound" for task in tasks)


async def test_packets_that_are_read_early_count_where_they_are_those_of_the_film(tmp_path):
    film, path = filmed(tmp_path / "film.mp4", seconds=2), tmp_path / "two.mp4"
    run_ffmpeg("-i", str(film), "-map", "0:v", "-map", "0:v", "-c", "copy", str(path))
    info = await FFMPEG.probe(path)

    async def early(stream: str) -> Packets | None:
        return await read_packets(FFMPEG, path, stream)

    first, second = await early("v:0"), await early("v:1")
    assert first is not None
    assert second is not None
    assert (first.stream, second.stream, len(first.packets)) == (0, 1, 50)
    for stream in ("v:0", "v:1"):
        assert await packets_in(FFMPEG, path, info, early(stream)) == first

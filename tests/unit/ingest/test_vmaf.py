"""How good each size of a film looks is measured on its own frames, and told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from ingest.film.quality import samples
from ingest.outputs import quality, video
from media_contracts import VideoOutput
from media_contracts.errors import ErrorCode
from media_runtime.media.ffmpeg import FfmpegError

from support.films import made_of, silence_progress
from support.media_files import run_ffmpeg

OUTPUT = VideoOutput(name="video", short_sides=(90,), preset="veryfast", vmaf=True)
DRAWN = "testsrc2=size=320x180:rate=25:duration={},noise=alls=6:allf=t,scale=out_color_matrix=bt709"
# Of other colours players are shown others, and nobody could compare them with the source's.
COLOURS = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "film.mp4"
    run_ffmpeg(
        "-f", "lavfi", "-i", DRAWN.format(6), "-c:v", "libx264", "-preset", "ultrafast",
        "-crf", "10", "-g", "50", "-bf", "2", *COLOURS, str(path),
    )  # fmt: skip
    return path


async def measured(path, folder, **changed):
    film = await made_of(path, folder, OUTPUT.model_copy(update=changed))
    return film.made.done["video-quality"].result["vmaf"], film


def seen_whole(made: Path, source: Path, report: Path) -> float:
    """Return what the measuring program says of all frames of a film, decoded by itself."""
    graph = (
        "[0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];"
        f"[a][b]libvmaf=log_fmt=json:log_path={report}"
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(made), "-i", str(source),
               "-lavfi", graph, "-f", "null", "-"]  # fmt: skip
    subprocess.run(command, check=True)
    return float(json.loads(report.read_text())["pooled_metrics"]["vmaf"]["mean"])


async def test_what_is_told_is_what_all_of_the_film_has(film, tmp_path):
    found, made = await measured(film, tmp_path / "made", crf=30)
    whole = seen_whole(made.path, film, tmp_path / "report.json")
    assert found["180"] == pytest.approx(whole, abs=1)
    assert found["90"] < found["180"] - 5


async def test_each_codec_is_measured(film, tmp_path):
    found, _ = await measured(film, tmp_path / "made", codecs=("h264", "av1"), short_sides=())
    assert set(found) == {"180", "180-av1"}
    assert found["180-av1"] == pytest.approx(found["180"], abs=15)


async def test_a_film_that_cannot_be_measured_is_made_all_the_same(film, tmp_path, monkeypatch):
    def broken(*_: object) -> list[str]:
        raise FfmpegError(ErrorCode.TRANSCODE_FAILED)

    monkeypatch.setattr(quality.vmaf, "vmaf_command", broken)
    found, made = await measured(film, tmp_path / "made")
    assert found == {}
    assert made.info.video.height == 180


async def test_what_compares_no_frame_tells_nothing_and_not_what_another_size_has(
    film, tmp_path, monkeypatch
):
    asked = iter([True, False])
    compare = quality.vmaf.vmaf_command

    def compare_once(folder: Path, *words: object) -> list[str]:
        idle = ["-f", "lavfi", "-i", "nullsrc=d=0.1", "-f", "null", "-"]
        return compare(folder, *words) if next(asked) else idle

    monkeypatch.setattr(quality.vmaf, "vmaf_command", compare_once)
    monkeypatch.setattr(video, "samples", lambda chunks, frames: samples(chunks[:1], frames))
    found, made = await measured(film, tmp_path / "made")
    assert len(found) == 1
    assert made.info.video.height == 180


async def test_nothing_is_measured_that_nobody_asked_for(film, tmp_path):
    made = await made_of(film, tmp_path / "made", OUTPUT.model_copy(update={"vmaf": False}))
    assert "video-quality" not in made.made.done

"""Each film gets the CRF that leaves as much of it as its profile wants."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from ingest.film.film import Film
from ingest.film.ladder import Chunk
from ingest.film.quality import crf_for, samples
from ingest.outputs import video
from ingest.outputs.tune import tuned
from media_contracts import PictureOutput, Profile, VideoOutput
from media_contracts.errors import ErrorCode
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegError, FfmpegTimeoutError
from media_runtime.media.manifests import Layout

from support.films import FFMPEG, inspected, made_of, silence_progress
from support.media_files import run_ffmpeg

OUTPUT = VideoOutput(name="video", short_sides=(), preset="veryfast", ssim=0.96)
PICTURE = PictureOutput(name="picture", width=9, height=9)
PROFILE = Profile(name="web", version=1, outputs=(OUTPUT, PICTURE))
SMOOTH = "gradients=s=256x144:r=25:d=9:speed=0.01:seed=7"
GRAINY = "testsrc2=s=256x144:r=25:d=9,noise=alls=4:allf=t"


def filmed(path: Path, picture: str) -> Path:
    run_ffmpeg(
        "-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "ultrafast", "-qp", "4",
        "-pix_fmt", "yuv420p", "-g", "50", str(path),
    )  # fmt: skip
    return path


async def test_a_film_is_as_good_as_its_profile_wants_whatever_it_shows(tmp_path, monkeypatch):
    silence_progress(monkeypatch)
    crfs, ssims = [], []
    for number, picture in enumerate((SMOOTH, GRAINY)):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = filmed(folder / "film.mp4", picture)
        planned = video.plan([OUTPUT], await inspected(path, folder / "first"))
        samples_in = folder / "samples"
        samples_in.mkdir()
        wanted = await tuned(planned, PROFILE, path, samples_in, FFMPEG, niceness=0)
        assert [one.name for one in wanted] == [one.name for one in planned]
        (crf,) = {Film.of(one.params["film"]).crf for one in wanted}
        crfs.append(crf)
        made = await made_of(path, folder / "again", OUTPUT.model_copy(update={"crf": crf}))
        files = [file for done in made.made.done.values() for file in done.files]
        layouts = [Layout.of(one.layout) for one in files if getattr(one, "track", "") == "144"]
        ssims.append(fmean(one.ssim for one in layouts if one.ssim))
    assert crfs[0] == 36, "nothing much can be lost of it"
    assert ssims[0] > OUTPUT.ssim
    assert crfs[1] < 30
    assert ssims[1] == pytest.approx(OUTPUT.ssim, abs=0.015)


@pytest.mark.parametrize(
    ("measured", "crf"),
    [
        ({20: [0.99], 30: [0.9]}, 24),
        ({20: [0.999, 0.999], 30: [0.99, 0.99]}, 34),
        ({20: [1.0], 30: [1.0]}, 36),
        ({20: [0.5], 30: [0.4]}, 16),
        ({20: [0.9], 30: [0.9]}, 16),
    ],
)
def test_the_crf_is_read_off_two_that_were_tried(measured, crf):
    assert crf_for(0.97, measured) == crf


def test_samples_are_spread_over_the_film():
    chunks = [Chunk(number, 100 * number, 100) for number in range(9)]
    assert [(one.number, one.frames) for one in samples(chunks, 50)] == [(1, 50), (4, 50), (7, 50)]
    assert [one.number for one in samples(chunks[:1], 50)] == [0]


@pytest.mark.parametrize(
    "said", ["", FfmpegTimeoutError("too long"), FfmpegError(ErrorCode.TRANSCODE_FAILED)]
)
async def test_a_film_that_cannot_be_tried_keeps_its_crf(tmp_path, monkeypatch, said):
    silence_progress(monkeypatch)
    path = filmed(tmp_path / "film.mp4", SMOOTH)
    planned = video.plan([OUTPUT], await inspected(path, tmp_path / "first"))

    async def run(*_: object, **__: object) -> str:
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(Ffmpeg, "run", run)
    wanted = await tuned(planned, PROFILE, path, tmp_path, FFMPEG, niceness=0)
    assert {Film.of(one.params["film"]).crf for one in wanted} == {OUTPUT.crf}

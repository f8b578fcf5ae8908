"""A preview shows its moments, in order and in their colours, and is small."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest.domain import Size
from ingest.film import preview as previews
from ingest.film.preview import MOST_BYTES, clips_of, moments_of, size_of
from ingest.outputs import package
from ingest.outputs.video import plan
from media_contracts import FileKind, PreviewOutput, VideoOutput
from PIL import Image

from support.films import FFMPEG, silence_progress
from support.making import Made, Making, an_asset
from support.media_files import run_ffmpeg
from unit.ingest.test_streams import settings_in, source_of

VIDEO = VideoOutput(name="video", short_sides=(), preset="ultrafast", crf=10)
faults = package.faults
PREVIEW = PreviewOutput(name="moving", moments=3)
# Each frame tells its time by its grey: 25 a second.
TOLD = "color=black:size=96x64:rate=25:duration={},geq=lum='16+{}*N':cb=128:cr=128"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


async def made_of(path: Path, folder: Path) -> Made:
    making = Making(settings_in(folder), FFMPEG, folder / "made")
    tasks = plan([PREVIEW, VIDEO], await source_of(path))
    return await making.all(tasks, path, an_asset("video/mp4", 1_000_000))


def greys(path: Path) -> list[float]:
    """Return the luma of each picture of a preview."""
    found = []
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            grey = image.convert("L").resize((1, 1)).getpixel((0, 0))
            assert isinstance(grey, int)
            found += [16 + grey * 219 / 255] * (round(image.info["duration"] / 100) or 1)
    return found


@given(st.floats(min_value=0.04, max_value=1e5), st.integers(3, 6))
def test_moments_are_in_the_film_in_order_and_apart(seconds, count):
    moments = moments_of(seconds, count)
    assert len(moments) in {1, count}
    ends = [one.at + one.seconds for one in moments]
    assert ends[-1] <= seconds + 1e-6
    assert all(one.at >= end - 1e-6 for one, end in zip(moments[1:], ends, strict=False))
    assert 0 < sum(one.seconds for one in moments) <= 0.6 * count + 1e-6


def test_a_moment_may_be_of_two_pieces():
    clips = clips_of([5.0, 5.0], 3)
    assert [number for number, _, _ in clips] == [0, 0, 1, 1]
    assert clips[1][1] + clips[1][2] == pytest.approx(5)
    assert clips[2][1] == 0
    assert sum(seconds for _, _, seconds in clips) == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("rung", "size"),
    [((426, 240), (320, 180)), ((240, 426), (180, 320)), ((96, 64), (96, 64)), ((9, 2), (8, 2))],
)
def test_a_preview_is_no_larger_than_wanted(rung, size):
    assert size_of(Size(*rung), 320) == Size(*size)


@pytest.mark.parametrize("in_one_piece", [False, True])
async def test_a_preview_shows_moments_of_its_film(tmp_path, monkeypatch, in_one_piece):
    if in_one_piece:
        monkeypatch.setattr(
            package, "faults",
            lambda film, told: ["doubtful"] if film.grid.frames else faults(film, told),
        )  # fmt: skip
        # As with films that are longer: places in them are found by an index.
        monkeypatch.setattr("ingest.outputs.preview._SHORT_SECONDS", 1)
    path = tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", TOLD.format(10, 0.8), "-pix_fmt", "yuv420p", str(path))
    made = await made_of(path, tmp_path)
    (file,) = made.done["moving"].files
    assert (file.kind, file.content_type, file.width, file.height, file.duration_seconds) == (
        FileKind.PREVIEW, "image/webp", 96, 64, 1.8,
    )  # fmt: skip
    assert file.size == made.files["moving"].stat().st_size <= MOST_BYTES
    times = [(grey - 16) / 0.8 / 25 for grey in greys(made.files["moving"])]
    wanted = [one.at + step / 10 for one in moments_of(10, 3) for step in range(6)]
    # Pictures that look alike are one.
    assert times == pytest.approx(wanted, abs=0.5)


async def test_a_short_film_is_shown_whole(tmp_path):
    path = tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", TOLD.format(1, 8), "-pix_fmt", "yuv420p", str(path))
    made = await made_of(path, tmp_path)
    assert made.done["moving"].files[0].duration_seconds == 1
    assert len(greys(made.files["moving"])) == 10


async def test_a_preview_that_is_too_large_is_made_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.outputs.preview.MOST_BYTES", 20_000)
    path = tmp_path / "film.mp4"
    noise = "nullsrc=size=160x120:rate=25:duration=2,geq=lum='255*random(1)':cb=128:cr=128"
    run_ffmpeg("-f", "lavfi", "-i", noise, "-pix_fmt", "yuv420p", str(path))
    asked = list[int]()
    command = previews.preview_command

    def noted(*arguments):
        asked.append(arguments[3])
        return command(*arguments)

    monkeypatch.setattr("ingest.outputs.preview.preview_command", noted)
    await made_of(path, tmp_path)
    assert asked == list(previews.QUALITIES)

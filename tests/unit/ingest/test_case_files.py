"""
A folder of real-world inputs with known right answers: what was made of each is measured.

They are no part of this repository, and looked for beside its checkout.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from media_runtime.media.pictures import WantedPicture, probe_image, render
from PIL import Image

from support.films import (
    QUADS,
    Film,
    combs,
    flash_and_beep,
    greys,
    made_of,
    near,
    pitches,
    quarters,
    roundness,
    silence_progress,
    thumbnail_of,
)
from support.media_files import CASES

PICTURES = [WantedPicture("preview", 4096, 4096, "inside"), WantedPicture("t", 320, 240, "cover")]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


def there(*names: str) -> list[str]:
    return [name for name in names if (CASES / name).exists()]


def primaries_are_pure(found: list[tuple[int, ...]]) -> bool:
    """Whether the quarters are a pure red, green and blue, and a grey."""
    *three, grey = found
    pure = all(
        colour[own] >= 120 and max(colour[(own + 1) % 3], colour[(own + 2) % 3]) <= 60
        for own, colour in enumerate(three)
    )
    return pure and max(grey) - min(grey) <= 8 and 70 <= grey[0] <= 185


def lasts(seconds: float, by: float) -> Callable[[Film], None]:
    def check(film: Film) -> None:
        assert film.info.duration_seconds == pytest.approx(seconds, abs=by)
        assert film.source.duration_seconds == pytest.approx(seconds, abs=max(by, 0.5))

    return check


def has_quads(by: int) -> Callable[[Film], None]:
    def check(film: Film) -> None:
        assert near(quarters(film.path, seconds=0.2), QUADS, by), quarters(film.path)

    return check


def is_heard(film: Film) -> None:
    assert film.info.audio is not None
    assert max(loud for _, loud in pitches(film.path)) > 0.02


def at_880_hertz(film: Film) -> None:
    assert film.info.audio is not None
    assert any(abs(pitch - 880) < 20 and loud > 0.02 for pitch, loud in pitches(film.path))


def is_hdr_shown(film: Film) -> None:
    assert primaries_are_pure(quarters(film.path)), quarters(film.path)
    assert film.info.video.colours.transfer == "bt709"


def has_no_combs(film: Film) -> None:
    video = film.info.video
    assert (video.width, video.height) == (1024, 576)
    assert combs(film.path, 1024, 576) <= 0.5


def flashes_and_beeps_together(film: Film) -> None:
    flash, beep = flash_and_beep(film.path)
    assert flash == pytest.approx(3, abs=0.1)
    assert beep == pytest.approx(3, abs=0.1)
    assert abs(flash - beep) <= 0.06


def stays_round(film: Film) -> None:
    video = film.info.video
    frames = greys(film.path, video.width, video.height)
    for frame in (frames[len(frames) // 4], frames[len(frames) * 3 // 4]):
        assert roundness(frame, video.width) == pytest.approx(1, abs=0.08)


FILMS = {
    "pq.mp4": [is_hdr_shown],
    "interlaced.mpg": [has_no_combs, lasts(2, 0.15)],
    "rgb.mp4": [has_quads(12)],
    "slowmo.mov": [lasts(1, 0.15), has_quads(12)],
    "still.webm": [lasts(3, 0.3), is_heard],
    "apac-first.mov": [at_880_hertz],
    "mic-second.mov": [at_880_hertz],
    "broken-sound.mpg": [has_quads(16), lasts(2, 0.15)],
    "sub-10h.mkv": [lasts(3, 0.15)],
    "joined.ts": [lasts(4, 0.5), is_heard],
    "fonts.mkv": [lasts(3, 0.15), has_quads(16), is_heard],
    "camcorder.mts": [lasts(2, 0.15), has_quads(16), is_heard],
    "riff.avi": [lasts(2, 0.15), has_quads(16), is_heard],
    "vfr.mp4": [lasts(5, 0.2), flashes_and_beeps_together],
    "turn.webm": [lasts(4, 0.3), stays_round],
}
IN_FOUR_COLOURS = {"rgb.mp4", "slowmo.mov", "broken-sound.mpg", "fonts.mkv", "riff.avi"}
IMAGES = ["48mp.jpg", "no-eoi.jpg", "text.png", "badcrc.png", "apng.png"]


@pytest.mark.parametrize("name", there(*FILMS))
async def test_a_film_becomes_what_its_owner_sees_and_hears(tmp_path, pool, name):
    path = CASES / name
    film = await made_of(path, tmp_path)

    video = film.info.video
    assert (video.codec, video.pixel_format, video.rotation) == ("h264", "yuv420p", 0)
    assert None not in vars(video.colours).values()
    assert video.colours.range == "tv"
    assert film.info.audio is None or film.info.audio.codec == "aac"
    for check in FILMS[name]:
        check(film)
    picture = await thumbnail_of(path, film, tmp_path, pool)
    if name in IN_FOUR_COLOURS:
        assert near(quarters(picture), QUADS, 16)
    if name == "pq.mp4":
        assert primaries_are_pure(quarters(picture))
    if name == "turn.webm":
        with Image.open(picture) as shown:
            assert roundness(shown.convert("L").tobytes(), shown.width) == pytest.approx(1, abs=0.1)


def made_of_image(name: str) -> tuple[Image.Image, Image.Image]:
    data = (CASES / name).read_bytes()
    probe_image(io.BytesIO(data))
    preview, thumbnail = (
        Image.open(io.BytesIO(picture.data)).convert("RGB")
        for picture in render(io.BytesIO(data), PICTURES)
    )
    assert thumbnail.size == (320, 240)
    return preview, thumbnail


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    small = image.resize((16, 16), Image.Resampling.BOX)
    return [small.getpixel((x, y)) for y in (3, 12) for x in (3, 12)]


@pytest.mark.parametrize("name", there(*IMAGES))
def test_an_image_becomes_what_its_owner_sees(name):
    preview, thumbnail = made_of_image(name)

    assert near(corners(preview), QUADS, 12)
    assert near(corners(thumbnail), QUADS, 12)
    if name == "48mp.jpg":
        assert preview.size == (4096, 3072)


@pytest.mark.parametrize("name", there("be16.tif"))
def test_greys_of_16_bits_are_those_greys(name):
    for image in made_of_image(name):
        assert near(corners(image), [(grey,) * 3 for grey in (32, 96, 160, 224)], 12)


@pytest.mark.parametrize("name", there("pq.avif"))
def test_an_hdr_image_is_shown_as_its_film_is(name):
    for image in made_of_image(name):
        assert primaries_are_pure(corners(image)), corners(image)

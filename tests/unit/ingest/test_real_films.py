"""Films as people have them: each kind becomes what its owner sees and hears."""

from __future__ import annotations

import pytest
from media_contracts import VideoOutput
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.info import Colours

from support.films import (
    QUADS,
    filmed,
    frame_times,
    made_of,
    near,
    pitches,
    quads,
    quarters,
    silence_progress,
    thumbnail_of,
)
from support.media_files import run_ffmpeg
from support.tiers import FULL

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error")
BT709 = Colours("bt709", "bt709", "bt709", "tv")
BT601 = Colours("smpte170m", "smpte170m", "smpte170m", "tv")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


def tagged(primaries: str, transfer: str, matrix: str, *filters: str, by: str = "yuv420p"):
    """Return options that convert to what they say and write it down."""
    converted = f"zscale=p={primaries}:t={transfer}:m={matrix}:r=tv:npl=203"
    tags = ("-color_primaries", primaries, "-color_trc", transfer, "-colorspace", matrix)
    before = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=gbr"
    graph = ",".join([before, converted, f"format={by}", *filters])
    return ("-vf", graph, *tags, "-color_range", "tv")


TO_2020 = ("bt2020", "bt2020-10", "bt2020nc")
MORE_COLOURS = [
    ("tall.mkv", (*X264, "-vf", "scale=out_color_matrix=bt709"), "90x160", BT709),
    ("mjpeg.avi", ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"), "160x90", None),
]


@pytest.mark.parametrize(
    ("name", "options", "size", "made"),
    [
        ("sd.mp4", (*X264, "-vf", "scale=out_color_matrix=bt601"), "160x120", BT601),
        ("small.avi", ("-c:v", "mpeg4", "-vf", "scale=out_color_matrix=bt709"), "160x90", BT709),
        ("hd.mp4", (*X264, "-vf", "scale=out_color_matrix=bt709"), "320x720", BT709),
        ("rgb.mp4", ("-c:v", "libx264rgb", "-pix_fmt", "rgb24"), "160x90", BT709),
        ("full.mp4", ("-pix_fmt", "yuvj420p"), "160x90", None),
        (
            "nonsense.mkv",
            (*X264, "-vf", "scale=out_color_matrix=bt709", "-color_trc", "linear",
             "-colorspace", "bt709", "-bsf:v",
             "h264_metadata=matrix_coefficients=0:colour_primaries=3:transfer_characteristics=3"),
            "320x720",
            BT709,
        ),
        ("wide.mp4", (*tagged(*TO_2020, by="yuv420p10le"), *X265), "160x90", BT709),
        ("p3.mp4", (*tagged("smpte432", "bt709", "bt709"), "-c:v", "libx264"), "160x90", BT709),
        *(MORE_COLOURS if FULL else []),
    ],
)  # fmt: skip
async def test_colours_are_those_that_players_show(tmp_path, pool, name, options, size, made):
    path = quads(tmp_path / name, *options, size=size)
    film = await made_of(path, tmp_path)
    assert near(quarters(film.path), QUADS, 12)
    assert near(quarters(await thumbnail_of(path, film, tmp_path, pool)), QUADS, 12)
    assert film.info.video.pixel_format == "yuv420p"
    assert None not in vars(film.info.video.colours).values()
    assert film.info.video.colours == (made or film.info.video.colours)


@pytest.mark.parametrize("levels", ["tv", "pc"])
async def test_grey_keeps_its_range(tmp_path, levels):
    """swscale takes every grey for full range, and no decoder of television's makes it so."""
    path = tmp_path / "grey.mp4"
    full = f"scale=in_range=pc:out_range={levels},format=gray"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=0x808080:size=160x90:rate=25:duration=0.4,format=gray"),
        *("-vf", full if levels == "pc" else "geq=lum=126"),
        *("-c:v", "libx264", "-color_range", levels, str(path)),
    )  # fmt: skip
    film = await made_of(path, tmp_path)
    assert near(quarters(film.path), [(128,) * 3] * 4, 6)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
async def test_hdr_is_mapped_to_what_every_screen_shows(tmp_path, pool, transfer):
    options = tagged("bt2020", transfer, "bt2020nc", by="yuv420p10le")
    path = quads(tmp_path / "hdr.mp4", *options, *X265)
    film = await made_of(path, tmp_path)
    for found in (quarters(film.path), quarters(await thumbnail_of(path, film, tmp_path, pool))):
        red, green, blue, yellow = found
        assert red[0] > 120 > 2 * max(red[1:])
        assert green[1] > 110 > max(green[0], green[2]) + 30
        assert blue[2] > 110 > max(blue[:2]) + 30
        assert min(yellow[:2]) > 110 > yellow[2] + 30
    assert film.info.video.colours == BT709
    assert film.info.video.peak_nits is None


@pytest.mark.parametrize(
    ("tones", "options", "left", "right"),
    [
        # Silence first, as recordings of a screen have it.
        (("anullsrc=d=0.6", "sine=880:d=0.6"), (), 880, 880),
        # The left and the right of one sound, as cameras write them.
        (
            ("sine=440:d=0.6,pan=FL|FL=c0", "sine=880:d=0.6,pan=FR|FR=c0"),
            ("-c:a", "pcm_s16le"), 440, 880,
        ),
        (("sine=440:d=0.6,pan=FL|FL=c0",), ("-c:a", "pcm_s16le"), 440, 440),
        (
            ("sine=440:d=0.6", "sine=880:d=0.6"),
            ("-disposition:a:0", "0", "-disposition:a:1", "default"), 880, 880,
        ),
    ],
    ids=["silence first", "two sides", "one side", "the enabled one"],
)  # fmt: skip
async def test_the_sound_that_is_meant_is_heard(tmp_path, tones, options, left, right):
    path = tmp_path / "film.mov"
    maps = [word for number in range(len(tones) + 1) for word in ("-map", str(number))]
    run_ffmpeg(*filmed(*tones), *maps, *X264, *options, str(path))
    film = await made_of(path, tmp_path)
    found = pitches(film.path)
    assert [one for one, _ in found] == [pytest.approx(left, abs=20), pytest.approx(right, abs=20)]
    assert min(loud for _, loud in found) > 0.05
    assert not film.warnings


@pytest.mark.parametrize(
    "layout", ["5.1", "3.0", "unknown", *(["5.1(side)", "7.1"] if FULL else [])]
)
async def test_speech_is_heard_whatever_the_layout(tmp_path, layout):
    """And all channels at once do not overload what is made."""
    channels = {"5.1": 6, "5.1(side)": 6, "7.1": 8, "3.0": 3, "unknown": 9}[layout]
    path = tmp_path / "film.mkv"
    loud = "|".join(["0.9*sin(2*PI*300*t)"] * channels)
    silent = "|".join("0.9*sin(2*PI*300*t)" if n == 2 else "0" for n in range(channels))
    shape = f":c={layout}" if layout != "unknown" else ""
    for words, least in ((silent, 0.12), (loud, 0.7)):
        tone = f"aevalsrc={words}{shape}:d=0.6"
        run_ffmpeg(*filmed(tone), *X264, "-c:a", "pcm_s16le", str(path))
        # As loud as others it would be quiet enough, whatever it was mixed to.
        film = await made_of(path, tmp_path, VideoOutput(name="video", loudness=None))
        for pitch, level in pitches(film.path)[:1]:
            assert pitch == pytest.approx(300, abs=20)
            assert least < level < 0.99


@pytest.mark.parametrize("suffix", ["mpg", "mkv"])
async def test_sound_that_cannot_be_decoded_costs_no_film(tmp_path, suffix):
    whole, path = tmp_path / "whole.mkv", tmp_path / f"film.{suffix}"
    codecs = ("-c:v", "mpeg2video", "-c:a", "mp2") if suffix == "mpg" else (*X264, "-c:a", "ac3")
    run_ffmpeg(*filmed("sine=440:d=0.6"), *codecs, str(whole))
    run_ffmpeg("-i", str(whole), "-c", "copy", "-bsf:a", "noise=amount=1", str(path))
    film = await made_of(path, tmp_path)
    assert film.warnings == {"sound_left_out"} or film.info.audio is not None
    assert film.info.video is not None
    assert film.info.duration_seconds == pytest.approx(0.6, abs=0.15)


async def test_a_film_that_slows_down_keeps_each_picture_at_its_time(tmp_path):
    """Matroska tells the average rate alone, which none of its frames has."""
    path = tmp_path / "film.mkv"
    slow, fast = (f"testsrc2=size=160x90:rate={rate}:duration=1,settb=1/1000" for rate in (4, 50))
    graph = f"{slow}[a];{fast}[b];[a][b]concat"
    run_ffmpeg(
        "-filter_complex",
        graph,
        *X264,
        "-fps_mode",
        "passthrough",
        *("-enc_time_base", "1:1000"),
        str(path),
    )
    film = await made_of(path, tmp_path)
    shown = frame_times(film.path)
    assert shown == pytest.approx([number / 50 for number in range(100)], abs=0.001)
    assert all(min(abs(at - one) for one in shown) <= 0.011 for at in frame_times(path))
    assert film.info.duration_seconds == pytest.approx(2, abs=0.1)


async def test_a_fast_film_is_halved_until_players_follow(tmp_path):
    path = tmp_path / "film.mov"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=240:duration=0.5", *X264, str(path))
    film = await made_of(path, tmp_path)
    assert film.info.video.frame_rate == pytest.approx(60)
    assert film.warnings == {"frame_rate_reduced"}


async def test_a_recorder_that_starts_anew_does_not_lengthen_its_film(tmp_path):
    parts = []
    for number, late in enumerate((0, 40_000)):
        part = tmp_path / f"{number}.ts"
        run_ffmpeg(*filmed("sine=440:d=0.6"), *X264, "-output_ts_offset", str(late), str(part))
        parts.append(part.read_bytes())
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(parts))
    film = await made_of(path, tmp_path)
    for seconds in (film.source.duration_seconds, film.info.duration_seconds):
        assert seconds == pytest.approx(1.2, abs=0.25)


async def test_many_sounds_are_listened_to_for_no_longer_than_a_few(tmp_path, monkeypatch):
    path = tmp_path / "film.mkv"
    tones = ["anullsrc=d=0.6"] * 7 + ["sine=880:d=0.6"]
    maps = [word for number in range(len(tones) + 1) for word in ("-map", str(number))]
    run_ffmpeg(*filmed(*tones), *maps, *X264, "-c:a", "flac", str(path))
    given, run = [], Ffmpeg.run

    async def noted(self, *words, **more):
        given.append(more.get("cpu_seconds"))
        return await run(self, *words, **more)

    monkeypatch.setattr(Ffmpeg, "run", noted)
    film = await made_of(path, tmp_path)
    assert [one for one, _ in pitches(film.path)] == [pytest.approx(880, abs=20)] * 2
    assert sum(given[: len(tones)]) <= 40

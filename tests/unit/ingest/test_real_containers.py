"""Containers, clocks and pictures of films as recorders and old programs write them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from media_contracts.warnings import WarningCode
from media_runtime.errors import PermanentError
from PIL import Image

from support.films import (
    QUADS,
    combs,
    filmed,
    flash_and_beep,
    frame_times,
    greys,
    made_of,
    near,
    pitches,
    quads,
    quarters,
    roundness,
    silence_progress,
    thumbnail_of,
)
from support.media_files import run_ffmpeg, turn
from support.tiers import FULL

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
FLASH = "color=black:size=96x64:rate=25:duration=1,drawbox=c=white:t=fill:enable='gte(t,0.4)'"
BEEP = "aevalsrc='if(gte(t,0.4),0.5*sin(2*PI*440*t),0)':d=1"
FIELDS_OF_MPEG2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2")
FIELDS_OF_H264 = (*X264, "-flags", "+ildct+ilme", "-crf", "10", "-x264opts")
CIRCLE = "color=black:size={0}:rate=25:duration=0.4,geq=lum='{1}':cb=128:cr=128"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


def circle(size: str, *, aspect: float = 1.0) -> str:
    """Return a source with a circle, where a pixel is *aspect* times as wide as high."""
    width, height = map(int, size.split("x"))
    inside = f"lt(hypot((X-{width / 2})*{aspect},Y-{height / 2}),{min(width, height) / 3})"
    return CIRCLE.format(size, f"if({inside},235,16)")


async def is_whole(
    path: Path, folder: Path, seconds: float, by: float = 0.15, *warnings: WarningCode
) -> None:
    """Check that a film with a tone lasts so long, and is heard; it has these *warnings*."""
    film = await made_of(path, folder)
    assert film.info.duration_seconds == pytest.approx(seconds, abs=by)
    assert film.source.duration_seconds == pytest.approx(seconds, abs=max(by, 0.25))
    assert any(abs(pitch - 440) < 25 and loud > 0.02 for pitch, loud in pitches(film.path))
    assert film.warnings == set(warnings)


@pytest.mark.parametrize(
    ("suffix", "first", "codec"),
    [
        ("mpg", "tff", FIELDS_OF_MPEG2),
        ("mkv", "bff", (*FIELDS_OF_H264, "bff=1")),
        *([("mpg", "bff", FIELDS_OF_MPEG2)] if FULL else []),
        *([("ts", "tff", (*FIELDS_OF_H264, "tff=1"))] if FULL else []),
    ],
)
async def test_two_fields_become_one_picture_without_combs(tmp_path, suffix, first, codec):
    path = tmp_path / f"film.{suffix}"
    moving = "color=black:size=128x96:rate=50:duration=0.8"
    bar = "color=white:size=16x96:rate=50:duration=0.8"
    graph = f"{moving}[a];{bar}[b];[a][b]overlay=x='mod(t*200,112)':y=0,tinterlace=interleave_"
    graph += "top" if first == "tff" else "bottom"
    field = {"tff": "0", "bff": "1"}[first]
    order = ("-top", str(1 - int(field)))
    run_ffmpeg("-filter_complex", graph + f",setfield={first}", *codec, *order, str(path))
    assert combs(path, 128, 96) > 5
    film = await made_of(path, tmp_path)
    assert combs(film.path, 128, 96) < 1
    assert film.info.duration_seconds == pytest.approx(0.8, abs=0.1)


async def test_whole_pictures_are_left_as_they_are(tmp_path):
    path = tmp_path / "film.mpg"
    run_ffmpeg("-f", "lavfi", "-i", "color=gray:size=96x64:rate=25:d=0.4,geq=lum='mod(Y,2)*200'",
               "-c:v", "mpeg2video", "-q:v", "2", str(path))  # fmt: skip
    before = combs(path, 96, 64)
    assert combs((await made_of(path, tmp_path)).path, 96, 64) > before * 0.9


@pytest.mark.parametrize("degrees", [0, 90, *([180, 270] if FULL else [])])
async def test_wide_pixels_and_a_turn_leave_what_is_round_round(tmp_path, degrees):
    path = tmp_path / "film.mp4"
    source = circle("180x180", aspect=4 / 3) + ",setsar=4/3"
    run_ffmpeg("-f", "lavfi", "-i", source, *X264, str(path))
    turn(path, degrees)
    film = await made_of(path, tmp_path)
    video = film.info.video
    assert (video.width, video.height) == ((180, 240) if degrees in {90, 270} else (240, 180))
    frame = greys(film.path, video.width, video.height)[3]
    assert roundness(frame, video.width) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libx264", *(["libvpx"] if FULL else [])])
async def test_a_picture_that_changes_its_size_fits_into_one_canvas(tmp_path, pool, codec):
    suffix = "mkv" if codec == "libx264" else "webm"
    names = []
    for number, size in enumerate(("160x90", "90x160", "160x160")):
        names.append(f"{number}.{suffix}")
        run_ffmpeg("-f", "lavfi", "-i", circle(size), "-c:v", codec, "-pix_fmt", "yuv420p",
                   *(() if codec == "libx264" else ("-deadline", "realtime", "-b:v", "1M")),
                   str(tmp_path / names[-1]))  # fmt: skip
    (tmp_path / "list.txt").write_text("".join(f"file {name}\n" for name in names))
    path = tmp_path / f"film.{suffix}"
    run_ffmpeg("-f", "concat", "-i", str(tmp_path / "list.txt"), "-c", "copy", str(path))
    film = await made_of(path, tmp_path)
    video = film.info.video
    assert (video.width, video.height) == (160, 160)
    frames = greys(film.path, 160, 160)
    assert len(frames) == 30
    for at in (4, 15, 26):
        assert roundness(frames[at], 160) == pytest.approx(1, abs=0.06)
    with Image.open(await thumbnail_of(path, film, tmp_path, pool)) as shown:
        assert roundness(shown.convert("L").tobytes(), shown.width) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize(
    ("late", "suffix"),
    [
        ("picture", "mp4"),
        ("sound", "mkv"),
        *([("sound", "mp4"), ("picture", "ts")] if FULL else []),
    ],
)
async def test_sound_and_picture_that_begin_apart_stay_together(tmp_path, late, suffix):
    path = tmp_path / f"film.{suffix}"
    offsets = [("-itsoffset", "0.3") if late == one else () for one in ("picture", "sound")]
    run_ffmpeg(*offsets[0], "-f", "lavfi", "-i", FLASH, *offsets[1], "-f", "lavfi", "-i", BEEP,
               *X264, str(path))  # fmt: skip
    flash, beep = flash_and_beep((await made_of(path, tmp_path)).path)
    apart = 0.3 if late == "picture" else -0.3
    assert flash - beep == pytest.approx(apart, abs=0.06)


async def test_what_an_edit_list_leaves_out_is_not_shown(tmp_path):
    whole, path = tmp_path / "whole.mp4", tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", FLASH, "-f", "lavfi", "-i", BEEP, *X264, "-g", "50",
               str(whole))  # fmt: skip
    run_ffmpeg("-ss", "0.2", "-i", str(whole), "-c", "copy", str(path))
    film = await made_of(path, tmp_path)
    flash, beep = flash_and_beep(film.path)
    assert flash == pytest.approx(0.2, abs=0.06)
    assert beep == pytest.approx(0.2, abs=0.06)
    assert film.info.duration_seconds == pytest.approx(0.8, abs=0.1)


async def test_a_clock_that_wraps_lengthens_nothing(tmp_path):
    path = tmp_path / "film.ts"
    wraps_at = 2**33 / 90_000
    run_ffmpeg(*filmed("sine=440:d=1", seconds=1), *X264, "-output_ts_offset",
               f"{wraps_at - 1.9:.3f}", str(path))  # fmt: skip
    await is_whole(path, tmp_path, 1)


async def test_one_picture_is_a_film(tmp_path):
    path = tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", *X264, "-frames:v", "1",
               str(path))  # fmt: skip
    film = await made_of(path, tmp_path)
    assert len(frame_times(film.path)) == 1


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [
        ("webm", ("-c:v", "libvpx", "-c:a", "libopus")),
        ("mp4", (*X264, "-c:a", "aac")),
        *([("mkv", (*X264, "-c:a", "flac"))] if FULL else []),
    ],
)
async def test_a_still_lasts_as_long_as_its_sound(tmp_path, suffix, codecs):
    path = tmp_path / f"film.{suffix}"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=0.04",
               "-f", "lavfi", "-i", "sine=440:d=1.5", *codecs, str(path))  # fmt: skip
    await is_whole(path, tmp_path, 1.5, by=0.2)


async def test_a_subtitle_hours_later_lengthens_nothing(tmp_path):
    (tmp_path / "late.srt").write_text("1\n10:00:00,000 --> 10:00:01,000\nlate\n")
    path = tmp_path / "film.mkv"
    run_ffmpeg(*filmed("sine=440:d=1", seconds=1), "-i", str(tmp_path / "late.srt"),
               *("-map", "0", "-map", "1", "-map", "2"), *X264, str(path))  # fmt: skip
    await is_whole(path, tmp_path, 1)


@pytest.mark.parametrize("carried", ["attachments", "subtitles", "time code"])
async def test_what_a_film_carries_besides_is_no_refusal(tmp_path, carried):
    (tmp_path / "font.ttf").write_bytes(bytes(64))
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nwords\n")
    path = tmp_path / ("film.mov" if carried == "time code" else "film.mkv")
    words = [*filmed("sine=440:d=1", seconds=1)]
    maps = ["-map", "0", "-map", "1"]
    if carried == "subtitles":
        words += ["-i", str(tmp_path / "words.srt")]
        maps += ["-map", "2"] * 20
    if carried == "attachments":
        maps += ["-attach", str(tmp_path / "font.ttf")] * 20
        maps += [word for n in range(20) for word in
                 (f"-metadata:s:t:{n}", "mimetype=application/x-truetype-font")]  # fmt: skip
    if carried == "time code":
        maps += ["-timecode", "10:00:00:00"]
    run_ffmpeg(*words, *maps, *X264, str(path))
    # Of its texts there are more than are made.
    warnings = [WarningCode.TEXT_LEFT_OUT] if carried == "subtitles" else []
    await is_whole(path, tmp_path, 1, 0.15, *warnings)


async def test_packets_of_camcorders_are_read(tmp_path):
    """A clock of four bytes stands before each packet of 188."""
    stream, path = tmp_path / "film.ts", tmp_path / "film.mts"
    run_ffmpeg(*filmed("sine=440:d=1", seconds=1), *X264, "-c:a", "ac3", str(stream))
    data = stream.read_bytes()
    packets = (data[at : at + 188] for at in range(0, len(data), 188))
    path.write_bytes(b"".join(struct.pack(">I", n * 300) + one for n, one in enumerate(packets)))
    await is_whole(path, tmp_path, 1)


@pytest.mark.parametrize("packet", [188, 204, *([192] if FULL else [])])
async def test_a_broadcast_recorded_from_any_byte_on_is_read(tmp_path, packet):
    stream, path = tmp_path / "whole.ts", tmp_path / "film.ts"
    run_ffmpeg(*filmed("sine=440:d=2", seconds=2), *X264, "-g", "12", str(stream))
    data = stream.read_bytes()
    padded = [data[at : at + 188].ljust(packet, b"\xff") for at in range(0, len(data), 188)]
    path.write_bytes(b"".join(padded)[packet * 9 + 77 :])
    film = await made_of(path, tmp_path)
    assert 1 < film.info.duration_seconds < 2.3


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("ts", "libx264"),
        ("mpg", "mpeg2video"),
        *([("ts", "libx265"), ("mts", "libx264")] if FULL else []),
    ],
)
async def test_the_thumbnail_of_a_stream_with_one_keyframe_is_no_rubble(
    tmp_path, pool, suffix, codec
):
    """Without an index a seek ends anywhere."""
    path = tmp_path / f"film.{suffix}"
    silent = ("-x265-params", "log-level=none:keyint=999") if codec == "libx265" else ()
    quads(path, "-vf", "scale=out_color_matrix=bt709", "-c:v", codec, "-g", "999", *silent,
          "-pix_fmt", "yuv420p", "-f", {"mpg": "vob"}.get(suffix, "mpegts"), seconds=3)  # fmt: skip
    film = await made_of(path, tmp_path)
    assert near(quarters(await thumbnail_of(path, film, tmp_path, pool)), QUADS, 16)


@pytest.mark.parametrize("codec", ["mpeg4", "svq1", *(["mjpeg"] if FULL else [])])
async def test_quicktime_older_than_its_brands_is_read(tmp_path, codec):
    """It begins with a preview, or with whatever comes first."""
    made, path = tmp_path / "made.mov", tmp_path / "film.mov"
    run_ffmpeg(*filmed("sine=440:d=1", seconds=1), "-c:v", codec, "-c:a", "pcm_s16be", str(made))
    data = made.read_bytes()
    (size,) = struct.unpack(">I", data[:4])
    assert data[4:8] == b"ftyp"
    preview = struct.pack(">I4s", size, b"pnot") + bytes(4) + b"\0\0PICT\0\1"
    path.write_bytes(preview.ljust(size, b"\0") + data[size:])
    await is_whole(path, tmp_path, 1)


@pytest.mark.parametrize("told", [0, "more", "less", *([8, 2**32 - 1] if FULL else [])])
async def test_an_avi_whose_size_is_wrong_is_read(tmp_path, told):
    path = tmp_path / "film.avi"
    run_ffmpeg(*filmed("sine=440:d=1", seconds=1), "-c:v", "mjpeg", "-c:a", "pcm_u8", str(path))
    data = bytearray(path.read_bytes())
    (size,) = struct.unpack("<I", data[4:8])
    data[4:8] = struct.pack("<I", {"more": size + 8, "less": size - 4000}.get(told, told))
    path.write_bytes(data)
    await is_whole(path, tmp_path, 1)


@pytest.mark.parametrize("suffix", ["mpg", "ts"])
async def test_streams_that_were_joined_are_one_film(tmp_path, suffix):
    parts = []
    for number in range(2):
        part = tmp_path / f"{number}.{suffix}"
        run_ffmpeg(*filmed("sine=440:d=1", seconds=1), "-c:v", "mpeg2video", "-c:a", "mp2",
                   str(part))  # fmt: skip
        parts.append(part.read_bytes())
    path = tmp_path / f"film.{suffix}"
    path.write_bytes(b"".join(parts))
    await is_whole(path, tmp_path, 2, by=0.3)


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [
        ("mkv", (*X264, "-c:a", "wmav2")),
        ("mkv", (*X264, "-c:a", "truehd", "-strict", "-2")),
        ("mov", (*X264, "-c:a", "nellymoser", "-ar", "8000")),
        ("avi", ("-c:v", "wmv2", "-c:a", "wmav1")),
        ("mkv", (*X264, "-c:a", "wavpack")),
        ("avi", ("-c:v", "flv1", "-c:a", "adpcm_ms")),
    ],
)
async def test_sounds_and_pictures_that_recorders_wrote_are_decoded(tmp_path, suffix, codecs):
    path = tmp_path / f"film.{suffix}"
    run_ffmpeg(*filmed("sine=440:d=1", seconds=1), *codecs, str(path))
    await is_whole(path, tmp_path, 1, by=0.2)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", *(["mov"] if FULL else [])])
async def test_a_film_cut_at_its_end_is_ready_with_a_warning_or_refused(tmp_path, suffix):
    whole = tmp_path / f"whole.{suffix}"
    first = ("-movflags", "+faststart") if suffix in {"mp4", "mov"} else ()
    run_ffmpeg(*filmed("sine=440:d=2", seconds=2), *X264, "-g", "5", *first, str(whole))
    data = whole.read_bytes()
    path = tmp_path / f"film.{suffix}"
    path.write_bytes(data[: len(data) * 95 // 100])
    film = await made_of(path, tmp_path)
    assert "file_truncated" in film.warnings
    assert film.info.duration_seconds > 1.7
    path.write_bytes(data[: len(data) * 60 // 100])
    with pytest.raises(PermanentError) as refused:
        await made_of(path, tmp_path)
    assert refused.value.code == "truncated_file"

"""Sound without a picture: as it was made, from its first sample to its last."""

from __future__ import annotations

import subprocess
from array import array
from pathlib import Path

import pytest
from ingest.film import cmaf
from media_runtime.errors import PermanentError
from media_runtime.media.manifests import dash, hls_master, hls_media, rendition

from support.films import made_of, pitches, silence_progress
from support.media_files import make_photo, make_video, run_ffmpeg
from support.tiers import FULL
from unit.ingest.test_loudness import levels

SECONDS, BEEP_AT = 1.3, 0.4
BEEP = f"aevalsrc='if(gte(t,{BEEP_AT}),0.4*sin(2*PI*440*t),0)':d={SECONDS}:s={{0}}"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


def beep(path: Path, *options: str, rate: int = 44_100) -> Path:
    run_ffmpeg("-f", "lavfi", "-i", BEEP.format(rate), *options, str(path))
    return path


def with_cover(sound: Path, target: Path) -> Path:
    cover = make_photo(target.with_name("cover.jpg"), size=(400, 300))
    run_ffmpeg("-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy",
               "-disposition:v", "attached_pic", str(target))  # fmt: skip
    return target


def piped(form: str) -> bytes:
    codec = ("-c:a", "libopus") if form == "webm" else ()
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", BEEP.format(48_000), *codec,
               "-f", form, "-"]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=True).stdout


def heard(path: Path) -> array[float]:
    """Return a sound's samples in mono."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1", "-ar", "48000", "-f", "f32le",
               "-"]  # fmt: skip
    return array("f", subprocess.run(command, capture_output=True, check=True).stdout)


def begins(samples: array[float]) -> float:
    """Return when it becomes loud, in seconds."""
    return next(at for at, one in enumerate(samples) if abs(one) > 0.1) / 48_000


KINDS = {
    "a.mp3": ("-c:a", "libmp3lame"),
    "a.m4a": ("-c:a", "aac", "-ac", "2"),
    "a.aac": ("-c:a", "aac"),
    "a.flac": (),
    "a.ogg": ("-c:a", "libvorbis"),
    "a.wav": ("-c:a", "pcm_s24le"),
    "a.aiff": (),
    "a.weba": ("-f", "webm", "-c:a", "libopus"),
    **({"a.opus": (), "a.mp2": ()} if FULL else {}),
}
RATES = {"a.flac": 96_000, "a.wav": 22_050, "a.mp3": 48_000}


@pytest.mark.parametrize(("name", "options"), KINDS.items(), ids=KINDS)
async def test_a_sound_is_heard_at_its_times(tmp_path, name, options):
    source = beep(tmp_path / name, *options, rate=RATES.get(name, 44_100))
    made = await made_of(source, tmp_path)
    info, samples = made.info, heard(source)
    assert info.video is None
    assert info.audio is not None
    assert (info.audio.codec, info.audio.channels, info.audio.sample_rate) == ("aac", 2, 48_000)
    assert info.duration_seconds == pytest.approx(len(samples) / 48_000, abs=0.002)
    assert begins(heard(made.path)) == pytest.approx(begins(samples), abs=0.003)
    assert info.start_seconds == 0
    assert not made.warnings
    data = made.path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


async def test_the_stream_of_a_sound_is_the_same_sound(tmp_path):
    made = await made_of(beep(tmp_path / "a.wav"), tmp_path)
    piece = made.made.files["audio-sound-0000"]
    track = cmaf.read(piece.read_bytes())
    assert track.ticks == round(SECONDS * 48_000)
    one = rendition("sound", [(piece.name, track.layout())])
    (piece.parent / "sound.m3u8").write_text(hls_media(one))
    (piece.parent / "master.m3u8").write_text(hls_master([], one))
    assert heard(piece.parent / "master.m3u8") == heard(made.path)
    text = dash([], one)
    assert 'contentType="audio"' in text
    assert "video" not in text


@pytest.mark.parametrize("layout", ["mono", "5.1"])
async def test_any_channels_become_two_and_as_loud_as_all(tmp_path, layout):
    source = tmp_path / "a.flac"
    voices = "|".join(["0.05*sin(2*PI*440*t)"] * (1 if layout == "mono" else 6))
    run_ffmpeg("-f", "lavfi", "-i", f"aevalsrc='{voices}':d=3:c={layout}", str(source))
    made = await made_of(source, tmp_path)
    assert all(abs(pitch - 440) < 10 for pitch, _ in pitches(made.path))
    assert (await levels(made.path)).integrated == pytest.approx(-16, abs=1)


@pytest.mark.parametrize("seconds", [0.2, 0.02])
async def test_a_short_sound_is_heard(tmp_path, seconds):
    source = tmp_path / "a.wav"
    run_ffmpeg("-f", "lavfi", "-i", f"sine=duration={seconds}", str(source))
    made = await made_of(source, tmp_path)
    assert made.info.duration_seconds == pytest.approx(seconds, abs=0.002)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
async def test_silence_is_a_sound(tmp_path, name):
    """However few bytes it takes."""
    source = tmp_path / name
    codec = ("-c:a", "libvorbis") if name == "a.ogg" else ()
    silence = ("-f", "lavfi", "-t", "65", "-i", "anullsrc=r=22050:cl=mono")
    run_ffmpeg(*silence, *codec, "-fflags", "+bitexact", str(source))
    made = await made_of(source, tmp_path)
    assert made.info.duration_seconds == pytest.approx(65, abs=0.025)
    assert not made.warnings


async def test_a_sound_whose_end_is_broken_is_heard_until_there(tmp_path):
    source = beep(tmp_path / "a.mp3")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 3 // 4] + bytes(len(data) // 4))
    made = await made_of(source, tmp_path)
    assert 0.6 < (made.info.duration_seconds or 0) < SECONDS
    assert begins(heard(made.path)) == pytest.approx(BEEP_AT, abs=0.03)


async def test_a_flac_of_half_its_length_is_refused(tmp_path):
    source = tmp_path / "a.flac"
    run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=4", str(source))
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(PermanentError) as caught:
        await made_of(source, tmp_path)
    assert caught.value.code == "truncated_file"


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", *(["a.flac"] if FULL else [])])
async def test_the_picture_that_goes_with_a_sound_is_no_film(tmp_path, name):
    made = await made_of(with_cover(beep(tmp_path / f"plain-{name}"), tmp_path / name), tmp_path)
    assert made.info.video is None
    assert (made.source.width, made.source.height) == (400, 300)
    assert (await made_of(tmp_path / f"plain-{name}", tmp_path / "plain")).source.width == 0


async def test_a_film_declared_as_sound_is_refused_in_a_sentence(tmp_path):
    film = make_video(tmp_path / "film.mp4", size="64x64", seconds=0.3)
    with pytest.raises(PermanentError) as caught:
        await made_of(film.rename(tmp_path / "film.m4a"), tmp_path)
    assert caught.value.code == "type_mismatch"
    assert caught.value.message == "The file holds a video, and audio/mp4 is of sound alone."


async def test_where_nothing_can_be_heard_there_is_no_sound(tmp_path):
    source = tmp_path / "a.wav"
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=0.1", "-fflags", "+bitexact", str(source))
    head, _, _ = source.read_bytes().partition(b"data")
    source.write_bytes(head + b"data" + bytes(4))
    with pytest.raises(PermanentError) as caught:
        await made_of(source, tmp_path)
    assert caught.value.code == "no_audio_stream"


async def test_a_recording_without_a_length_is_as_long_as_it_is(tmp_path):
    """As browsers and pipes write them: nobody went back to the head."""
    for name, form in (("a.weba", "webm"), ("a.wav", "wav"), ("a.flac", "flac")):
        path = tmp_path / name
        path.write_bytes(piped(form))
        made = await made_of(path, tmp_path / form)
        assert made.info.duration_seconds == pytest.approx(SECONDS, abs=0.025), name
        assert not made.warnings

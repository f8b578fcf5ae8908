"""Manifests of chunks and sound: other programs play every frame and hear every beep."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ingest.film import cmaf
from ingest.film.grid import fit
from ingest.film.sound import candidates, choose
from ingest.film.soundtrack import PACKET, RATE, packets_of, sound_command
from media_runtime.media.manifests import (
    Layout,
    Part,
    Rendition,
    continued,
    dash,
    hls_keys,
    hls_master,
    hls_media,
    rendition,
)

from support.media_files import run_ffmpeg
from unit.ingest.test_chunk import FFMPEG, LADDER, X264, chunks_of, made, pictures, scanned

SECONDS = 7
MPD = "{urn:mpeg:dash:schema:mpd:2011}"
NOW = "lt(mod(t,2),0.2)*gte(t,1)"
FLASHES = f"color=black:size=96x64:rate=25:duration={SECONDS},drawbox=c=white:t=fill:enable='{NOW}'"
BEEPS = f"aevalsrc='if({NOW},0.5*sin(2*PI*440*t),0)':d={SECONDS}:s=44100"


async def packaged(source: Path, folder: Path) -> tuple[list[Rendition], Rendition, int]:
    """Make all of a film, write its manifests beside the files, and return what they tell."""
    grid = fit(*scanned(source))
    chunks = chunks_of(grid, 50)
    folders = await made(source, folder, grid, chunks)
    ladder = []
    for rung in LADDER:
        files = [
            (f"{one.name}/{rung.short_side}.mp4",
             cmaf.read((one / f"{rung.short_side}.mp4").read_bytes()).layout(grid.rate))
            for one in folders
        ]  # fmt: skip
        ladder.append(
            rendition(f"v{rung.short_side}", files, width=rung.size.width,
                      height=rung.size.height)
        )  # fmt: skip
    info = await FFMPEG.probe(source)
    sound = choose(candidates(info.audio_streams), {})
    assert sound is not None
    command = sound_command(source, folder / "sound.mp4", grid, sound, FFMPEG.input_options)
    await FFMPEG.run(command, reads=source, writes=folder, timeout_seconds=60)
    track = cmaf.read((folder / "sound.mp4").read_bytes())
    assert track.samples == packets_of(grid)
    heard = rendition("sound", [("sound.mp4", track.layout())])
    for one in ladder:
        (folder / f"{one.name}.m3u8").write_text(hls_media(one))
        (folder / f"{one.name}-keys.m3u8").write_text(hls_keys(one))
    (folder / "sound.m3u8").write_text(hls_media(heard))
    (folder / "master.m3u8").write_text(hls_master(ladder, heard))
    (folder / "manifest.mpd").write_text(dash(ladder, heard))
    return ladder, heard, grid.frames


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "film.mkv"
    run_ffmpeg("-f", "lavfi", "-i", FLASHES, "-f", "lavfi", "-i", BEEPS, *X264, "-g", "40",
               "-c:a", "aac", str(path))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
async def film(source, folder) -> tuple[list[Rendition], Rendition, int]:
    return await packaged(source, folder)


def beeps(path: Path) -> list[float]:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0", "-ac", "1", "-ar", "8000",
               "-f", "u8", "-"]  # fmt: skip
    data = subprocess.run(command, capture_output=True, check=True).stdout
    loud = [max(abs(b - 128) for b in data[at : at + 16]) > 20 for at in range(0, len(data), 16)]
    begins = [n for n in range(1, len(loud)) if loud[n] and not any(loud[max(0, n - 50) : n])]
    return [n * 16 / 8000 for n in begins]


def frame_times(path: Path, stream: int) -> list[int]:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:v:{stream}",
               "-fps_mode", "passthrough", "-f", "framemd5", "-"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(row.split(",")[2]) for row in done.stdout.splitlines() if not row.startswith("#")]


def test_another_program_plays_all_sizes_and_the_sound(film, folder):
    ladder, _, frames = film
    master = folder / "master.m3u8"
    for stream in range(len(ladder)):
        times = frame_times(master, stream)
        assert len(times) == frames
        assert len({after - before for before, after in pairwise(times)}) == 1
    light = [sum(picture) / len(picture) for picture in pictures(master)]
    flashes = [n / 25 for n in range(1, len(light)) if light[n] > 100 > light[n - 1]]
    heard = beeps(master)
    assert len(flashes) == len(heard) == 3
    for flash, beep in zip(flashes, heard, strict=True):
        assert beep == pytest.approx(flash, abs=0.012)


def test_keys_alone_are_decoded_from_their_own_bytes(film, folder, tmp_path):
    (one, _), _, _ = film
    head = (folder / one.head_uri).read_bytes()[: one.head_bytes]
    for part in one.fragments:
        piece = tmp_path / "key.mp4"
        piece.write_bytes(head + (folder / part.uri).read_bytes()[part.start : part.key_end])
        assert len(pictures(piece)) == 1


def a_rendition(name: str, *sizes: int) -> Rendition:
    parts, at = [], 100
    for size in sizes:
        parts.append(Part("c.mp4", at, at + 5, at + size, 50))
        at += size
    return Rendition(name, "avc1.640015", 25, "c.mp4", 100, tuple(parts), 96, 64, Fraction(25))


def test_bandwidths_are_those_of_the_bytes():
    one = a_rendition("v64", 1000, 3000, 500)
    assert [part.size for part in one.segments] == [4000, 500]
    assert one.seconds == 6
    assert one.peak_bandwidth == 8 * 4000 / 4
    assert one.average_bandwidth == 8 * 4500 / 6


def test_a_playlist_that_grows_has_no_end_and_begins_at_its_beginning():
    text = hls_media(a_rendition("v64", 1000, 3000), is_whole=False)
    assert "EXT-X-ENDLIST" not in text
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in text
    assert "#EXT-X-START:TIME-OFFSET=0" in text
    assert hls_media(a_rendition("v64", 1000, 3000)).endswith("#EXT-X-ENDLIST\n")


def test_what_goes_on_in_another_file_keeps_what_it_listed():
    begun = replace(a_rendition("sound", 100, 100, 100, 100), name="early")
    whole = replace(a_rendition("sound", *[200] * 7), fragments=tuple(
        replace(part, uri="whole.mp4") for part in a_rendition("sound", *[200] * 7).fragments
    ))  # fmt: skip
    listed = hls_media(begun, is_whole=False).splitlines()
    later = hls_media(continued(begun, whole), is_whole=False).splitlines()
    assert later[: len(listed)] == listed
    assert later[len(listed) :] == [
        "#EXTINF:4.000000,", "#EXT-X-BYTERANGE:400@900", "whole.mp4",
        "#EXTINF:2.000000,", "#EXT-X-BYTERANGE:200@1300", "whole.mp4",
    ]  # fmt: skip
    assert continued(begun, begun) == begun
    assert continued(whole, whole) == whole


def test_a_film_without_sound_has_manifests_without_it():
    ladder = [a_rendition("v64", 1000)]
    assert "AUDIO" not in hls_master(ladder, None)
    assert "audio" not in dash(ladder, None)
    assert (RATE, PACKET) == (48_000, 1024)


def test_sound_alone_has_manifests_without_pictures():
    sound = replace(a_rendition("audio.sound", 1000), codecs="mp4a.40.2")
    master = hls_master([], sound)
    assert 'CODECS="mp4a.40.2"\naudio.sound.m3u8' in master
    assert "RESOLUTION" not in master
    assert "EXT-X-MEDIA:" not in master
    (adaptation,) = ET.fromstring(dash([], sound)).iter(f"{MPD}AdaptationSet")
    assert adaptation.get("contentType") == "audio"


def test_dash_names_the_same_bytes(film, folder):
    ladder, sound, _ = film
    root = ET.fromstring((folder / "manifest.mpd").read_text())
    ids = [one.get("id") for one in root.iter(f"{MPD}Representation")]
    assert ids == [one.name for one in (*ladder, sound)]
    for one, told in zip((*ladder, sound), root.iter(f"{MPD}SegmentList"), strict=True):
        ranges = [(u.get("media"), u.get("mediaRange")) for u in told.iter(f"{MPD}SegmentURL")]
        assert ranges == [(part.uri, f"{part.start}-{part.end - 1}") for part in one.segments]
        steps = [(int(s.get("t", "")), int(s.get("d", ""))) for s in told.iter(f"{MPD}S")]
        assert all(at + lasts == later for (at, lasts), (later, _) in pairwise(steps))


def test_codecs_are_read_from_the_head():
    assert cmaf.Track(b"\0avcC\x01\x64\x00\x1f", 1, ()).codecs == "avc1.64001f"
    assert cmaf.Track(b"esds", 1, ()).codecs == "mp4a.40.2"


def test_a_layout_is_kept_as_text():
    layout = Layout("avc1.64001f", 12800, 800, [[800, 900, 1000, 25600]], "25")
    assert Layout.of(layout.text()) == layout

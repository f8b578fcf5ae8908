"""Sound alone: from a grant to a stream that players follow, and one file of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import pytest
from media_contracts import MEDIA_PROCESSED

from support.clients import JSON, Company, Listener
from support.eventually import eventually
from support.media_files import (
    CAMERA,
    Video,
    make_photo,
    make_sound,
    make_video,
    picture,
    probe_video,
    run_ffmpeg,
)
from support.wire import events_on

SECONDS = 2
MPD = "{urn:mpeg:dash:schema:mpd:2011}"


def make_tagged(path: Path) -> Path:
    """Write a song that says who made it, with a picture."""
    plain, cover = make_sound(path.with_name(f"plain-{path.name}")), path.with_name("cover.jpg")
    make_photo(cover, size=(400, 300))
    run_ffmpeg(
        *("-i", str(plain), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v", "attached_pic", "-metadata", f"comment={CAMERA}", str(path)),
    )
    return path


MADE: dict[str, Callable[[Path], Path]] = {
    "song.mp3": make_tagged,
    "phone.m4a": make_sound,
    "radio.aac": make_sound,
    "studio.flac": make_sound,
    "talk.opus": make_sound,
    "old.ogg": make_sound,
    "plain.wav": make_sound,
    "plain.aiff": make_sound,
}


@dataclass
class Processed:
    """Sounds that one company sent at once, and what became of them."""

    company: Company
    listener: Listener
    asset_ids: dict[str, str]

    async def ready(self, name: str) -> JSON:
        return await self.company.ready(self.asset_ids[name])

    async def sound(self, name: str, folder: Path) -> Video:
        asset = await self.ready(name)
        answer = await self.company.fetch(asset["processedUrl"])
        assert answer.headers["content-type"] == "audio/mp4"
        return probe_video(answer.content, folder)


@pytest.fixture(scope="module")
async def processed(http, tmp_path_factory):
    """All files go up at once; each test waits for its own."""
    folder, company = tmp_path_factory.mktemp("sound"), Company(http)
    paths = {name: make(folder / name) for name, make in MADE.items()}
    async with company.listening() as listener:
        asset_ids = await asyncio.gather(*(company.upload(path) for path in paths.values()))
        yield Processed(company, listener, dict(zip(paths, asset_ids, strict=True)))


@pytest.mark.parametrize("name", MADE)
async def test_a_sound_becomes_an_mp4_of_aac(processed, tmp_path, name):
    sound = await processed.sound(name, tmp_path)
    assert set(sound.streams) == {"audio"}
    stream = sound.streams["audio"]
    assert (stream["codec_name"], stream["channels"], stream["sample_rate"]) == ("aac", 2, "48000")
    assert sound.is_faststart
    # AAC alone does not say what its encoder has put before the first sample.
    assert float(sound.format["duration"]) == pytest.approx(
        SECONDS, abs=0.07 if name == "radio.aac" else 0.025
    )
    assert CAMERA.encode() not in sound.data


@pytest.mark.parametrize("name", MADE)
async def test_an_asset_says_what_its_sound_is(processed, name):
    asset = await processed.ready(name)
    assert asset["durationSeconds"] == pytest.approx(SECONDS, abs=0.07)
    assert (asset["width"], asset["height"], asset["storyboardUrl"]) == (None, None, None)
    assert (asset["warnings"], asset["error"]) == ([], None)
    assert len(asset["probe"]["sound"]) == 1
    (file,) = [one for one in asset["files"] if one["name"] == "audio"]
    assert (file["kind"], file["contentType"], file["width"]) == ("audio", "audio/mp4", None)


async def test_players_follow_a_stream_of_sound_alone(processed, tmp_path):
    asset = await processed.ready("phone.m4a")
    master = (await processed.company.fetch(asset["hlsUrl"])).text
    (name,) = [line for line in master.splitlines() if line and not line.startswith("#")]
    assert 'CODECS="mp4a.40.2"' in master
    assert "RESOLUTION" not in master
    playlist = (await processed.company.fetch(urljoin(asset["hlsUrl"], name))).text
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    lasts = sum(float(one) for one in re.findall(r"#EXTINF:([\d.]+)", playlist))
    assert lasts == pytest.approx(asset["durationSeconds"], abs=0.002)
    await asyncio.to_thread(run_ffmpeg, "-i", asset["hlsUrl"], str(tmp_path / "heard.wav"))

    root = ET.fromstring((await processed.company.fetch(asset["dashUrl"])).text)
    (adaptation,) = root.iter(f"{MPD}AdaptationSet")
    assert adaptation.get("contentType") == "audio"
    part = next(root.iter(f"{MPD}SegmentURL"))
    start, end = map(int, part.get("mediaRange", "").split("-"))
    url = urljoin(asset["dashUrl"], part.get("media", ""))
    answer = await processed.company.http.get(url, headers={"Range": f"bytes={start}-{end}"})
    assert (answer.status_code, answer.content[4:8]) == (206, b"moof")


async def test_cover_art_becomes_the_thumbnail(processed):
    async def thumbnail() -> JSON | None:
        asset = await processed.ready("song.mp3")
        return asset if asset["thumbnailUrl"] else None

    asset = await eventually(thumbnail)
    image = picture((await processed.company.fetch(asset["thumbnailUrl"])).content)
    assert (image.format, image.size) == ("JPEG", (320, 240))
    assert (await processed.ready("plain.wav"))["thumbnailUrl"] is None


async def test_a_client_hears_the_stages_of_a_sound_in_order(processed):
    await processed.ready("plain.wav")
    asset_id = processed.asset_ids["plain.wav"]
    await processed.listener.outcome(asset_id)
    told = [word for word in processed.listener.stages(asset_id) if word != "transcoding"]
    assert told == ["uploaded", "processing", "probed", "transcoded", "ready"]


async def test_another_team_hears_of_a_sound_by_its_file(processed):
    asset = await processed.ready("plain.wav")
    (event,) = await eventually(lambda: events_on(MEDIA_PROCESSED, [asset["assetId"]]))
    assert (event.data.outcome, event.data.content_type) == ("ready", "audio/wav")
    assert (event.data.kind, event.data.rendition, event.data.thumbnail) == ("video", None, None)
    (file,) = event.data.files
    assert (file.name, file.kind, file.content_type) == ("audio", "audio", "audio/mp4")
    (stream,) = event.data.streams
    assert [(track.name, track.codec) for track in stream.tracks] == [("sound", "mp4a.40.2")]


async def test_a_film_declared_as_sound_fails(company, tmp_path):
    film = make_video(tmp_path / "film.mp4", seconds=0.5)
    async with company.listening() as listener:
        asset_id = await company.upload(film, type="audio/mp4")
        event = await listener.outcome(asset_id)
    asset = await company.asset(asset_id)
    assert (asset["status"], asset["error"]["code"]) == ("failed", "type_mismatch")
    assert "holds a video" in asset["error"]["message"]
    assert event.data["error"]["code"] == "type_mismatch"


async def test_a_sound_that_is_cut_fails(company, tmp_path):
    data = make_sound(tmp_path / "cut.wav").read_bytes()
    asset_id = await company.upload_bytes("cut.wav", data[: len(data) // 2], "audio/wav")
    asset = await company.ended(asset_id)
    assert (asset["status"], asset["error"]["code"]) == ("failed", "truncated_file")

"""Subtitles of a film: from an upload to what players are offered, and to nothing."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from media_contracts import MEDIA_PROCESSED
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore

from support.clients import JSON, Company
from support.eventually import eventually
from support.media_files import run_ffmpeg
from support.wire import events_on

MPD = "{urn:mpeg:dash:schema:mpd:2011}"
CUES = "1\n00:00:00,250 --> 00:00:01,125\n{}\n\n2\n00:00:01,500 --> 00:00:05,000\n{}\n"
SAID = {"en": ("Good <b>morning</b>", "& goodbye"), "de": ("Guten Morgen", "Tschüss")}


@dataclass(frozen=True)
class Subtitled:
    """A film with two texts that is ready."""

    company: Company
    asset: JSON

    async def named(self, url: str) -> str:
        """Return what stands behind a name in the HLS playlist."""
        return (await self.company.fetch(urljoin(self.asset["hlsUrl"], url))).text


def make_subtitled(path: Path) -> Path:
    """Write a film of 2 s with two texts, whose clock begins at 1.4 s."""
    inputs, words = [], []
    for number, (language, said) in enumerate(SAID.items()):
        text = path.with_name(f"{language}.srt")
        text.write_text(CUES.format(*said))
        inputs += ["-i", str(text)]
        words += ["-map", str(number + 1), f"-metadata:s:s:{number}", f"language={language}"]
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=2", *inputs, "-map", "0",
        *words, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:s", "srt",
        "-metadata:s:s:1", "title=Deutsch", "-output_ts_offset", "1.4", str(path),
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
async def film(http, tmp_path_factory):
    company = Company(http)
    asset_id = await company.upload(make_subtitled(tmp_path_factory.mktemp("text") / "film.mkv"))
    return Subtitled(company, await company.ready(asset_id, timeout=300))


async def test_an_asset_tells_of_its_texts_by_file(film):
    texts = [one for one in film.asset["files"] if one["kind"] == "text"]
    assert [(one["name"], one["contentType"]) for one in texts] == [
        ("video-text-0", "text/vtt"), ("video-text-1", "text/vtt"),
    ]  # fmt: skip
    assert [(one["text"]["language"], one["text"]["title"]) for one in texts] == [
        ("en", None), ("de", "Deutsch"),
    ]  # fmt: skip
    assert [one["language"] for one in film.asset["probe"]["text"]] == ["en", "de"]
    assert film.asset["warnings"] == []
    answer = await film.company.fetch(texts[0]["url"])
    assert answer.headers["content-type"].startswith("text/vtt")
    assert answer.text.partition("\n\n")[2] == (
        "00:00:00.250 --> 00:00:01.125\nGood morning\n\n"
        "00:00:01.500 --> 00:00:02.000\n&amp; goodbye\n"
    )


async def test_another_team_hears_of_the_texts(film):
    (event,) = await eventually(lambda: events_on(MEDIA_PROCESSED, [film.asset["assetId"]]))
    texts = {one.name: one.text for one in event.data.files if one.kind == "text"}
    assert {name: text.language for name, text in texts.items()} == {
        "video-text-0": "en", "video-text-1": "de",
    }  # fmt: skip
    assert all(one.text is None for one in event.data.files if one.kind != "text")


async def test_hls_players_are_offered_both_texts(film, tmp_path):
    master = await film.named(film.asset["hlsUrl"])
    names = re.findall(r'TYPE=SUBTITLES,.*LANGUAGE="(\w+)".*URI="([^"]+)"', master)
    assert [language for language, _ in names] == ["en", "de"]
    for language, name in names:
        playlist = await film.named(name)
        (uri,) = [line for line in playlist.splitlines() if line and line[0] != "#"]
        text = await film.named(uri)
        assert text.startswith("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n")
        assert re.sub("<.*?>", "", SAID[language][0]) in text
    # What the last one names is WebVTT to another reader as well.
    url, target = urljoin(film.asset["hlsUrl"], uri), tmp_path / "read.srt"
    await asyncio.to_thread(run_ffmpeg, "-i", url, "-c:s", "srt", str(target))
    assert "00:00:00,250 --> 00:00:01,125\nGuten Morgen" in target.read_text()


async def test_dash_players_are_offered_both_texts(film):
    root = ET.fromstring((await film.company.fetch(film.asset["dashUrl"])).text)
    texts = [one for one in root.iter(f"{MPD}AdaptationSet") if one.get("contentType") == "text"]
    assert [one.get("lang") for one in texts] == ["en", "de"]
    base = texts[1].find(f".//{MPD}BaseURL")
    assert base is not None
    answer = await film.company.fetch(urljoin(film.asset["dashUrl"], base.text or ""))
    assert "Guten Morgen" in answer.text


async def test_nothing_is_left_of_texts_when_their_film_is_deleted(company, rows, tmp_path):
    path = make_subtitled(tmp_path / "film.mkv")
    asset = await company.ready(await company.upload(path), timeout=300)
    text = next(one for one in asset["files"] if one["kind"] == "text")
    store = ObjectStore(StorageSettings())

    async def kept() -> list[str]:
        found = await store.objects(store.bucket_of(company.id), all_versions=True)
        return [one.key for one in found]

    async def gone() -> bool:
        return not await kept()

    try:
        assert sum("/video-text-" in key for key in await kept()) == len(SAID)
        assert (await company.call("DELETE", f"/assets/{asset['assetId']}")).status_code == 204
        await eventually(gone, timeout=120)
    finally:
        store.close()
    of_asset = "SELECT count(*) FROM asset_files WHERE asset_id = $1"
    assert await rows.connection.fetchval(of_asset, UUID(asset["assetId"])) == 0
    assert (await company.http.get(text["url"])).status_code in {403, 404, 410}

"""A film can be watched soon after its upload, and in each of its sizes when it is ready."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import dataclass
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from support.clients import Company, Listener
from support.eventually import eventually
from support.media_files import run_ffmpeg

SECONDS, RATE = 40, 25
SIZES = [(428, 240), (640, 360), (854, 480)]
MPD = "{urn:mpeg:dash:schema:mpd:2011}"
HLS, DASH = "application/vnd.apple.mpegurl", "application/dash+xml"


@dataclass
class Film:
    """A film on its way: who owns it, and what was served while it was made."""

    company: Company
    listener: Listener
    asset_id: str
    early_url: str
    early: dict[str, str]


def names_in(playlist: str) -> list[str]:
    """Return what a playlist names, in order."""
    lines = [line for line in playlist.splitlines() if line and not line.startswith("#")]
    return lines + re.findall(r'URI="([^"]+)"', playlist)


async def fetched(company: Company, url: str) -> dict[str, str]:
    """Return a master playlist and the playlists that it names, by their URLs."""
    master = await company.fetch(url)
    assert master.headers["content-type"] == HLS
    found = {url: master.text}
    for name in names_in(master.text):
        found[urljoin(url, name)] = (await company.fetch(urljoin(url, name))).text
    return found


@pytest.fixture(scope="module")
async def film(http, tmp_path_factory):
    """A film of 40 s of sharp noise, which is looked at as soon as it is playable."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    run_ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=size=854x480:rate={RATE}:duration={SECONDS},noise=alls=20",
        "-f", "lavfi", "-i", f"sine=frequency=440:duration={SECONDS}",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p",
        "-c:a", "aac", str(path),
    )  # fmt: skip
    company = Company(http)
    async with company.listening() as listener:
        asset_id = await company.upload(path)
        await listener.heard(asset_id, "playable", timeout=120)
        asset = await company.asset(asset_id)
        early = await fetched(company, asset["hlsUrl"]) if asset["status"] == "processing" else {}
        await listener.heard(asset_id, "ready", timeout=240)
        yield Film(company, listener, asset_id, asset["hlsUrl"], early)


def segments(playlist: str) -> list[str]:
    """Return what a playlist says of each of its segments."""
    _, *found = re.split(
        r"^(?=#EXTINF)", playlist.removesuffix("#EXT-X-ENDLIST\n"), flags=re.MULTILINE
    )
    return found


def duration(playlist: str) -> float:
    return sum(float(seconds) for seconds in re.findall(r"#EXTINF:([\d.]+)", playlist))


async def test_the_beginning_can_be_played_while_the_rest_is_made(film):
    event = next(one for one in film.listener.of(film.asset_id) if one.what == "playable")
    assert event.data["seconds"] == pytest.approx(2)
    assert event.data["durationSeconds"] == pytest.approx(SECONDS)
    told = film.listener.stages(film.asset_id)
    assert told.index("playable") < told.index("ready")

    assert film.early, "the film was ready before it was looked at"
    _, *tracks = film.early.items()
    assert len(tracks) >= 2
    for url, playlist in tracks:
        assert "#EXT-X-PLAYLIST-TYPE:EVENT" in playlist
        assert "#EXT-X-ENDLIST" not in playlist
        # Sound is soon made as a whole.
        assert 2 <= duration(playlist) < SECONDS + 0.1 if ".early." in url else SECONDS


async def test_what_was_listed_early_stays_listed_as_it_was(film):
    _, *tracks = film.early.items()
    assert any(".early." in url for url, _ in tracks)
    for url, text in tracks:
        whole = (await film.company.fetch(url)).text
        assert duration(whole) == pytest.approx(SECONDS, abs=0.05), url
        listed = segments(text)
        assert segments(whole)[: len(listed)] == listed


async def test_each_size_is_a_whole_playlist(film):
    asset = await film.company.asset(film.asset_id)
    playlists = await fetched(film.company, asset["hlsUrl"])
    master = playlists.pop(asset["hlsUrl"])
    sizes = re.findall(r"#EXT-X-STREAM-INF:[^\n]*RESOLUTION=(\d+)x(\d+)", master)
    found = [(int(width), int(height)) for width, height in sizes]
    assert sorted(set(found)) == SIZES
    for url, playlist in playlists.items():
        assert "#EXT-X-ENDLIST" in playlist
        assert duration(playlist) == pytest.approx(SECONDS, abs=0.05), url


async def test_a_player_reads_every_size_and_the_sound(film, tmp_path):
    asset = await film.company.asset(film.asset_id)
    master = (await film.company.fetch(asset["hlsUrl"])).text
    variants = [
        name for name in names_in(master) if not name.endswith((".keys.m3u8", ".tiles.m3u8"))
    ]
    assert len(variants) == len(SIZES) + 1
    for name in variants:
        target = tmp_path / f"{name}.txt"
        await asyncio.to_thread(
            run_ffmpeg, "-i", urljoin(asset["hlsUrl"], name), "-map", "0", "-f", "framecrc",
            str(target),
        )  # fmt: skip
        rows = [line for line in target.read_text().splitlines() if not line.startswith("#")]
        if "sound" not in name:
            assert len(rows) == SECONDS * RATE
        times = [int(row.split(",")[1]) for row in rows]
        assert times == sorted(set(times))


async def test_dash_names_the_same_bytes(film):
    asset = await film.company.asset(film.asset_id)
    answer = await film.company.fetch(asset["dashUrl"])
    assert answer.headers["content-type"] == DASH
    root = ET.fromstring(answer.text)
    listed = list(root.iter(f"{MPD}SegmentURL"))
    assert listed
    for one in listed[:: max(1, len(listed) // 8)]:
        start, end = map(int, one.get("mediaRange", "").split("-"))
        url = urljoin(asset["dashUrl"], one.get("media", ""))
        part = await film.company.http.get(url, headers={"Range": f"bytes={start}-{end}"})
        assert part.status_code == 206
        assert len(part.content) == end - start + 1
        assert part.content[4:8] == b"moof"


async def test_small_pictures_of_the_film_are_found_in_three_ways(film):
    asset = await film.company.asset(film.asset_id)
    told = await film.company.fetch(asset["storyboardUrl"])
    assert told.headers["content-type"].startswith("text/vtt")
    cues = re.findall(r"(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)", told.text)
    assert len(cues) == SECONDS // 2
    sheet = await film.company.fetch(urljoin(asset["storyboardUrl"], cues[0][0]))
    with Image.open(io.BytesIO(sheet.content)) as image:
        assert image.format == "JPEG"
        for _, *numbers in cues:
            x, y, width, height = map(int, numbers)
            assert x + width <= image.width
            assert y + height <= image.height
    master = (await film.company.fetch(asset["hlsUrl"])).text
    (name,) = re.findall(r'EXT-X-IMAGE-STREAM-INF:.*URI="([^"]+)"', master)
    images = (await film.company.fetch(urljoin(asset["hlsUrl"], name))).text
    assert names_in(images) == [cues[0][0]]
    assert "thumbnail_tile" in (await film.company.fetch(asset["dashUrl"])).text


async def test_a_whole_manifest_may_be_cached_and_one_that_grows_may_not(film):
    asset = await film.company.asset(film.asset_id)
    answers = [await film.company.fetch(asset["hlsUrl"]) for _ in range(2)]
    assert [one.headers["cache-control"] for one in answers] == ["public, max-age=3600"] * 2
    assert answers[0].text == answers[1].text


async def test_a_token_opens_nobody_elses_stream(film, other_company):
    asset = await film.company.asset(film.asset_id)
    token = asset["hlsUrl"].split("/")[4]
    for changed in (token[:-1] + ("A" if token[-1] != "A" else "B"), "x" * 40, ".".join("abcde")):
        url = asset["hlsUrl"].replace(token, changed)
        assert (await film.company.http.get(url)).status_code in {403, 404}
    thumbnail = asset["thumbnailUrl"].split("/")[4]
    answer = await film.company.http.get(asset["hlsUrl"].replace(token, thumbnail))
    assert answer.status_code in {403, 404}
    answer = await other_company.get(f"/assets/{film.asset_id}")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "name", ["video.999.m3u8", "video.sound.mpd", "other.m3u8", "video..m3u8", "video.240.mpd"]
)
async def test_other_names_lead_nowhere(film, name):
    asset = await film.company.asset(film.asset_id)
    answer = await film.company.http.get(urljoin(asset["hlsUrl"], name))
    assert answer.status_code in {403, 404}


async def test_nothing_of_a_deleted_film_is_left(http, parts, rows, tmp_path):
    path = tmp_path / "short.mp4"
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=10", "-f", "lavfi", "-i",
        "sine=duration=10", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
        str(path),
    )  # fmt: skip
    company = Company(http)
    asset_id = await company.upload(path)
    asset = await company.ready(asset_id)
    master = asset["hlsUrl"]
    segment = next(
        urljoin(master, name)
        for url, text in (await fetched(company, master)).items()
        if url != master
        for name in names_in(text)
    )
    await company.fetch(segment)
    answer = await company.call("DELETE", f"/assets/{asset_id}")
    assert answer.status_code == 204

    async def is_gone() -> bool:
        found = [(await company.http.get(url)).status_code for url in (master, segment)]
        return found == [404, 404]

    await eventually(is_gone, timeout=60)

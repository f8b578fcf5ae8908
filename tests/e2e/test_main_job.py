"""The main job: from an upload grant to `ready`, as client apps and other teams see it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer
from media_contracts import MEDIA_PROCESSED

from support.clients import JSON, Company, Listener
from support.eventually import eventually
from support.media_files import (
    CAMERA,
    SAMPLES,
    Video,
    first_frame,
    is_reddish,
    make_camera_photo,
    make_heic,
    make_phone_video,
    make_photo,
    make_video,
    picture,
    probe_video,
    says_where,
)
from support.tiers import FULL
from support.wire import Rows, as_another_team, events_on

ODD = ("-pix_fmt", "yuv444p")
MADE: dict[str, Callable[[Path], Path]] = {
    "plain.mp4": make_video,
    "silent.mp4": lambda path: make_video(path, sound=False),
    "rotated.mp4": lambda path: make_phone_video(path, sound=False),
    "large.mp4": lambda path: make_video(path, size="3840x2160", seconds=0.6),
    "portrait.mp4": lambda path: make_video(path, size="1440x2560", seconds=0.6),
    "small.mp4": lambda path: make_video(path, size="160x120"),
    "odd.mp4": lambda path: make_video(path, size="321x241", options=ODD),
    "phone.mov": make_phone_video,
    "long.mp4": lambda path: make_video(path, size="854x480", seconds=15),
    "browser.webm": lambda path: make_video(path, size="320x180", options=("-c:v", "libvpx")),
    "old.avi": lambda path: make_video(path, options=("-c:v", "mpeg4")),
    "matroska.mkv": make_video,
    "photo.jpg": make_photo,
    "upright.jpg": lambda path: make_photo(path, orientation=8),
    "narrow.png": lambda path: make_photo(path, size=(300, 900)),
    "tiny.webp": lambda path: make_photo(path, size=(64, 48)),
    "camera.jpg": make_camera_photo,
    "iphone.heic": make_heic,
}
# Real files are played besides, where there are any.
FILM = "big-buck-bunny-480p.mp4"
SHARED = [
    name
    for name in ("gps-DSCN0010.jpg", "orientation-Portrait_8.jpg", "IMG_5195.HEIC",
                 *([FILM] if FULL else []))
    if (SAMPLES / name).exists()
]  # fmt: skip
# The display size of each video: at most 1080p, even, never enlarged.
SIZES = {
    "plain.mp4": (640, 360),
    "silent.mp4": (640, 360),
    "rotated.mp4": (240, 320),
    "large.mp4": (1920, 1080),
    "portrait.mp4": (1080, 1920),
    "small.mp4": (160, 120),
    "odd.mp4": (320, 240),
    "phone.mov": (240, 320),
    "long.mp4": (854, 480),
    "browser.webm": (320, 180),
    "old.avi": (640, 360),
    "matroska.mkv": (640, 360),
    **({FILM: (854, 480)} if FILM in SHARED else {}),
}
SECONDS = {"large.mp4": 0.6, "portrait.mp4": 0.6, "long.mp4": 15, FILM: 30}
MADE_PHOTOS = ("photo.jpg", "upright.jpg", "narrow.png", "tiny.webp", "camera.jpg", "iphone.heic")
PHOTOS = (*MADE_PHOTOS, *(name for name in SHARED if name != FILM))


@dataclass
class Processed:
    """Files that one company sent at once, and what became of them."""

    company: Company
    listener: Listener
    paths: dict[str, Path]
    asset_ids: dict[str, str]

    async def ready(self, name: str) -> JSON:
        return await self.company.ready(self.asset_ids[name])

    async def video(self, name: str, folder: Path) -> Video:
        asset = await self.ready(name)
        return probe_video((await self.company.fetch(asset["processedUrl"])).content, folder)


@pytest.fixture(scope="module")
async def processed(http, tmp_path_factory):
    """All files go up at once; each test waits for its own."""
    folder, company = tmp_path_factory.mktemp("media"), Company(http)
    paths = {name: make(folder / name) for name, make in MADE.items()}
    paths |= {name: SAMPLES / name for name in SHARED}
    async with company.listening() as listener:
        asset_ids = await asyncio.gather(*(company.upload(path) for path in paths.values()))
        yield Processed(company, listener, paths, dict(zip(paths, asset_ids, strict=True)))


@pytest.mark.parametrize("name", SIZES)
async def test_a_video_becomes_a_playable_mp4(processed, tmp_path, name):
    video = await processed.video(name, tmp_path)

    stream = video.streams["video"]
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert video.size == SIZES[name]
    assert video.is_faststart
    assert abs(float(video.format["duration"]) - SECONDS.get(name, 2)) < 0.2
    assert "rotation" not in str(stream.get("side_data_list", "")), "players would turn it again"


@pytest.mark.parametrize("name", SIZES)
async def test_a_video_keeps_its_sound_and_a_silent_one_stays_silent(processed, tmp_path, name):
    video = await processed.video(name, tmp_path)

    if name in {"silent.mp4", "rotated.mp4"}:
        assert set(video.streams) == {"video"}
    else:
        assert video.streams["audio"]["codec_name"] == "aac"
        assert abs(float(video.streams["audio"]["duration"]) - SECONDS.get(name, 2)) < 0.2


async def test_an_asset_says_what_its_file_is(processed):
    film = (await processed.ready("phone.mov"))["probe"]
    assert (film["codec"], film["width"], film["height"]) == ("h264", 240, 320)
    assert film["rotation"] in {90, 270}
    assert [sound["codec"] for sound in film["sound"]] == ["aac"]
    assert abs(film["durationSeconds"] - 2) < 0.2
    photo = await processed.ready("photo.jpg")
    assert (photo["probe"]["codec"], photo["warnings"]) == ("jpeg", [])


@pytest.mark.parametrize("name", ["rotated.mp4", "phone.mov"])
async def test_a_rotated_video_comes_out_upright(processed, tmp_path, name):
    asset = await processed.ready(name)
    data = (await processed.company.fetch(asset["processedUrl"])).content
    thumbnail = picture((await processed.company.fetch(asset["thumbnailUrl"])).content)

    for image in (first_frame(data, tmp_path), thumbnail):
        assert is_reddish(image, 0.2, 0.1)
        assert is_reddish(image, 0.8, 0.1), "what was left must be at the top"
        assert not is_reddish(image, 0.2, 0.9)
        assert not is_reddish(image, 0.8, 0.9)


@pytest.mark.parametrize("name", ["rotated.mp4", "phone.mov"])
async def test_a_video_says_neither_where_it_was_taken_nor_with_what(processed, tmp_path, name):
    source = processed.paths[name].read_bytes()
    assert CAMERA.encode() in source
    assert says_where(source)

    video = await processed.video(name, tmp_path)
    assert CAMERA.encode() not in video.data
    assert not says_where(video.data)
    assert not [tag for tag in video.format["tags"] if "location" in tag]


@pytest.mark.parametrize("name", [*SIZES, *PHOTOS])
async def test_a_thumbnail_is_a_jpeg_of_exactly_320_by_240(processed, name):
    asset = await processed.ready(name)
    image = picture((await processed.company.fetch(asset["thumbnailUrl"])).content)

    assert (image.format, image.size) == ("JPEG", (320, 240))
    assert not image.getexif()
    assert "exif" not in image.info


@pytest.mark.parametrize("name", PHOTOS)
async def test_a_photo_is_served_without_metadata_and_upright(processed, name):
    asset = await processed.ready(name)
    answer = await processed.company.fetch(asset["processedUrl"])
    image = picture(answer.content)

    assert image.size == (asset["width"], asset["height"])
    assert answer.headers["content-type"] == f"image/{image.format.lower()}"
    assert not image.getexif()
    assert not set(image.info) & {"exif", "XML:com.adobe.xmp", "xmp", "comment", "photoshop"}
    for secret in (b"Exif\0\0", CAMERA.encode(), b"Nikon", b"NIKON"):
        assert secret not in answer.content


async def test_a_photo_stored_on_its_side_is_served_upright(processed):
    asset = await processed.ready("upright.jpg")
    assert (asset["width"], asset["height"]) == (1200, 1600)

    for url in (asset["processedUrl"], asset["thumbnailUrl"]):
        image = picture((await processed.company.fetch(url)).content)
        # Orientation 8: what is stored at the left belongs to the bottom.
        assert is_reddish(image, 0.5, 0.9)
        assert not is_reddish(image, 0.5, 0.1)


async def test_a_thumbnail_shows_the_middle(processed):
    asset = await processed.ready("photo.jpg")
    image = picture((await processed.company.fetch(asset["thumbnailUrl"])).content)

    assert is_reddish(image, 0.47, 0.5)
    assert not is_reddish(image, 0.53, 0.5)


@pytest.mark.parametrize("name", ["plain.mp4", "photo.jpg"])
async def test_served_files_may_be_cached_for_an_hour(processed, name):
    asset = await processed.ready(name)
    kinds = {"plain.mp4": "video/mp4", "photo.jpg": "image/jpeg"}

    for url, kind in ((asset["processedUrl"], kinds[name]), (asset["thumbnailUrl"], "image/jpeg")):
        answer = await processed.company.fetch(url)
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert answer.headers["content-type"] == kind


async def test_a_client_hears_the_stages_of_a_video_in_order(processed):
    await processed.ready("plain.mp4")
    asset_id = processed.asset_ids["plain.mp4"]
    await processed.listener.outcome(asset_id)

    told = processed.listener.stages(asset_id)
    steady = [word for word in told if word not in {"thumbnailed", "transcoding"}]
    assert steady == ["uploaded", "processing", "probed", "playable", "transcoded", "ready"]
    assert told.index("probed") < told.index("thumbnailed") < told.index("ready")


async def test_a_client_hears_the_stages_of_a_photo_in_order(processed):
    await processed.ready("photo.jpg")
    asset_id = processed.asset_ids["photo.jpg"]
    await processed.listener.outcome(asset_id)

    told = processed.listener.stages(asset_id)
    assert told == ["uploaded", "processing", "probed", "thumbnailed", "ready"]


async def test_a_long_video_tells_how_far_it_is(processed):
    await processed.ready("long.mp4")
    events = processed.listener.of(processed.asset_ids["long.mp4"])

    percents = [event.data["percent"] for event in events if event.what == "transcoding"]
    assert percents
    assert percents == sorted(percents)
    assert all(0 <= percent <= 100 for percent in percents)


async def test_a_ready_asset_has_all_its_fields(processed):
    asset = await processed.ready("plain.mp4")

    assert asset["assetId"] == processed.asset_ids["plain.mp4"]
    assert asset["companyId"] == str(processed.company.id)
    assert (asset["fileName"], asset["type"]) == ("plain.mp4", "video/mp4")
    assert asset["size"] == processed.paths["plain.mp4"].stat().st_size
    assert (asset["width"], asset["height"]) == (640, 360)
    assert abs(asset["durationSeconds"] - 2) < 0.2
    assert asset["error"] is None
    assert asset["createdAt"] < asset["processedAt"] <= asset["updatedAt"]
    assert all(asset[name].endswith("Z") for name in ("createdAt", "updatedAt", "processedAt"))


async def test_a_signed_asset_has_no_files_yet(company):
    grant = await company.sign()
    asset = await company.asset(grant["assetId"])

    assert asset["status"] == "pending"
    nothing = ("processedUrl", "thumbnailUrl", "durationSeconds", "width", "height", "error")
    assert [asset[name] for name in (*nothing, "processedAt")] == [None] * 7


async def test_another_team_hears_each_outcome_with_contracts_alone(company, tmp_path):
    """As the README tells other teams to do it: any Kafka client, and media_contracts."""
    consumer = AIOKafkaConsumer(
        os.environ.get("KAFKA_TOPIC_PREFIX", "") + MEDIA_PROCESSED.name,
        **as_another_team().client_arguments(),
        group_id=f"{os.environ.get('KAFKA_TOPIC_PREFIX', '')}subscriber.{company.id}",
        auto_offset_reset="latest",
    )
    async with consumer:
        await eventually(lambda: len(consumer.assignment()) == MEDIA_PROCESSED.partitions)
        # Without this, "latest" is looked up at the first fetch.
        for partition in consumer.assignment():
            await consumer.position(partition)
        asset_id = await company.upload(make_photo(tmp_path / "photo.jpg"))
        async for record in consumer:
            event = MEDIA_PROCESSED.parse(record.value)
            if event is not None and event.subject == UUID(asset_id):
                break

    assert record.key == asset_id.encode()
    assert (event.companyid, event.data.outcome) == (company.id, "ready")
    assert (event.data.file_name, event.data.attempt) == ("photo.jpg", 1)
    assert (event.data.thumbnail.width, event.data.thumbnail.height) == (320, 240)
    assert event.data.rendition.key.startswith(f"{company.id}/")


async def test_the_outcome_of_each_upload_is_decided_and_told_once(processed, rows: Rows):
    for name in processed.asset_ids:
        await processed.ready(name)
    asset_ids = list(processed.asset_ids.values())

    async def told() -> bool:
        events = await events_on(MEDIA_PROCESSED, asset_ids)
        ids = {(str(event.subject), event.id) for event in events}
        assert sorted(asset_id for asset_id, _ in ids) == sorted(asset_ids)
        return True

    await eventually(told)
    for asset_id in asset_ids:
        assert await rows.endings(asset_id) == [(1, "ready")]


async def test_all_uploads_are_listed_page_by_page_newest_first(processed):
    found: list[JSON] = []
    cursor: str | None = None
    while True:
        query = {"limit": "4"} | ({"cursor": cursor} if cursor else {})
        page = (await processed.company.get("/assets", params=query)).json()
        assert len(page["items"]) <= 4
        found += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            break

    assert {asset["assetId"] for asset in found} == set(processed.asset_ids.values())
    assert len(found) == len(processed.asset_ids)
    moments = [asset["createdAt"] for asset in found]
    assert moments == sorted(moments, reverse=True)


async def test_another_company_hears_and_sees_nothing_of_it(company, other_company, tmp_path):
    async with other_company.listening() as stranger, company.listening() as listener:
        asset_id = await company.upload(make_photo(tmp_path / "photo.jpg"))
        await listener.outcome(asset_id)
        theirs = await other_company.upload(make_photo(tmp_path / "theirs.jpg"))
        await stranger.outcome(theirs)

    assert stranger.of(asset_id) == []
    assert listener.of(theirs) == []
    assert (await other_company.get(f"/assets/{asset_id}")).status_code == 404

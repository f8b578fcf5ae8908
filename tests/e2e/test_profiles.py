"""From a profile to the files that it asks for, and to the failures that are its own."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from media_contracts import MEDIA_PROCESSED
from PIL import Image

from support.clients import JSON, Company
from support.eventually import eventually
from support.media_files import make_photo, make_video, run_ffmpeg
from support.surroundings import variable
from support.typed import mediactl
from support.wire import Rows, events_on

CARD: JSON = {"type": "picture", "name": "card", "width": 640, "height": 640}
THUMBNAIL: JSON = {
    "type": "picture", "name": "thumbnail", "kind": "thumbnail", "width": 200, "height": 200,
}  # fmt: skip


@pytest.fixture
def publish(tmp_path: Path):
    """Publish a profile as operators do."""

    def one(company: Company, name: str, *outputs: JSON) -> None:
        variable("MEDIACTL_HOME")
        file = tmp_path / "profile.json"
        file.write_text(json.dumps({"name": name, "outputs": outputs}))
        done = mediactl(
            "profile", "set", str(file), "--company", str(company.id), environment=dict(os.environ)
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return one


async def uploaded(company: Company, path: Path, content_type: str, **asked: object) -> str:
    data = path.read_bytes()  # noqa: ASYNC240 - a test's files are small
    grant = await company.sign(path.name, len(data), content_type, **asked)
    assert (await company.store(grant, data)).status_code == 200
    return str(grant["assetId"])


async def test_an_image_gets_the_pictures_that_its_profile_asks_for(company, publish, tmp_path):
    publish(company, "web", CARD, THUMBNAIL)
    photo = make_photo(tmp_path / "photo.jpg", size=(1600, 1200))
    grant = await company.sign("photo.jpg", photo.stat().st_size, profile="web")
    publish(company, "web", {**CARD, "width": 10, "height": 10})
    await company.store(grant, photo.read_bytes())
    asset = await company.ready(grant["assetId"])

    assert asset["profile"] == {"name": "web", "version": 1}
    files = {one["name"]: one for one in asset["files"]}
    assert set(files) == {"card", "thumbnail"}
    card = files["card"]
    assert (card["kind"], card["contentType"]) == ("picture", "image/jpeg")
    assert (card["width"], card["height"]) == (640, 480)
    for file in files.values():
        served = await company.fetch(file["url"])
        assert served.headers["content-type"] == file["contentType"]
        assert len(served.content) == file["size"]
        assert Image.open(io.BytesIO(served.content)).size == (file["width"], file["height"])
    assert (files["thumbnail"]["width"], files["thumbnail"]["height"]) == (200, 150)
    assert asset["thumbnailUrl"] == files["thumbnail"]["url"]
    assert asset["processedUrl"] is None, "it asks for no image"

    (event,) = await eventually(lambda: events_on(MEDIA_PROCESSED, [asset["assetId"]]))
    assert (event.data.profile.name, event.data.profile.version) == ("web", 1)
    assert {file.name for file in event.data.files} == {"card", "thumbnail"}


async def test_the_same_profile_gives_a_film_what_is_of_films(company, publish, tmp_path):
    video = {"type": "video", "name": "video", "maxLongSide": 320, "maxShortSide": 320}
    publish(company, "default", video, {**CARD, "sources": ["video"]})
    film = make_video(tmp_path / "film.mp4", size="640x360")
    asset = await company.ready(await uploaded(company, film, "video/mp4"))

    assert asset["profile"]["name"] == "default"
    assert (asset["width"], asset["height"]) == (320, 180)
    files = {one["name"]: (one["width"], one["height"]) for one in asset["files"]}
    assert files == {"video": (320, 180), "card": (640, 360)}
    for file in asset["files"]:
        await company.fetch(file["url"])


async def test_an_upload_of_which_its_profile_wants_nothing_fails(company, publish, tmp_path):
    publish(company, "films", {"type": "video", "name": "video"})
    photo = make_photo(tmp_path / "photo.jpg")
    asset = await company.ended(await uploaded(company, photo, "image/jpeg", profile="films"))
    assert asset["status"] == "failed"
    assert asset["error"] == {
        "code": "nothing_wanted",
        "message": "The profile films has no output for an upload of this kind (image).",
    }


async def test_a_profile_that_makes_no_sense_any_more_fails_its_uploads_until_it_does(
    company: Company, publish, rows: Rows, tmp_path
):
    publish(company, "web", CARD)
    (body,) = await rows.connection.fetchrow(
        "SELECT body FROM profiles WHERE company_id = $1", company.id
    )
    spoil = "UPDATE profiles SET body = $2 WHERE company_id = $1"
    await rows.connection.execute(spoil, company.id, body.replace("picture", "hologram"))
    photo = make_photo(tmp_path / "photo.jpg")
    asset_id = await uploaded(company, photo, "image/jpeg", profile="web")
    asset = await company.ended(asset_id)
    assert asset["error"]["code"] == "invalid_profile"

    await rows.connection.execute(spoil, company.id, body)
    again = mediactl("retry", asset_id, environment=dict(os.environ))
    assert again.returncode == 0, again.stderr
    asset = await company.ready(asset_id)
    assert [one["name"] for one in asset["files"]] == ["card"]


async def test_a_watermark_is_an_image_of_the_company_and_has_to_be_there(
    company: Company, other_company: Company, publish, tmp_path
):
    mark = tmp_path / "mark.png"
    Image.new("RGBA", (64, 32), (230, 20, 20, 255)).save(mark)
    asset_id = await uploaded(company, mark, "image/png")
    await company.ready(asset_id)
    file = tmp_path / "marked.json"

    def wanted(place: str) -> JSON:
        watermark = {"assetId": asset_id, "place": place, "width": 0.5, "margin": 0}
        return {"type": "video", "name": "video", "watermark": watermark}

    file.write_text(json.dumps({"name": "marked", "outputs": [wanted("middle")]}))
    words = "profile", "set", str(file), "--company", str(other_company.id)
    refused = mediactl(*words, environment=dict(os.environ))
    assert refused.returncode != 0
    assert f"{asset_id} is no image" in refused.stderr

    publish(company, "marked", wanted("top-left"))
    film = make_video(tmp_path / "film.mp4", size="160x120", seconds=2)
    video = await company.ready(await uploaded(company, film, "video/mp4", profile="marked"))
    made, frame = tmp_path / "made.mp4", tmp_path / "frame.png"
    made.write_bytes((await company.fetch(video["processedUrl"])).content)
    run_ffmpeg("-ss", "1", "-i", str(made), "-frames:v", "1", str(frame))
    red, green, blue = Image.open(frame).convert("RGB").getpixel((40, 20))
    assert red > 200
    assert max(green, blue) < 60

    assert (await company.call("DELETE", f"/assets/{asset_id}")).status_code == 204
    again = await uploaded(company, film, "video/mp4", profile="marked")
    failed = await company.ended(again)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "watermark_missing")
    assert asset_id in failed["error"]["message"]


async def test_a_profile_says_how_good_a_film_is_to_look_and_hears_how_good_it_looks(
    company: Company, publish, tmp_path
):
    publish(company, "good", {"type": "video", "name": "video", "ssim": 0.99, "vmaf": True})
    film = make_video(tmp_path / "film.mp4", size="320x240", seconds=4)
    asset = await company.ready(await uploaded(company, film, "video/mp4", profile="good"))
    (event,) = await events_on(MEDIA_PROCESSED, [asset["assetId"]])
    made = [one.arguments for one in event.data.receipt.commands if one.task == "video-early"]
    crfs = {words[words.index("-crf") + 1] for words in made if "-crf" in words}
    assert len(crfs) == 1
    assert crfs != {"23"}
    sizes = [one for one in event.data.streams[0].tracks if one.width]
    assert all(one.vmaf > 60 for one in sizes)
    assert [one["vmaf"] for one in asset["streams"][0]["tracks"] if one["width"]] == [
        one.vmaf for one in sizes
    ]

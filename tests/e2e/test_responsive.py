"""Pictures in several sizes, and what is shown until they are there."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from uuid import UUID

import pytest
from media_contracts import MEDIA_PROCESSED
from media_runtime.media.display_p3 import DISPLAY_P3
from PIL import Image, ImageChops, ImageDraw, ImageStat

from support import icc
from support.clients import JSON, Company
from support.eventually import eventually
from support.media_files import run_ffmpeg
from support.wire import Rows, events_on

from .test_profiles import publish, uploaded

__all__ = ["publish"]

SIDES = (320, 640, 1000)
CROPS: JSON = {
    "type": "responsive", "name": "crops", "shape": "1:1", "longSides": [100, 200],
    "formats": ["avif", "webp", "jpeg"],
}  # fmt: skip
IMAGE: JSON = {
    "type": "picture", "name": "image", "kind": "image", "sources": ["image"], "width": 900,
    "height": 900,
}  # fmt: skip


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    """1000x500, green with a red right half."""
    path: Path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    image = Image.new("RGB", (1000, 500), (0, 128, 0))
    image.paste((220, 0, 0), (500, 0, 1000, 500))
    image.save(path, quality=95)
    return path


def candidates(srcset: str) -> dict[int, str]:
    """Return the URLs of a srcset by their widths, as browsers read it."""
    found = re.findall(r"(\S+) (\d+)w(?:, |$)", srcset)
    assert ", ".join(f"{url} {width}w" for url, width in found) == srcset
    return {int(width): url for url, width in found}


def has_red(image: Image.Image) -> bool:
    """Return whether anything is clearly red."""
    red, _, blue = image.convert("RGB").split()
    return bool(ImageChops.subtract(red, blue).getextrema()[1] > 100)  # type: ignore[operator]


async def image_at(company: Company, url: str) -> Image.Image:
    return Image.open(io.BytesIO((await company.fetch(url)).content))


async def test_a_page_gets_a_picture_in_the_sizes_that_fit(company, photo):
    async with company.listening() as listener:
        asset_id = await company.upload(photo)
        event = await listener.heard(asset_id, "thumbnailed")
        before = await company.asset(asset_id)
        await listener.outcome(asset_id)
    first = event.data["placeholder"]
    assert (event.data["width"], event.data["height"]) == (1000, 500)
    assert base64.b64decode(first["thumbhash"])[4] & 0x80, "wider than high"
    assert re.fullmatch("#[67].[34].0.", first["colour"]), "half red, half green"
    assert before["placeholder"] == first

    asset = await company.ready(asset_id)
    assert asset["placeholder"] == first
    (found,) = asset["responsive"]
    assert (found["name"], found["width"], found["height"]) == ("responsive", 1000, 500)
    assert [one["type"] for one in found["sources"]] == ["image/avif"]
    sets = {"AVIF": found["sources"][0]["srcset"], "JPEG": found["srcset"]}
    for name, srcset in sets.items():
        urls = candidates(srcset)
        assert tuple(urls) == SIDES
        for side, url in urls.items():
            image = await image_at(company, url)
            assert (image.format, image.size) == (name, (side, side // 2))
    assert found["src"] == candidates(found["srcset"])[1000]

    (told,) = await eventually(lambda: events_on(MEDIA_PROCESSED, [asset_id]))
    sizes = [one for one in told.data.files if one.kind == "responsive"]
    assert {one.name for one in sizes} == {
        f"responsive-{side}{ending}" for side in SIDES for ending in ("", ".avif")
    }
    assert all(one.placeholder for one in told.data.files)


async def test_crops_keep_what_the_client_says_and_can_be_made_anew(
    company, publish, photo, rows: Rows
):
    publish(company, "crops", IMAGE, CROPS)
    asset_id = await uploaded(
        company, photo, "image/jpeg", profile="crops", title="Halves", focus={"x": 0, "y": 0.5}
    )
    asset = await company.ready(asset_id)
    assert (asset["title"], asset["focus"]) == ("Halves", {"x": 0, "y": 0.5})

    async def reds(shown: JSON) -> set[int]:
        (found,) = shown["responsive"]
        sets = [found["srcset"], *(one["srcset"] for one in found["sources"])]
        assert len(sets) == 3
        urls = [candidates(srcset)[side] for srcset in sets for side in (100, 200)]
        images = [(await image_at(company, url)).convert("RGB") for url in urls]
        return {round(ImageStat.Stat(image).mean[0] / 220) for image in images}

    assert await reds(asset) == {0}
    async with company.listening() as listener:
        answer = await company.post(
            f"/assets/{asset_id}/pictures", json={"focus": {"x": 1, "y": 0}}
        )
        assert answer.status_code == 202
        await listener.heard(asset_id, "thumbnailed")
    after = await company.asset(asset_id)
    assert await reds(after) == {1}
    assert after["focus"] == {"x": 1, "y": 0}
    assert after["processedUrl"].split("/")[-2:] == asset["processedUrl"].split("/")[-2:]
    assert await rows.endings(asset_id) == [(1, "ready")]

    stored = await rows.connection.fetchval(
        "SELECT count(*) FROM asset_files WHERE asset_id = $1", UUID(asset_id)
    )
    assert stored == 1 + 1 + 6
    (told,) = await events_on(MEDIA_PROCESSED, [asset_id])
    assert told.data.about.title == "Halves"


async def test_crops_of_photos_and_films_have_what_people_look_at_first(company, publish, tmp_path):
    """A red disc is at the right of both; in the middle there is nothing but grey."""
    image = Image.linear_gradient("L").resize((1280, 320)).convert("RGB")
    ImageDraw.Draw(image).ellipse((1040, 100, 1160, 220), (220, 0, 0))
    image.save(tmp_path / "photo.jpg")
    still = ("-loop", "1", "-i", str(tmp_path / "photo.jpg"), "-t", "1")
    run_ffmpeg(*still, "-pix_fmt", "yuv420p", str(tmp_path / "film.mp4"))
    picture = {"type": "picture", "width": 200, "height": 200, "fit": "cover"}
    publish(
        company, "default", IMAGE, {"type": "video", "name": "video", "shortSides": []},
        {**picture, "name": "seen", "crop": "attention"}, {**picture, "name": "middle"},
    )  # fmt: skip

    async def reds(asset: JSON) -> dict[str, bool]:
        urls = {one["name"]: one["url"] for one in asset["files"] if one["kind"] == "picture"}
        return {name: has_red(await image_at(company, url)) for name, url in urls.items()}

    photo = await company.ready(await uploaded(company, tmp_path / "photo.jpg", "image/jpeg"))
    film = await company.ready(await uploaded(company, tmp_path / "film.mp4", "video/mp4"))
    assert await reds(photo) == await reds(film) == {"seen": True, "middle": False}
    async with company.listening() as listener:
        answer = await company.post(
            f"/assets/{photo['assetId']}/pictures", json={"focus": None, "crop": "attention"}
        )
        assert answer.status_code == 202
        await listener.heard(photo["assetId"], "thumbnailed")
    after = await company.asset(photo["assetId"])
    assert (after["focus"], after["crop"]) == (None, "attention")
    assert await reds(after) == {"seen": True, "middle": True}


async def test_a_wide_photo_keeps_its_colours_where_its_profile_says_so(company, publish, tmp_path):
    wide = icc.rgb_profile(icc.DISPLAY_P3, 2.2)
    path = tmp_path / "wide.jpg"
    Image.new("RGB", (400, 300), (200, 40, 40)).save(path, quality=95, icc_profile=wide)
    publish(
        company, "default", IMAGE,
        {"type": "responsive", "name": "wide", "longSides": [200], "gamut": "display-p3"},
    )  # fmt: skip
    asset = await company.ready(await uploaded(company, path, "image/jpeg"))
    (found,) = asset["responsive"]
    sets = [one["srcset"] for one in (*found["sources"], found)]
    avif, jpeg = [await image_at(company, candidates(one)[200]) for one in sets]
    assert avif.info["icc_profile"] == DISPLAY_P3
    assert "icc_profile" not in jpeg.info


async def test_a_film_has_its_picture_in_all_sizes(company, publish, tmp_path):
    film = tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=720x1280:d=1", "-pix_fmt", "yuv420p", str(film))
    publish(
        company, "default", {"type": "video", "name": "video", "shortSides": []},
        {"type": "responsive", "name": "poster", "formats": ["jpeg"], "longSides": [320, 1920]},
    )  # fmt: skip
    asset = await company.ready(await uploaded(company, film, "video/mp4"))
    (found,) = asset["responsive"]
    assert found["sources"] == []
    urls = candidates(found["srcset"])
    assert {(await image_at(company, url)).size for url in urls.values()} == {
        (180, 320), (720, 1280),
    }  # fmt: skip
    assert tuple(urls) == (180, 720), "a srcset tells widths"
    assert asset["placeholder"]


async def test_what_moves_becomes_a_film_of_the_same_times(company, tmp_path):
    shown_ms = [40, 200, 90, 500]
    images = [Image.new("RGBA", (200, 100), (0, 0, 0, 0)) for _ in shown_ms]
    for number, image in enumerate(images):
        image.paste((250, 200, 0, 120), (5 + 40 * number, 15, 55 + 40 * number, 85))
        image.paste((250, 200, 0, 255), (10 + 40 * number, 20, 50 + 40 * number, 80))
    path = tmp_path / "sticker.webp"
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=shown_ms, loop=3, lossless=True
    )
    asset = await company.ready(await company.upload(path, type="image/webp"))
    found = {one["name"]: one for one in asset["files"] if one["kind"] == "animation"}
    assert {name: one["contentType"] for name, one in found.items()} == {
        "animation": "video/mp4", "animation.webp": "image/webp",
    }  # fmt: skip
    for one in found.values():
        assert (one["width"], one["height"]) == (200, 100)
        assert (one["durationSeconds"], one["loops"]) == (0.83, 3)
    assert asset["animationUrl"].endswith(".mp4")
    film = await company.fetch(asset["animationUrl"])
    assert film.headers["content-type"] == "video/mp4"
    moving = Image.open(io.BytesIO((await company.fetch(found["animation.webp"]["url"])).content))
    assert getattr(moving, "n_frames", 1) == len(shown_ms)
    (told,) = await eventually(lambda: events_on(MEDIA_PROCESSED, [asset["assetId"]]))
    assert {one.name for one in told.data.files if one.loops == 3} == set(found)
    assert told.data.receipt.cpu_seconds["animation"] > 0


async def test_what_cannot_become_a_film_is_an_image_all_the_same(company, tmp_path):
    """The second frame of this GIF is broken, so the film has one frame; a third is not there."""
    images = [Image.effect_noise((300, 200), 60).convert("P") for _ in range(2)]
    path = tmp_path / "broken.gif"
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    asset = await company.ready(await company.upload(path, type="image/gif"))
    assert {one["kind"] for one in asset["files"]} >= {"image", "thumbnail", "responsive"}
    assert "file_damaged" in [one["code"] for one in asset["warnings"]]

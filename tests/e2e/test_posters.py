"""Pictures of a moment that somebody chose: at the upload by its profile, and afterwards."""

from __future__ import annotations

import io
from pathlib import Path
from uuid import UUID

import pytest
from media_contracts import MEDIA_PROCESSED
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore
from PIL import Image

from support.clients import JSON, Company
from support.eventually import eventually
from support.media_files import run_ffmpeg
from support.wire import Rows, events_on

from .test_profiles import publish, uploaded

__all__ = ["publish"]

# Each frame tells its number by its grey: 30 a second.
NUMBERED = "color=black:s=160x120:r=30:d=2,geq=lum='16+3*N':cb=128:cr=128"
VIDEO: JSON = {"type": "video", "name": "video", "maxLongSide": 160, "maxShortSide": 120}
THUMBNAIL: JSON = {
    "type": "picture", "name": "thumbnail", "kind": "thumbnail", "width": 80, "height": 60,
    "fit": "cover",
}  # fmt: skip


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("film") / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", NUMBERED, "-pix_fmt", "yuv420p", "-g", "30", str(path))
    return path


async def number_at(company: Company, url: str) -> int:
    """Return which frame of the film a picture shows."""
    answer = await company.fetch(url)
    assert answer.status_code == 200
    image = Image.open(io.BytesIO(answer.content)).convert("L").resize((1, 1))
    grey = image.getpixel((0, 0))
    assert isinstance(grey, int)
    return round(grey * 219 / 255 / 3)


async def changed(company: Company, before: JSON) -> JSON:
    """Wait until an asset has another thumbnail; return the asset."""

    def key(asset: JSON) -> str:
        return str(asset["thumbnailUrl"]).rpartition("/v/")[2].partition("/")[2]

    async def look() -> JSON | None:
        asset = await company.asset(before["assetId"])
        return asset if key(asset) != key(before) else None

    found: JSON = await eventually(look, timeout=60)
    return found


async def objects(store: ObjectStore, company: Company) -> set[str]:
    return {one.key for one in await store.objects(store.bucket_of(company.id))}


async def test_a_profile_says_which_moments_pictures_show(company, publish, film):
    still = {"type": "picture", "name": "still", "width": 80, "height": 80}
    publish(
        company, "stills", VIDEO, {**THUMBNAIL, "atSeconds": 1.3},
        {**still, "atSeconds": 0.5}, {**still, "name": "end", "atSeconds": 99},
    )  # fmt: skip
    asset = await company.ready(await uploaded(company, film, "video/mp4", profile="stills"))
    shown = {one["name"]: one["url"] for one in asset["files"] if one["kind"] != "video"}
    found = {name: await number_at(company, url) for name, url in shown.items()}
    assert found == {"thumbnail": 39, "still": 15, "end": 59}


async def test_a_poster_is_chosen_afterwards(company, publish, film, store, rows: Rows):
    publish(company, "default", VIDEO, THUMBNAIL)
    asset_id = await uploaded(company, film, "video/mp4")
    before = await company.ready(asset_id)
    stored = await objects(store, company)

    async with company.listening() as listener:
        answer = await company.post(f"/assets/{asset_id}/poster", json={"atSeconds": 1.3})
        assert answer.status_code == 202
        assert answer.json()["status"] == "ready"
        assert answer.json()["thumbnailUrl"], "what it had is served until then"
        await listener.heard(asset_id, "thumbnailed")
    after = await changed(company, before)
    assert await number_at(company, after["thumbnailUrl"]) == 39
    assert after["processedUrl"].split("/")[-2:] == before["processedUrl"].split("/")[-2:]

    again = await company.post(f"/assets/{asset_id}/poster", json={"atSeconds": 1.3})
    assert again.status_code == 202
    tasks = await rows.connection.fetch(
        "SELECT state FROM tasks WHERE asset_id = $1 AND pool = 'pictures'", UUID(asset_id)
    )
    assert [row["state"] for row in tasks] == ["done", "done"]

    await rows.connection.execute(
        "UPDATE media_assets SET sweep_at = now() WHERE id = $1", UUID(asset_id)
    )

    async def old_one_is_gone() -> bool:
        now = await objects(store, company)
        return len(stored - now) == 1 and len(now - stored) == 1

    await eventually(old_one_is_gone, timeout=60)
    assert await number_at(company, after["thumbnailUrl"]) == 39
    assert await rows.endings(asset_id) == [(1, "ready")]
    (event,) = await events_on(MEDIA_PROCESSED, [asset_id])
    assert event.data.outcome == "ready"


async def test_while_there_is_no_thumbnailer_the_old_picture_is_served(
    company, publish, film, parts
):
    publish(company, "default", VIDEO, THUMBNAIL)
    before = await company.ready(await uploaded(company, film, "video/mp4"))
    with parts.down("thumbnailer"):
        answer = await company.post(f"/assets/{before['assetId']}/poster", json={"atSeconds": 0.5})
        assert answer.status_code == 202
        assert (await company.fetch(answer.json()["thumbnailUrl"])).status_code == 200
        other = await company.post(f"/assets/{before['assetId']}/poster", json={"atSeconds": 1})
        assert (other.status_code, other.json()["code"]) == (409, "poster_under_way")
    after = await changed(company, before)
    assert await number_at(company, after["thumbnailUrl"]) == 15


async def test_a_profile_asks_for_a_preview(company, publish, film):
    publish(company, "moving", VIDEO, {"type": "preview", "name": "moving", "moments": 3})
    asset = await company.ready(await uploaded(company, film, "video/mp4", profile="moving"))
    served = await company.fetch(asset["previewUrl"])
    assert served.headers["content-type"] == "image/webp"
    image = Image.open(io.BytesIO(served.content))
    assert image.size == (160, 120)
    assert getattr(image, "n_frames", 1) > 3
    (event,) = await eventually(lambda: events_on(MEDIA_PROCESSED, [asset["assetId"]]))
    assert {(one.name, one.kind) for one in event.data.files} == {
        ("video", "video"), ("moving", "preview"),
    }  # fmt: skip

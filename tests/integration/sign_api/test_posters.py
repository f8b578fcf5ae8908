"""Requests for pictures of another moment, as clients send them."""

from __future__ import annotations

from uuid import UUID

import pytest

from support.clients import Company
from support.media_files import make_photo
from support.wire import Rows

from .test_api import problem


async def chosen(company: Company, asset_id: str, body: object):
    return await company.post(f"/assets/{asset_id}/poster", json=body)


@pytest.mark.parametrize(
    "body",
    [{}, *({"atSeconds": at} for at in (-0.1, 604_801, "12.5", True, [1], {"at": 1}))],
)
async def test_a_bad_time_is_named_by_its_code(company, body):
    asset_id = (await company.sign())["assetId"]
    assert problem(await chosen(company, asset_id, body), 400) == "invalid_time"


@pytest.mark.parametrize("body", ['{"atSeconds": NaN}', '{"atSeconds": 1e999}'])
async def test_a_time_is_a_number_of_seconds(company, body):
    asset_id = (await company.sign())["assetId"]
    answer = await company.post(
        f"/assets/{asset_id}/poster", content=body, headers={"Content-Type": "application/json"}
    )
    assert problem(answer, 400) == "invalid_time"


async def test_a_moment_is_chosen_of_a_ready_video_alone(company, other_company, tmp_path):
    pending = (await company.sign("film.mp4", 9, "video/mp4"))["assetId"]
    photo = await company.upload(make_photo(tmp_path / "photo.jpg", size=(64, 48)))
    await company.ready(photo)
    at: dict[str, object] = {"atSeconds": 1}
    assert problem(await chosen(company, pending, at), 409) == "not_ready"
    assert problem(await chosen(company, photo, at), 409) == "not_a_video"
    assert problem(await chosen(other_company, photo, at), 404) == "asset_not_found"
    assert problem(await chosen(company, "x", at), 400) == "invalid_asset_id"


async def test_without_its_upload_a_video_has_no_other_moment(company, rows: Rows):
    asset_id = (await company.sign("film.mp4", 9, "video/mp4"))["assetId"]
    await rows.connection.execute(
        "UPDATE media_assets SET status = 'ready' WHERE id = $1", UUID(asset_id)
    )
    answer = await chosen(company, asset_id, {"atSeconds": None})
    assert problem(answer, 409) == "original_gone"

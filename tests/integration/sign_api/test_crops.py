"""Requests for other crops, as clients send them, and what they say of their files."""

from __future__ import annotations

import pytest

from support.clients import Company
from support.media_files import make_photo

from .test_api import problem


async def cropped(company: Company, asset_id: str, focus: object, **said: object):
    return await company.post(f"/assets/{asset_id}/pictures", json={"focus": focus, **said})


@pytest.mark.parametrize(
    "focus",
    [1, [0.5, 0.5], {"x": 0.5}, {"x": 2, "y": 0}, {"x": "0.5", "y": 0}, {"x": True, "y": 0}],
)
async def test_a_bad_focus_is_named_by_its_code(company, focus):
    asset_id = (await company.sign())["assetId"]
    assert problem(await cropped(company, asset_id, focus), 400) == "invalid_focus"


async def test_a_focus_must_be_said(company):
    asset_id = (await company.sign())["assetId"]
    for said in ({}, {"crop": "attention"}):
        answer = await company.post(f"/assets/{asset_id}/pictures", json=said)
        assert problem(answer, 400) == "invalid_focus"


@pytest.mark.parametrize("crop", ["entropy", 1, ["attention"], {"x": 0.5, "y": 0.5}])
async def test_a_bad_crop_is_named_by_its_code(company, crop):
    asset_id = (await company.sign())["assetId"]
    assert problem(await cropped(company, asset_id, None, crop=crop), 400) == "invalid_crop"


async def test_what_is_not_ready_is_not_cropped(company, other_company, tmp_path):
    pending = (await company.sign("film.mp4", 9, "video/mp4"))["assetId"]
    photo = await company.upload(make_photo(tmp_path / "photo.jpg", size=(64, 48)))
    await company.ready(photo)
    middle = {"x": 0.5, "y": 0.5}
    assert problem(await cropped(company, pending, middle), 409) == "not_ready"
    assert problem(await cropped(other_company, photo, middle), 404) == "asset_not_found"


async def test_what_a_client_says_of_its_file_is_told_with_it(company):
    said = {
        "title": "The harbour", "alt": "Two boats,\r\na\tpier \N{SAILBOAT}",
        "focus": {"x": 0, "y": 1}, "crop": "attention",
    }  # fmt: skip
    asset = await company.asset((await company.sign(**said))["assetId"])
    assert {name: asset[name] for name in said} == said
    plain = await company.asset((await company.sign())["assetId"])
    assert {name: plain[name] for name in said} == dict.fromkeys(said)


async def test_under_one_key_what_is_said_of_a_file_stays_the_same(company):
    async def asked(**said: object):
        body = {"fileName": "a.jpg", "size": 9, "type": "image/jpeg", **said}
        return await company.post("/sign", json=body, headers={"Idempotency-Key": "k"})

    await company.sign()  # its bucket is there
    assert (await asked(title="One")).status_code == 201
    assert (await asked(title="One")).status_code == 201
    assert problem(await asked(title="Two"), 422) == "idempotency_key_reused"

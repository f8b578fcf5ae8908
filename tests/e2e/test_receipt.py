"""What was made is told with the hashes of its bytes, to clients and to other teams."""

from __future__ import annotations

import hashlib

import pytest
from media_contracts import MEDIA_PROCESSED

from support.clients import Company
from support.media_files import make_photo, make_video
from support.wire import events_on


@pytest.mark.parametrize("name", ["film.mp4", "photo.jpg"])
async def test_hashes_are_those_of_what_is_served(company: Company, tmp_path, name):
    path = tmp_path / name
    made = make_photo(path) if name == "photo.jpg" else make_video(path, size="160x120", seconds=1)
    data = made.read_bytes()
    asset = await company.ready(await company.upload(made))

    assert asset["sha256"] == hashlib.sha256(data).hexdigest()
    for file in asset["files"]:
        served = (await company.fetch(file["url"])).content
        assert file["sha256"] == hashlib.sha256(served).hexdigest(), file["name"]
    (event,) = await events_on(MEDIA_PROCESSED, [asset["assetId"]])
    assert event.data.sha256 == asset["sha256"]
    told = {file["name"]: file["sha256"] for file in asset["files"]}
    assert {file.name: file.sha256 for file in event.data.files} == told
    receipt = event.data.receipt
    if name == "photo.jpg":
        assert receipt is None, "ffmpeg has made nothing of it"
    else:
        assert set(receipt.cpu_seconds) >= {"inspect", "video"}
        assert all(seconds > 0 for seconds in receipt.cpu_seconds.values())
        early = [one for one in receipt.commands if one.task == "video-early"]
        assert {one.program for one in early} == {"ffmpeg"}
        assert all(one.version and one.version[0].isdigit() for one in early)
        words = [word for one in early for word in one.arguments]
        assert {"SOURCE", "libx264"} <= set(words)
        assert not any(asset["assetId"] in word for word in words)
        tracks = asset["streams"][0]["tracks"]
        assert [track["name"] for track in tracks] == ["120", "early"]
        assert tracks[0]["ssim"] > 0.8

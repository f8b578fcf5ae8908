"""Uploads that break their grant: refused by storage, or failed with a code that says why."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from media_contracts import MEDIA_PROCESSED
from media_runtime.settings import StorageSettings
from media_runtime.storage import presign
from media_runtime.storage.presign import UploadSigner
from media_runtime.storage.store import ObjectStore, upload_key

from support.clients import JSON, Company
from support.eventually import eventually
from support.media_files import make_photo, make_sound, make_video, run_ffmpeg
from support.surroundings import variable
from support.web import web_server
from support.wire import Rows, events_on

PHOTO = b"\xff\xd8\xff" + bytes(997)


async def fails(company: Company, asset_id: str, listener) -> str:
    """Wait until the asset has failed, check that all tell of it alike, and return the code."""
    asset = await company.ended(asset_id)
    assert asset["status"] == "failed"
    assert (asset["processedUrl"], asset["thumbnailUrl"]) == (None, None)
    error: JSON = asset["error"]
    assert error["code"]
    assert error["message"].endswith("."), "the message is a sentence"
    assert "/tmp" not in error["message"]

    outcome = await listener.outcome(asset_id)
    status = await listener.heard(asset_id, "failed")
    (event,) = await eventually(lambda: events_on(MEDIA_PROCESSED, [asset_id]))
    assert outcome.data["error"] == status.data["error"] == error
    assert event.data.error.model_dump() == error
    assert (outcome.data["outcome"], event.data.outcome) == ("failed", "failed")
    assert event.data.rendition is None
    return str(error["code"])


async def refused_code(company: Company, grant: JSON, data: bytes, **changed: str) -> str:
    """Check that the edge refuses the upload and return the code that it gives."""
    answer = await company.store(grant, data, **changed)
    assert 400 <= answer.status_code < 500, f"{answer.status_code} {answer.text}"
    asset = await company.asset(grant["assetId"])
    assert asset["status"] == "pending"
    return str(answer.json()["code"])


@pytest.mark.parametrize("data", [PHOTO + b"x", PHOTO[:-1], b""], ids=["more", "less", "nothing"])
async def test_an_upload_of_another_size_than_declared_is_refused(company, data):
    grant = await company.sign(size=1000)

    assert await refused_code(company, grant, data) == "grant_refused"


async def test_an_upload_of_exactly_the_declared_size_is_stored(company):
    grant = await company.sign(size=1000)

    assert (await company.store(grant, PHOTO)).status_code == 200


async def test_an_upload_of_another_content_type_is_refused(company):
    grant = await company.sign()

    assert await refused_code(company, grant, PHOTO, Content_Type="text/html") == "grant_refused"


async def test_an_upload_without_a_content_type_is_refused(company):
    grant = await company.sign()
    del grant["upload"]["headers"]["Content-Type"]

    assert await refused_code(company, grant, PHOTO) == "grant_refused"


async def test_an_upload_to_another_key_is_refused(company):
    grant = await company.sign()
    url = grant["upload"]["url"]

    for key in (upload_key(company.id, uuid4()), upload_key(uuid4(), UUID(grant["assetId"]))):
        grant["upload"]["url"] = url.replace(upload_key(company.id, UUID(grant["assetId"])), key)
        assert await refused_code(company, grant, PHOTO) in {"grant_refused", "not_found"}


async def test_an_upload_to_another_companys_bucket_is_refused(company, other_company):
    grant, theirs = await company.sign(), await other_company.sign()
    address, signed = theirs["upload"]["url"].partition("?")[0], grant["upload"]["url"]
    grant["upload"]["url"] = f"{address}?{signed.partition('?')[2]}"

    assert await refused_code(company, grant, PHOTO) == "grant_refused"


async def test_an_upload_after_expiry_is_refused(company, monkeypatch):
    class Earlier(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=2)

    monkeypatch.setattr(presign, "datetime", Earlier)
    grant = await company.sign()
    lapsed = UploadSigner(StorageSettings(), variable("MEDIA_URL")).grant(
        f"media-{company.id}",
        upload_key(company.id, UUID(grant["assetId"])),
        content_type="image/jpeg",
        size=1000,
        lifetime=timedelta(hours=1),
    )
    grant["upload"]["url"] = lapsed.url

    assert await refused_code(company, grant, PHOTO) == "grant_expired"


async def test_a_photo_that_came_past_the_edge_with_another_size_fails(company, tmp_path):
    """Nobody can upload it; but what is in storage is checked, whoever put it there."""
    data = make_photo(tmp_path / "photo.jpg").read_bytes()
    store = ObjectStore(StorageSettings())
    async with company.listening() as listener:
        grant = await company.sign(size=len(data) + 1)
        asset_id = grant["assetId"]
        await store.upload_bytes(
            store.bucket_of(company.id),
            upload_key(company.id, UUID(asset_id)),
            data,
            content_type="image/jpeg",
            cache_control="no-store",
        )
        store.close()
        assert await fails(company, asset_id, listener) == "size_mismatch"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("photo.jpg", "video/mp4"),
        ("video.mp4", "image/jpeg"),
        ("text.txt", "video/mp4"),
        ("page.html", "image/jpeg"),
    ],
)
async def test_a_file_that_is_not_of_its_declared_type_fails(company, tmp_path, name, kind):
    path = tmp_path / name
    match path.suffix:
        case ".png" | ".jpg":
            make_photo(path)
        case ".mp4" | ".mkv":
            make_video(path, seconds=0.5)
        case _:
            path.write_text("<html><script>alert(1)</script></html>" * 10)
    async with company.listening() as listener:
        asset_id = await company.upload(path, type=kind)
        assert await fails(company, asset_id, listener) == "type_mismatch"


@pytest.mark.parametrize(
    ("name", "kind", "container"),
    [
        ("photo.png", "image/jpeg", "png"),
        ("photo.jpg", "image/heic", "jpeg"),
        ("video.mkv", "video/mp4", "matroska,webm"),
    ],
)
async def test_a_file_of_another_type_of_its_kind_is_taken_as_what_it_is(
    company, tmp_path, name, kind, container
):
    path = tmp_path / name
    make_video(path, seconds=0.5) if path.suffix == ".mkv" else make_photo(path)
    asset = await company.ready(await company.upload(path, type=kind))
    assert asset["probe"]["container"] == container
    assert [one["code"] for one in asset["warnings"]] == ["type_differs"]


async def test_a_truncated_video_fails(company, tmp_path):
    data = make_video(tmp_path / "video.mp4").read_bytes()
    assert data.find(b"moov") > len(data) // 2
    async with company.listening() as listener:
        asset_id = await company.upload_bytes("v.mp4", data[: len(data) // 2], "video/mp4")
        assert await fails(company, asset_id, listener) == "truncated_file"


async def test_a_truncated_photo_fails(company, tmp_path):
    data = make_photo(tmp_path / "photo.jpg", size=(2000, 2000)).read_bytes()
    async with company.listening() as listener:
        asset_id = await company.upload_bytes("p.jpg", data[:300], "image/jpeg")
        assert await fails(company, asset_id, listener) == "unreadable_image"


async def test_a_video_that_begins_well_and_goes_on_as_noise_fails(company, tmp_path):
    data = make_video(tmp_path / "video.mp4").read_bytes()
    async with company.listening() as listener:
        asset_id = await company.upload_bytes("v.mp4", data[:64] + bytes(len(data)), "video/mp4")
        assert await fails(company, asset_id, listener) == "unreadable_media"


async def test_sound_without_a_picture_fails(company, tmp_path):
    async with company.listening() as listener:
        asset_id = await company.upload(make_sound(tmp_path / "sound.mp4"), type="video/mp4")
        assert await fails(company, asset_id, listener) == "no_video_stream"


async def test_sound_with_cover_art_alone_fails(company, tmp_path):
    sound, cover = make_sound(tmp_path / "s.m4a"), make_photo(tmp_path / "c.jpg", size=(64, 64))
    song = tmp_path / "song.mp4"
    run_ffmpeg(
        *("-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1"),
        *("-c", "copy", "-disposition:v:0", "attached_pic", str(song)),
    )
    async with company.listening() as listener:
        asset_id = await company.upload(song)
        assert await fails(company, asset_id, listener) == "no_video_stream"


@pytest.mark.parametrize("kind", ["video/mp4", "video/mpeg", "video/webm", "image/jpeg"])
async def test_a_playlist_opens_no_other_file(company, tmp_path, kind):
    video = make_video(tmp_path / "secret.ts", seconds=0.5)
    with web_server() as (url, visits):
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1"]
        for target in (f"{url}/from-hls.ts", f"file://{video}", "/etc/passwd"):
            lines += ["#EXTINF:1,", target]
        async with company.listening() as listener:
            asset_id = await company.upload_bytes(
                "playlist.mp4", "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode(), kind
            )
            assert await fails(company, asset_id, listener) == "type_mismatch"
        assert visits == []


async def test_a_playlist_behind_the_magic_bytes_of_a_type_opens_no_other_file(company):
    """MPEG transport streams are known by one letter, which a script may begin with too."""
    with web_server() as (url, visits):
        script = f"G\n#EXTM3U\n#EXTINF:1,\n{url}/from-hls.ts\nfile '{url}/from-concat.ts'\n"
        data = script.encode().ljust(188, b"\n") + b"G" + bytes(2000)
        async with company.listening() as listener:
            asset_id = await company.upload_bytes("movie.mpg", data, "video/mpeg")
            assert await fails(company, asset_id, listener) == "unreadable_media"
        assert visits == []


async def test_a_picture_that_refers_to_others_is_refused(company):
    with web_server() as (url, visits):
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}/x.png"/></svg>'
        async with company.listening() as listener:
            asset_id = await company.upload_bytes("picture.png", svg.encode(), "image/png")
            assert await fails(company, asset_id, listener) == "type_mismatch"
        assert visits == []


async def test_a_failed_upload_ends_once_and_others_go_on(company, rows: Rows, tmp_path):
    bad = await company.upload_bytes("bad.mp4", b"no video" * 100, "video/mp4")
    good = await company.upload(make_photo(tmp_path / "photo.jpg"))

    await company.ready(good)
    await company.ended(bad)
    assert await rows.endings(bad) == [(1, "failed")]
    assert (await rows.task(bad, "inspect"))["state"] == "failed"


async def test_a_second_upload_under_one_grant_changes_nothing(company, rows: Rows, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg").read_bytes()
    grant = await company.sign(size=len(photo))
    await company.store(grant, photo)
    before = await company.ready(grant["assetId"])

    again = await company.store(grant, bytes(len(photo)))
    assert (again.status_code, again.json()["code"]) == (409, "already_uploaded")
    after_it = await company.upload(make_photo(tmp_path / "next.jpg"))
    await company.ready(after_it)

    after = await company.asset(grant["assetId"])
    assert (after["status"], after["updatedAt"]) == ("ready", before["updatedAt"])
    assert await rows.endings(grant["assetId"]) == [(1, "ready")]

"""What was lost on the way is noticed, and every upload ends."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaError
from media_contracts import MEDIA_THUMBNAIL
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore
from minio.notificationconfig import NotificationConfig

from support.eventually import eventually
from support.media_files import make_photo
from support.surroundings import restarted
from support.wire import skip_all


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> bytes:
    return make_photo(tmp_path_factory.mktemp("photo") / "photo.jpg", size=(800, 600)).read_bytes()


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


async def test_with_notifications_switched_off_every_upload_still_ends(company, rows, store, photo):
    await company.sign()
    bucket = store.bucket_of(company.id)
    with restarted("watcher", WATCHER_BUCKET_VERIFY_SECONDS="3600"):
        store._client.set_bucket_notification(bucket, NotificationConfig())
        good = await company.upload_bytes("photo.jpg", photo, "image/jpeg")
        bad = await company.upload_bytes("bad.jpg", b"no picture at all", "image/jpeg")
        await company.ready(good)
        await eventually(lambda: _failed(company, bad, "type_mismatch"), timeout=60)
    assert await rows.endings(good) == [(1, "ready")]


async def _failed(company, asset_id: str, code: str) -> bool:
    asset = await company.asset(asset_id)
    assert (asset["status"], asset["error"]) == ("failed", {**(asset["error"] or {}), "code": code})
    return True


async def test_a_bucket_that_lost_its_notification_has_it_back_soon(company, store):
    await company.sign()
    bucket = store.bucket_of(company.id)
    store._client.set_bucket_notification(bucket, NotificationConfig())

    async def repaired() -> bool:
        return bool(store._client.get_bucket_notification(bucket).queue_config_list)

    await eventually(repaired, timeout=60)


async def test_an_attempt_whose_request_was_lost_asks_again(company, rows, parts, photo):
    """As if the request that it is checked lay in the dead letters."""
    with parts.down("thumbnailer"):
        asset_id = await company.upload_bytes("photo.jpg", photo, "image/jpeg")
        await eventually(lambda: _is_asked_for(rows, asset_id))
        await eventually(lambda: _lost(MEDIA_THUMBNAIL, "thumbnailer"), timeout=40)
    await company.ready(asset_id)
    assert await rows.endings(asset_id) == [(1, "ready")]
    assert (await rows.task(asset_id, "inspect"))["fence"] >= 2


async def _lost(topic, group: str) -> bool:
    try:
        await skip_all(topic, group=group)
    except KafkaError:
        return False  # the killed member still counts as one of the group
    return True


async def _is_asked_for(rows, asset_id: str) -> bool:
    return (await rows.task(asset_id, "inspect"))["state"] == "running"

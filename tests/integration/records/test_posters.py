"""Pictures of another moment: who may ask for them, and what takes the place of what."""

from __future__ import annotations

from uuid import UUID

import pytest
from media_contracts import About, AssetStatus, Crop, FileKind, Focus, MediaFile
from media_records import posters, reruns, tasks
from media_records.actions import AssetNotFoundError, OriginalGoneError
from media_records.files import add_originals, is_garbage
from media_records.lifecycle import about, lock_asset
from media_records.posters import (
    NoPicturesError,
    NotAVideoError,
    NotReadyError,
    PosterUnderWayError,
)
from media_records.tasks import NewTask, Pool, Turns
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import StoredObject

from support.assets import asset_now, files_now, sign_asset, stored
from support.databases import service_url

COMPANY, OTHER = UUID(int=1), UUID(int=2)
CROPPED = [{"name": "thumbnail", "fit": "cover"}, {"name": "image", "fit": "inside"}]
IMAGE = NewTask("pictures", "pictures", Pool.PICTURES, {"pictures": CROPPED}, cost_seconds=1)
SIZES = NewTask(
    "sizes", "pictures", Pool.PICTURES,
    {"pictures": [{"name": "sizes-320", "fit": "cover"}]}, priority=1, cost_seconds=2,
)  # fmt: skip
LEFT, RIGHT = Focus(x=0.1, y=0.5), Focus(x=0.9, y=0.5)
PICTURES = NewTask(
    "pictures", "pictures", Pool.PICTURES, {"pictures": [{"name": "thumbnail"}]}, cost_seconds=3
)


def work_of(database: Database, kafka_settings, service: str) -> Work:
    return Work(database, Outbox(database, Producer(kafka_settings, name="t"), service=service))


@pytest.fixture
async def ingest(database_name, kafka_settings):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=4) as db:
        yield work_of(db, kafka_settings, "ingest")


@pytest.fixture
async def sign_api(database_name, kafka_settings):
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=4) as db:
        yield work_of(db, kafka_settings, "sign_api")


@pytest.fixture
def choose(sign_api):
    async def one(asset_id, at_seconds, company=COMPANY):
        async with sign_api.begin(company) as tx:
            return await posters.choose(tx, asset_id, at_seconds)

    return one


@pytest.fixture
def crop(sign_api):
    async def one(asset_id, focus, company=COMPANY):
        async with sign_api.begin(company) as tx:
            return await posters.crop(tx, asset_id, focus)

    return one


@pytest.fixture
def finish(ingest):
    """Claim the pictures that are due, and store them with so many bytes."""

    async def one(size, *pools, replaces=True):
        async with ingest.begin() as tx:
            turns = Turns(pools or [Pool.PICTURES, Pool.PICTURES_LATER], slow_seconds=10)
            task = await tasks.claim(tx, turns, owner="t", lease_seconds=30)
        assert task is not None
        async with ingest.begin() as tx:
            await tasks.finish(tx, task, [thumbnail(task, size)], replaces=replaces)
        return task

    return one


def thumbnail(task, size):
    edition = task.params.get("edition")
    return MediaFile(
        name="thumbnail",
        kind=FileKind.THUMBNAIL,
        key=output_key(task.company_id, task.asset_id, 1, "thumbnail.jpg", fence=edition),
        content_type="image/jpeg",
        size=size,
        width=4,
        height=3,
    )


@pytest.fixture
def signed(ingest, sign_api, admin):
    async def one(*wanted, status="processing", **facts):
        _, asset_id = await sign_asset(sign_api.database, COMPANY, **facts)
        async with ingest.begin() as tx:
            await add_originals(tx, {asset_id: stored(COMPANY, asset_id)})
            asset = await lock_asset(tx, asset_id)
            await tasks.add(tx, asset, wanted)
        await admin.execute(
            "UPDATE media_assets SET status = $2, uploaded_at = now() WHERE id = $1",
            asset_id, status,
        )  # fmt: skip
        return asset_id

    return one


@pytest.fixture
async def ready(signed, finish, ingest):
    """A ready video with a thumbnail of 10 bytes."""
    asset_id = await signed(PICTURES)
    await finish(10, replaces=False)
    assert (await asset_now(ingest.database, asset_id)).status == AssetStatus.READY
    return asset_id


async def usage(admin) -> int:
    return await admin.fetchval("SELECT sum(bytes) FROM company_usage")


async def test_new_pictures_take_the_place_of_those_before(ready, choose, finish, ingest, admin):
    before = await files_now(ingest.database, ready)
    used = await usage(admin)
    asset, files = await choose(ready, 12.5)
    assert asset.status == AssetStatus.READY
    assert {file.key for file in files} == {file.key for file in before.values()}

    task = await finish(25)
    assert (task.params["pictures"], task.cost_seconds, task.required) == (
        [{"name": "thumbnail", "at_seconds": 12.5}], 3, False,
    )  # fmt: skip
    after = await files_now(ingest.database, ready)
    assert set(after) == {"original", "thumbnail"}
    assert after["thumbnail"].key != before["thumbnail"].key
    assert await usage(admin) == used + 15
    assert (await asset_now(ingest.database, ready)).sweep_at is not None
    ended = await admin.fetchval("SELECT count(*) FROM asset_transitions WHERE to_status = 'ready'")
    assert ended == 1


async def test_what_was_replaced_is_garbage_and_what_comes_next_is_not(
    ready, choose, finish, ingest
):
    await choose(ready, 1)
    await finish(9)
    asset, files = (
        await asset_now(ingest.database, ready),
        list((await files_now(ingest.database, ready)).values()),
    )

    def garbage(edition, name="thumbnail.jpg"):
        key = output_key(COMPANY, ready, 1, name, fence=edition)
        return is_garbage(asset, files, StoredObject(asset.bucket, key, None, 1, ""))

    assert garbage(None)
    assert not garbage(2)
    assert not garbage(3), "a thumbnailer may have stored it just now"
    assert garbage(3, "video.mp4")


async def test_the_same_request_again_changes_nothing(ready, choose, finish, admin):
    for at_seconds in (1.0, None):
        await choose(ready, at_seconds)
        await choose(ready, at_seconds)
        await finish(9)
        await choose(ready, at_seconds)
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 3


async def test_one_moment_is_made_at_a_time(ready, choose, finish):
    await choose(ready, 1)
    with pytest.raises(PosterUnderWayError):
        await choose(ready, 2)
    await finish(9)
    await choose(ready, 2)
    await finish(9)
    await choose(ready, 1)


async def test_what_could_not_be_made_is_asked_for_again(ready, choose, finish, ingest, admin):
    await choose(ready, 1)
    await admin.execute("UPDATE tasks SET state = 'failed', waits_for = 0 WHERE name <> 'pictures'")
    assert (await files_now(ingest.database, ready))["thumbnail"].size == 10
    await choose(ready, 1)
    assert (await finish(9)).params["edition"] == 3


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"status": "processing"}, NotReadyError),
        ({"status": "failed"}, NotReadyError),
        ({"status": "ready", "content_type": "image/jpeg"}, NotAVideoError),
        ({"status": "ready", "content_type": "audio/mpeg"}, NotAVideoError),
    ],
)
async def test_only_a_ready_video_has_moments(signed, choose, facts, error):
    asset_id = await signed(PICTURES, **facts)
    with pytest.raises(error):
        await choose(asset_id, 1)


async def test_a_video_without_pictures_has_none_to_choose(signed, choose):
    asset_id = await signed(status="ready")
    with pytest.raises(NoPicturesError):
        await choose(asset_id, 1)


async def test_without_its_original_there_is_no_other_moment(ready, choose, admin):
    await admin.execute("DELETE FROM asset_files WHERE kind = 'original'")
    with pytest.raises(OriginalGoneError):
        await choose(ready, 1)
    await admin.execute("UPDATE media_assets SET status = 'deleted', retired = true")
    with pytest.raises(OriginalGoneError):
        await choose(ready, 1)


async def test_another_companys_video_looks_like_none(ready, choose, admin):
    with pytest.raises(AssetNotFoundError):
        await choose(ready, 1, company=OTHER)
    await admin.execute("DELETE FROM asset_files")
    await admin.execute("UPDATE media_assets SET status = 'deleted'")
    with pytest.raises(AssetNotFoundError):
        await choose(ready, 1)
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 1


@pytest.fixture
async def photo(signed, finish):
    """A ready image with two crops, made by two tasks, and a picture of the whole."""
    asset_id = await signed(IMAGE, SIZES, content_type="image/jpeg")
    await finish(10, replaces=False)
    await finish(10, replaces=False)
    return asset_id


async def test_what_is_cropped_is_made_anew_in_one_task_behind_all_uploads(photo, crop, finish):
    asset, files = await crop(photo, LEFT)
    assert about(asset) == About(focus=LEFT)
    assert {file.kind for file in files} == {"original", "thumbnail"}
    task = await finish(25)
    assert task.pool == Pool.PICTURES_LATER
    assert [(one["name"], one["focus"]) for one in task.params["pictures"]] == [
        ("thumbnail", {"x": 0.1, "y": 0.5}), ("sizes-320", {"x": 0.1, "y": 0.5}),
    ]  # fmt: skip
    assert (task.required, task.cost_seconds) == (False, 3)


async def test_a_point_and_what_people_look_at_first_take_the_place_of_one_another(
    photo, crop, finish
):
    said = [Crop.ATTENTION, LEFT, Crop.ATTENTION, Crop.MIDDLE]
    told, made = [], []
    for kept in said:
        asset, _ = await crop(photo, kept)
        told.append(about(asset))
        task = await finish(9)
        made += [(one.get("focus"), one.get("crop")) for one in task.params["pictures"][:1]]
    assert told == [
        About(crop=Crop.ATTENTION), About(focus=LEFT), About(crop=Crop.ATTENTION),
        About(crop=Crop.MIDDLE),
    ]  # fmt: skip
    left = LEFT.model_dump()
    assert made == [(None, "attention"), (left, None), (None, "attention"), (None, "middle")]


async def test_the_same_crop_again_changes_nothing(photo, crop, finish, admin):
    for kept in (LEFT, Crop.ATTENTION, LEFT):
        await crop(photo, kept)
        await crop(photo, kept)
        await finish(9)
        await crop(photo, kept)
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 5


async def test_while_crops_are_made_there_are_no_others_and_no_other_focus(
    photo, crop, finish, ingest
):
    await crop(photo, LEFT)
    with pytest.raises(PosterUnderWayError):
        await crop(photo, RIGHT)
    assert about(await asset_now(ingest.database, photo)) == About(focus=LEFT)
    await finish(9)
    await crop(photo, RIGHT)


async def test_moment_and_focus_of_a_film_are_chosen_apart(signed, finish, choose, crop):
    asset_id = await signed(NewTask("pictures", "pictures", Pool.PICTURES, {"pictures": CROPPED}))
    await finish(10, replaces=False)
    await choose(asset_id, 2.5)
    await finish(9)
    await crop(asset_id, RIGHT)
    cropped = await finish(9)
    assert cropped.params["pictures"] == [
        {"name": "thumbnail", "fit": "cover", "at_seconds": 2.5, "focus": {"x": 0.9, "y": 0.5}}
    ]
    await choose(asset_id, 1)
    moved = await finish(9)
    assert [
        (one["name"], one["at_seconds"], one["focus"]["x"]) for one in moved.params["pictures"]
    ] == [("thumbnail", 1, 0.9), ("image", 1, 0.9)]


@pytest.fixture
def begin_again(database_name, kafka_settings, ingest):
    """Begin a rerun as operators do, and plan these tasks of it, as its inspection would."""

    async def one(asset_id, *wanted):
        url = service_url(database_name, "watcher")
        async with (
            Database.connect(url, name="t", size=1) as db,
            work_of(db, kafka_settings, "watcher").begin() as tx,
        ):
            target = reruns.Target(COMPANY, "default", 2, is_own=True)
            assert await reruns.begin(tx, target, [asset_id]) == 1
        async with ingest.begin() as tx:
            turns = Turns([Pool.INSPECT_LATER, Pool.PICTURES_LATER], slow_seconds=10)
            inspect = await tasks.claim(tx, turns, owner="t", lease_seconds=30)
        async with ingest.begin() as tx:
            await tasks.finish(tx, inspect, then=wanted)
        return inspect.params

    return one


async def test_what_is_chosen_while_a_film_is_made_again_holds_for_what_is_made(
    signed, choose, crop, finish, begin_again, ingest, admin
):
    made = NewTask("pictures", "pictures", Pool.PICTURES, {"pictures": CROPPED})
    asset_id = await signed(made)
    await finish(10, replaces=False)
    await begin_again(asset_id, made)
    await choose(asset_id, 12.5)
    assert (await finish(11, Pool.PICTURES)).attempt == 1
    await crop(asset_id, LEFT)
    assert (await asset_now(ingest.database, asset_id)).attempt == 1
    assert (await finish(12, replaces=False)).attempt == 2
    assert (await asset_now(ingest.database, asset_id)).attempt == 2, "though crops are under way"
    last = await finish(14, Pool.PICTURES)
    assert (last.name, last.attempt, last.pool) == ("pictures@2", 2, Pool.PICTURES)
    left = LEFT.model_dump()
    assert [(one["at_seconds"], one["focus"]) for one in last.params["pictures"]] == [
        (12.5, left), (12.5, left),
    ]  # fmt: skip
    assert (await files_now(ingest.database, asset_id))["thumbnail"].size == 14
    await choose(asset_id, 12.5)
    assert await admin.fetchval("SELECT count(*) FROM tasks WHERE attempt = 2") == 3


async def test_what_was_chosen_before_a_film_is_made_again_is_made_once(
    signed, choose, crop, finish, begin_again, admin
):
    asset_id = await signed(NewTask("pictures", "pictures", Pool.PICTURES, {"pictures": CROPPED}))
    await finish(10, replaces=False)
    await choose(asset_id, 12.5)
    await finish(11)
    await crop(asset_id, LEFT)
    await finish(12)
    chosen = {"at_seconds": 12.5, "focus": LEFT.model_dump()}
    planned = {"pictures": [{**one, **chosen} for one in CROPPED], "at_seconds": 12.5}
    again = NewTask("pictures", "pictures", Pool.PICTURES, planned)
    assert await begin_again(asset_id, again) == {"at_seconds": 12.5}
    assert (await finish(13, replaces=False)).attempt == 2
    assert await admin.fetchval("SELECT count(*) FROM tasks WHERE attempt = 2") == 2


async def test_what_is_not_cropped_has_no_focus(signed, crop):
    whole = NewTask("pictures", "pictures", Pool.PICTURES, {"pictures": CROPPED[1:]})
    asset_id = await signed(whole, status="ready", content_type="image/jpeg")
    with pytest.raises(NoPicturesError):
        await crop(asset_id, LEFT)


@pytest.mark.parametrize("status", ["processing", "failed"])
async def test_only_what_is_ready_is_cropped(signed, crop, status):
    with pytest.raises(NotReadyError):
        await crop(await signed(IMAGE, status=status), LEFT)


async def test_another_companys_image_looks_like_none_to_who_crops(photo, crop):
    with pytest.raises(AssetNotFoundError):
        await crop(photo, LEFT, company=OTHER)

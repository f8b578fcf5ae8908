"""From a notification to an outcome: what each message and each end of a task changes."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pytest
from ingest.answers import OnAnswer
from ingest.ask import AskForPictures
from ingest.images import Images
from ingest.intake import Intake
from ingest.outputs.source import Source
from ingest.plan import plan
from ingest.settings import IngestSettings
from media_contracts import (
    AssetStatus,
    ErrorInfo,
    ImageChecked,
    MediaFile,
    MediaKind,
    Picture,
    ThumbnailFailed,
    ThumbnailMade,
    new_event,
)
from media_records import tasks
from media_records.lifecycle import (
    ALLOWED,
    ForbiddenTransitionError,
    change,
    lock_asset,
)
from media_records.tasks import FENCE_REJECTIONS, LostLeaseError, NewTask, Pool, Turns
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from media_runtime.settings import KafkaSettings
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import (
    MalformedNotificationError,
    ObjectStore,
    build_notification,
    quarantine_key,
)

from support.assets import PLAIN, asset_now, files_now, sign_asset, stored
from support.buckets import our_store, remove_buckets
from support.databases import service_url
from support.eventually import eventually

AT = datetime(2026, 11, 23, tzinfo=UTC)
BAD = ErrorInfo(code="bad", message="Bad.")
EVERY_POOL = Turns(tuple(Pool), slow_seconds=1000)
SOURCES = {
    "video/mp4": Source(MediaKind.VIDEO, 1280, 720, duration_seconds=9.0, frame_rate=30.0),
    "image/jpeg": Source(MediaKind.IMAGE, 4000, 3000),
}


_REFUSE_REQUESTS = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no requests'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON outbox
        FOR EACH ROW WHEN (NEW.topic = 'media_thumbnail') EXECUTE FUNCTION refuse();
"""


@pytest.fixture
async def sign_api(database_name):
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=2) as db:
        yield db


@pytest.fixture
async def database(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=9) as db:
        yield db


@pytest.fixture
def work(database):
    # Rows are looked at where they wait: no relay runs here.
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    return Work(database, Outbox(database, Producer(nowhere, name="t"), service="ingest"))


@pytest.fixture
def settings(database_name, tmp_path):
    return IngestSettings(
        kafka_bootstrap_servers="127.0.0.1:9",
        database_url=service_url(database_name, "ingest"),
        s3_endpoint_url="http://127.0.0.1:9",
        s3_access_key="k",
        s3_secret_key="s",
        scratch_dir=tmp_path,
    )


@pytest.fixture
async def store():
    settings = our_store()
    found = ObjectStore(settings)
    yield found
    found.close()
    remove_buckets(settings)


@pytest.fixture
def notify(work):
    """Tell ingest that an asset's upload is stored."""
    intake = Intake(work)

    async def send(company, asset, **changes):
        await intake([build_notification(stored(company, asset, **changes), source="t", at=AT)])

    return send


@pytest.fixture
def answered(work, store, settings):
    """Let the thumbnailer's answer come in."""
    return OnAnswer(work, store, Images(settings))


@pytest.fixture
def put(store, admin):
    """Store a picture of an asset, as the thumbnailer does, and return what it says of it."""

    async def store_picture(company, asset, attempt=1, name="thumbnail"):
        bucket = await store.ensure_bucket(company, quota_bytes=10**9)
        await admin.execute("UPDATE media_assets SET bucket = $2 WHERE id = $1", asset, bucket)
        file = "thumbnail.jpg" if name == "thumbnail" else name
        key = output_key(company, asset, attempt, file)
        await store.upload_bytes(
            bucket, key, b"a picture", content_type="image/jpeg", cache_control="no-store",
            about={"width": "320", "height": "240"},
        )  # fmt: skip
        return Picture(
            name=name, bucket=bucket, key=key, content_type="image/jpeg", width=320, height=240,
            size=9,
        )  # fmt: skip

    return store_picture


@pytest.fixture
def made(put):
    """Store a video's picture and return the answer that tells of it."""

    async def make(company, asset, attempt=1):
        picture = await put(company, asset, attempt)
        return answer(ThumbnailMade(attempt=attempt, pictures=[picture]), company, asset)

    return make


@pytest.fixture
def claim(work):
    """Claim the next task, of these pools or of any."""

    async def one(*pools):
        turns = Turns(pools, slow_seconds=1000) if pools else EVERY_POOL
        async with work.begin() as tx:
            return await tasks.claim(tx, turns, owner="t", lease_seconds=30)

    return one


@pytest.fixture
def begin(work, claim, settings):
    """Take an upload as far as a worker does: checked and planned, its tasks claimed, by name."""

    async def begun(content_type="video/mp4"):
        inspect = await claim(Pool.INSPECT, Pool.PICTURES)
        async with work.begin() as tx:
            asset = await lock_asset(tx, inspect.asset_id)
            if asset.status == AssetStatus.PENDING:
                await change(tx, asset, AssetStatus.PROCESSING, at=AT)
            follows = plan(PLAIN, SOURCES[content_type])
            if content_type.startswith("video/"):
                # In one task: of how a film becomes many there are tests of their own.
                follows = (NewTask("video", "encode", Pool.ENCODE), *follows)
            await tasks.finish(tx, inspect, then=follows)
        found = [await claim(Pool.ENCODE, Pool.PICTURES) for _ in follows]
        return {task.name: task for task in found}

    return begun


@pytest.fixture
def finish(work):
    async def done(task, *files):
        async with work.begin() as tx:
            return await tasks.finish(tx, task, files)

    return done


@pytest.fixture
def fail(work):
    async def failed(task, error=BAD):
        async with work.begin() as tx:
            return await tasks.fail(tx, task, error)

    return failed


_A_PICTURE = Picture(
    name="thumbnail", bucket="b", key="company/outputs/asset/1/thumbnail.jpg",
    content_type="image/jpeg", width=320, height=240, size=9,
)  # fmt: skip


def video(name="video.mp4"):
    return MediaFile(
        name="video", kind="video", key=f"k/{name}", content_type="video/mp4", width=4, height=2,
        size=9, duration_seconds=1.5,
    )  # fmt: skip


def answer(payload, company, asset):
    return new_event(payload, source="t", asset_id=asset, company_id=company, time=AT)


async def told(admin, topic):
    rows = await admin.fetch("SELECT value FROM outbox WHERE topic = $1 ORDER BY id", topic)
    return [json.loads(row["value"])["data"] for row in rows if row["value"] != b"{}"]


async def test_a_notification_that_comes_often_makes_one_job(sign_api, admin, notify):
    assets = [await sign_asset(sign_api) for _ in range(10)]
    notifications = [one for one in assets for _ in range(3)]
    random.Random(1).shuffle(notifications)
    await asyncio.gather(*(notify(*one) for one in notifications))
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 10
    assert [data["stage"] for data in await told(admin, "media_status")] == ["uploaded"] * 10


async def test_only_the_first_version_of_a_key_counts(sign_api, admin, notify):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset, version="first")
    await notify(company, asset, version="second")
    rows = await admin.fetch("SELECT version_id FROM asset_files WHERE kind = 'original'")
    assert [row[0] for row in rows] == ["first"]
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 1


async def test_a_late_notification_of_a_finished_asset_changes_nothing(
    sign_api, database, admin, notify, begin, fail
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    job = await begin()
    await fail(job["video"])
    await notify(company, asset)
    assert (await asset_now(database, asset)).status == "failed"
    assert await admin.fetchval("SELECT count(*) FROM tasks WHERE state = 'queued'") == 0


async def test_a_slow_upload_that_is_stored_after_its_grant_lapsed_is_processed(
    sign_api, admin, notify
):
    company, asset = await sign_asset(sign_api)
    await admin.execute("UPDATE media_assets SET status = 'expired'")
    await notify(company, asset)
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 1


async def test_a_grant_used_again_leaves_garbage(sign_api, database, notify):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset, version="first")
    await notify(company, asset, version="first")
    assert (await asset_now(database, asset)).sweep_at is None
    await notify(company, asset, version="second")
    assert (await asset_now(database, asset)).sweep_at is not None


async def test_garbage_of_a_grant_is_swept_though_its_asset_became_ready_meanwhile(
    sign_api, database, made, notify, begin, finish, answered
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset, version="first")
    job = await begin()
    await notify(company, asset, version="second")
    due = (await asset_now(database, asset)).sweep_at
    await answered(await made(company, asset))
    await finish(job["video"], video())
    ready = await asset_now(database, asset)
    assert (ready.status, ready.sweep_at) == ("ready", due)


async def test_a_grant_used_again_after_its_file_was_quarantined_leaves_garbage(
    sign_api, database, admin, notify
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    await admin.execute(
        "UPDATE asset_files SET key = $1 WHERE kind = 'original'", quarantine_key(company, asset)
    )
    await admin.execute("UPDATE media_assets SET status = 'processing'")
    await notify(company, asset, version="second")
    after = await asset_now(database, asset)
    assert after.sweep_at is not None
    assert (await files_now(database, asset))["original"].version_id == "v1"
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 1


async def test_every_job_has_one_holder(sign_api, notify, claim):
    for _ in range(20):
        await notify(*await sign_asset(sign_api))
    claimed = await asyncio.gather(*(claim() for _ in range(28)))
    ids = [job.id for job in claimed if job]
    assert len(ids) == len(set(ids)) == 20


def _rejections():
    return sum(
        sample.value
        for metric in FENCE_REJECTIONS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def test_work_on_a_deleted_asset_loses_its_lease(sign_api, database, notify, begin, work):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    job = await begin()
    assert await tasks.heartbeat(database, job["video"], lease_seconds=30)
    async with work.begin() as tx:
        await change(tx, await asset_now(database, asset), AssetStatus.DELETED, at=AT)
    for task in job.values():
        with pytest.raises(LostLeaseError):
            await tasks.heartbeat(database, task, lease_seconds=30)


@pytest.mark.parametrize("pictures_first", [True, False])
async def test_results_join_in_either_order_to_one_outcome(
    sign_api, database, admin, pictures_first, made, notify, begin, finish, answered
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    job = await begin()
    if pictures_first:
        await answered(await made(company, asset))
    await finish(job["video"], video())
    if not pictures_first:
        await answered(await made(company, asset))
    await answered(await made(company, asset))
    ready = await asset_now(database, asset)
    files = await files_now(database, asset)
    thumbnail, shown = files["thumbnail"], files["video"]
    assert (ready.status, thumbnail.key) == (
        "ready", output_key(company, asset, 1, "thumbnail.jpg"),
    )  # fmt: skip
    assert (shown.width, shown.height, shown.duration_seconds) == (4, 2, 1.5)
    (outcome,) = await told(admin, "media_processed")
    assert outcome["outcome"] == "ready"
    assert {(one["name"], one["kind"], one["key"]) for one in outcome["files"]} == {
        ("video", "video", shown.key), ("thumbnail", "thumbnail", thumbnail.key),
    }  # fmt: skip
    ended = await admin.fetch("SELECT 1 FROM asset_transitions WHERE to_status = 'ready'")
    assert len(ended) == 1


def forgeries(honest):
    """Return what somebody who can write to the topic may say of a video's picture."""
    mine, other = honest.model_copy, uuid4()
    parts = honest.key.split("/")

    def key(at, value):
        return "/".join([*parts[:at], value, *parts[at + 1 :]])

    return {
        "another company's key": [mine(update={"key": key(0, str(other))})],
        "another company's bucket": [mine(update={"bucket": f"media-{other}"})],
        "another asset's key": [mine(update={"key": key(2, str(other))})],
        "another attempt's key": [mine(update={"key": key(3, "2")})],
        "an original's key": [mine(update={"key": f"{parts[0]}/uploads/{parts[2]}"})],
        "another name": [mine(update={"name": "image"})],
        "a picture that nobody asked for": [honest, mine(update={"name": "image"})],
        "one picture often": [honest, honest],
    }


@pytest.mark.parametrize("forged", [*forgeries(_A_PICTURE), "an object that is not there"])
async def test_a_forged_answer_changes_nothing_and_the_asset_still_ends(
    sign_api, database, admin, put, store, forged, notify, begin, finish, answered
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    job = await begin()
    await finish(job["video"], video())
    before = await admin.fetchval("SELECT sum(bytes) FROM company_usage")
    honest = await put(company, asset)
    if forged == "an object that is not there":
        await store.delete_prefix(honest.bucket, honest.key)
    lies = forgeries(honest).get(forged, [honest])
    lies = [one.model_copy(update={"size": 18 * 10**15}) for one in lies]
    await answered(answer(ThumbnailMade(attempt=1, pictures=lies), company, asset))
    assert (await asset_now(database, asset)).status == "processing"
    assert await admin.fetchval("SELECT sum(bytes) FROM company_usage") == before

    honest = await put(company, asset)
    await answered(answer(ThumbnailMade(attempt=1, pictures=[honest]), company, asset))
    ready = await asset_now(database, asset)
    thumbnail = (await files_now(database, asset))["thumbnail"]
    assert (ready.status, thumbnail.key) == ("ready", honest.key)
    assert await admin.fetchval("SELECT sum(bytes) FROM company_usage") == before + 9


async def test_an_answers_sizes_are_those_in_storage(
    sign_api, database, admin, put, notify, begin, answered, made
):
    company, asset = await sign_asset(sign_api, content_type="image/jpeg")
    await notify(company, asset)
    await begin("image/jpeg")
    pictures = [await put(company, asset, name=name) for name in ("thumbnail", "image")]
    lies = {"size": 18 * 10**15, "width": 2**40, "height": 2**40, "content_type": "text/html"}
    made = ThumbnailMade(attempt=1, pictures=[one.model_copy(update=lies) for one in pictures])
    await answered(answer(made, company, asset))
    ready = await asset_now(database, asset)
    files = await files_now(database, asset)
    del files["original"]
    assert ready.status == "ready"
    assert {(file.size, file.width, file.height) for file in files.values()} == {(9, 320, 240)}
    (told_of,) = await told(admin, "media_processed")
    shown = told_of["rendition"]
    assert (shown["key"], shown["size"], shown["width"], shown["contentType"]) == (
        pictures[1].key, 9, 320, "image/jpeg",
    )  # fmt: skip


async def test_a_picture_that_cannot_be_made_fails_the_asset_once(
    sign_api, database, admin, notify, begin, answered
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    await begin()
    failed = answer(
        ThumbnailFailed(attempt=1, error=ErrorInfo(code="no_frame", message="None.")),
        company, asset,
    )  # fmt: skip
    await answered(failed)
    await answered(failed)
    assert (await asset_now(database, asset)).error_code == "no_frame"
    (outcome,) = await told(admin, "media_processed")
    assert outcome["error"] == {"code": "no_frame", "message": "None."}


async def test_pictures_that_are_in_cannot_fail_any_more(
    sign_api, database, made, notify, begin, finish, answered
):
    """A request that is delivered twice may be answered twice, and differently."""
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    job = await begin()
    await answered(await made(company, asset))
    failed = ThumbnailFailed(attempt=1, error=ErrorInfo(code="no_frame", message="None."))
    await answered(answer(failed, company, asset))
    assert (await asset_now(database, asset)).status == "processing"
    await finish(job["video"], video())
    assert (await asset_now(database, asset)).status == "ready"


async def test_results_of_an_older_attempt_or_another_company_change_nothing(
    sign_api, database, made, notify, begin, claim, fail, answered, work
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    old = await begin()
    await fail(old["video"])
    async with work.begin() as tx:
        failed = await asset_now(database, asset)
        await change(tx, failed, AssetStatus.PROCESSING, at=AT, new_attempt=True)
    await notify(company, asset)
    await answered(await made(company, asset, attempt=1))
    await answered(await made(uuid4(), asset, attempt=2))
    assert (await files_now(database, asset)).keys() == {"original"}
    job = await claim()
    assert job.attempt == 2


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"Records":[{}]}', b'{"Records":3}'])
async def test_what_is_no_notification_is_refused(work, value):
    with pytest.raises(MalformedNotificationError):
        await Intake(work)([value])


async def test_foreign_and_unknown_keys_make_no_task(sign_api, notify, work, admin):
    company, _ = await sign_asset(sign_api)
    _, other = await sign_asset(sign_api)
    await notify(company, uuid4())
    await notify(company, other)  # another company's asset under our key
    elsewhere = stored(company, uuid4())
    for key in ("file.mp4", f"{company}/outputs/x", f"{company}/uploads/../x"):
        strange = type(elsewhere)(**{**elsewhere.__dict__, "key": key})
        await Intake(work)([build_notification(strange, source="t", at=AT)])
    assert await admin.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_notification_for_an_attempt_without_a_task_begins_it(
    sign_api, notify, claim, admin
):
    """What a retry announced may be lost; the watcher announces the upload again."""
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    await admin.execute("DELETE FROM tasks")
    await admin.execute("UPDATE media_assets SET status = 'processing', attempt = 2")
    await notify(company, asset)
    task = await claim()
    assert (task.asset_id, task.attempt, task.name) == (asset, 2, "inspect")


async def test_pictures_that_never_came_are_asked_for_again(
    sign_api, notify, begin, work, settings, admin, finish, made, answered, database
):
    """Their request may lie in the dead letters."""
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    begun = await begin()
    await finish(begun["video"], video())
    async with AskForPictures(settings, work, Images(settings)).running():
        assert await told(admin, "media_thumbnail") == []
        await admin.execute("UPDATE tasks SET lease_until = now() - interval '1 second'")

        async def asked():
            return await told(admin, "media_thumbnail")

        (request,) = await eventually(asked)
    assert (request["task"], request["attempt"]) == ("pictures", 1)
    leased = await admin.fetchval(
        "SELECT extract(epoch FROM lease_until - now()) FROM tasks WHERE name = 'pictures'"
    )
    assert leased > settings.pictures_lease_seconds, "the next time a little later"
    await answered(await made(company, asset))
    assert (await asset_now(database, asset)).status == "ready"


async def test_pictures_that_never_come_are_given_up(
    sign_api, notify, begin, work, settings, admin, finish, database
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    await finish((await begin())["video"], video())
    await admin.execute(
        "UPDATE tasks SET lease_until = now() - interval '1 second',"
        " created_at = now() - interval '25 hours' WHERE name = 'pictures'"
    )
    async with AskForPictures(settings, work, Images(settings)).running():

        async def failed():
            return (await asset_now(database, asset)).error_code

        assert await eventually(failed) == "processing_timeout"
    assert [data["outcome"] for data in await told(admin, "media_processed")] == ["failed"]


async def test_the_check_of_an_image_is_asked_for_as_it_is_taken_in(
    sign_api, work, settings, admin
):
    """Of a company that is owed enough answers the next waits, and of films nothing is asked."""
    company, photo = await sign_asset(sign_api, content_type="image/jpeg")
    _, another = await sign_asset(sign_api, company, content_type="image/jpeg")
    _, film = await sign_asset(sign_api, company)
    one = settings.model_copy(update={"company_max_inflight_pictures": 1})
    intake = Intake(work, AskForPictures(one, work, Images(one)))
    asked = []
    for asset in (film, photo, another):
        await intake([build_notification(stored(company, asset), source="t", at=AT)])
        asked.append([request["task"] for request in await told(admin, "media_thumbnail")])
    assert asked == [[], ["inspect"], ["inspect"]]


async def test_an_upload_is_taken_in_though_nothing_can_be_asked_for(
    sign_api, work, settings, admin
):
    """The task that is asked for may be of another company, and what it fails by the database's."""
    company, photo = await sign_asset(sign_api, content_type="image/jpeg")
    intake = Intake(work, AskForPictures(settings, work, Images(settings)))
    await admin.execute(_REFUSE_REQUESTS)
    await intake([build_notification(stored(company, photo), source="t", at=AT)])
    states = await admin.fetch("SELECT name, state FROM tasks")
    assert [tuple(row) for row in states] == [("inspect", "queued")]
    await admin.execute("DROP TRIGGER refuse ON outbox")
    async with AskForPictures(settings, work, Images(settings)).running():
        (request,) = await eventually(partial(told, admin, "media_thumbnail"))
    assert request["task"] == "inspect"


async def test_a_company_is_owed_a_bounded_number_of_answers(
    sign_api, notify, work, settings, admin
):
    company, asset = await sign_asset(sign_api, content_type="image/jpeg")
    await notify(company, asset)
    for _ in range(5):
        await notify(*await sign_asset(sign_api, company, content_type="image/jpeg"))
    few = settings.model_copy(
        update={"company_max_inflight_pictures": 2, "task_poll_seconds": 0.05}
    )

    async def asked_are(number):
        return len(await told(admin, "media_thumbnail")) == number

    async with AskForPictures(few, work, Images(few)).running():
        await eventually(lambda: asked_are(2))
        async with work.begin() as tx:
            task = await tasks.find_open(tx, company, asset, 1, "inspect")
            await tasks.fail(tx, task, BAD)
        await eventually(lambda: asked_are(3))


@pytest.fixture
def asked_for(sign_api, notify, work, settings, admin):
    """Take an image as far as the request that it is checked; return it with the request."""

    async def ask():
        company, asset = await sign_asset(sign_api, content_type="image/jpeg")
        await notify(company, asset)

        async def asked():
            return await told(admin, "media_thumbnail")

        async with AskForPictures(settings, work, Images(settings)).running():
            (request,) = await eventually(asked)
        return company, asset, request

    return ask


def checked(*pictures, **others):
    facts = {
        "attempt": 1, "task": "inspect", "sha256": "a" * 64, "content_type": "image/jpeg",
        "format": "JPEG", "width": 640, "height": 480, "frames": 1, "scans": 1, "hdr": False,
        "seconds": 0.1,
    }  # fmt: skip
    return ImageChecked(**{**facts, "pictures": pictures, **others})


async def states_of(admin):
    rows = await admin.fetch("SELECT name, state FROM tasks")
    return {row["name"]: row["state"] for row in rows}


async def test_an_image_is_checked_and_first_shown_by_one_request(
    asked_for, database, admin, put, answered
):
    company, asset, request = await asked_for()
    assert (request["task"], request["contentType"]) == ("inspect", "image/jpeg")
    assert [one["name"] for one in request["pictures"]] == ["thumbnail"]
    assert (await asset_now(database, asset)).status == "processing"
    thumbnail = await put(company, asset)
    assert request["pictures"][0]["key"] == thumbnail.key
    event = answer(checked(thumbnail, warnings=["type_differs"]), company, asset)
    for _ in range(2):
        await answered(event)
    assert await states_of(admin) == {"inspect": "done", "pictures": "done", "image": "queued"}
    found, files = await asset_now(database, asset), await files_now(database, asset)
    assert (files["thumbnail"].key, files["original"].sha256) == (thumbnail.key, "a" * 64)
    assert (json.loads(found.probe)["width"], found.warnings) == (640, ["type_differs"])
    stages = [data.get("stage") for data in await told(admin, "media_status")]
    assert stages == ["uploaded", None, "probed", "thumbnailed"]


async def test_pictures_of_an_image_that_is_slow_have_a_task_of_their_own(
    asked_for, admin, answered
):
    company, asset, _ = await asked_for()
    await answered(answer(checked(width=20_000, height=9_000, scans=9), company, asset))
    assert await states_of(admin) == {"inspect": "done", "pictures": "queued", "image": "queued"}
    slow = await admin.fetchval("SELECT cost_seconds FROM tasks WHERE name = 'pictures'")
    assert slow > 20


async def test_an_image_that_is_refused_fails_its_asset(asked_for, database, admin, answered):
    company, asset, _ = await asked_for()
    why = ErrorInfo(code="type_mismatch", message="It is something else.")
    await answered(answer(ThumbnailFailed(attempt=1, task="inspect", error=why), company, asset))
    assert (await asset_now(database, asset)).error_code == "type_mismatch"
    assert await states_of(admin) == {"inspect": "failed"}


async def test_an_answer_about_other_bytes_than_those_that_were_checked_fails_the_asset(
    asked_for, database, admin, answered
):
    company, asset, _ = await asked_for()
    await admin.execute("UPDATE asset_files SET sha256 = $1", "b" * 64)
    await answered(answer(checked(), company, asset))
    assert (await asset_now(database, asset)).error_code == "content_changed"


@pytest.mark.parametrize(
    "lie", ["another picture", "a picture that is not there", "pictures of no check"]
)
async def test_a_forged_check_changes_nothing(asked_for, admin, put, answered, lie):
    company, asset, _ = await asked_for()
    thumbnail = await put(company, asset)
    lies = {
        "another picture": checked(thumbnail.model_copy(update={"name": "image"})),
        "a picture that is not there": checked(thumbnail.model_copy(update={"key": "k"})),
        "pictures of no check": ThumbnailMade(attempt=1, task="inspect", pictures=[thumbnail]),
    }
    await answered(answer(lies[lie], company, asset))
    assert await states_of(admin) == {"inspect": "running"}


async def test_a_check_of_what_was_not_to_be_checked_changes_nothing(
    sign_api, notify, begin, answered, admin, put
):
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    await begin()
    lie = checked(await put(company, asset), task="pictures")
    await answered(answer(lie, company, asset))
    assert (await states_of(admin))["pictures"] == "running"


async def test_a_worker_whose_claim_was_taken_over_changes_nothing(
    sign_api, notify, begin, claim, finish, fail, admin, database
):
    """Red when a statement forgets the fence."""
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    frozen = (await begin())["video"]
    assert await claim() is None
    await admin.execute(
        "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE name = 'video'"
    )
    taken = await claim()
    assert (taken.id, taken.tries, taken.fence) == (frozen.id, 2, frozen.fence + 1)
    before = _rejections()
    with pytest.raises(LostLeaseError):
        await tasks.heartbeat(database, frozen, lease_seconds=30)
    with pytest.raises(LostLeaseError):
        await finish(frozen, video("stale.mp4"))
    with pytest.raises(LostLeaseError):
        await fail(frozen)
    await tasks.release(database, frozen, why="stale")
    assert _rejections() - before == 4
    assert (await files_now(database, asset)).keys() == {"original"}
    assert await tasks.heartbeat(database, taken, lease_seconds=30)
    await finish(taken, video())
    assert (await files_now(database, asset))["video"].key == "k/video.mp4"


async def test_after_a_forged_answer_the_pictures_are_still_owed(
    sign_api, notify, begin, answered, finish, admin
):
    """The right answer may come, or be asked for again."""
    company, asset = await sign_asset(sign_api)
    await notify(company, asset)
    await finish((await begin())["video"], video())
    forged = _A_PICTURE.model_copy(update={"key": "k"})
    await answered(answer(ThumbnailMade(attempt=1, pictures=[forged]), company, asset))
    state = await admin.fetchval("SELECT state FROM tasks WHERE name = 'pictures'")
    assert state == "running"


@pytest.mark.parametrize("before", list(AssetStatus))
@pytest.mark.parametrize("after", list(AssetStatus))
async def test_only_allowed_changes_happen(sign_api, database, work, admin, before, after):
    _, asset_id = await sign_asset(sign_api)
    await admin.execute("UPDATE media_assets SET status = $1", before.value)
    asset = await asset_now(database, asset_id)
    async with work.begin() as tx:
        if after not in ALLOWED[before]:
            with pytest.raises(ForbiddenTransitionError):
                await change(tx, asset, after, at=AT)
            return
        changed = await change(tx, asset, after, at=AT)
        assert changed.status == after
        # The same change again comes too late.
        assert await change(tx, asset, after, at=AT) is None
    assert await admin.fetchval("SELECT count(*) FROM asset_transitions") == 1
    assert [data["status"] for data in await told(admin, "media_status")] == [after.value]

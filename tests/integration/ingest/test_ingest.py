"""From notification to outcome: one job, one holder, one outcome."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from ingest import jobs
from ingest.answers import picture_key
from ingest.intake import Intake
from ingest.jobs import JobQueue, LostLeaseError
from ingest.metrics import FENCE_REJECTIONS
from ingest.outcomes import Outcomes
from ingest.wakeup import Wakeup
from media_contracts import (
    AssetStatus,
    ErrorInfo,
    MediaFile,
    Picture,
    ThumbnailFailed,
    ThumbnailMade,
    new_event,
)
from media_records.lifecycle import ALLOWED, ForbiddenTransitionError, Lifecycle, find_asset
from media_runtime.errors import PermanentError
from media_runtime.kafka import Producer
from media_runtime.outbox import Outbox
from media_runtime.postgres import Database
from media_runtime.settings import KafkaSettings
from media_runtime.storage import (
    MalformedNotificationError,
    ObjectStore,
    build_notification,
    quarantine_key,
)

from support.assets import asset_now, files_now, sign_asset, stored
from support.buckets import our_store, remove_buckets
from support.databases import service_url

AT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
async def sign_api(database_name):
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=2) as db:
        yield db


@pytest.fixture
async def database(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=9) as db:
        yield db


@pytest.fixture
def outbox(database):
    # Rows are looked at where they wait: no relay runs here.
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    return Outbox(database, Producer(nowhere, name="t"), service="ingest")


@pytest.fixture
def lifecycle(outbox):
    return Lifecycle(outbox, service="ingest")


@pytest.fixture
def intake(database, outbox, lifecycle, outcomes):
    return Intake(
        reopen_seconds=60,
        give_up_seconds=3600,
        database=database,
        outbox=outbox,
        lifecycle=lifecycle,
        outcomes=outcomes,
        new_job=Wakeup(),
    )


@pytest.fixture
async def store():
    settings = our_store()
    found = ObjectStore(settings)
    yield found
    found.close()
    remove_buckets(settings)


@pytest.fixture
def outcomes(database, store, outbox, lifecycle):
    return Outcomes(database, store, outbox, lifecycle, Wakeup())


@pytest.fixture
def put(store, admin):
    """Store a picture of an asset, as the thumbnailer does, and return what it says of it."""

    async def store_picture(company, asset, attempt=1, name="thumbnail"):
        bucket = await store.ensure_bucket(company, quota_bytes=10**9)
        await admin.execute("UPDATE media_assets SET bucket = $2 WHERE id = $1", asset, bucket)
        key = picture_key(company, asset, attempt, name)
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
def queue(database):
    return JobQueue(database, owner="t", lease_seconds=30)


_A_PICTURE = Picture(
    name="thumbnail", bucket="b", key="company/outputs/asset/1/thumbnail.jpg",
    content_type="image/jpeg", width=320, height=240, size=9,
)  # fmt: skip


async def notify(intake, company, asset, **changes):
    await intake(build_notification(stored(company, asset, **changes), source="t", at=AT))


async def claim(database, queue):
    async with database.transaction() as connection:
        return await queue.claim(connection)


async def begin(database, queue, lifecycle):
    """Claim the next job and begin its asset, as a worker does."""
    job = await claim(database, queue)
    asset = await asset_now(database, job.asset_id)
    if asset.status == AssetStatus.PENDING:
        async with database.transaction() as connection:
            await lifecycle.change(connection, asset, AssetStatus.PROCESSING, at=AT)
    return job


async def expire_leases(admin):
    await admin.execute("UPDATE ingest_jobs SET lease_until = now() - interval '1 second'")


def video(name="video.mp4"):
    return MediaFile(
        name="video", kind="video", key=f"k/{name}", content_type="video/mp4", width=4, height=2,
        size=9, duration_seconds=1.5,
    )  # fmt: skip


def answer(payload, company, asset):
    return new_event(payload, source="t", asset_id=asset, company_id=company, time=AT)


async def told(admin, topic):
    rows = await admin.fetch("SELECT value FROM outbox WHERE topic = $1 ORDER BY id", topic)
    return [json.loads(row["value"])["data"] for row in rows if row["value"] != "{}"]


async def test_a_notification_that_comes_often_makes_one_job(sign_api, intake, admin):
    assets = [await sign_asset(sign_api) for _ in range(10)]
    notifications = [one for one in assets for _ in range(3)]
    random.Random(1).shuffle(notifications)
    await asyncio.gather(*(notify(intake, *one) for one in notifications))
    assert await admin.fetchval("SELECT count(*) FROM ingest_jobs") == 10
    assert [data["stage"] for data in await told(admin, "media_status")] == ["uploaded"] * 10


async def test_only_the_first_version_of_a_key_counts(sign_api, intake, admin):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset, version="first")
    await notify(intake, company, asset, version="second")
    rows = await admin.fetch("SELECT version_id FROM asset_files WHERE kind = 'original'")
    assert [row[0] for row in rows] == ["first"]
    assert await admin.fetchval("SELECT count(*) FROM ingest_jobs") == 1


async def test_foreign_and_unknown_keys_make_no_job(sign_api, intake, admin):
    company, _ = await sign_asset(sign_api)
    _, other = await sign_asset(sign_api)
    await notify(intake, company, uuid4())
    await notify(intake, company, other)  # another company's asset under our key
    elsewhere = stored(company, uuid4())
    for key in ("file.mp4", f"{company}/outputs/x", f"{company}/uploads/../x"):
        strange = type(elsewhere)(**{**elsewhere.__dict__, "key": key})
        await intake(build_notification(strange, source="t", at=AT))
    assert await admin.fetchval("SELECT count(*) FROM ingest_jobs") == 0


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"Records":[{}]}', b'{"Records":3}'])
async def test_what_is_no_notification_is_refused(intake, value):
    with pytest.raises(MalformedNotificationError):
        await intake(value)


async def test_a_late_notification_of_a_finished_asset_changes_nothing(
    sign_api, intake, database, queue, lifecycle, outcomes, admin
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    job = await begin(database, queue, lifecycle)
    await outcomes.job_failed(job, PermanentError("bad", "Bad."))
    await notify(intake, company, asset)
    assert (await asset_now(database, asset)).status == "failed"
    assert await admin.fetchval("SELECT count(*) FROM ingest_jobs") == 1


async def test_a_slow_upload_that_is_stored_after_its_grant_lapsed_is_processed(
    sign_api, intake, database, admin
):
    company, asset = await sign_asset(sign_api)
    await admin.execute("UPDATE media_assets SET status = 'expired'")
    await notify(intake, company, asset)
    assert await admin.fetchval("SELECT count(*) FROM ingest_jobs") == 1


async def test_an_attempt_whose_pictures_never_came_is_started_again(
    sign_api, intake, database, queue, lifecycle, outcomes, admin, made
):
    """Its request may lie in the dead letters; the watcher announces the upload again."""
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    job = await begin(database, queue, lifecycle)
    await outcomes.video_made(job, video())
    await admin.execute("UPDATE media_assets SET updated_at = now()")
    await notify(intake, company, asset)
    assert await claim(database, queue) is None, "so soon, it is a duplicate"
    await admin.execute("UPDATE ingest_jobs SET finished_at = now() - interval '61 seconds'")
    await notify(intake, company, asset)
    again = await claim(database, queue)
    assert (again.id, again.fence, again.tries) == (job.id, 2, 1)
    await outcomes.video_made(again, video("again.mp4"))
    await outcomes.thumbnailed(await made(company, asset))
    ready = await asset_now(database, asset)
    files = await files_now(database, asset)
    assert (ready.status, files["video"].key) == ("ready", "k/video.mp4"), "the first one counts"
    assert ready.sweep_at is not None, "and the second one is garbage"


async def test_an_attempt_that_never_ends_is_given_up(
    sign_api, intake, database, queue, lifecycle, outcomes, admin
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    await outcomes.video_made(await begin(database, queue, lifecycle), video())
    await admin.execute("UPDATE ingest_jobs SET finished_at = now() - interval '61 seconds'")
    await admin.execute("UPDATE media_assets SET updated_at = now() - interval '61 minutes'")
    await notify(intake, company, asset)
    assert (await asset_now(database, asset)).error_code == "processing_timeout"
    assert [data["outcome"] for data in await told(admin, "media_processed")] == ["failed"]


async def test_a_repeated_notification_never_waits_for_a_worker(
    sign_api, intake, database, queue, lifecycle
):
    """It holds the asset, which the worker wants next: they would wait for each other."""
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    job = await begin(database, queue, lifecycle)
    async with asyncio.timeout(5), database.transaction() as connection:
        await jobs.end(connection, job, "done")
        await notify(intake, company, asset)
        assert await find_asset(connection, asset, lock=True)


async def test_a_grant_used_again_leaves_garbage(sign_api, intake, database):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset, version="first")
    await notify(intake, company, asset, version="first")
    assert (await asset_now(database, asset)).sweep_at is None
    await notify(intake, company, asset, version="second")
    assert (await asset_now(database, asset)).sweep_at is not None


async def test_garbage_of_a_grant_is_swept_though_its_asset_became_ready_meanwhile(
    sign_api, intake, database, queue, lifecycle, outcomes, made
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset, version="first")
    job = await begin(database, queue, lifecycle)
    await notify(intake, company, asset, version="second")
    due = (await asset_now(database, asset)).sweep_at
    await outcomes.thumbnailed(await made(company, asset))
    await outcomes.video_made(job, video())
    ready = await asset_now(database, asset)
    assert (ready.status, ready.sweep_at) == ("ready", due)


async def test_a_grant_used_again_after_its_file_was_quarantined_leaves_garbage(
    sign_api, intake, database, admin
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    await admin.execute(
        "UPDATE asset_files SET key = $1 WHERE kind = 'original'", quarantine_key(company, asset)
    )
    await admin.execute("UPDATE media_assets SET status = 'processing'")
    await notify(intake, company, asset, version="second")
    after = await asset_now(database, asset)
    assert after.sweep_at is not None
    assert (await files_now(database, asset))["original"].version_id == "v1"
    assert await admin.fetchval("SELECT count(*) FROM ingest_jobs") == 1


async def test_every_job_has_one_holder(sign_api, intake, database, queue):
    for _ in range(20):
        await notify(intake, *await sign_asset(sign_api))
    claimed = await asyncio.gather(*(claim(database, queue) for _ in range(28)))
    ids = [job.id for job in claimed if job]
    assert len(ids) == len(set(ids)) == 20


async def test_a_silent_workers_job_is_taken_over_and_its_writes_are_refused(
    sign_api, intake, database, queue, lifecycle, outcomes, admin, made
):
    """Red when a statement forgets the fence."""
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    frozen = await begin(database, queue, lifecycle)
    assert await claim(database, queue) is None
    await expire_leases(admin)
    taken = await claim(database, queue)
    assert (taken.id, taken.tries, taken.fence) == (frozen.id, 2, frozen.fence + 1)
    before = _rejections()

    with pytest.raises(LostLeaseError):
        await queue.beat(frozen)
    with pytest.raises(LostLeaseError):
        await outcomes.video_made(frozen, video("stale.mp4"))
    with pytest.raises(LostLeaseError):
        await outcomes.job_failed(frozen, PermanentError("stale", "Stale."))
    with pytest.raises(LostLeaseError):
        async with database.transaction() as connection:
            await jobs.hold(connection, frozen)
    await queue.give_back(frozen, why="stale", delay_seconds=0, counted=False)

    assert _rejections() - before == 5
    assert await admin.fetchval("SELECT state FROM ingest_jobs") == "running"
    assert (await files_now(database, asset)).keys() == {"original"}
    await queue.beat(taken)
    await outcomes.video_made(taken, video())
    await outcomes.thumbnailed(await made(company, asset))
    assert (await files_now(database, asset))["video"].key == "k/video.mp4"


def _rejections():
    return sum(
        sample.value
        for metric in FENCE_REJECTIONS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def test_work_on_a_deleted_asset_loses_its_lease(
    sign_api, intake, database, queue, lifecycle
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    job = await begin(database, queue, lifecycle)
    await queue.beat(job)
    async with database.transaction() as connection:
        current = await asset_now(database, asset)
        await lifecycle.change(connection, current, AssetStatus.DELETED, at=AT)
    with pytest.raises(LostLeaseError):
        await queue.beat(job)


@pytest.mark.parametrize(("counted", "tries"), [(True, 1), (False, 0)])
async def test_a_job_given_back_is_claimed_again(
    sign_api, intake, database, queue, admin, counted, tries
):
    await notify(intake, *await sign_asset(sign_api))
    job = await claim(database, queue)
    await queue.give_back(job, why="later", delay_seconds=60, counted=counted)
    assert await admin.fetchval("SELECT tries FROM ingest_jobs") == tries
    assert await claim(database, queue) is None
    await admin.execute("UPDATE ingest_jobs SET not_before = now()")
    assert (await claim(database, queue)).id == job.id


@pytest.mark.parametrize("pictures_first", [True, False])
async def test_results_join_in_either_order_to_one_outcome(
    sign_api, intake, database, queue, lifecycle, outcomes, admin, pictures_first, made
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    job = await begin(database, queue, lifecycle)
    if pictures_first:
        await outcomes.thumbnailed(await made(company, asset))
    await outcomes.video_made(job, video())
    if not pictures_first:
        await outcomes.thumbnailed(await made(company, asset))
    await outcomes.thumbnailed(await made(company, asset))
    ready = await asset_now(database, asset)
    files = await files_now(database, asset)
    thumbnail, shown = files["thumbnail"], files["video"]
    assert (ready.status, thumbnail.key) == (
        "ready", picture_key(company, asset, 1, "thumbnail"),
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
        "another name": [mine(update={"name": "display"})],
        "a picture that nobody asked for": [honest, mine(update={"name": "display"})],
        "one picture often": [honest, honest],
    }


@pytest.mark.parametrize("forged", [*forgeries(_A_PICTURE), "an object that is not there"])
async def test_a_forged_answer_changes_nothing_and_the_asset_still_ends(
    sign_api, intake, database, queue, lifecycle, outcomes, admin, put, store, forged
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    job = await begin(database, queue, lifecycle)
    await outcomes.video_made(job, video())
    before = await admin.fetchval("SELECT sum(bytes) FROM company_usage")
    honest = await put(company, asset)
    if forged == "an object that is not there":
        await store.delete_prefix(honest.bucket, honest.key)
    lies = forgeries(honest).get(forged, [honest])
    lies = [one.model_copy(update={"size": 18 * 10**15}) for one in lies]
    await outcomes.thumbnailed(answer(ThumbnailMade(attempt=1, pictures=lies), company, asset))
    assert (await asset_now(database, asset)).status == "processing"
    assert await admin.fetchval("SELECT sum(bytes) FROM company_usage") == before

    honest = await put(company, asset)
    await outcomes.thumbnailed(answer(ThumbnailMade(attempt=1, pictures=[honest]), company, asset))
    ready = await asset_now(database, asset)
    thumbnail = (await files_now(database, asset))["thumbnail"]
    assert (ready.status, thumbnail.key) == ("ready", honest.key)
    assert await admin.fetchval("SELECT sum(bytes) FROM company_usage") == before + 9


async def test_after_a_forged_answer_the_attempt_asks_again(
    sign_api, intake, database, queue, lifecycle, outcomes, admin, put
):
    """The right answer may be lost: what is left is an attempt that has come to a stand."""
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    await outcomes.video_made(await begin(database, queue, lifecycle), video())
    forged = _A_PICTURE.model_copy(update={"key": "k"})
    await outcomes.thumbnailed(answer(ThumbnailMade(attempt=1, pictures=[forged]), company, asset))
    await admin.execute("UPDATE ingest_jobs SET finished_at = now() - interval '61 seconds'")
    await notify(intake, company, asset)
    assert (await claim(database, queue)).asset_id == asset


async def test_an_answers_sizes_are_those_in_storage(
    sign_api, intake, database, queue, lifecycle, outcomes, admin, put
):
    company, asset = await sign_asset(sign_api, content_type="image/jpeg")
    await notify(intake, company, asset)
    await begin(database, queue, lifecycle)
    pictures = [await put(company, asset, name=name) for name in ("thumbnail", "display")]
    lies = {"size": 18 * 10**15, "width": 2**40, "height": 2**40, "content_type": "text/html"}
    made = ThumbnailMade(attempt=1, pictures=[one.model_copy(update=lies) for one in pictures])
    await outcomes.thumbnailed(answer(made, company, asset))
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
    sign_api, intake, database, queue, lifecycle, outcomes, admin
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    await begin(database, queue, lifecycle)
    failed = answer(
        ThumbnailFailed(attempt=1, error=ErrorInfo(code="no_frame", message="None.")),
        company, asset,
    )  # fmt: skip
    await outcomes.thumbnailed(failed)
    await outcomes.thumbnailed(failed)
    assert (await asset_now(database, asset)).error_code == "no_frame"
    (outcome,) = await told(admin, "media_processed")
    assert outcome["error"] == {"code": "no_frame", "message": "None."}


async def test_pictures_that_are_in_cannot_fail_any_more(
    sign_api, intake, database, queue, lifecycle, outcomes, made
):
    """A request that is delivered twice may be answered twice, and differently."""
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    job = await begin(database, queue, lifecycle)
    await outcomes.thumbnailed(await made(company, asset))
    failed = ThumbnailFailed(attempt=1, error=ErrorInfo(code="no_frame", message="None."))
    await outcomes.thumbnailed(answer(failed, company, asset))
    assert (await asset_now(database, asset)).status == "processing"
    await outcomes.video_made(job, video())
    assert (await asset_now(database, asset)).status == "ready"


async def test_results_of_an_older_attempt_or_another_company_change_nothing(
    sign_api, intake, database, queue, lifecycle, outcomes, admin, made
):
    company, asset = await sign_asset(sign_api)
    await notify(intake, company, asset)
    old = await begin(database, queue, lifecycle)
    await outcomes.job_failed(old, PermanentError("bad", "Bad."))
    async with database.transaction() as connection:
        failed = await asset_now(database, asset)
        await lifecycle.change(connection, failed, AssetStatus.PROCESSING, at=AT, new_attempt=True)
    await notify(intake, company, asset)
    await outcomes.thumbnailed(await made(company, asset, attempt=1))
    await outcomes.thumbnailed(await made(uuid4(), asset, attempt=2))
    assert (await files_now(database, asset)).keys() == {"original"}
    job = await claim(database, queue)
    assert job.attempt == 2


@pytest.mark.parametrize("before", list(AssetStatus))
@pytest.mark.parametrize("after", list(AssetStatus))
async def test_only_allowed_changes_happen(sign_api, database, lifecycle, admin, before, after):
    _, asset_id = await sign_asset(sign_api)
    await admin.execute("UPDATE media_assets SET status = $1", before.value)
    asset = await asset_now(database, asset_id)
    async with database.transaction() as connection:
        if after not in ALLOWED[before]:
            with pytest.raises(ForbiddenTransitionError):
                await lifecycle.change(connection, asset, after, at=AT)
            return
        changed = await lifecycle.change(connection, asset, after, at=AT)
        assert changed.status == after
        # The same change again comes too late.
        assert await lifecycle.change(connection, asset, after, at=AT) is None
    assert await admin.fetchval("SELECT count(*) FROM asset_transitions") == 1
    assert [data["status"] for data in await told(admin, "media_status")] == [after.value]

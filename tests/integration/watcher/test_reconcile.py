"""What the watcher does about assets that do not go on by themselves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_contracts import ObjectRef
from media_records.backlog import oldest_items
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.errors import TransientError
from media_runtime.kafka.producer import Producer
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import ObjectStore, parse_notification, upload_key
from minio.notificationconfig import NotificationConfig
from watcher.monitoring.backlog import BacklogCheck
from watcher.reconcile.assets import Reconciler, VerifyBuckets

QUOTA = 10**6


@pytest.fixture
def reconciler(database, store, settings):
    # Rows are looked at where they wait: no relay runs here.
    return make_reconciler(database, store, settings)


def make_reconciler(database, store, settings):
    outbox = Outbox(database, Producer(settings, name="t"), service="watcher")
    return Reconciler(work=Work(database, outbox), store=store, settings=settings)


@pytest.fixture
async def company(store):
    """A company with a bucket."""
    found = uuid4()
    await store.ensure_bucket(found, quota_bytes=QUOTA)
    return found


@pytest.fixture
def signed(add, store, company):
    """Insert assets of the company that were signed and last changed some minutes ago."""

    async def insert(status="pending", *, ago, **columns):
        moment = datetime.now(UTC) - timedelta(minutes=ago)
        (asset,) = await add(
            status, company=company, bucket=store.bucket_of(company), created_at=moment,
            check_at=moment, updated_at=moment, grant_expires_at=moment + timedelta(hours=1),
            **columns,
        )  # fmt: skip
        return asset

    return insert


@pytest.fixture
def upload(store, company):
    """Store the file of an asset and return its version."""

    async def put(asset):
        bucket, key = store.bucket_of(company), upload_key(company, asset)
        await store.upload_bytes(bucket, key, b"12345", content_type="x/y", cache_control="no")
        return (await store.stat(ObjectRef(bucket=bucket, key=key))).version_id

    return put


@pytest.fixture
def told(admin):
    """Return what waits for Kafka: assets fed to ingest, and statuses told to clients."""

    async def look():
        rows = await admin.fetch("SELECT topic, key, value FROM outbox ORDER BY id")
        fed = [row["key"].decode() for row in rows if row["topic"] == "media_ingest"]
        statuses = [
            json.loads(row["value"])["data"]["status"]
            for row in rows
            if row["topic"] == "media_status"
        ]
        return fed, statuses

    return look


async def test_an_upload_that_was_not_announced_is_fed_to_ingest(
    reconciler, signed, upload, company, store, admin
):
    asset = await signed(ago=2)
    version = await upload(asset)
    assert await reconciler() == {"requeued": 1}
    (row,) = await admin.fetch("SELECT * FROM outbox")
    assert (row["producer"], row["topic"], row["company_id"]) == (
        "watcher",
        "media_ingest",
        company,
    )
    (stored,) = parse_notification(row["value"])
    assert stored.owner == (company, asset)
    assert (stored.bucket, stored.version_id, stored.size) == (
        store.bucket_of(company),
        version,
        5,
    )


async def test_an_upload_that_ingest_has_not_heard_of_is_backlog(
    reconciler, signed, upload, database, settings, admin, value
):
    """Else nobody would notice that ingest is down."""
    await upload(await signed(ago=2))
    await BacklogCheck(database, settings)()
    assert value("backlog") == 0
    await reconciler()
    await BacklogCheck(database, settings)()
    assert value("backlog") == 1
    (item,) = await oldest_items(database, 5)
    assert item.age_seconds == pytest.approx(0, abs=30)
    found = await admin.fetchval("SELECT found_at FROM media_assets")
    await admin.execute("UPDATE media_assets SET check_at = now() - interval '1 hour'")
    await reconciler()
    assert await admin.fetchval("SELECT found_at FROM media_assets") == found


async def test_a_fresh_grant_is_left_alone(reconciler, signed, upload, told):
    await upload(await signed(ago=0.5))
    assert await reconciler() == {}
    assert await told() == ([], [])


async def test_an_unused_grant_is_looked_at_less_and_less_often(reconciler, signed, admin):
    await signed(ago=2)
    assert await reconciler() == {"waits": 1}
    assert await reconciler() == {}
    again = await admin.fetchval("SELECT check_at - now() FROM media_assets")
    assert again.total_seconds() == pytest.approx(120, abs=10)


async def test_a_grant_that_lapsed_unused_expires_and_is_told(reconciler, signed, told, admin):
    asset = await signed(ago=80)
    assert await reconciler() == {"expired": 1}
    assert await told() == ([], ["expired"])
    assert await admin.fetchval("SELECT status FROM media_assets WHERE id = $1", asset) == "expired"
    (change,) = await admin.fetch("SELECT from_status, to_status, service FROM asset_transitions")
    assert tuple(change) == ("pending", "expired", "watcher")


async def test_a_lapsed_grant_whose_file_is_there_is_no_loss(reconciler, signed, upload, told):
    asset = await signed(ago=80)
    await upload(asset)
    assert await reconciler() == {"requeued": 1}
    assert await told() == ([str(asset)], [])


async def test_an_upload_under_way_when_its_grant_lapses_has_time(reconciler, signed):
    await signed(ago=70)
    assert await reconciler() == {"waits": 1}


async def test_rows_of_grants_that_lapsed_long_ago_are_removed(reconciler, signed, upload, admin):
    week = 7 * 24 * 60
    unused = await signed("expired", ago=week + 1)
    fresh = await signed("expired", ago=week - 1)
    late = await signed("expired", ago=week + 1)
    await upload(late)
    assert await reconciler() == {"removed": 1, "requeued": 1}
    assert await reconciler() == {}, "it is not fed again and again"
    left = {row["id"] for row in await admin.fetch("SELECT id FROM media_assets")}
    assert left == {fresh, late}, f"{unused} alone is forgotten"


@pytest.mark.parametrize(
    ("tasks", "effect"),
    [
        ({"queued": None}, "waits"),
        ({"running": None}, "waits"),
        ({"done": 15, "blocked": None}, "waits"),
        ({"done": 15, "running": None}, "waits"),
        ({"done": 5}, "waits"),
        ({"done": 15}, "requeued"),
        ({"cancelled": 15}, "requeued"),
        ({"done": 15, "failed": 5}, "waits"),
        ({}, "requeued"),
    ],
)
async def test_an_attempt_without_an_open_task_is_started_again(
    reconciler, signed, admin, told, tasks, effect
):
    asset = await signed("processing", ago=30, uploaded_at=datetime.now(UTC))
    for state, ended_ago in tasks.items():
        await add_task(admin, asset, state, ended_ago)
    assert await reconciler() == {effect: 1}
    assert await told() == ([str(asset)] if effect == "requeued" else [], [])


async def add_task(admin, asset, state, ended_ago, *, attempt=1):
    await admin.execute(
        "INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool, state, waits_for,"
        " finished_at) SELECT company_id, id, $4, $2, $2, 'encode', $2,"
        " ($2 = 'blocked')::int, now() - make_interval(mins => $3)"
        " FROM media_assets WHERE id = $1",
        asset, state, ended_ago, attempt,
    )  # fmt: skip


async def test_what_an_older_attempt_left_does_not_count_as_work(reconciler, signed, admin, told):
    asset = await signed("processing", ago=30, uploaded_at=datetime.now(UTC), attempt=2)
    await add_task(admin, asset, "queued", None)
    assert await reconciler() == {"requeued": 1}
    assert await told() == ([str(asset)], [])


async def test_finished_assets_are_not_looked_at(reconciler, signed, upload):
    for status in ("ready", "failed", "deleted", "cancelled"):
        await upload(await signed(status, ago=10_000))
    assert await reconciler() == {}


async def test_what_moved_on_meanwhile_is_left_alone(
    database, reconciler, signed, upload, told, admin
):
    await upload(await signed(ago=2))
    seen = await database.fetch(
        "SELECT *, false AS has_work, NULL::timestamptz AS ended_at FROM media_assets"
    )
    await admin.execute("UPDATE media_assets SET uploaded_at = now()")
    database.fetch = _returning(seen, [])
    assert await reconciler() == {"moved_on": 1}
    assert await told() == ([], [])


def _returning(*answers):
    waiting = list(answers)

    async def fetch(*_):
        return waiting.pop(0)

    return fetch


async def test_more_than_a_batch_is_worked_through(database, store, settings, signed):
    for _ in range(5):
        await signed(ago=80)
    small = settings.model_copy(update={"reconcile_batch": 2})
    assert await make_reconciler(database, store, small)() == {"expired": 5}


async def test_while_storage_is_away_nothing_expires(database, settings, signed, told):
    away = ObjectStore(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    await signed(ago=80)
    with pytest.raises(TransientError):
        await make_reconciler(database, away, settings)()
    away.close()
    assert await told() == ([], [])


@pytest.fixture
def verify(database, store, settings):
    return VerifyBuckets(database=database, store=store, settings=settings)


async def test_a_bucket_that_lost_its_notification_is_repaired(verify, store, company, admin):
    bucket = store.bucket_of(company)
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes, verified_at)"
        " VALUES ($1, $2, $3, now() - interval '11 minutes')",
        company, bucket, QUOTA,
    )  # fmt: skip
    store._client.set_bucket_notification(bucket, NotificationConfig())
    assert await verify() == 1
    assert await store.bucket_flaw(company, quota_bytes=QUOTA) is None
    assert await verify() == 0, "it is not looked at again so soon"
    await admin.execute("UPDATE companies SET verified_at = now() - interval '11 minutes'")
    assert await verify() == 0, "it was right"


async def test_a_bucket_that_is_gone_is_made_again(verify, store, admin):
    company = uuid4()
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes, verified_at)"
        " VALUES ($1, 'b', $2, now() - interval '11 minutes')",
        company, QUOTA,
    )  # fmt: skip
    assert await verify() == 1
    assert await store.bucket_flaw(company, quota_bytes=QUOTA) is None


async def test_an_upload_in_parts_that_nobody_completed_is_aborted(
    database, store, settings, company, admin
):
    bucket, key = store.bucket_of(company), output_key(company, uuid4(), 1, "video.mp4")
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes, verified_at)"
        " VALUES ($1, $2, $3, 'epoch')",
        company, bucket, QUOTA,
    )  # fmt: skip
    upload = store._client._create_multipart_upload(bucket, key, {})
    store._client._upload_part(bucket, key, b"x" * 9, {}, upload, 1)
    await VerifyBuckets(database=database, store=store, settings=settings)()
    (found,) = await store.unfinished_uploads(bucket)
    assert (found.key, found.upload_id) == (key, upload), "a day has not passed"
    await admin.execute("UPDATE companies SET verified_at = 'epoch'")
    hasty = settings.model_copy(update={"multipart_keep_seconds": 0.001})
    await VerifyBuckets(database=database, store=store, settings=hasty)()
    assert await store.unfinished_uploads(bucket) == []
    await store.abort_upload(found)

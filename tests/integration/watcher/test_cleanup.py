"""What waits to be removed, by rule: as metrics, and as a plan that removes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_contracts import ObjectRef
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import quarantine_key, upload_key
from watcher.cleanup.plan import CleanupCheck, plan_cleanup
from watcher.cleanup.sweep import Sweep
from watcher.metrics import CLEANED
from watcher.rules import Rule

NOTHING = {"due": 0, "objects": None, "bytes": None}


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


@pytest.fixture
async def company(store, admin):
    """A company with a bucket, and a row that says so."""
    found = uuid4()
    bucket = await store.ensure_bucket(found, quota_bytes=10**6)
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, 1000000)",
        found, bucket,
    )  # fmt: skip
    return found


@pytest.fixture
def put(store, company):
    async def store_bytes(key, data):
        bucket = store.bucket_of(company)
        await store.upload_bytes(bucket, key, data, content_type="x/y", cache_control="no-store")
        return (await store.stat(ObjectRef(bucket=bucket, key=key))).version_id

    return store_bytes


@pytest.fixture
async def planted(add, add_file, admin, company, store, put):
    """Something for each rule, due since a known time."""
    of = {"company": company, "bucket": store.bucket_of(company)}
    for old in await add("ready", 2, created_at=ago(days=366), **of):
        await add_file(old, "image", output_key(company, old, 1, "image"), size=9)
    (deleted,) = await add("deleted", sweep_at=ago(minutes=30), **of)
    await put(upload_key(company, deleted), b"12345")
    (dead,) = await add("ready", attempt=2, sweep_at=ago(minutes=20), **of)
    await put(output_key(company, dead, 1, "video.mp4"), b"123")
    await put(output_key(company, dead, 1, "thumbnail.jpg"), b"12")
    (refused,) = await add("failed", sweep_at=ago(minutes=10), **of)
    version = await put(quarantine_key(company, refused), b"1234567")
    await admin.execute(
        "UPDATE media_assets SET updated_at = now() - interval '8 days' WHERE id = $1", refused
    )
    await add_file(refused, "original", quarantine_key(company, refused), version=version)
    await add("expired", 3, updated_at=ago(days=7, minutes=5), **of)
    await admin.execute(
        "INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response,"
        " created_at) VALUES ($1, 'k', 'h', $2, '{}', $3)",
        company, dead, ago(hours=25),
    )  # fmt: skip
    await admin.execute(
        "INSERT INTO event_tickets VALUES ('t', $1, 's', now(), $2)", company, ago(minutes=4)
    )
    store._client._create_multipart_upload(of["bucket"], f"{company}/outputs/x", {})


def plan_of(plan):
    return {
        due.rule.value: {"due": due.due, "objects": due.objects, "bytes": due.bytes} for due in plan
    }


async def test_a_plan_says_for_each_rule_what_goes_and_removes_nothing(
    database, store, settings, planted, company
):
    hasty = settings.model_copy(update={"multipart_keep_seconds": 0.001})
    before = await store.objects(store.bucket_of(company), all_versions=True)
    for _ in range(2):
        plan = plan_of(await plan_cleanup(database, store, hasty, assets=100))
        assert plan == {
            "retention": {"due": 2, "objects": None, "bytes": 2 * (1 + 9)},
            "deletions": {"due": 1, "objects": 1, "bytes": 5},
            "leftovers": {"due": 1, "objects": 2, "bytes": 5},
            "quarantine": {"due": 1, "objects": 1, "bytes": 7},
            "versions": NOTHING,
            "grants": {**NOTHING, "due": 3},
            "keys": {**NOTHING, "due": 1},
            "tickets": {**NOTHING, "due": 1},
            "deliveries": NOTHING,
            "batches": NOTHING,
            "multipart": {**NOTHING, "due": 1},
        }
    assert await store.objects(store.bucket_of(company), all_versions=True) == before


async def test_what_is_due_is_exported_with_the_age_of_the_oldest(
    database, store, settings, planted, value
):
    look = CleanupCheck(database, settings)
    assert await look() == ()
    assert {
        rule: (value("cleanup_due", rule=rule), value("cleanup_oldest_seconds", rule=rule))
        for rule in ("retention", "deletions", "leftovers", "quarantine", "grants", "keys")
    } == {
        "retention": (2, pytest.approx(86400, abs=60)),
        "deletions": (1, pytest.approx(30 * 60, abs=60)),
        "leftovers": (1, pytest.approx(20 * 60, abs=60)),
        "quarantine": (1, pytest.approx(10 * 60, abs=60)),
        "grants": (3, pytest.approx(5 * 60, abs=60)),
        "keys": (1, pytest.approx(3600, abs=60)),
    }
    before = {rule: CLEANED.labels(rule)._value.get() for rule in Rule}
    await Sweep(database, store, settings)()
    done = {rule.value for rule in Rule if CLEANED.labels(rule)._value.get() > before[rule]}
    assert done == {"deletions", "leftovers", "quarantine", "keys", "tickets"}
    await look()
    assert [value("cleanup_due", rule=rule) for rule in done] == [0] * 5


async def test_nothing_is_due_in_an_empty_database(database, store, settings):
    plan = plan_of(await plan_cleanup(database, store, settings, assets=100))
    assert plan.pop("retention") == {"due": 0, "objects": None, "bytes": 0}
    assert list(plan.values()) == [NOTHING] * 10

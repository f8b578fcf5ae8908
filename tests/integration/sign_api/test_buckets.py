"""A company's bucket: made with all its settings, and checked that it has them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from media_runtime.database.postgres import Database
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore, StorageUnavailableError
from minio.notificationconfig import NotificationConfig
from minio.versioningconfig import SUSPENDED, VersioningConfig
from sign_api.use_cases import BucketNotReadyError, Buckets

from support.databases import service_url
from support.eventually import eventually

QUOTA = 1_000_000
PHOTO = {"fileName": "photo.jpg", "size": 1000, "type": "image/jpeg"}


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


async def test_the_first_grant_makes_a_bucket_with_notification_versions_and_quota(company, store):
    await company.sign()
    bucket = store.bucket_of(company.id)

    found = store._client.get_bucket_notification(bucket)
    prefixes = {target.prefix_filter_rule.value for target in found.queue_config_list}
    assert prefixes == {f"{company.id}/uploads/"}
    assert {target.queue.split(":")[-2] for target in found.queue_config_list} == {"INGEST", "FAST"}
    assert store._client.get_bucket_versioning(bucket).status == "Enabled"
    assert await store.bucket_flaw(company.id, quota_bytes=1_000_000_000_000) is None


async def test_many_first_grants_at_once_are_all_given(company):
    await asyncio.gather(*(company.sign() for _ in range(30)))


async def test_a_new_company_is_told_to_come_back_while_nobody_makes_buckets(
    company, http, other_company, parts
):
    """The service that the internet reaches has no login that could."""
    await company.sign()
    async with parts.another("sign_api", SIGN_API_BUCKET_WAIT_SECONDS="0.5") as url:
        with parts.down("watcher"):
            answer = await http.post(
                f"{url}/api/media/sign", json=PHOTO, headers=other_company.headers
            )
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_not_ready")
            assert int(answer.headers["retry-after"]) > 0
            await company.sign()
    await other_company.sign()


async def test_a_bucket_that_is_long_in_making_holds_up_no_other_company(
    database_name, admin, store
):
    """Red with one lock for all: a restart forgets who is known, and all wait for the slow one."""
    slow, known = uuid4(), uuid4()
    await admin.execute("INSERT INTO companies VALUES ($1, 'b', 1)", known)
    url = service_url(database_name, "sign_api")
    async with Database.connect(url, name="t", size=2) as database:
        buckets = Buckets(database, store, wait_seconds=2)
        waiting = [asyncio.create_task(buckets.of(slow)) for _ in range(50)]
        await eventually(lambda: admin.fetchval("SELECT 1 FROM bucket_requests"))
        async with asyncio.timeout(1):
            assert await buckets.of(known) == store.bucket_of(known)
        assert not any(task.done() for task in waiting)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {BucketNotReadyError}


async def test_making_a_bucket_again_changes_nothing(store):
    company_id = uuid4()
    made = [await store.ensure_bucket(company_id, quota_bytes=QUOTA) for _ in range(2)]
    assert made == [store.bucket_of(company_id)] * 2
    assert await store.bucket_flaw(company_id, quota_bytes=QUOTA) is None


async def test_a_missing_notification_is_noticed(store):
    company_id = uuid4()
    bucket = await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    store._client.set_bucket_notification(bucket, NotificationConfig())

    assert "notification" in await store.bucket_flaw(company_id, quota_bytes=QUOTA)
    await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    assert await store.bucket_flaw(company_id, quota_bytes=QUOTA) is None


async def test_a_quarantine_without_a_lifetime_is_noticed(store):
    company_id = uuid4()
    bucket = await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    (rule,) = store._client.get_bucket_lifecycle(bucket).rules
    assert (rule.rule_filter.prefix, rule.expiration.days) == (f"{company_id}/quarantine/", 7)
    store._client.delete_bucket_lifecycle(bucket)

    assert "quarantine" in await store.bucket_flaw(company_id, quota_bytes=QUOTA)
    await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    assert await store.bucket_flaw(company_id, quota_bytes=QUOTA) is None


async def test_a_notification_to_one_target_of_two_is_noticed(store):
    company_id = uuid4()
    bucket = await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    config = store._client.get_bucket_notification(bucket)
    config.queue_config_list.pop()
    store._client.set_bucket_notification(bucket, config)

    assert "notification" in await store.bucket_flaw(company_id, quota_bytes=QUOTA)
    await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    assert await store.bucket_flaw(company_id, quota_bytes=QUOTA) is None


async def test_another_quota_is_noticed(store):
    company_id = uuid4()
    await store.ensure_bucket(company_id, quota_bytes=QUOTA)

    assert "quota" in await store.bucket_flaw(company_id, quota_bytes=QUOTA + 1)


async def test_a_bucket_without_versions_is_noticed(store):
    company_id = uuid4()
    bucket = await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    store._client.set_bucket_versioning(bucket, VersioningConfig(SUSPENDED))

    assert "versioning" in await store.bucket_flaw(company_id, quota_bytes=QUOTA)


async def test_a_missing_bucket_is_noticed(store):
    assert "no such bucket" in await store.bucket_flaw(uuid4(), quota_bytes=QUOTA)


async def test_a_target_that_storage_does_not_know_fails_the_making(store):
    settings = StorageSettings(s3_notification_arns="arn:minio:sqs::NOWHERE:kafka")
    elsewhere = ObjectStore(settings)
    try:
        with pytest.raises(StorageUnavailableError):
            await elsewhere.ensure_bucket(uuid4(), quota_bytes=QUOTA)
    finally:
        elsewhere.close()

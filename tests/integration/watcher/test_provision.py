"""Buckets of companies that asked for their first grant."""

from __future__ import annotations

from uuid import uuid4

import pytest
from media_records.companies import alone_with_bucket
from media_runtime.database.postgres import Database
from watcher.metrics import BUCKET_FAILURES, BUCKETS
from watcher.reconcile.buckets import BucketProvisioner

from support.databases import service_url
from support.eventually import eventually


@pytest.fixture
async def want(database_name):
    """Ask for a company's bucket as the sign API does."""
    url = service_url(database_name, "sign_api")
    async with Database.connect(url, name="t", size=1) as sign_api:

        async def ask(company):
            async with sign_api.company(company) as connection:
                await connection.execute("INSERT INTO bucket_requests VALUES ($1)", company)

        yield ask


@pytest.fixture
def has_bucket(admin):
    async def look(company):
        return await admin.fetchval(
            "SELECT bucket FROM companies WHERE company_id = $1 AND NOT EXISTS"
            " (SELECT 1 FROM bucket_requests WHERE company_id = $1)",
            company,
        )

    return look


async def test_who_asks_has_a_bucket_a_moment_later(database, store, settings, want, has_bucket):
    companies = [uuid4() for _ in range(20)]
    async with BucketProvisioner(database, store, settings).running():
        for company in companies:
            await want(company)
        for company in companies:
            assert await eventually(lambda one=company: has_bucket(one), timeout=10)
    for company in companies:
        quota = settings.company_quota_bytes
        assert await store.bucket_flaw(company, quota_bytes=quota) is None


async def test_two_replicas_make_each_bucket_once(database, store, settings, want, has_bucket):
    """Each setting of a bucket overwrites the others' as they were when it was begun."""
    companies, made = [uuid4() for _ in range(20)], BUCKETS._value.get()
    first, second = (BucketProvisioner(database, store, settings) for _ in range(2))
    async with first.running(), second.running():
        for company in companies:
            await want(company)
        for company in companies:
            await eventually(lambda one=company: has_bucket(one), timeout=10)
        assert BUCKETS._value.get() == made + len(companies)
    assert all([await store.bucket_flaw(c, quota_bytes=10**12) is None for c in companies])


async def test_a_bucket_that_another_replica_makes_is_left_to_it(
    database, store, settings, want, has_bucket
):
    """A replica that ends in the midst of it leaves it to the others."""
    company, other = uuid4(), uuid4()
    await want(company)
    async with BucketProvisioner(database, store, settings).running():
        async with alone_with_bucket(database, company) as session:
            assert session
            await want(other)
            await eventually(lambda: has_bucket(other), timeout=10)
            assert not await has_bucket(company)
            assert "no such bucket" in await store.bucket_flaw(company, quota_bytes=1)
        await eventually(lambda: has_bucket(company), timeout=10)


async def test_a_bucket_that_cannot_be_made_holds_up_nobody_and_is_tried_again(
    database, store, settings, want, has_bucket, admin
):
    """Red when wishes are fulfilled one after the other, the oldest first."""
    bad = [uuid4() for _ in range(9)]
    for company in bad:
        await want(company)
        # A quota that no store takes.
        await admin.execute("INSERT INTO companies VALUES ($1, 'b', -1)", company)
    failed, good = BUCKET_FAILURES._value.get(), uuid4()
    async with BucketProvisioner(database, store, settings).running():
        await eventually(lambda: BUCKET_FAILURES._value.get() >= failed + len(bad))
        await want(good)
        await eventually(lambda: has_bucket(good), timeout=5)
        assert not await has_bucket(bad[0])
        await admin.execute("UPDATE companies SET quota_bytes = 1000000")
        for company in bad:
            await eventually(lambda one=company: has_bucket(one), timeout=10)
    assert await store.bucket_flaw(bad[0], quota_bytes=1_000_000) is None


async def test_a_company_that_has_a_bucket_keeps_its_quota(
    database, store, settings, want, has_bucket, admin
):
    company = uuid4()
    await admin.execute("INSERT INTO companies VALUES ($1, 'b', 777)", company)
    await want(company)
    async with BucketProvisioner(database, store, settings).running():
        await eventually(lambda: has_bucket(company))
    assert await store.bucket_flaw(company, quota_bytes=777) is None

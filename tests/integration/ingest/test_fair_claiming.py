"""Whose job is next: nobody's queue holds another company up."""

from __future__ import annotations

from uuid import UUID

import pytest
from ingest.jobs import JobQueue, enqueue
from media_records.lifecycle import find_asset
from media_runtime.postgres import Database

from support.assets import sign_asset
from support.databases import service_url

# In the order of their ids, as claims that nothing else decides go by it.
BIG, SMALL, THIRD = (UUID(int=number) for number in (1, 2, 3))


@pytest.fixture
async def database(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=5) as db:
        yield db


@pytest.fixture
async def upload(database, database_name):
    """Queue jobs of a company."""
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:

        async def jobs(company, count=1):
            for _ in range(count):
                _, asset_id = await sign_asset(db, company)
                async with database.transaction() as connection:
                    asset = await find_asset(connection, asset_id)
                    await enqueue(connection, asset, version_id="v", size=1)

        yield jobs


@pytest.fixture
def claim(database):
    """Claim the next job, in a transaction of its own."""
    queue = JobQueue(database, owner="t", lease_seconds=30)

    async def one():
        async with database.transaction() as connection:
            return await queue.claim(connection)

    return one


@pytest.fixture
def finish(admin):
    async def end(job):
        await admin.execute("UPDATE ingest_jobs SET state = 'done' WHERE id = $1", job.id)

    return end


async def companies(claim, count):
    return [job.company_id for job in [await claim() for _ in range(count)] if job]


async def test_a_long_queue_holds_no_other_company_up(upload, claim):
    await upload(BIG, 20)
    assert await companies(claim, 2) == [BIG, BIG]
    await upload(SMALL, 1)
    assert await companies(claim, 2) == [SMALL, BIG]


async def test_one_worker_serves_companies_in_turns(upload, claim, finish):
    await upload(BIG, 6)
    await upload(SMALL, 2)
    await upload(THIRD, 2)
    served = []
    for _ in range(8):
        job = await claim()
        served.append(job.company_id)
        await finish(job)
    assert served == [BIG, SMALL, THIRD, BIG, SMALL, THIRD, BIG, BIG]


async def test_the_company_with_the_least_running_work_is_next(upload, claim, finish):
    await upload(BIG, 4)
    await upload(SMALL, 4)
    jobs = [await claim() for _ in range(4)]
    for job in jobs:
        if job.company_id == SMALL:
            await finish(job)
    assert await companies(claim, 2) == [SMALL, SMALL]
    assert set(await companies(claim, 1)) == {BIG}, "both have two under way"


async def test_jobs_of_one_company_keep_their_order(upload, claim, admin):
    await upload(BIG, 3)
    await admin.execute(
        "UPDATE ingest_jobs SET priority = -1 WHERE id = (SELECT max(id) FROM ingest_jobs)"
    )
    ids = [(await claim()).id for _ in range(3)]
    assert ids == [max(ids), *sorted(ids)[:2]]


async def test_a_lost_worker_counts_as_no_running_work(upload, claim, admin):
    await upload(BIG, 2)
    first = await claim()
    await admin.execute("UPDATE ingest_jobs SET lease_until = now() - interval '1 second'"
                        " WHERE state = 'running'")  # fmt: skip
    await upload(SMALL)
    assert (await claim()).company_id == SMALL, "unserved so far"
    again = await claim()
    assert (again.id, again.fence) == (first.id, 2)


async def test_claims_at_once_pass_one_another(upload, database, claim):
    """A job that another transaction is claiming is not waited for."""
    await upload(BIG, 2)
    await upload(SMALL, 1)
    queue = JobQueue(database, owner="first", lease_seconds=30)
    async with database.transaction() as connection:
        jobs = [await queue.claim(connection), await claim(), await claim()]
    assert len({job.id for job in jobs}) == 3
    assert await claim() is None


async def test_an_empty_queue_has_no_next_job(claim):
    assert await claim() is None

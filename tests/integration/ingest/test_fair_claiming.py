"""Whose job is next: nobody's queue holds another company up."""

from __future__ import annotations

from uuid import UUID

import pytest
from ingest import jobs
from ingest.jobs import JobQueue, enqueue
from media_contracts import MediaKind
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

        async def jobs(company, count=1, content_type="video/mp4"):
            for _ in range(count):
                _, asset_id = await sign_asset(db, company, content_type=content_type)
                async with database.transaction() as connection:
                    asset = await find_asset(connection, asset_id)
                    await enqueue(connection, asset)

        yield jobs


@pytest.fixture
def claim(database):
    """Claim the next job, in a transaction of its own."""
    queue = JobQueue(database, owner="t", lease_seconds=30, most_asked=2)

    async def one(*kinds):
        async with database.transaction() as connection:
            return await queue.claim(connection, kinds or tuple(MediaKind))

    return one


@pytest.fixture
def ask(database):
    """Do as a worker does with an image: ask for its pictures, and end the job."""

    async def asked(job):
        async with database.transaction() as connection:
            await jobs.ask(connection, job)
            await jobs.end(connection, job, "done")

    return asked


@pytest.fixture
def in_the_way(database):
    queue = JobQueue(database, owner="t", lease_seconds=30)

    async def look(job):
        return await queue.is_in_the_way(job, seconds=30)

    return look


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


async def test_no_image_waits_for_a_film(upload, claim):
    await upload(BIG, 3)
    await upload(BIG, 1, "image/png")
    await upload(SMALL, 1, "image/png")
    images = [await claim(MediaKind.IMAGE) for _ in range(2)]
    assert {job.company_id for job in images} == {BIG, SMALL}
    assert {job.kind for job in images} == {"image"}
    assert await claim(MediaKind.IMAGE) is None


async def test_a_company_gets_its_films_and_images_in_the_order_in_which_they_came(upload, claim):
    for content_type in ("video/mp4", "image/png", "image/png", "video/mp4"):
        await upload(BIG, 1, content_type)
    ids = [(await claim()).id for _ in range(4)]
    assert ids == sorted(ids)


async def test_a_company_that_is_owed_many_pictures_waits_with_its_next_image(
    upload, claim, ask, database
):
    """The thumbnailer's topic has no turns: what is in it is before everybody else's."""
    await upload(BIG, 4, "image/png")
    owed = [await claim(), await claim()]
    for job in owed:
        await ask(job)
    assert await claim() is None
    await upload(SMALL, 1, "image/png")
    await upload(BIG, 1, "video/mp4")
    assert (await claim()).company_id == SMALL
    assert (await claim()).kind == "video"
    for company, kind in ((SMALL, None), (BIG, "image")):  # another's answer is none
        async with database.transaction() as connection:
            await jobs.answered(connection, company, owed[0].asset_id, owed[0].attempt)
        job = await claim()
        assert (job and job.kind) == kind
    assert (await claim()).kind == "image", "what is claimed is not asked yet"


async def test_an_answer_that_never_comes_is_not_waited_for(upload, claim, ask, admin):
    await upload(BIG, 3, "image/png")
    for _ in range(2):
        await ask(await claim())
    assert await claim() is None
    await admin.execute("UPDATE ingest_jobs SET asked_at = asked_at - interval '11 minutes'")
    assert await claim() is not None


async def test_the_last_of_several_jobs_makes_way_for_a_company_without_any(
    upload, claim, in_the_way, admin
):
    await upload(BIG, 2)
    first, last = await claim(), await claim()
    assert not await in_the_way(last), "nobody waits"
    await upload(SMALL)
    assert not await in_the_way(last), "nobody has waited for long"
    await admin.execute(
        "UPDATE ingest_jobs SET not_before = now() - interval '31 s' WHERE state = 'queued'"
    )
    assert await in_the_way(last)
    assert not await in_the_way(first), "one is enough"
    assert (await claim()).company_id == SMALL
    await upload(SMALL)
    await admin.execute(
        "UPDATE ingest_jobs SET not_before = now() - interval '31 s' WHERE state = 'queued'"
    )
    assert not await in_the_way(last), "it has one under way"


async def test_a_companys_only_job_makes_no_way(upload, claim, in_the_way, admin):
    await upload(BIG)
    job = await claim()
    await upload(SMALL)
    await admin.execute("UPDATE ingest_jobs SET not_before = now() - interval '31 s'")
    assert not await in_the_way(job)


async def test_what_waits_for_pictures_asks_nobody_to_make_way(upload, claim, in_the_way, admin):
    await upload(BIG, 2)
    last = [await claim(), await claim()][-1]
    await upload(SMALL, 1, "image/png")
    await admin.execute("UPDATE ingest_jobs SET not_before = now() - interval '31 s'")
    assert not await in_the_way(last), "images have workers of their own"

"""How workers settle jobs that end in each possible way, and that they stop when told to."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ingest import jobs
from ingest.intake import Intake
from ingest.jobs import JobQueue, LostLeaseError
from ingest.metrics import JOBS
from ingest.outcomes import Outcomes
from ingest.settings import IngestSettings
from ingest.wakeup import Wakeup
from ingest.worker import Workers
from media_contracts import AssetStatus
from media_records.lifecycle import Lifecycle
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka import Producer
from media_runtime.outbox import Outbox
from media_runtime.postgres import Database
from media_runtime.settings import KafkaSettings
from media_runtime.storage import ObjectStore, build_notification

from support.assets import asset_now, sign_asset, stored
from support.databases import service_url
from support.eventually import eventually

AT = datetime(2026, 11, 23, tzinfo=UTC)


class Work:
    """What a worker does with a job: as the test says."""

    def __init__(self) -> None:
        self.jobs = []
        self.ends = []
        self.stopped = 0

    async def __call__(self, job, asset) -> None:
        self.jobs.append((job, asset))
        end = self.ends.pop(0) if self.ends else None
        try:
            if isinstance(end, asyncio.Event):
                await end.wait()
            elif end is not None:
                raise end
        except asyncio.CancelledError:
            self.stopped += 1
            raise


@pytest.fixture
async def database(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=5) as db:
        yield db


@pytest.fixture
def outbox(database):
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    return Outbox(database, Producer(nowhere, name="t"), service="ingest")


@pytest.fixture
def lifecycle(outbox):
    return Lifecycle(outbox, service="ingest")


@pytest.fixture
def settings(database_name):
    return IngestSettings(
        kafka_bootstrap_servers="127.0.0.1:9",
        database_url=service_url(database_name, "ingest"),
        s3_endpoint_url="http://127.0.0.1:9",
        s3_access_key="k",
        s3_secret_key="s",
        scratch_dir=Path("/nowhere"),
        ingest_workers=1,
        lease_seconds=30,
        heartbeat_seconds=0.05,
        job_poll_seconds=0.05,
        job_max_tries=3,
        job_retry_seconds=1000,
    )


@pytest.fixture
def store(settings):
    found = ObjectStore(settings)
    yield found
    found.close()


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def new_job():
    return Wakeup()


@pytest.fixture
def workers(database, store, outbox, lifecycle, settings, work, new_job):
    return Workers(
        settings=settings,
        database=database,
        queue=JobQueue(database, owner="t", lease_seconds=settings.lease_seconds),
        process=work,
        outcomes=Outcomes(database, store, outbox, lifecycle, Wakeup()),
        lifecycle=lifecycle,
        outbox=outbox,
        new_job=new_job,
    )


@pytest.fixture
def notify(database, store, outbox, lifecycle, new_job):
    intake = Intake(
        reopen_seconds=60,
        give_up_seconds=3600,
        database=database,
        outbox=outbox,
        lifecycle=lifecycle,
        outcomes=Outcomes(database, store, outbox, lifecycle, Wakeup()),
        new_job=new_job,
    )

    async def send(company, asset, **changes):
        await intake(build_notification(stored(company, asset, **changes), source="t", at=AT))

    return send


@pytest.fixture
async def asset_id(database_name, notify):
    """An uploaded asset whose job waits."""
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        company, asset = await sign_asset(db)
    await notify(company, asset)
    return asset


@pytest.fixture
def job_now(admin):
    async def look():
        return dict(await admin.fetchrow("SELECT * FROM ingest_jobs ORDER BY attempt DESC LIMIT 1"))

    return look


@pytest.fixture
def becomes(job_now):
    """Wait until the job has this state and number of tries, and return it."""

    async def wait(state, tries):
        async def look():
            job = await job_now()
            return job if (job["state"], job["tries"]) == (state, tries) else None

        return await eventually(look)

    return wait


@pytest.fixture
def again(admin):
    async def at_once():
        await admin.execute("UPDATE ingest_jobs SET not_before = now()")

    return at_once


async def outcomes(admin):
    rows = await admin.fetch("SELECT value FROM outbox WHERE topic = 'media_processed'")
    return [json.loads(row["value"])["data"] for row in rows]


async def test_a_claimed_job_begins_its_asset(workers, work, asset_id, database, admin):
    async with workers.running():
        await eventually(lambda: work.jobs)
    job, asset = work.jobs[0]
    assert (job.tries, job.fence) == (1, 1)
    assert (asset.id, asset.status, asset.attempt) == (asset_id, "processing", 1)
    told = await admin.fetch("SELECT value FROM outbox WHERE topic = 'media_status' ORDER BY id")
    data = [json.loads(row["value"])["data"] for row in told]
    assert [one.get("stage") or one["status"] for one in data] == ["uploaded", "processing"]


async def test_a_new_job_wakes_a_worker_at_once(workers, work, settings, asset_id):
    object.__setattr__(settings, "job_poll_seconds", 3600)
    async with workers.running():
        await eventually(lambda: work.jobs, timeout=3)
    del asset_id


async def test_a_file_at_fault_fails_its_asset(workers, work, asset_id, becomes, database, admin):
    work.ends = [PermanentError("type_mismatch", "No.")]
    async with workers.running():
        job = await becomes("failed", 1)
    assert job["last_error"] == "type_mismatch: No."
    asset = await asset_now(database, asset_id)
    assert (asset.status, asset.error_code) == ("failed", "type_mismatch")
    (outcome,) = await outcomes(admin)
    assert outcome["error"] == {"code": "type_mismatch", "message": "No."}


async def test_missing_infrastructure_costs_no_try(
    workers, work, asset_id, becomes, again, database
):
    work.ends = [TransientError("storage is away")] * 5
    async with workers.running():
        for number in range(5):
            await eventually(lambda n=number: len(work.jobs) == n + 1)
            await becomes("queued", 0)
            await again()
        await eventually(lambda: len(work.jobs) == 6)
    assert (await asset_now(database, asset_id)).status == "processing"


async def test_a_bug_costs_a_try_and_the_last_one_fails_the_asset(
    workers, work, asset_id, becomes, again, database, admin
):
    work.ends = [RuntimeError("bug")] * 3
    async with workers.running():
        for tries in (1, 2):
            job = await becomes("queued", tries)
            assert "bug" in job["last_error"]
            await again()
        await becomes("failed", 3)
    assert (await asset_now(database, asset_id)).error_code == "processing_failed"
    assert len(work.jobs) == 3
    assert [one["outcome"] for one in await outcomes(admin)] == ["failed"]


async def test_a_file_that_kills_its_workers_runs_out_of_tries(
    workers, work, asset_id, becomes, database, admin
):
    """Nobody raises when a process is killed: tries are counted when a job is claimed."""
    await admin.execute(
        "UPDATE ingest_jobs SET state = 'running', tries = 3, fence = 3,"
        " lease_until = now() - interval '1 second'"
    )
    async with workers.running():
        await becomes("failed", 4)
    assert work.jobs == []
    asset = await asset_now(database, asset_id)
    assert (asset.error_code, asset.error_message) == (
        "processing_failed",
        "The file could not be processed in 3 tries.",
    )


async def test_a_stopped_worker_gives_its_job_back_uncounted(workers, work, asset_id, becomes):
    work.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: work.jobs)
    job = await becomes("queued", 0)
    assert (work.stopped, job["last_error"], job["lease_until"]) == (1, "stopped", None)
    async with workers.running():
        await eventually(lambda: len(work.jobs) == 2)
    assert work.jobs[1][0].fence == 2
    del asset_id


async def test_work_is_stopped_when_its_lease_is_lost(workers, work, asset_id, admin, job_now):
    work.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: work.jobs)
        await admin.execute("UPDATE ingest_jobs SET fence = fence + 1, owner = 'another'")
        await eventually(lambda: work.stopped)
    job = await job_now()
    assert (job["state"], job["owner"], job["fence"]) == ("running", "another", 2)
    del asset_id


async def test_work_that_has_ended_its_job_may_tidy_up(
    workers, work, asset_id, database, job_now, monkeypatch
):
    """A heart that beats meanwhile finds its job ended, and has not lost it."""
    tidied, beats = asyncio.Event(), []
    work.ends = [tidied]
    beat = JobQueue.beat

    async def noted(self, job):
        beats.append(await beat(self, job))
        return beats[-1]

    monkeypatch.setattr(JobQueue, "beat", noted)
    done, lost = (JOBS.labels(outcome)._value.get() for outcome in ("done", "lost_lease"))
    async with workers.running():
        ((job, _),) = await eventually(lambda: work.jobs)
        async with database.transaction() as connection:
            await jobs.end(connection, job, "done")
        await eventually(lambda: False in beats)
        tidied.set()
        await eventually(lambda: JOBS.labels("done")._value.get() == done + 1)
    assert (work.stopped, JOBS.labels("lost_lease")._value.get()) == (0, lost)
    assert (await job_now())["state"] == "done"
    del asset_id


async def test_work_is_stopped_when_its_asset_is_deleted(
    workers, work, asset_id, database, lifecycle
):
    work.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: work.jobs)
        asset = await asset_now(database, asset_id)
        async with database.transaction() as connection:
            await lifecycle.change(connection, asset, AssetStatus.DELETED, at=AT)
        await eventually(lambda: work.stopped)
    assert (await asset_now(database, asset_id)).status == "deleted"


async def test_a_beating_worker_keeps_its_job(workers, work, asset_id, admin, job_now):
    work.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: work.jobs)
        first = (await job_now())["lease_until"]

        async def renewed():
            return (await job_now())["lease_until"] > first

        await eventually(renewed)
        assert work.stopped == 0
    del asset_id, admin


async def test_work_stops_when_the_lease_can_no_longer_be_renewed(
    workers, work, settings, asset_id, monkeypatch
):
    """A worker that cannot reach the database must assume that another one has its job."""
    object.__setattr__(settings, "lease_seconds", 0.3)
    work.ends = [asyncio.Event()]

    async def away(*_):
        raise TransientError("away")

    monkeypatch.setattr(JobQueue, "beat", away)
    async with workers.running():
        await eventually(lambda: work.stopped == 1)
    del asset_id


async def test_the_job_of_a_deleted_asset_is_cancelled_unseen(
    workers, work, asset_id, becomes, database, lifecycle
):
    asset = await asset_now(database, asset_id)
    async with database.transaction() as connection:
        await lifecycle.change(connection, asset, AssetStatus.DELETED, at=AT)
    async with workers.running():
        await becomes("cancelled", 1)
    assert work.jobs == []


async def test_a_retry_is_a_new_attempt_that_a_notification_begins(
    workers, work, asset_id, becomes, database, lifecycle, notify, admin
):
    work.ends = [PermanentError("bad", "Bad."), PermanentError("bad", "Again.")]
    async with workers.running():
        await becomes("failed", 1)
        failed = await asset_now(database, asset_id)
        async with database.transaction() as connection:
            await lifecycle.change(
                connection, failed, AssetStatus.PROCESSING, at=AT, new_attempt=True
            )
        assert await admin.fetchval("SELECT count(*) FROM ingest_jobs") == 1
        await notify(failed.company_id, asset_id, version="newer")
        await eventually(lambda: len(work.jobs) == 2)

        async def failed_again():
            return (await asset_now(database, asset_id)).error_message == "Again."

        await eventually(failed_again)
    job, asset = work.jobs[1]
    assert (job.attempt, job.fence, asset.attempt) == (2, 1, 2)
    kept = await admin.fetch("SELECT version_id FROM asset_files WHERE kind = 'original'")
    assert [row["version_id"] for row in kept] == ["v1"], "the first stored version counts"
    assert [one["attempt"] for one in await outcomes(admin)] == [1, 2]


async def test_long_films_make_way_for_a_company_that_has_no_worker(
    workers, work, settings, database_name, notify, admin
):
    """With all workers busy for hours, another company's film is begun all the same."""
    for name, value in (("ingest_workers", 2), ("make_way_seconds", 0.2)):
        object.__setattr__(settings, name, value)
    work.ends = [asyncio.Event(), asyncio.Event()]
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        big = [await sign_asset(db)]
        big += [await sign_asset(db, big[0][0]) for _ in range(2)]
        small = await sign_asset(db)
    for company, asset in big:
        await notify(company, asset)
    async with workers.running():
        await eventually(lambda: len(work.jobs) == 2)
        await notify(*small)
        await eventually(lambda: small[1] in {job.asset_id for job, _ in work.jobs})
        await eventually(lambda: len(work.jobs) >= 4)
    assert work.stopped >= 1
    tries = await admin.fetch("SELECT tries FROM ingest_jobs WHERE state = 'queued'")
    assert {row["tries"] for row in tries} <= {0}, "making way costs no try"


async def test_a_lost_lease_in_mid_work_is_no_failure(workers, work, asset_id, job_now, database):
    work.ends = [LostLeaseError()]
    async with workers.running():
        await eventually(lambda: work.jobs)
    assert (await job_now())["state"] == "running"
    assert (await asset_now(database, asset_id)).status == "processing"

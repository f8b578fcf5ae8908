"""How workers settle tasks that end in each possible way, and that they stop when told to."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ingest.intake import Intake
from ingest.metrics import TASKS
from ingest.settings import IngestSettings
from ingest.worker import Workers
from media_contracts import AssetStatus
from media_records import tasks
from media_records.lifecycle import change, lock_asset
from media_records.tasks import LostLeaseError, NewTask, Pool
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka.producer import Producer
from media_runtime.settings import KafkaSettings
from media_runtime.storage.store import build_notification

from support.assets import asset_now, sign_asset, stored
from support.databases import service_url
from support.eventually import eventually

AT = datetime(2026, 11, 23, tzinfo=UTC)


class Run:
    """What a worker does with a task: as the test says."""

    def __init__(self) -> None:
        self.tasks = []
        self.ends = []
        self.without_end = set()
        self.stopped = 0

    async def __call__(self, task, asset) -> None:
        self.tasks.append((task, asset))
        try:
            if asset.id in self.without_end:
                await asyncio.Event().wait()
            end = self.ends.pop(0) if self.ends else None
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
def work(database):
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    return Work(database, Outbox(database, Producer(nowhere, name="t"), service="ingest"))


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
        ingest_short_workers=0,
        lease_seconds=30,
        heartbeat_seconds=0.05,
        task_poll_seconds=0.05,
        task_max_tries=3,
        task_retry_seconds=1000,
    )


@pytest.fixture
def run():
    return Run()


@pytest.fixture
def workers(settings, work, run):
    return Workers(settings=settings, work=work, run=run)


@pytest.fixture
def notify(work):
    intake = Intake(work)

    async def send(company, asset, **changes):
        await intake([build_notification(stored(company, asset, **changes), source="t", at=AT)])

    return send


@pytest.fixture
async def asset_id(database_name, notify):
    """An uploaded asset whose job waits."""
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        company, asset = await sign_asset(db)
    await notify(company, asset)
    return asset


@pytest.fixture
def task_now(admin):
    async def look():
        return dict(await admin.fetchrow("SELECT * FROM tasks ORDER BY attempt DESC LIMIT 1"))

    return look


@pytest.fixture
def becomes(task_now):
    """Wait until the job has this state and number of tries, and return it."""

    async def wait(state, tries):
        async def look():
            job = await task_now()
            return job if (job["state"], job["tries"]) == (state, tries) else None

        return await eventually(look)

    return wait


@pytest.fixture
def again(admin):
    async def at_once():
        await admin.execute("UPDATE tasks SET not_before = now()")

    return at_once


async def outcomes(admin):
    rows = await admin.fetch("SELECT value FROM outbox WHERE topic = 'media_processed'")
    return [json.loads(row["value"])["data"] for row in rows]


async def test_a_claimed_job_begins_its_asset(workers, run, asset_id, admin):
    async with workers.running():
        await eventually(lambda: run.tasks)
    job, asset = run.tasks[0]
    assert (job.tries, job.fence) == (1, 1)
    assert (asset.id, asset.status, asset.attempt) == (asset_id, "processing", 1)
    told = await admin.fetch("SELECT value FROM outbox WHERE topic = 'media_status' ORDER BY id")
    data = [json.loads(row["value"])["data"] for row in told]
    assert [one.get("stage") or one["status"] for one in data] == ["uploaded", "processing"]


async def test_a_new_job_wakes_a_worker_at_once(workers, run, settings, asset_id):
    object.__setattr__(settings, "task_poll_seconds", 3600)
    async with workers.running():
        await eventually(lambda: run.tasks, timeout=3)
    del asset_id


async def test_a_file_at_fault_fails_its_asset(workers, run, asset_id, becomes, database, admin):
    run.ends = [PermanentError("type_mismatch", "No.")]
    async with workers.running():
        job = await becomes("failed", 1)
    assert job["last_error"] == "type_mismatch: No."
    asset = await asset_now(database, asset_id)
    assert (asset.status, asset.error_code) == ("failed", "type_mismatch")
    (outcome,) = await outcomes(admin)
    assert outcome["error"] == {"code": "type_mismatch", "message": "No."}


async def test_missing_infrastructure_costs_no_try(
    workers, run, asset_id, becomes, again, database
):
    run.ends = [TransientError("storage is away")] * 5
    async with workers.running():
        for number in range(5):
            await eventually(lambda n=number: len(run.tasks) == n + 1)
            await becomes("queued", 0)
            await again()
        await eventually(lambda: len(run.tasks) == 6)
    assert (await asset_now(database, asset_id)).status == "processing"


async def test_a_bug_costs_a_try_and_the_last_one_fails_the_asset(
    workers, run, asset_id, becomes, again, database, admin
):
    run.ends = [RuntimeError("bug")] * 3
    async with workers.running():
        for tries in (1, 2):
            job = await becomes("queued", tries)
            assert "bug" in job["last_error"]
            await again()
        await becomes("failed", 3)
    assert (await asset_now(database, asset_id)).error_code == "processing_failed"
    assert len(run.tasks) == 3
    assert [one["outcome"] for one in await outcomes(admin)] == ["failed"]


async def test_a_file_that_kills_its_workers_runs_out_of_tries(
    workers, run, asset_id, becomes, database, admin
):
    """Nobody raises when a process is killed: tries are counted when a job is claimed."""
    await admin.execute(
        "UPDATE tasks SET state = 'running', tries = 3, fence = 3,"
        " lease_until = now() - interval '1 second'"
    )
    async with workers.running():
        await becomes("failed", 4)
    assert run.tasks == []
    asset = await asset_now(database, asset_id)
    assert (asset.error_code, asset.error_message) == (
        "processing_failed",
        "The file could not be processed in 3 tries.",
    )


async def test_a_stopped_worker_gives_its_job_back_uncounted(workers, run, asset_id, becomes):
    run.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: run.tasks)
    job = await becomes("queued", 0)
    assert (run.stopped, job["last_error"], job["lease_until"]) == (1, "stopped", None)
    async with workers.running():
        await eventually(lambda: len(run.tasks) == 2)
    assert run.tasks[1][0].fence == 2
    del asset_id


async def test_work_is_stopped_when_its_lease_is_lost(workers, run, asset_id, admin, task_now):
    run.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: run.tasks)
        await admin.execute("UPDATE tasks SET fence = fence + 1, owner = 'another'")
        await eventually(lambda: run.stopped)
    job = await task_now()
    assert (job["state"], job["owner"], job["fence"]) == ("running", "another", 2)
    del asset_id


async def test_work_that_has_ended_its_job_may_tidy_up(
    workers, run, asset_id, task_now, monkeypatch, work
):
    """A heart that beats meanwhile finds its job ended, and has not lost it."""
    tidied, beats = asyncio.Event(), []
    run.ends = [tidied]
    beat = tasks.heartbeat

    async def noted(*words, **more):
        beats.append(await beat(*words, **more))
        return beats[-1]

    monkeypatch.setattr(tasks, "heartbeat", noted)
    done, lost = (
        TASKS.labels("inspect", outcome)._value.get() for outcome in ("done", "lost_lease")
    )
    async with workers.running():
        ((job, _),) = await eventually(lambda: run.tasks)
        async with work.begin() as tx:
            await tasks.finish(tx, job, then=[NewTask("next", "next", Pool.PICTURES)])
        await eventually(lambda: False in beats)
        tidied.set()
        await eventually(lambda: TASKS.labels("inspect", "done")._value.get() == done + 1)
    assert (run.stopped, TASKS.labels("inspect", "lost_lease")._value.get()) == (0, lost)
    assert (await task_now())["state"] == "done"
    del asset_id


async def test_work_is_stopped_when_its_asset_is_deleted(workers, run, asset_id, database, work):
    run.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: run.tasks)
        asset = await asset_now(database, asset_id)
        async with work.begin() as tx:
            await change(tx, asset, AssetStatus.DELETED, at=AT)
        await eventually(lambda: run.stopped)
    assert (await asset_now(database, asset_id)).status == "deleted"


async def test_a_beating_worker_keeps_its_job(workers, run, asset_id, admin, task_now):
    run.ends = [asyncio.Event()]
    async with workers.running():
        await eventually(lambda: run.tasks)
        first = (await task_now())["lease_until"]

        async def renewed():
            return (await task_now())["lease_until"] > first

        await eventually(renewed)
        assert run.stopped == 0
    del asset_id, admin


async def test_work_stops_when_the_lease_can_no_longer_be_renewed(
    workers, run, settings, asset_id, monkeypatch, database
):
    """A worker that cannot reach the database must assume that another one has its job."""
    object.__setattr__(settings, "lease_seconds", 0.3)
    run.ends = [asyncio.Event()]

    async def away(*_, **__):
        raise TransientError("away")

    monkeypatch.setattr(tasks, "heartbeat", away)
    async with workers.running():
        await eventually(lambda: run.stopped == 1)
    del asset_id


async def test_the_job_of_a_deleted_asset_is_cancelled_unseen(
    workers, run, asset_id, becomes, database, work
):
    asset = await asset_now(database, asset_id)
    async with work.begin() as tx:
        await change(tx, asset, AssetStatus.DELETED, at=AT)
    async with workers.running():
        await becomes("cancelled", 1)
    assert run.tasks == []


async def test_a_retry_is_a_new_attempt_that_a_notification_begins(
    workers, run, asset_id, becomes, database, notify, admin, work
):
    run.ends = [PermanentError("bad", "Bad."), PermanentError("bad", "Again.")]
    async with workers.running():
        await becomes("failed", 1)
        failed = await asset_now(database, asset_id)
        async with work.begin() as tx:
            await change(tx, failed, AssetStatus.PROCESSING, at=AT, new_attempt=True)
        assert await admin.fetchval("SELECT count(*) FROM tasks") == 1
        await notify(failed.company_id, asset_id, version="newer")
        await eventually(lambda: len(run.tasks) == 2)

        async def failed_again():
            return (await asset_now(database, asset_id)).error_message == "Again."

        await eventually(failed_again)
    job, asset = run.tasks[1]
    assert (job.attempt, job.fence, asset.attempt) == (2, 1, 2)
    kept = await admin.fetch("SELECT version_id FROM asset_files WHERE kind = 'original'")
    assert [row["version_id"] for row in kept] == ["v1"], "the first stored version counts"
    assert [one["attempt"] for one in await outcomes(admin)] == [1, 2]


@pytest.fixture
def film(work, database_name, admin):
    """Queue the encoding of a film that takes minutes; gives the asset's id."""

    async def queued(company=None):
        async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
            company, asset_id = await sign_asset(db, company)
        await admin.execute(
            "UPDATE media_assets SET status = 'processing', uploaded_at = now() WHERE id = $1",
            asset_id,
        )
        async with work.begin() as tx:
            asset = await lock_asset(tx, asset_id)
            await tasks.add(tx, asset, [NewTask("video", "encode", Pool.ENCODE, cost_seconds=99)])
        return asset

    return queued


async def test_long_films_are_preempted_for_a_company_that_has_no_worker(
    workers, run, settings, film, admin
):
    """With all workers busy for hours, another company's film is begun all the same."""
    for name, value in (("ingest_workers", 2), ("preempt_after_seconds", 0.2)):
        object.__setattr__(settings, name, value)
    run.ends = [asyncio.Event() for _ in range(3)]
    one, other, third = [await film() for _ in range(3)]
    async with workers.running():
        await eventually(lambda: len(run.tasks) >= 3)
        begun = {task.asset_id for task, _ in run.tasks}
    assert begun == {one.id, other.id, third.id}
    assert run.stopped >= 1
    tries = await admin.fetch("SELECT tries FROM tasks WHERE state = 'queued'")
    assert {row["tries"] for row in tries} <= {0}, "making way costs no try"


async def test_a_short_task_is_begun_whatever_all_other_workers_do(
    workers, run, settings, film, asset_id
):
    """Two films of two companies hold both workers; a third company's upload is checked."""
    for name, value in (("ingest_workers", 2), ("ingest_short_workers", 1)):
        object.__setattr__(settings, name, value)
    films = [(await film()).id for _ in range(3)]
    run.without_end = set(films)
    async with workers.running():
        await eventually(lambda: asset_id in {task.asset_id for task, _ in run.tasks})
        await eventually(lambda: len(run.tasks) >= 3)
    assert len({task.asset_id for task, _ in run.tasks} & set(films)) == 2


async def test_a_lost_lease_in_mid_work_is_no_failure(workers, run, asset_id, task_now, database):
    run.ends = [LostLeaseError()]
    async with workers.running():
        await eventually(lambda: run.tasks)
    assert (await task_now())["state"] == "running"
    assert (await asset_now(database, asset_id)).status == "processing"

"""Tasks: claimed in turns, ended once, and what follows from their end."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from media_contracts import AssetStatus, ErrorInfo, FileKind, MediaFile, Probe
from media_contracts.warnings import WarningCode
from media_records import tasks
from media_records.lifecycle import change, lock_asset, probe_of, warnings_of
from media_records.tasks import LostLeaseError, NewTask, Pool, Turns
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer

from support.assets import asset_now, files_now, sign_asset
from support.databases import service_url

# In the order of their ids, as claims that nothing else decides go by it.
BIG, SMALL, THIRD = (UUID(int=number) for number in (1, 2, 3))
POOLS = (Pool.INSPECT, Pool.ENCODE, Pool.PICTURES)
BAD = ErrorInfo(code="unreadable_media", message="No.")


@pytest.fixture
async def work(database_name, kafka_settings):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=8) as db:
        yield Work(db, Outbox(db, Producer(kafka_settings, name="t"), service="ingest"))


@pytest.fixture
async def attempt(work, database_name, admin):
    """Begin an attempt with these tasks; gives the asset's id."""
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:

        async def begun(*wanted: NewTask, company: UUID = BIG, status: str = "processing"):
            _, asset_id = await sign_asset(db, company)
            await admin.execute(
                "UPDATE media_assets SET status = $2, uploaded_at = now() WHERE id = $1",
                asset_id, status,
            )  # fmt: skip
            async with work.begin() as tx:
                asset = await lock_asset(tx, asset_id)
                assert await tasks.add(tx, asset, wanted) == len(wanted)
            return asset_id

        yield begun


@pytest.fixture
def claim(work):
    """Claim the next task, in a unit of work of its own."""

    async def one(*pools, **turns):
        async with work.begin() as tx:
            return await tasks.claim(
                tx, Turns(pools or POOLS, turns.pop("slow_seconds", 10), **turns),
                owner="t", lease_seconds=30,
            )  # fmt: skip

    return one


@pytest.fixture
def finish(work):
    async def done(task, *files, then=(), seconds=None):
        async with work.begin() as tx:
            return await tasks.finish(tx, task, files, then=then, seconds=seconds)

    return done


@pytest.fixture
def fail(work):
    async def failed(task):
        async with work.begin() as tx:
            return await tasks.fail(tx, task, BAD)

    return failed


@pytest.fixture
def states(admin):
    async def now(asset_id):
        rows = await admin.fetch("SELECT name, state FROM tasks WHERE asset_id = $1", asset_id)
        return {row["name"]: row["state"] for row in rows}

    return now


def new(name, pool=Pool.ENCODE, **facts):
    return NewTask(name, name, pool, **facts)


def file(name="video"):
    return MediaFile(
        name=name, kind=FileKind.VIDEO, key=f"k/{name}", content_type="v", size=5, width=2, height=2
    )


async def test_an_attempt_is_complete_when_all_its_required_tasks_are_done(
    attempt, claim, finish, states, work
):
    asset = await attempt(new("inspect", Pool.INSPECT))
    inspect = await claim()
    follows = [new("video"), new("still", Pool.PICTURES), new("extra", required=False, priority=9)]
    assert await finish(inspect, then=follows) is None
    first, second = await claim(Pool.ENCODE), await claim(Pool.PICTURES)
    assert (first.name, second.name) == ("video", "still")
    assert await finish(first, file()) is None
    outcome = await finish(second, file("still"))
    assert (outcome.asset.id, outcome.asset.status) == (asset, "ready")
    assert await states(asset) == {
        "inspect": "done", "video": "done", "still": "done", "extra": "queued",
    }  # fmt: skip
    extra = await claim()
    assert await finish(extra, file("extra")) is None
    assert set(await files_now(work.database, asset)) == {"video", "still", "extra"}


async def test_an_outcome_has_the_hashes_of_the_upload_and_of_what_was_made(
    attempt, claim, finish, work, admin
):
    asset_id = await attempt(new("make"))
    await admin.execute(
        """
        INSERT INTO asset_files (company_id, asset_id, attempt, name, kind, key, content_type, size,
            sha256) VALUES ($1, $2, 0, 'original', 'original', 'k', 'v', 9, $3)
        """,
        BIG, asset_id, "a" * 64,
    )  # fmt: skip
    await finish(await claim(), file().model_copy(update={"sha256": "b" * 64}))
    rows = await admin.fetch("SELECT value FROM outbox WHERE topic LIKE '%media_processed'")
    (told,) = [json.loads(row["value"])["data"] for row in rows]
    assert told["sha256"] == "a" * 64
    assert [one["sha256"] for one in told["files"]] == ["b" * 64]


async def test_an_asset_keeps_what_its_tasks_found_until_its_next_attempt(attempt, claim, work):
    found = Probe(container="avi", codec="mpeg4", width=64, height=48)
    asset_id = await attempt(NewTask("a", "a", Pool.INSPECT), NewTask("b", "b", Pool.ENCODE))
    async with work.begin() as tx:
        task = await claim(Pool.INSPECT)
        await tasks.finish(tx, task, probe=found, warnings=[WarningCode.TYPE_DIFFERS])
    async with work.begin() as tx:
        both = [WarningCode.TYPE_DIFFERS, WarningCode.SOUND_LEFT_OUT]
        await tasks.finish(tx, await claim(Pool.ENCODE), warnings=both)
    asset = await asset_now(work.database, asset_id)
    assert (asset.status, probe_of(asset)) == ("ready", found)
    assert [one.code for one in warnings_of(asset)] == ["sound_left_out", "type_differs"]


async def test_a_new_attempt_begins_with_nothing_found(attempt, claim, work):
    asset_id = await attempt(NewTask("a", "a", Pool.INSPECT), NewTask("b", "b", Pool.ENCODE))
    async with work.begin() as tx:
        found = Probe(container="avi")
        await tasks.finish(
            tx, await claim(Pool.INSPECT), probe=found, warnings=[WarningCode.FILE_DAMAGED]
        )
    async with work.begin() as tx:
        await tasks.fail(tx, await claim(Pool.ENCODE), BAD)
    async with work.begin() as tx:
        failed = await lock_asset(tx, asset_id)
        assert failed.warnings == ["file_damaged"]
        await change(tx, failed, AssetStatus.PROCESSING, at=datetime.now(UTC), new_attempt=True)
    asset = await asset_now(work.database, asset_id)
    assert (probe_of(asset), warnings_of(asset)) == (None, [])


async def test_a_task_waits_for_those_that_it_needs(attempt, claim, finish, states):
    wanted = [new("a"), new("b"), new("c", needs=("a", "b")), new("d", needs=("c",))]
    asset = await attempt(*wanted)
    a, b = await claim(), await claim()
    assert await claim() is None
    await finish(a)
    assert (await states(asset))["c"] == "blocked"
    await finish(b)
    c = await claim()
    assert c.name == "c"
    assert (await states(asset))["d"] == "blocked"
    await finish(c)
    outcome = await finish(await claim())
    assert outcome.asset.status == "ready"


async def test_a_tasks_time_counts_from_when_it_could_begin(attempt, claim, finish, admin, work):
    await attempt(new("a"), new("b", needs=("a",)))
    await admin.execute(
        "UPDATE tasks SET created_at = now() - interval '25 hours',"
        " not_before = now() - interval '25 hours'"
    )
    a = await claim()
    assert a.age_seconds > 24 * 3600
    await finish(a)
    assert not await tasks.is_waited_for(work.database, POOLS, seconds=60)
    assert (await claim()).age_seconds < 60


async def test_what_is_needed_and_done_already_is_not_waited_for(attempt, claim, finish):
    await attempt(new("a"))
    await finish(await claim(), then=[new("b", needs=("a",))])
    assert (await claim()).name == "b"


@pytest.mark.parametrize("is_under_way", [False, True])
async def test_what_is_made_in_another_way_is_waited_for_no_longer(
    attempt, claim, work, states, is_under_way
):
    of_stream = {"stream": "video"}
    asset = await attempt(
        new("part", params=of_stream), new("first", params=of_stream),
        new("package", params=of_stream, needs=("first", "part")),
        new("picture", needs=("first", "part")), new("other", priority=1),
        new("late", needs=("first", "other")),
    )  # fmt: skip
    part = await claim()
    if is_under_way:
        assert (await claim()).name == "first"
    async with work.begin() as tx:
        await tasks.finish(tx, part, then=[new("whole")], instead_of="video")
    assert await states(asset) == {
        "part": "done", "first": "cancelled", "package": "cancelled", "picture": "queued",
        "other": "queued", "late": "blocked", "whole": "queued",
    }  # fmt: skip


async def test_a_required_task_that_fails_ends_the_attempt_and_its_siblings(
    attempt, claim, fail, finish, states, work
):
    asset = await attempt(new("a"), new("b"), new("c", needs=("a",)), new("d", required=False))
    a, b = await claim(), await claim()
    await finish(b, file())
    outcome = await fail(a)
    assert (outcome.asset.status, outcome.asset.error_code) == ("failed", "unreadable_media")
    assert await states(asset) == {
        "a": "failed", "b": "done", "c": "cancelled", "d": "cancelled",
    }  # fmt: skip
    assert await files_now(work.database, asset) == {}


async def test_a_sibling_under_way_is_cancelled_and_ends_nothing_more(
    attempt, claim, fail, finish, work
):
    asset = await attempt(new("a"), new("b"))
    a, b = await claim(), await claim()
    await fail(a)
    with pytest.raises(LostLeaseError):
        await tasks.heartbeat(work.database, b, lease_seconds=30)
    with pytest.raises(LostLeaseError):
        await finish(b, file())
    assert await files_now(work.database, asset) == {}


async def test_an_optional_task_that_fails_ends_alone_with_those_that_need_it(
    attempt, claim, fail, finish, states
):
    asset = await attempt(
        new("a", required=False), new("b", needs=("a",), required=False),
        new("c", needs=("b",), required=False), new("d"),
    )  # fmt: skip
    a, d = await claim(), await claim()
    assert await fail(a) is None
    assert await states(asset) == {
        "a": "failed", "b": "cancelled", "c": "cancelled", "d": "running",
    }  # fmt: skip
    assert (await finish(d)).asset.status == "ready"


async def test_only_the_newest_claim_ends_a_task(attempt, claim, finish, admin):
    await attempt(new("a"))
    first = await claim()
    await admin.execute("UPDATE tasks SET lease_until = now() - interval '1 second'")
    second = await claim()
    assert (second.tries, second.fence) == (2, first.fence + 1)
    with pytest.raises(LostLeaseError):
        await finish(first, file())
    assert (await finish(second, file())).asset.status == "ready"


async def test_what_came_first_counts_where_an_asset_has_gone(
    attempt, claim, finish, admin, work, states
):
    """And nothing waits for ever for a task whose end nobody wants."""
    asset = await attempt(new("a"), new("b"), new("c", needs=("a",)))
    task = await claim()
    await admin.execute("UPDATE media_assets SET status = 'deleted'")
    assert await finish(task, file()) is None
    assert await files_now(work.database, asset) == {}
    assert await states(asset) == {"a": "done", "b": "cancelled", "c": "cancelled"}
    assert await claim() is None


async def test_a_task_that_its_asset_does_not_want_is_dropped_with_its_siblings(
    attempt, claim, admin, work, states
):
    asset = await attempt(new("a"), new("b", needs=("a",)))
    await admin.execute("UPDATE media_assets SET status = 'deleted'")
    task = await claim()
    async with work.begin() as tx:
        assert not tasks.wants(await asset_now(work.database, asset), task)
        await tasks.drop(tx, task)
    assert set((await states(asset)).values()) == {"cancelled"}


async def test_a_task_that_is_given_back_is_claimed_again_later(attempt, claim, work, admin):
    await attempt(new("a"))
    task = await claim()
    await tasks.release(work.database, task, why="away", delay_seconds=60)
    assert await claim() is None
    await admin.execute("UPDATE tasks SET not_before = now()")
    assert (await claim()).tries == 1, "it was not its own fault"


async def test_the_lowest_priority_comes_first_then_the_oldest(attempt, claim):
    await attempt(new("a", priority=5), new("b"), new("c"))
    assert [(await claim()).name for _ in range(3)] == ["b", "c", "a"]


_A_SECOND_AGO = "UPDATE tasks SET claimed_at = now() - interval '1 second' WHERE id = $1"


async def test_one_worker_serves_companies_in_turns(attempt, claim, finish, admin):
    for _ in range(4):
        await attempt(new("a"), company=BIG)
    for _ in range(2):
        await attempt(new("a"), company=SMALL)
    served = []
    for _ in range(6):
        task = await claim()
        served.append(task.company_id)
        # Each takes a second, however long the machine needs for the statements.
        await admin.execute(_A_SECOND_AGO, task.id)
        await finish(task)
    assert served[:4] in ([BIG, SMALL, BIG, SMALL], [BIG, SMALL, SMALL, BIG])


async def test_who_used_more_seconds_waits_whatever_the_number_of_tasks(
    attempt, claim, finish, admin
):
    await attempt(new("a"), new("b"), company=BIG)
    for _ in range(5):
        await attempt(new("a"), company=SMALL)
    first = await claim()
    assert first.company_id == BIG
    await admin.execute("UPDATE tasks SET claimed_at = now() - interval '50 seconds' WHERE id = $1",
                        first.id)  # fmt: skip
    await finish(first)
    for _ in range(5):
        task = await claim()
        assert task.company_id == SMALL
        await finish(task)
    assert (await claim()).company_id == BIG


async def test_what_was_used_is_forgotten_in_time(attempt, claim, finish, admin):
    await attempt(new("a"), new("b"), company=BIG)
    task = await claim()
    await admin.execute("UPDATE tasks SET claimed_at = now() - interval '50 seconds'")
    await finish(task)
    await admin.execute("UPDATE company_work SET at = now() - interval '60 minutes'")
    await attempt(new("a"), company=SMALL)
    running = await claim()
    assert running.company_id == SMALL or (await claim()).company_id == SMALL


async def test_a_running_task_counts_as_much_as_it_will_cost(attempt, claim):
    await attempt(new("a", cost_seconds=8), new("b"), company=BIG)
    await attempt(new("a", cost_seconds=1), new("b"), new("c"), company=SMALL)
    assert (await claim()).company_id == BIG
    assert [(await claim()).company_id for _ in range(3)] == [SMALL] * 3


async def test_those_who_take_short_tasks_alone_leave_the_slow_ones(attempt, claim):
    await attempt(new("film", cost_seconds=100))
    assert await claim(slow_seconds=10, most_slow=0) is None
    await attempt(new("clip", cost_seconds=1))
    assert (await claim(slow_seconds=10, most_slow=0)).name == "clip"


async def test_a_bounded_number_of_slow_tasks_runs_of_all_companies(attempt, claim, finish):
    for company in (BIG, SMALL, THIRD):
        await attempt(new("slow", cost_seconds=100), company=company)
    await attempt(new("quick"), company=THIRD)
    bounds = {"slow_seconds": 10, "most_slow": 1}
    first = await claim(**bounds)
    assert first.name == "slow"
    assert (await claim(**bounds)).name == "quick"
    assert await claim(**bounds) is None
    await finish(first)
    assert (await claim(**bounds)).name == "slow"


async def test_a_bounded_number_of_a_companys_tasks_runs(attempt, claim):
    await attempt(new("a"), new("b"), new("c"), company=BIG)
    await attempt(new("a"), company=SMALL)
    found = [await claim(most_of_company=1) for _ in range(3)]
    assert {task.company_id for task in found[:2]} == {BIG, SMALL}
    assert found[2] is None


async def should_yield(work, task):
    return await tasks.should_yield(work.database, task, seconds=30)


async def test_a_long_task_makes_way_for_a_company_that_has_waited(attempt, claim, work, admin):
    """Though its own company has no other one under way."""
    for company in (BIG, SMALL):
        await attempt(new("film"), company=company)
    first, second = await claim(), await claim()
    await admin.execute("UPDATE tasks SET claimed_at = now() - interval '40 seconds'")
    await admin.execute(
        "UPDATE tasks SET claimed_at = now() - interval '60 seconds' WHERE id = $1", first.id
    )
    assert not await should_yield(work, first), "nobody waits"
    await attempt(new("film"), company=THIRD)
    assert not await should_yield(work, first), "not for long"
    await admin.execute("UPDATE tasks SET not_before = now() - interval '31 seconds'")
    assert await should_yield(work, first)
    assert not await should_yield(work, second), "the company that used the most"


async def test_a_task_that_was_preempted_runs_longer_before_it_does_so_again(
    attempt, claim, work, admin
):
    await attempt(new("film"), company=BIG)
    task = await claim()
    await tasks.release(work.database, task, why="preempted", preempted=True)
    task = await claim()
    assert task.tries == 1
    await attempt(new("film"), company=SMALL)
    await admin.execute("UPDATE tasks SET not_before = now() - interval '31 seconds'")
    for seconds, expected in ((40, False), (61, True)):
        await admin.execute(
            "UPDATE tasks SET claimed_at = now() - make_interval(secs => $2) WHERE id = $1",
            task.id, seconds,
        )  # fmt: skip
        assert await should_yield(work, task) is expected


async def test_claims_at_once_pass_one_another(attempt, claim):
    for _ in range(6):
        await attempt(new("a"))
    found = await asyncio.gather(*(claim() for _ in range(6)))
    ids = [task.id for task in found if task]
    assert len(set(ids)) == len(ids)
    assert len(ids) >= 3, "who loses a race comes again"


async def test_two_attempts_of_one_company_that_fail_at_once_wait_for_neither(
    attempt, claim, work, states
):
    """One by its video, the other by its pictures: each cancels what the other one fails."""

    async def fail(task):
        async with work.begin() as tx:
            return await tasks.fail(tx, task, BAD)

    for _ in range(5):
        assets = [await attempt(new("video"), new("still", Pool.PICTURES)) for _ in range(2)]
        claimed = [await claim(pool) for pool in (Pool.ENCODE, Pool.PICTURES) for _ in range(2)]
        begun = {(task.asset_id, task.name): task for task in claimed}
        failing = begun[assets[0], "video"], begun[assets[1], "still"]
        outcomes = await asyncio.gather(*map(fail, failing))
        assert [outcome.asset.status for outcome in outcomes] == ["failed", "failed"]
        for asset in assets:
            assert set((await states(asset)).values()) == {"failed", "cancelled"}


@pytest.mark.parametrize("how", ["claims", "locks"])
async def test_who_passed_over_the_tasks_of_a_locked_asset_looks_again_once_it_is_free(
    attempt, claim, work, how
):
    asset_id = await attempt(
        NewTask("first", "chunk", Pool.ENCODE), NewTask("second", "chunk", Pool.ENCODE)
    )
    wakeup = work.wakeup([Pool.ENCODE])
    before_the_look = wakeup.count
    async with work.begin() as holder:
        if how == "locks":
            await lock_asset(holder, asset_id)
        else:
            turns = Turns((Pool.ENCODE,), 10)
            assert await tasks.claim(holder, turns, owner="other", lease_seconds=30)
        assert await claim(Pool.ENCODE) is None
    # A poll would take as long as this test may.
    await asyncio.wait_for(wakeup.wait(3600, since=before_the_look), 10)
    assert await claim(Pool.ENCODE)


async def test_who_found_nothing_before_an_asset_was_locked_sleeps_on(attempt, claim, work):
    """Else each change of any asset would let every worker look at the queues."""
    asset_id = await attempt()
    wakeup = work.wakeup([Pool.ENCODE])
    assert await claim(Pool.ENCODE) is None
    sleeping = asyncio.create_task(wakeup.wait(3600, since=wakeup.count))
    await asyncio.wait({sleeping}, timeout=0)
    async with work.begin() as holder:
        await lock_asset(holder, asset_id)
    await asyncio.wait({sleeping}, timeout=0.2)
    assert not sleeping.done()
    await attempt(NewTask("first", "chunk", Pool.ENCODE))
    await asyncio.wait_for(sleeping, 10)


async def test_a_look_that_found_nothing_wakes_nobody(claim, work):
    wakeup = work.wakeup([Pool.ENCODE])
    assert await claim(Pool.ENCODE) is None
    assert wakeup.count == 0

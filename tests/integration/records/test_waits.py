"""What stands in line, how fast it goes, and what companies are told of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from ingest.line import Lanes, estimates
from ingest.settings import IngestSettings
from ingest.tell import TellWaits
from media_records import tasks, waits
from media_records.lifecycle import lock_asset
from media_records.tasks import NewTask, Pool, Turns
from media_records.waits import Estimate
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from media_runtime.settings import KafkaSettings

from support.assets import sign_asset
from support.databases import service_url

ONE, OTHER = (UUID(int=number) for number in (1, 2))
LANES = Lanes(any_task=1, short_tasks=0, slow_seconds=2)


@pytest.fixture
async def work(database_name):
    # Nothing is relayed: what is sent is looked for in the outbox.
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1", kafka_topic_prefix="")
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=4) as db:
        yield Work(db, Outbox(db, Producer(nowhere, name="t"), service="ingest"))


@pytest.fixture
async def sign_api(database_name):
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=2) as db:
        yield db


@pytest.fixture
async def attempt(work, sign_api, admin):
    """Begin an attempt with these tasks; gives the asset's id."""

    async def begun(*wanted: NewTask, company: UUID = ONE):
        _, asset_id = await sign_asset(sign_api, company)
        await admin.execute(
            "UPDATE media_assets SET status = 'processing', uploaded_at = now() WHERE id = $1",
            asset_id,
        )
        async with work.begin() as tx:
            await tasks.add(tx, await lock_asset(tx, asset_id), wanted)
        return asset_id

    return begun


@pytest.fixture
async def seen(attempt, admin):
    """Let tasks of a kind have been done, each in twice of what it cost."""

    async def done(kind: str, number: int = 3, owner: str = "worker"):
        asset_id = await attempt(*[chunk(f"{kind}{n}", kind=kind) for n in range(number)])
        # However slow this machine is: whoever ended one is at work still.
        await admin.execute(
            """
            UPDATE tasks SET state = 'done', owner = $2,
                claimed_at = now() + interval '1 h' - interval '20 s',
                finished_at = now() + interval '1 h'
            WHERE asset_id = $1
            """,
            asset_id, owner,
        )  # fmt: skip
        await admin.execute("UPDATE media_assets SET status = 'ready' WHERE id = $1", asset_id)

    return done


def chunk(name: str = "a", cost: float = 10, *, kind: str = "chunk", **facts) -> NewTask:
    return NewTask(name, kind, Pool.ENCODE, cost_seconds=cost, **facts)


async def told_of(admin, asset_id) -> list[dict]:
    rows = await admin.fetch("SELECT value FROM outbox WHERE key = $1", str(asset_id).encode())
    events = [json.loads(row["value"]) for row in rows]
    return [one["data"] for one in events if one["type"] == "media.asset.estimated.v1"]


async def test_nothing_in_line_is_nothing_to_see(work):
    assert await waits.look(work.database) == waits.View((), {}, {})


async def test_a_look_shows_what_waits_what_runs_and_how_fast_it_goes(work, attempt, seen):
    await seen("chunk")
    asset_id = await attempt(
        chunk("a"), chunk("b"), chunk("all", 1, kind="package", needs=("a", "b"))
    )
    async with work.begin() as tx:
        await tasks.claim(tx, Turns([Pool.ENCODE], 100), owner="me", lease_seconds=30)
    view = await waits.look(work.database)

    assert [(one.kind, one.owner, one.runs is None) for one in view.lines] == [
        ("chunk", "me", False),
        ("chunk", None, True),
    ]
    asset = view.assets[asset_id]
    assert (asset.open, [one.kind for one in asset.blocked], asset.told) == (2, ["package"], None)
    speed = view.speeds["chunk"]
    assert (speed.tasks, speed.owners) == (3, {"worker"})
    assert speed.ratio == pytest.approx(2, rel=0.01)
    assert "package" not in view.speeds


async def test_a_place_comes_at_once_and_a_time_with_the_evidence_for_it(work, attempt, seen):
    first, second = await attempt(chunk()), await attempt(chunk())
    before = estimates(await waits.look(work.database), LANES)
    assert [(one.asset_id, one.place, one.ready_in) for one in before] == [
        (first, 1, None),
        (second, 2, None),
    ]
    await seen("chunk")
    after = estimates(await waits.look(work.database), LANES)
    assert [(one.asset_id, one.place) for one in after] == [(first, 1), (second, 2)]
    assert [one.ready_in for one in after] == pytest.approx([20, 40], abs=1)


async def test_what_is_told_is_remembered_and_sent(work, attempt, admin):
    asset_id = await attempt(chunk())
    async with work.begin() as tx:
        assert await waits.tell_waits(tx, [Estimate(asset_id, 1, 3, 90)]) == 1
    async with work.begin() as tx:
        assert await waits.tell_waits(tx, [Estimate(asset_id, 1, 2, None)]) == 1
    assert await told_of(admin, asset_id) == [
        {"attempt": 1, "place": 3, "readyInSeconds": 90},
        {"attempt": 1, "place": 2},
    ]
    told = (await waits.look(work.database)).assets[asset_id].told
    assert (told.place, told.ready_in) == (2, None)
    assert told.ago < 60


async def test_nothing_is_told_of_what_has_ended_or_begun_anew(work, attempt, admin):
    ready, again = await attempt(chunk()), await attempt(chunk())
    await admin.execute("UPDATE media_assets SET status = 'ready' WHERE id = $1", ready)
    await admin.execute("UPDATE media_assets SET attempt = 2 WHERE id = $1", again)
    async with work.begin() as tx:
        assert await waits.tell_waits(tx, [Estimate(one, 1, 1, 9) for one in (ready, again)]) == 0
    assert await admin.fetchval("SELECT count(*) FROM asset_waits") == 0


async def test_a_company_sees_its_own_waits_alone(work, sign_api, attempt):
    mine, others = await attempt(chunk()), await attempt(chunk(), company=OTHER)
    async with work.begin() as tx:
        await waits.tell_waits(tx, [Estimate(mine, 1, 1, 9), Estimate(others, 1, 1, 60)])
    async with sign_api.company(ONE) as connection:
        found = await waits.told_of_each(connection, [mine, others])
    assert set(found) == {mine}
    assert found[mine].place == 1
    assert found[mine].ready_at > datetime.now(UTC)


async def test_a_long_line_is_looked_at_as_far_as_it_may_be(work, attempt):
    first = await attempt(*[chunk(f"{n}") for n in range(6000)])
    second = await attempt(chunk())
    view = await waits.look(work.database)
    assert len(view.lines) == 5000
    assert view.assets[first].open == 6000
    assert second not in view.assets
    assert estimates(view, LANES) == []


async def test_one_of_several_replicas_leads(work):
    async with waits.lead(work.database) as one, waits.lead(work.database) as other:
        assert one is not None
        assert other is None
        await waits.still_leads(one)
    async with waits.lead(work.database) as another:
        assert another is not None


@pytest.fixture
def tell(work, tmp_path):
    """Tell clients once of what they would not expect, of so many assets."""
    settings = IngestSettings(
        database_url="postgresql://unused", kafka_bootstrap_servers="127.0.0.1:1",
        s3_endpoint_url="http://unused", s3_access_key="unused", s3_secret_key="unused",
        scratch_dir=tmp_path, company_most_estimates=2, ingest_workers=1,
    )  # fmt: skip
    return TellWaits(settings, work).once


async def test_so_many_are_told_at_a_time_and_those_that_were_not_come_first(
    tell, attempt, seen, admin
):
    await seen("chunk")
    mine = [await attempt(chunk()) for _ in range(3)]
    others = await attempt(chunk(), company=OTHER)

    assert await tell() == 3
    assert await told_of(admin, mine[-1]) == []
    assert await tell() >= 1
    told = [await told_of(admin, asset) for asset in (*mine, others)]
    assert [{one["place"] for one in events} for events in told] == [{1}, {2}, {3}, {1}]
    times = [events[0]["readyInSeconds"] for events in told]
    assert min(times) >= 20

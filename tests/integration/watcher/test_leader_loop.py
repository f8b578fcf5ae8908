"""Rounds: at each interval, by one of several replicas, whatever happens to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from prometheus_client import REGISTRY, generate_latest
from watcher.leader_loop import run_periodically

from support.databases import admin_url, service_url
from support.eventually import eventually


class Part:
    """A part of a round that counts how often it was called."""

    def __init__(self, end: BaseException | None = None) -> None:
        self.calls = 0
        self.end = end

    async def __call__(self) -> None:
        self.calls += 1
        if self.end is not None:
            raise self.end


@pytest.fixture
async def replicas(database_name):
    """Databases of two replicas."""
    url = service_url(database_name, "watcher")
    async with (
        Database.connect(url, name="a", size=2) as a,
        Database.connect(url, name="b", size=2) as b,
    ):
        yield a, b


async def test_a_part_that_fails_holds_no_other_up(database):
    # A library may let the end of a task of its own through, which nobody asked this one for.
    ends = TransientError("away"), RuntimeError("bug"), asyncio.CancelledError(), None
    parts = [Part(end) for end in ends]
    async with run_periodically(database, parts, interval_seconds=0.01):
        await eventually(lambda: parts[-1].calls >= 3)
    assert {part.calls for part in parts} == {parts[-1].calls}


async def test_one_replica_acts_and_another_one_goes_on_when_it_ends(replicas):
    first, second = Part(), Part()
    async with run_periodically(replicas[1], [Part()], interval_seconds=3600):
        pass  # leaves the lock
    async with asyncio.TaskGroup() as tasks:
        ended = asyncio.Event()

        async def lead():
            async with run_periodically(replicas[0], [first], interval_seconds=0.01):
                await ended.wait()

        leader = tasks.create_task(lead())
        await eventually(lambda: first.calls)
        async with run_periodically(replicas[1], [second], interval_seconds=0.01):
            before = first.calls
            await eventually(lambda: first.calls > before + 20)
            assert second.calls == 0
            ended.set()
            await leader
            await eventually(lambda: second.calls)


async def test_a_replica_whose_connection_is_cut_leads_again(database, admin):
    part = Part()
    async with run_periodically(database, [part], interval_seconds=0.01):
        await eventually(lambda: part.calls)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        before = part.calls
        await eventually(lambda: part.calls > before + 5)


def exported():
    """Return what is told to Prometheus of the last look, and whether this replica leads."""
    told = generate_latest(REGISTRY).decode()
    return "watcher_last_round_timestamp_seconds" in told, "watcher_leads 1.0" in told


async def test_while_the_database_is_away_what_was_seen_last_stays_in_sight(
    database_name, database, admin
):
    """Its absence would resolve every alert."""
    part = Part()
    async with run_periodically(database, [part], interval_seconds=0.01):
        await eventually(lambda: part.calls)
        assert exported() == (True, True)
        async with elsewhere() as outside:
            await outside.execute(f"ALTER DATABASE {database_name} ALLOW_CONNECTIONS false")
            await outside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                database_name,
            )
            await eventually(lambda: exported() == (True, False))
            await outside.execute(f"ALTER DATABASE {database_name} ALLOW_CONNECTIONS true")
        await eventually(lambda: exported() == (True, True))
    assert exported() == (False, False), "it has ended"


async def test_a_replica_that_finds_another_one_leading_shows_nothing(replicas, database_name):
    part = Part()
    async with run_periodically(replicas[0], [part], interval_seconds=0.01):
        await eventually(lambda: part.calls)
        async with elsewhere() as outside:
            await outside.execute(f"ALTER DATABASE {database_name} CONNECTION LIMIT 0")
            await outside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                database_name,
            )
            await eventually(lambda: exported() == (True, False))
            lock = await asyncpg.connect(admin_url(database_name))
            await lock.fetchval("SELECT pg_advisory_lock(hashtext('watcher'), 1)")
            await outside.execute(f"ALTER DATABASE {database_name} CONNECTION LIMIT -1")
            await eventually(lambda: exported() == (False, False))
            await lock.close()
        await eventually(lambda: exported() == (True, True))


@asynccontextmanager
async def elsewhere():
    connection = await asyncpg.connect(admin_url())
    try:
        yield connection
    finally:
        await connection.close()

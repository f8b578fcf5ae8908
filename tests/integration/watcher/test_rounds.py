"""Rounds: at each interval, by one of several replicas, whatever happens to it."""

from __future__ import annotations

import asyncio

import pytest
from media_runtime.errors import TransientError
from media_runtime.postgres import Database
from watcher.rounds import repeating

from support.databases import service_url
from support.eventually import eventually


class Part:
    """A part of a round that counts how often it was called."""

    def __init__(self, end: Exception | None = None) -> None:
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
    parts = [Part(TransientError("away")), Part(RuntimeError("bug")), Part()]
    async with repeating(database, parts, interval_seconds=0.01):
        await eventually(lambda: parts[2].calls >= 3)
    assert {part.calls for part in parts} == {parts[2].calls}


async def test_one_replica_acts_and_another_one_goes_on_when_it_ends(replicas):
    first, second = Part(), Part()
    async with repeating(replicas[1], [Part()], interval_seconds=3600):
        pass  # leaves the lock
    async with asyncio.TaskGroup() as tasks:
        ended = asyncio.Event()

        async def lead():
            async with repeating(replicas[0], [first], interval_seconds=0.01):
                await ended.wait()

        leader = tasks.create_task(lead())
        await eventually(lambda: first.calls)
        async with repeating(replicas[1], [second], interval_seconds=0.01):
            before = first.calls
            await eventually(lambda: first.calls > before + 20)
            assert second.calls == 0
            ended.set()
            await leader
            await eventually(lambda: second.calls)


async def test_a_replica_whose_connection_is_cut_leads_again(database, admin):
    part = Part()
    async with repeating(database, [part], interval_seconds=0.01):
        await eventually(lambda: part.calls)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        before = part.calls
        await eventually(lambda: part.calls > before + 5)

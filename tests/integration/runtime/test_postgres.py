"""What a process that stands still in mid-transaction costs the others: a few seconds."""

from __future__ import annotations

from uuid import uuid4

import pytest
from media_runtime.postgres import Database, DatabaseUnavailableError

from support.databases import service_url
from support.eventually import eventually

LOCK = "SELECT pg_try_advisory_xact_lock($1)"


@pytest.fixture
async def databases(database_name):
    url = service_url(database_name, "ingest")
    async with Database.connect(url, name="one") as one, Database.connect(url, name="two") as two:
        yield one, two


async def test_whoever_is_frozen_in_a_transaction_loses_its_locks(databases):
    frozen, other = databases
    key = uuid4().int % 2**31

    async def free():
        return (await other.fetchrow(LOCK, key))[0]

    async def be_frozen():
        async with frozen.transaction() as connection:
            assert await connection.fetchval(LOCK, key)
            assert not await free()
            await eventually(free, timeout=20)
            await connection.execute("SELECT 1")  # it wakes, and is too late

    with pytest.raises(DatabaseUnavailableError):
        await be_frozen()
    await frozen.ping()

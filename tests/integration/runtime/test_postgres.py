"""What transactions and sessions leave behind: nothing, however they end."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from media_records import schema
from media_runtime.database.postgres import Database, DatabaseUnavailableError
from media_runtime.settings import PostgresSettings

from support.databases import service_url
from support.eventually import eventually

_COMPANY = (
    "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES (gen_random_uuid(), 'b', 1)"
)
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


async def test_whoever_is_frozen_in_mid_question_loses_its_locks_too(databases):
    """No time-out of PostgreSQL's sees a statement that was prepared and is not asked for."""
    frozen, other = databases
    key = uuid4().int % 2**31

    async def be_frozen():
        async with frozen.transaction() as connection:
            assert await connection.fetchval(LOCK, key)
            await connection.prepare("SELECT $1::int")
            assert await other.end_stuck_sessions(after_seconds=3600) == 0
            assert not (await other.fetchrow(LOCK, key))[0]

            async def is_ended():
                return await other.end_stuck_sessions(after_seconds=0.1) == 1

            await eventually(is_ended)

            async def free():
                return (await other.fetchrow(LOCK, key))[0]

            await eventually(free)
            await connection.execute("SELECT 1")  # it wakes, and is too late

    with pytest.raises(DatabaseUnavailableError):
        await be_frozen()
    await frozen.ping()


async def test_a_service_frees_what_a_frozen_replica_of_it_holds(database_name, monkeypatch):
    monkeypatch.setattr(schema, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(schema, "STUCK_SECONDS", 0.2)
    url, key = service_url(database_name, "ingest"), uuid4().int % 2**31
    settings = PostgresSettings(database_url=url)
    async with Database.connect(url, name="frozen") as frozen:

        async def be_frozen():
            async with frozen.transaction() as connection:
                assert await connection.fetchval(LOCK, key)
                await connection.prepare("SELECT $1::int")
                async with schema.connected(settings, name="replica") as replica:

                    async def free():
                        return (await replica.fetchrow(LOCK, key))[0]

                    await eventually(free)
                await connection.execute("SELECT 1")

        with pytest.raises(DatabaseUnavailableError):
            await be_frozen()


async def test_who_works_or_waits_between_transactions_is_let_be(databases):
    one, other = databases
    async with one.session() as session:
        await session.fetchval("SELECT 1")
        working = asyncio.create_task(one.fetchrow("SELECT pg_sleep(0.5)"))
        for _ in range(5):
            assert await other.end_stuck_sessions(after_seconds=0) == 0
            await asyncio.wait({working}, timeout=0.05)
        await working
        assert await session.fetchval("SELECT 1") == 1


async def test_what_a_session_keeps_ends_with_it(database_name):
    url = service_url(database_name, "watcher")
    async with (
        Database.connect(url, name="a", size=1) as one,
        Database.connect(url, name="b", size=1) as other,
    ):
        async with one.session() as session:
            assert await session.fetchval("SELECT pg_try_advisory_lock(1)")
            assert not (await other.fetchrow("SELECT pg_try_advisory_xact_lock(1) AS it"))["it"]
        assert (await other.fetchrow("SELECT pg_try_advisory_xact_lock(1) AS it"))["it"]


async def test_a_transaction_that_was_cancelled_is_rolled_back(database_name, admin):
    """And its connection goes on, without what it had set."""
    url = service_url(database_name, "watcher")
    async with Database.connect(url, name="a", size=1) as database:

        async def hangs():
            async with database.transaction() as connection:
                await connection.execute(_COMPANY)
                await connection.execute("SET LOCAL statement_timeout = 9999")
                await connection.execute("SELECT pg_sleep(60)")

        task = asyncio.create_task(hangs())

        async def sleeps():
            return await admin.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%'"
                " AND state = 'active' AND datname = $1 AND pid <> pg_backend_pid()",
                database_name,
            )

        await eventually(sleeps)
        task.cancel()
        await asyncio.wait([task])
        row = await database.fetchrow(
            "SELECT count(*) AS rows, current_setting('statement_timeout') AS it FROM companies"
        )
        assert (row["rows"], row["it"]) == (0, "0")

"""Row-level security as the catalogue has it, and at the edges where it is known to leak."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg
import pytest
from media_records.migrate import migrate
from media_records.schema import refuse_pending_migrations
from media_runtime.database.postgres import Database

from support.assets import sign_asset
from support.databases import admin_url, empty_database, service_url

WRITES = {"INSERT", "UPDATE"}


@pytest.fixture
async def one_connection(database_name):
    """sign_api with a pool of one: each transaction inherits what the last one left."""
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        yield db


@pytest.fixture
async def ingest(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=1) as db:
        yield db


async def test_every_policy_checks_what_may_be_written(admin):
    """A policy with USING alone still covers writes in PostgreSQL; ours say so themselves."""
    policies = await admin.fetch(
        "SELECT tablename, policyname, permissive, roles::text[] AS roles, cmd, qual, with_check"
        " FROM pg_policies WHERE schemaname = 'public'"
    )
    assert len(policies) >= 14
    for policy in policies:
        writes = await admin.fetch(
            "SELECT privilege_type FROM information_schema.role_table_grants"
            " WHERE table_name = $1 AND grantee = ANY($2::text[])"
            " AND privilege_type = ANY($3::text[])",
            policy["tablename"],
            policy["roles"],
            list(WRITES),
        )
        assert policy["qual"], policy
        assert policy["with_check"] or not writes, policy
        assert "public" not in policy["roles"], policy


async def test_roles_that_see_all_companies_are_not_those_of_public_services(admin):
    rows = await admin.fetch(
        "SELECT tablename, roles::text[] AS roles FROM pg_policies WHERE qual = 'true'"
    )
    assert {(row["tablename"], role) for row in rows for role in row["roles"]} == {
        ("event_tickets", "media_notifier"),
        ("webhook_endpoints", "media_notifier"),
        ("webhook_deliveries", "media_notifier"),
        *(
            (table, "media_watcher")
            for table in (
                *("dead_letters", "event_tickets", "idempotency_keys", "bucket_requests"),
                *("uploads", "webhook_deliveries"),
            )
        ),
        *(
            (table, "media_internal")
            for table in (
                "companies", "media_assets", "asset_transitions", "asset_files", "tasks",
                "task_needs", "company_work", "outbox", "company_usage", "profiles", "asset_waits",
                "reruns", "batches",
            )
        ),
    }  # fmt: skip


async def test_no_table_is_without_a_company(admin):
    tables = await admin.fetch(
        "SELECT relname FROM pg_class c WHERE relkind IN ('r', 'p')"
        " AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"
        " AND NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = c.oid"
        " AND attname = 'company_id' AND attnotnull)"
    )
    assert tables == []


async def test_signing_leaves_no_company_on_the_connection(one_connection):
    company, _ = await sign_asset(one_connection)
    left = await one_connection.fetchrow(
        "SELECT current_setting('app.company_id', true) AS company"
    )
    assert left["company"] in {None, ""}
    assert await one_connection.fetch("SELECT 1 FROM media_assets") == []
    async with one_connection.company(company) as connection:
        assert len(await connection.fetch("SELECT 1 FROM media_assets")) == 1


async def test_after_a_companys_transaction_nothing_is_seen_and_nothing_raises(one_connection):
    """The setting then reads '' rather than NULL, and ''::uuid would be an error."""
    company, _ = await sign_asset(one_connection)
    async with one_connection.company(company) as connection:
        assert len(await connection.fetch("SELECT 1 FROM media_assets")) == 1
    left = await one_connection.fetchrow("SELECT current_setting('app.company_id', true) AS it")
    assert left["it"] == ""
    assert await one_connection.fetch("SELECT 1 FROM media_assets") == []


async def test_the_company_of_a_transaction_that_was_rolled_back_is_gone(one_connection):
    company, _ = await sign_asset(one_connection)
    with pytest.raises(RuntimeError):
        async with one_connection.company(company):
            raise RuntimeError
    assert await one_connection.fetch("SELECT 1 FROM media_assets") == []


async def test_another_companys_rows_cannot_be_deleted(one_connection, admin):
    company, asset = await sign_asset(one_connection)
    await admin.execute(
        "INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response)"
        " VALUES ($1, 'k', 'h', $2, '{}')",
        company,
        asset,
    )
    await admin.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")

    async def left_after(who: UUID) -> int:
        """Return how many keys are there once *who* wanted them forgotten."""
        async with one_connection.company(who) as connection:
            await connection.execute("SELECT forget_lapsed_key($1, 'k')", company)
        return await admin.fetchval("SELECT count(*) FROM idempotency_keys")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with one_connection.company(company) as connection:
            await connection.execute("DELETE FROM idempotency_keys")
    assert await left_after(uuid4()) == 1
    assert await left_after(company) == 0


async def test_an_asset_cannot_be_given_to_another_company(one_connection):
    company, asset = await sign_asset(one_connection)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with one_connection.company(company) as connection:
            await connection.execute(
                "UPDATE media_assets SET company_id = $2 WHERE id = $1", asset, uuid4()
            )


async def test_an_idempotency_key_of_one_company_tells_another_nothing(one_connection):
    """The same key in two companies: each has its own answer, and neither learns of the other."""

    async def sign(company: UUID, response: str) -> str | None:
        row = await one_connection.fetchrow(
            "SELECT response FROM sign_asset"
            " ($1, gen_random_uuid(), 'n', 'image/png', 1::bigint, 'b',"
            " now(), NULL, 'same key', 'hash', $2)",
            company,
            response,
        )
        return row["response"]

    one, other = uuid4(), uuid4()
    assert await sign(one, "one's") is None
    assert await sign(other, "other's") is None
    assert await sign(one, "new") == "one's"
    assert await sign(other, "new") == "other's"


@pytest.mark.parametrize(
    ("table", "columns", "values"),
    [
        ("tasks", "attempt, name, kind, pool", "1, 'a', 'b', 'c'"),
        (
            "asset_files",
            "attempt, name, kind, key, content_type, size",
            "1, 'video', 'video', 'k', 'video/mp4', 1",
        ),
        ("asset_transitions", "attempt, to_status, service", "1, 'ready', 'x'"),
        ("asset_waits", "attempt, place", "1, 1"),
    ],
)
async def test_not_even_internal_rows_join_two_companies(
    one_connection, ingest, table, columns, values
):
    insert = f"INSERT INTO {table} (company_id, asset_id, {columns}) VALUES ($1, $2, {values})"
    company, asset = await sign_asset(one_connection)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await ingest.fetch(insert, uuid4(), asset)
    await ingest.fetch(insert, company, asset)


async def test_sign_api_relays_only_in_the_role_made_for_it(one_connection):
    company = uuid4()
    async with one_connection.company(company) as connection:
        await connection.execute(
            "INSERT INTO outbox (producer, company_id, topic, key, value)"
            " VALUES ('sign_api', $1, 't', 'k', 'v')",
            company,
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await one_connection.fetch("SELECT 1 FROM outbox")
    async with one_connection.transaction() as connection:
        await connection.execute("SET LOCAL ROLE media_relay")
        assert len(await connection.fetch("SELECT 1 FROM outbox")) == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.fetch("SELECT 1 FROM media_assets")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await one_connection.fetch("SELECT 1 FROM outbox")


async def test_the_notifier_sees_tickets_alone(database_name):
    async with Database.connect(service_url(database_name, "notifier"), name="t", size=1) as db:
        await refuse_pending_migrations(db)
        assert await db.fetch("SELECT 1 FROM event_tickets") == []
        for table in ("media_assets", "companies", "outbox", "idempotency_keys", "tasks"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.fetch(f"SELECT 1 FROM {table}")


@pytest.mark.parametrize("service", ["sign_api", "ingest", "notifier", "watcher"])
async def test_no_service_can_switch_the_walls_off(database_name, service):
    async with Database.connect(service_url(database_name, service), name="t", size=1) as db:
        for statement in (
            "ALTER TABLE media_assets DISABLE ROW LEVEL SECURITY",
            "DROP POLICY own_company ON media_assets",
            "CREATE TABLE mine (id int)",
            "SET ROLE media_owner",
            "TRUNCATE media_assets CASCADE",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.fetch(statement)


async def test_a_database_without_migrations_is_refused(template_database):
    del template_database  # makes the logins
    async with empty_database() as name:
        url = service_url(name, "sign_api")
        async with Database.connect(url, name="t", size=1) as database:
            with pytest.raises(Exception, match="at no revision"):
                await refuse_pending_migrations(database)
        await migrate(admin_url(name), {})
        async with Database.connect(url, name="t", size=1) as database:
            await refuse_pending_migrations(database)

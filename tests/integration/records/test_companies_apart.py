"""Row-level security: no statement of sign_api meets another company's rows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from uuid import uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from media_records.migrate import engine_url, migrate
from media_records.schema import PendingMigrationError, head, refuse_pending_migrations
from media_records.tables import Asset
from media_runtime.database.postgres import Database, UnsafeRoleError
from sqlalchemy.ext.asyncio import create_async_engine

from support.assets import sign_asset
from support.databases import admin_url, service_url
from support.tiers import FULL, HOUR

REQUESTS = 20_000 if FULL else 2_000
AT_ONCE = 100
_OWN_AND_FOREIGN = """
    SELECT count(*) FILTER (WHERE company_id = $1) AS own,
        count(*) FILTER (WHERE company_id <> $1) AS foreign
    FROM media_assets
"""
_TOUCH = "UPDATE media_assets SET updated_at = now() WHERE id = ANY($1) RETURNING company_id"
TENANT_TABLES = {
    "companies",
    "media_assets",
    "asset_metadata",
    "batches",
    "asset_transitions",
    "asset_waits",
    "reruns",
    "tasks",
    "task_needs",
    "company_work",
    "asset_files",
    "idempotency_keys",
    "uploads",
    "webhook_endpoints",
    "webhook_deliveries",
    "event_tickets",
    "outbox",
    "company_usage",
    "bucket_requests",
    "dead_letters",
    "profiles",
}


@pytest.fixture
async def sign_api(database_name):
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=5) as db:
        yield db


async def test_migrations_make_the_tables_that_the_code_declares(database_name):
    engine = create_async_engine(engine_url(admin_url(database_name)))
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"compare_type": True}), Asset.metadata
            )
        )
    await engine.dispose()
    assert differences == []


async def test_a_second_migration_changes_nothing(database_name):
    assert await migrate(admin_url(database_name), {}) == head()


async def test_every_table_of_companies_is_walled(admin):
    rows = await admin.fetch(
        "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, r.rolname, r.rolcanlogin"
        " FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id'"
        " WHERE c.relkind = 'r'"
    )
    assert {row["relname"] for row in rows} == TENANT_TABLES
    for row in rows:
        assert row["relrowsecurity"], row
        assert row["relforcerowsecurity"], row
        assert not row["rolcanlogin"], row


async def test_policies_of_sign_api_name_its_company_for_reading_and_writing(admin):
    rows = await admin.fetch(
        "SELECT tablename, qual, with_check FROM pg_policies WHERE 'media_sign_api' = ANY(roles)"
    )
    assert {row["tablename"] for row in rows} == {
        "companies", "media_assets", "asset_transitions", "idempotency_keys", "outbox",
        "company_usage", "bucket_requests", "asset_files", "profiles", "asset_waits", "tasks",
        "uploads", "webhook_endpoints", "webhook_deliveries", "batches", "asset_metadata",
    }  # fmt: skip
    for row in rows:
        assert "app.company_id" in row["qual"]
        assert "app.company_id" in row["with_check"]


async def test_views_run_with_the_rights_of_who_asks(admin):
    views = await admin.fetch(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('v', 'm') AND nspname = 'public'"
        " AND NOT coalesce('security_invoker=true' = ANY(c.reloptions), false)"
    )
    assert views == []


async def test_without_a_company_nothing_is_seen(sign_api):
    await sign_asset(sign_api)
    assert await sign_api.fetch("SELECT 1 FROM media_assets") == []


async def test_a_company_set_in_a_transaction_ends_with_it(sign_api):
    company, _ = await sign_asset(sign_api)
    async with sign_api.company(company) as connection:
        assert await connection.fetchval("SELECT count(*) FROM media_assets") == 1
    for _ in range(10):
        assert await sign_api.fetch("SELECT 1 FROM media_assets") == []


async def test_another_companys_rows_can_be_neither_seen_nor_touched(sign_api, admin):
    company, asset = await sign_asset(sign_api)
    await admin.execute(
        "INSERT INTO asset_files (company_id, asset_id, attempt, name, kind, key, content_type,"
        " size) VALUES ($1, $2, 0, 'original', 'original', 'k', 'video/mp4', 1)",
        company, asset,
    )  # fmt: skip
    async with sign_api.company(uuid4()) as stranger:
        for statement in (
            "SELECT 1 FROM media_assets WHERE id = $1",
            "UPDATE media_assets SET file_name = 'stolen' WHERE id = $1 RETURNING 1",
            "SELECT 1 FROM asset_transitions WHERE asset_id = $1",
            "SELECT 1 FROM asset_files WHERE asset_id = $1",
            "SELECT 1 FROM tasks WHERE asset_id = $1",
        ):
            assert await stranger.fetch(statement, asset) == []
        await stranger.execute("SELECT forget_files($1, ARRAY['original'])", asset)
    assert await admin.fetchval("SELECT count(*) FROM asset_files") == 1
    assert await admin.fetchval("SELECT file_name FROM media_assets") == "name"


async def test_rows_for_another_company_cannot_be_written(sign_api):
    insert = "INSERT INTO bucket_requests (company_id) VALUES ($1)"
    own = uuid4()
    async with sign_api.company(own) as connection:
        await connection.execute(insert, own)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with sign_api.company(uuid4()) as stranger:
            await stranger.execute(insert, uuid4())


async def test_no_row_points_at_another_companys_asset(sign_api):
    _, asset = await sign_asset(sign_api)
    stranger_id = uuid4()
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with sign_api.company(stranger_id) as stranger:
            await stranger.execute(
                "INSERT INTO asset_transitions (company_id, asset_id, attempt, to_status, service)"
                " VALUES ($1, $2, 1, 'ready', 'x')",
                stranger_id,
                asset,
            )


@pytest.mark.parametrize("table", ["task_needs", "company_work", "event_tickets", "outbox"])
async def test_sign_api_cannot_read_what_is_not_its_own(sign_api, table):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await sign_api.fetch(f"SELECT 1 FROM {table}")


@pytest.mark.timeout(HOUR if FULL else 300)
async def test_mixed_requests_over_few_connections_meet_no_foreign_row(sign_api):
    """Requests of 10 companies over a pool of 5, one in twenty cancelled in mid-air."""
    assets = dict([await sign_asset(sign_api, uuid4()) for _ in range(10)])
    chance = random.Random(20_261_123)
    seen: Counter[str] = Counter()

    async def look(company):
        async with sign_api.company(company) as connection:
            row = await connection.fetchrow(_OWN_AND_FOREIGN, company)
        seen["own"] += row["own"]
        seen["foreign"] += row["foreign"]

    async def sign(company):
        await sign_asset(sign_api, company)

    async def reach_across(company):
        others = [asset for owner, asset in assets.items() if owner != company]
        async with sign_api.company(company) as connection:
            rows = await connection.fetch(_TOUCH, [assets[company], *others])
        seen["own"] += sum(row["company_id"] == company for row in rows)
        seen["foreign"] += sum(row["company_id"] != company for row in rows)

    async def forget_the_company(_):
        seen["foreign"] += len(await sign_api.fetch("SELECT 1 FROM media_assets"))

    async def maybe_cancelled(request, company):
        task = asyncio.create_task(request(company))
        if chance.random() < 0.05:
            for _ in range(chance.randrange(30)):  # somewhere between the pool and the answer
                await asyncio.sleep(0)
            task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        seen["cancelled"] += isinstance(ended, asyncio.CancelledError)
        if not isinstance(ended, asyncio.CancelledError | None):
            raise ended

    requests = (look, sign, reach_across, forget_the_company)
    for _ in range(REQUESTS // AT_ONCE):
        await asyncio.gather(
            *(
                maybe_cancelled(chance.choice(requests), chance.choice(list(assets)))
                for _ in range(AT_ONCE)
            )
        )
    assert seen["foreign"] == 0
    assert seen["own"] > REQUESTS / 4
    assert seen["cancelled"] > REQUESTS / 40


async def test_a_superuser_is_refused(database_name):
    with pytest.raises(UnsafeRoleError):
        async with Database.connect(admin_url(database_name), name="t"):
            pass


async def test_a_pending_migration_is_refused(database_name, admin, sign_api):
    await refuse_pending_migrations(sign_api)
    await admin.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(PendingMigrationError, match="run python"):
        await refuse_pending_migrations(sign_api)

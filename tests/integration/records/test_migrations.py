"""Bringing databases up to date: together, again, and without anything of the server's harmed."""

from __future__ import annotations

import asyncio
import secrets

import asyncpg
import pytest
from media_records.migrate import _make_roles_among_others, migrate
from media_records.schema import head

from support.databases import admin_url, empty_database

LOGINS = ("media_sign_api", "media_ingest", "media_notifier", "media_watcher")


@pytest.fixture
async def empty_name(template_database):
    del template_database  # makes the logins of this run
    async with empty_database() as name:
        yield name


@pytest.fixture
async def roles(admin):
    """Two roles of the test's own: those of the run keep the passwords they log in with."""
    names = [f"t_{secrets.token_hex(5)}" for _ in range(2)]
    for name in names:
        await admin.execute(f"CREATE ROLE {name} LOGIN")
    yield names
    for name in names:
        await admin.execute(f"DROP ROLE {name}")


async def tables(name):
    connection = await asyncpg.connect(admin_url(name))
    try:
        return await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname='public'")
    finally:
        await connection.close()


async def test_migrations_that_run_together_wait_for_one_another(empty_name):
    revisions = await asyncio.gather(*(migrate(admin_url(empty_name), {}) for _ in range(4)))
    assert revisions == [head()] * 4
    assert await tables(empty_name) == 22


async def test_roles_can_be_made_for_several_databases_at_once(
    empty_name, template_database, roles
):
    """Roles are the server's, and locks of one database say nothing to another."""
    passwords = dict.fromkeys(roles, "the same")
    connections = [
        await asyncpg.connect(admin_url(name)) for name in (empty_name, template_database) * 2
    ]
    for _ in range(5):
        await asyncio.gather(
            *(_make_roles_among_others(connection, passwords) for connection in connections)
        )
    for connection in connections:
        await connection.close()


async def test_a_failed_migration_leaves_nothing_behind(empty_name):
    admin = await asyncpg.connect(admin_url(empty_name))
    # The last table of the migration exists: all before it must be undone.
    await admin.execute("CREATE TABLE outbox (id int)")
    await admin.close()
    with pytest.raises(Exception, match='"outbox" already exists'):
        await migrate(admin_url(empty_name), {})
    assert await tables(empty_name) == 1


@pytest.mark.parametrize("password", ["plain", "it's 'quoted'", "ünïcode", "$$; --"])
async def test_a_password_is_taken_as_it_is(template_database, roles, password):
    await migrate(admin_url(template_database), {roles[0]: password})
    connection = await asyncpg.connect(
        admin_url(template_database), user=roles[0], password=password
    )
    assert await connection.fetchval("SELECT current_user") == roles[0]
    await connection.close()


@pytest.mark.parametrize("password", ["back\\slash", "nul\0"])
async def test_a_password_that_sql_would_read_otherwise_is_refused(
    template_database, roles, password
):
    with pytest.raises(ValueError, match="password"):
        await migrate(admin_url(template_database), {roles[0]: password})


async def test_roles_of_services_bypass_nothing_and_own_nothing(admin):
    rows = await admin.fetch(
        "SELECT rolname, rolcanlogin, rolinherit FROM pg_roles WHERE rolname LIKE 'media\\_%'"
        " AND NOT (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"
    )
    roles = {row["rolname"]: row for row in rows}
    assert {name for name, row in roles.items() if row["rolcanlogin"]} == set(LOGINS)
    assert {*LOGINS, "media_owner", "media_relay", "media_internal"} == set(roles)
    assert not roles["media_sign_api"]["rolinherit"]
    owned = await admin.fetch(
        "SELECT relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolcanlogin"
        " AND relnamespace = 'public'::regnamespace"
    )
    assert owned == []

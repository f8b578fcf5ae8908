"""
Who may do what with which table: the whole of it, so that a new table or right must be added here.

The walls between companies themselves are in test_isolation and test_companies_apart.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from uuid import uuid4

import asyncpg
import pytest
from media_runtime.database.postgres import Database

from support.databases import service_url

LOGINS = ("media_sign_api", "media_ingest", "media_notifier", "media_watcher")

UPDATES = (
    ("media_sign_api", "media_assets"),
    ("media_sign_api", "company_usage"),
    ("media_internal", "media_assets"),
    ("media_internal", "company_usage"),
    ("media_internal", "tasks"),
    ("media_internal", "company_work"),
    ("media_internal", "asset_files"),
    ("media_internal", "asset_waits"),
    ("media_internal", "reruns"),
    ("media_internal", "batches"),
    ("media_sign_api", "batches"),
    ("media_watcher", "dead_letters"),
)
# All but those that say which row it is, and whose.
COLUMNS = {
    "media_assets": """
        file_name content_type size status attempt bucket uploaded_at error_code error_message
        traceparent grant_expires_at updated_at processed_at sweep_at check_at found_at attempt_at
        retired grant_swept probe warnings
    """,
    "company_usage": "bytes pending processing ready failed expired cancelled deleted",
    "batches": "pending processing ready failed expired cancelled deleted decided_at",
    "tasks": """
        state waits_for not_before tries preemptions fence owner lease_until last_error claimed_at
        finished_at result cpu_seconds commands
    """,
    "reruns": "state probe warnings error_code error_message ended_at",
    "company_work": "seconds at",
    "asset_waits": "attempt place ready_at told_at",
    "asset_files": "key version_id sha256",
    "dead_letters": "state settled_at",
}
RIGHTS = {
    ("media_sign_api", "alembic_version"): "SELECT",
    ("media_sign_api", "asset_files"): "SELECT",
    ("media_sign_api", "asset_metadata"): "INSERT SELECT",
    ("media_sign_api", "asset_transitions"): "INSERT SELECT",
    ("media_sign_api", "asset_waits"): "SELECT",
    ("media_sign_api", "batches"): "INSERT SELECT",
    ("media_sign_api", "batches.key"): "UPDATE",
    ("media_sign_api", "companies"): "SELECT",
    ("media_sign_api", "company_usage"): "INSERT SELECT",
    ("media_sign_api", "idempotency_keys"): "INSERT SELECT",
    ("media_sign_api", "uploads"): "INSERT SELECT",
    ("media_sign_api", "uploads.storage_id"): "UPDATE",
    ("media_sign_api", "uploads.completing_at"): "UPDATE",
    ("media_sign_api", "media_assets"): "INSERT SELECT",
    ("media_sign_api", "outbox"): "INSERT",
    ("media_sign_api", "bucket_requests"): "INSERT",
    ("media_sign_api", "profiles"): "SELECT",
    ("media_sign_api", "tasks"): "INSERT SELECT",
    ("media_internal", "alembic_version"): "SELECT",
    ("media_internal", "asset_files"): "INSERT SELECT",
    ("media_internal", "asset_transitions"): "INSERT SELECT",
    ("media_internal", "asset_waits"): "INSERT SELECT",
    ("media_internal", "batches"): "SELECT",
    ("media_internal", "companies"): "SELECT",
    ("media_internal", "company_usage"): "INSERT SELECT",
    ("media_internal", "company_work"): "INSERT SELECT",
    ("media_internal", "media_assets"): "SELECT",
    ("media_internal", "outbox"): "INSERT",
    ("media_internal", "profiles"): "SELECT",
    ("media_internal", "reruns"): "INSERT SELECT",
    # What a ready asset was made by changes with the attempt that replaces another.
    **{
        ("media_internal", f"media_assets.{column}"): "UPDATE"
        for column in ("profile", "profile_version", "own_profile", "rerun_failed")
    },
    ("media_sign_api", "media_assets.about"): "UPDATE",
    ("media_internal", "task_needs"): "INSERT SELECT",
    ("media_internal", "tasks"): "INSERT SELECT",
    ("media_watcher", "batches"): "DELETE",
    ("media_watcher", "companies"): "INSERT",
    ("media_watcher", "companies.verified_at"): "UPDATE",
    ("media_watcher", "companies.quota_bytes"): "UPDATE",
    ("media_watcher", "companies.retention_days"): "UPDATE",
    ("media_watcher", "companies.retention_keeps_thumbnails"): "UPDATE",
    ("media_watcher", "event_tickets"): "DELETE SELECT",
    ("media_watcher", "idempotency_keys"): "DELETE SELECT",
    ("media_watcher", "uploads"): "SELECT",
    ("media_watcher", "uploads.ended"): "UPDATE",
    ("media_watcher", "media_assets"): "DELETE",
    ("media_watcher", "outbox"): "SELECT",
    ("media_watcher", "profiles"): "INSERT",
    ("media_watcher", "dead_letters"): "DELETE INSERT SELECT",
    ("media_watcher", "bucket_requests"): "DELETE SELECT",
    ("media_notifier", "alembic_version"): "SELECT",
    ("media_notifier", "event_tickets"): "INSERT SELECT",
    ("media_relay", "outbox"): "SELECT",
    # Secrets of endpoints are read by who signs with them alone.
    ("media_sign_api", "webhook_endpoints"): "INSERT",
    **{
        ("media_sign_api", f"webhook_endpoints.{column}"): "SELECT"
        for column in ("id", "company_id", "old_until", "created_at")
    },
    **{
        ("media_sign_api", f"webhook_endpoints.{column}"): "SELECT UPDATE"
        for column in ("url", "types", "enabled", "failing_since", "disabled_at")
    },
    ("media_sign_api", "webhook_deliveries"): "INSERT SELECT",
    **{
        ("media_sign_api", f"webhook_deliveries.{column}"): "UPDATE"
        for column in ("state", "tries", "not_before", "lease_until")
    },
    ("media_notifier", "webhook_endpoints"): "SELECT",
    **{
        ("media_notifier", f"webhook_endpoints.{column}"): "UPDATE"
        for column in ("enabled", "failing_since", "disabled_at", "told")
    },
    ("media_notifier", "webhook_deliveries"): "SELECT",
    **{
        ("media_notifier", f"webhook_deliveries.{column}"): "UPDATE"
        for column in (
            *("state", "tries", "not_before", "fence", "lease_until", "answer", "tried_at"),
        )
    },
    ("media_watcher", "webhook_deliveries"): "DELETE SELECT",
    **{
        (role, f"{table}.{column}"): "UPDATE"
        for role, table in UPDATES
        for column in COLUMNS[table].split()
    },
}
MEMBERS = {
    ("media_ingest", "media_internal"),
    ("media_ingest", "media_relay"),
    ("media_sign_api", "media_relay"),
    ("media_watcher", "media_internal"),
    ("media_watcher", "media_relay"),
}
# PostgreSQL lets everyone call a new function; with its caller's rights that gives nothing.
CALLABLE_BY_ALL = {
    *("sign_asset", "sign_batch", "count_asset", "count_file", "count_in_batch", "granted_bytes"),
}

_GRANTED = """
    WITH granted AS (
        SELECT relname AS name, relowner AS owner, relacl AS acl FROM pg_class
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT relname || '.' || attname, relowner, attacl FROM pg_attribute
            JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace
    )
    SELECT coalesce(rolname, 'PUBLIC') AS role, name,
        string_agg(privilege_type, ' ' ORDER BY privilege_type) AS privileges,
        bool_or(is_grantable) AS may_pass_on
    FROM granted, aclexplode(acl) LEFT JOIN pg_roles r ON r.oid = grantee
    WHERE grantee <> owner GROUP BY 1, 2
"""


async def test_each_role_has_its_rights_and_no_others(admin):
    rows = await admin.fetch(_GRANTED)
    assert {(row["role"], row["name"]): row["privileges"] for row in rows} == RIGHTS
    assert not any(row["may_pass_on"] for row in rows)


async def test_everyone_is_granted_nothing(admin):
    assert [row for row in await admin.fetch(_GRANTED) if row["role"] == "PUBLIC"] == []
    functions = await admin.fetch(
        "SELECT DISTINCT proname, prosecdef FROM pg_proc p,"
        " aclexplode(coalesce(proacl, acldefault('f', proowner)))"
        " WHERE pronamespace = 'public'::regnamespace AND grantee = 0"
    )
    assert {row["proname"] for row in functions} == CALLABLE_BY_ALL
    assert not any(row["prosecdef"] for row in functions)
    schema = await admin.fetch(
        "SELECT privilege_type FROM pg_namespace, aclexplode(nspacl)"
        " WHERE nspname = 'public' AND grantee = 0"
    )
    assert {row["privilege_type"] for row in schema} == {"USAGE"}


async def test_who_may_call_what_works_with_the_owners_rights(admin):
    rows = await admin.fetch(
        "SELECT proname, grantee::regrole::text AS caller, proconfig FROM pg_proc p,"
        " aclexplode(coalesce(proacl, acldefault('f', proowner)))"
        " WHERE pronamespace = 'public'::regnamespace AND prosecdef AND grantee <> proowner"
    )
    assert {(row["proname"], row["caller"]) for row in rows} == {
        ("forget_lapsed_key", "media_sign_api"),
        ("forget_endpoint", "media_sign_api"),
        ("rotate_secret", "media_sign_api"),
        ("forget_relayed", "media_relay"),
        ("forget_files", "media_sign_api"),
        ("forget_files", "media_internal"),
        ("forget_named", "media_internal"),
        ("forget_attempts", "media_internal"),
        ("forget_stream", "media_internal"),
        ("redeem_ticket", "media_notifier"),
    }
    assert all(row["proconfig"] == ["search_path=pg_catalog, pg_temp"] for row in rows)


# What the watcher deletes from, it could lock as well: nobody from outside reaches it.
DELETED_BY_THE_WATCHER = {
    *("media_assets", "idempotency_keys", "event_tickets", "bucket_requests", "dead_letters"),
    *("webhook_deliveries", "batches"),
}
MODES = ("SHARE UPDATE EXCLUSIVE", "SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE")


@pytest.mark.parametrize("login", ["sign_api", "ingest", "notifier", "watcher"])
async def test_a_login_cannot_lock_tables_against_others(admin, database_name, login):
    tables = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    names = {row["tablename"] for row in tables}
    roles = await admin.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'media\\_%'"
        " AND pg_has_role($1, oid, 'MEMBER')",
        f"media_{login}",
    )
    locked = set()
    async with Database.connect(service_url(database_name, login), name="t", size=1) as db:
        for role in (row["rolname"] for row in roles):
            for name, mode in product(names, MODES):
                with suppress(asyncpg.InsufficientPrivilegeError):
                    async with db.transaction() as connection:
                        await connection.execute(f"SET LOCAL ROLE {role}")
                        await connection.execute(f"LOCK TABLE {name} IN {mode} MODE")
                    locked.add(name)
    assert locked == (DELETED_BY_THE_WATCHER if login == "watcher" else set())


@pytest.mark.parametrize("login", LOGINS)
async def test_a_statement_of_a_login_ends(admin, login):
    settings = await admin.fetchval("SELECT rolconfig FROM pg_roles WHERE rolname = $1", login)
    seconds = "11min" if login == "media_watcher" else "30s"
    assert settings == [f"statement_timeout={seconds}"]


async def test_who_is_a_member_of_what(admin):
    rows = await admin.fetch(
        "SELECT m.rolname AS member, r.rolname AS role, admin_option FROM pg_auth_members"
        " JOIN pg_roles m ON m.oid = member JOIN pg_roles r ON r.oid = roleid"
        " WHERE m.rolname LIKE 'media\\_%'"
    )
    assert {(row["member"], row["role"]) for row in rows} == MEMBERS
    assert not any(row["admin_option"] for row in rows)


async def test_every_right_is_behind_a_policy_for_its_role(admin):
    """With row-level security and no policy a right is dead; with one for all it would be wide."""
    rows = await admin.fetch(
        "SELECT c.oid, relname, grantee, g.rolname, privilege_type FROM pg_class c,"
        " aclexplode(relacl) JOIN pg_roles g ON g.oid = grantee"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND grantee <> relowner AND relname <> 'alembic_version'"
    )
    assert rows
    for row in rows:
        policies = await admin.fetch(
            "SELECT polname FROM pg_policy WHERE polrelid = $1 AND polpermissive"
            " AND EXISTS (SELECT 1 FROM unnest(polroles) p WHERE p <> 0"
            "   AND pg_has_role($2::oid, p, 'USAGE'))"
            " AND polcmd::text = ANY($3)",
            row["oid"],
            row["grantee"],
            ["*", {"SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}[row[4]]],
        )
        assert policies, tuple(row)


@pytest.mark.parametrize("login", ["sign_api", "ingest", "watcher"])
async def test_a_relay_meets_the_records_of_its_own_service_alone(admin, database_name, login):
    """Red with a policy that is true: sign_api could read and remove every company's outcomes."""
    for producer in ("sign_api", "ingest", "watcher", "nobody"):
        await admin.execute(
            "INSERT INTO outbox (producer, company_id, topic, key, value)"
            " VALUES ($1, gen_random_uuid(), 't', 'k', 'v')",
            producer,
        )
    async with (
        Database.connect(service_url(database_name, login), name="t", size=1) as db,
        db.transaction() as connection,
    ):
        await connection.execute("SET LOCAL ROLE media_relay")
        seen = await connection.fetch("SELECT producer FROM outbox")
        await connection.execute(
            "SELECT forget_relayed(array_agg(n)) FROM generate_series(1::bigint, 1000) n"
        )
    left = await admin.fetch("SELECT producer FROM outbox")
    assert [row["producer"] for row in seen] == [login]
    everyone = {"sign_api", "ingest", "watcher", "nobody"}
    assert {row["producer"] for row in left} == everyone - {login}


async def test_sign_api_cannot_say_what_a_company_is(admin, database_name):
    company = uuid4()
    await admin.execute(
        "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, 'b', 1)", company
    )
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=1) as db:
        for statement in (
            "UPDATE companies SET quota_bytes = 10 * quota_bytes",
            "UPDATE companies SET bucket = 'another'",
            "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, 'b', 9)",
            "UPDATE idempotency_keys SET response = 'x'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with db.company(company) as connection:
                    await connection.execute(statement, *([uuid4()] if "$1" in statement else []))


async def test_ingest_can_neither_use_tickets_nor_answers_of_others(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=1) as db:
        for table in ("event_tickets", "idempotency_keys"):
            for statement in ("SELECT 1 FROM", "DELETE FROM"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await db.fetch(f"{statement} {table}")


async def test_rows_of_a_company_refer_to_rows_of_the_same_company(admin):
    keys = await admin.fetch(
        "SELECT k.conrelid::regclass::text AS source, k.confrelid::regclass::text AS target,"
        " EXISTS (SELECT 1 FROM unnest(k.conkey, k.confkey) AS pair (here, there)"
        "   JOIN pg_attribute h ON h.attrelid = k.conrelid AND h.attnum = here"
        "   JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = there"
        "   WHERE h.attname = 'company_id' AND t.attname = 'company_id') AS with_company"
        " FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
        " WHERE k.contype = 'f' AND c.relnamespace = 'public'::regnamespace"
    )
    assert len(keys) >= 4
    assert [tuple(key) for key in keys if not key["with_company"]] == []


@pytest.mark.parametrize("login", LOGINS)
async def test_a_login_is_bound_by_the_walls(admin, login):
    role = await admin.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", login)
    assert role["rolcanlogin"]
    for power in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication"):
        assert not role[power], power
    owned = await admin.fetch(
        "SELECT relname FROM pg_class WHERE pg_has_role($1, relowner, 'MEMBER')"
        " UNION SELECT proname FROM pg_proc WHERE pg_has_role($1, proowner, 'MEMBER')"
        " UNION SELECT datname FROM pg_database WHERE pg_has_role($1, datdba, 'MEMBER')",
        login,
    )
    assert owned == []
    assert not await admin.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", login)


async def test_the_thumbnailer_knows_no_database(admin):
    roles = {row["rolname"] for row in await admin.fetch("SELECT rolname FROM pg_roles")}
    assert {name for name in roles if name.startswith("media_")} == {
        *LOGINS,
        *("media_owner", "media_internal", "media_relay"),
    }

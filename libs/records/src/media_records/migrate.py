"""
Brings a database up to date: ``python -m media_records.migrate``, once before services.

Makes the roles, then runs the migrations as media_owner. Invariant: services log in with
roles that own nothing and bypass nothing; this step alone uses the administrator's login.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Container
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from media_runtime.catalog import DATABASE_USERS, SERVICES
from media_runtime.settings import PostgresSettings, secrets_of
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_215_940_112  # any constant: one migration at a time in a database
# What PostgreSQL answers ("tuple concurrently updated") to the second of two that change a role.
_COLLISIONS = (
    asyncpg.InternalServerError,
    asyncpg.DuplicateObjectError,
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
)
_ROLE_TRIES = 10

_GROUPS = ("media_owner", "media_relay", "media_internal")


async def migrate(url: str, passwords: dict[str, str]) -> str:
    """Make roles, run all migrations, and return the revision the database is at."""
    admin = await asyncpg.connect(url)
    try:
        await _make_roles_among_others(admin, passwords)
    finally:
        await admin.close()
    engine = create_async_engine(engine_url(url))
    try:
        async with engine.connect() as connection:
            revision = await connection.run_sync(_upgrade)
            await connection.commit()
            return revision
    finally:
        await engine.dispose()


def engine_url(url: str) -> str:
    """Return *url* in SQLAlchemy's form for asyncpg."""
    return "postgresql+asyncpg://" + url.split("://", 1)[1]


async def _make_roles_among_others(admin: asyncpg.Connection, passwords: dict[str, str]) -> None:
    # Roles belong to the whole server, and locks to one database: migrations of two databases
    # may run at once, and one of them then begins anew.
    for _ in range(_ROLE_TRIES - 1):
        try:
            return await _make_roles(admin, passwords)
        except _COLLISIONS:
            await asyncio.sleep(random.uniform(0, 0.2))  # noqa: S311 - jitter, not a secret
    return await _make_roles(admin, passwords)


async def _make_roles(admin: asyncpg.Connection, passwords: dict[str, str]) -> None:
    async with admin.transaction():
        await admin.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        known = {row["rolname"] for row in await admin.fetch("SELECT rolname FROM pg_roles")}
        for group in _GROUPS:
            if group not in known:
                await admin.execute(f"CREATE ROLE {group} NOLOGIN")
        for service in DATABASE_USERS:
            await _make_login(admin, service, known)
        for role, password in passwords.items():
            await admin.execute(f"ALTER ROLE {role} PASSWORD {_literal(password)}")
        await admin.execute("GRANT media_owner TO CURRENT_USER")
        await admin.execute("GRANT CREATE, USAGE ON SCHEMA public TO media_owner")


async def _make_login(admin: asyncpg.Connection, service: str, known: Container[str]) -> None:
    declared, role = SERVICES[service].database, f"media_{service}"
    assert declared is not None  # noqa: S101 - as all of DATABASE_USERS
    if role not in known:
        options = "LOGIN" if declared.inherit else "LOGIN NOINHERIT"
        await admin.execute(f"CREATE ROLE {role} {options}")
    timeout = declared.statement_timeout
    await admin.execute(f"ALTER ROLE {role} SET statement_timeout = '{timeout}'")
    for group in declared.groups:
        await admin.execute(f"GRANT {group} TO {role}")


def _literal(value: str) -> str:
    if "\\" in value or "\0" in value:
        raise ValueError("a database password may hold neither backslashes nor NUL")
    return "'" + value.replace("'", "''") + "'"


def _upgrade(connection: Connection) -> str:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    connection.execute(text("SET ROLE media_owner"))
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    revision: str = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    return revision


def alembic_config() -> Config:
    """Return Alembic's configuration; its environment expects a connection in attributes."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def main() -> None:
    """Migrate the database that the environment describes."""
    url = PostgresSettings().database_url.get_secret_value()
    secrets = secrets_of(DATABASE_USERS, "DB_PASSWORD")
    passwords = {f"media_{service}": secret for service, secret in secrets.items()}
    revision = asyncio.run(migrate(url, passwords))
    sys.stdout.write(f"database: at revision {revision}\n")


if __name__ == "__main__":
    main()

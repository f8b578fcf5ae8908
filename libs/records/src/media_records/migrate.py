"""
Brings a database up to date: ``python -m media_records.migrate``, once before services.

Makes the roles, then runs the migrations as media_owner. Invariant: services log in with
roles that own nothing and bypass nothing; this step alone uses the administrator's login.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from media_runtime.settings import Settings
from pydantic import SecretStr
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

_ROLES = {
    "media_owner": "NOLOGIN",
    "media_relay": "NOLOGIN",
    "media_internal": "NOLOGIN",
    # NOINHERIT: sign_api becomes media_relay only where its relay says SET LOCAL ROLE.
    "media_sign_api": "LOGIN NOINHERIT",
    "media_ingest": "LOGIN",
    "media_notifier": "LOGIN",
    "media_watcher": "LOGIN",
}
# Of one statement, whoever sends it: clients of ours give up after 30 s, and the watcher, whose
# plans and lists look at all assets, after ten minutes.
_STATEMENT_TIMEOUTS = {
    "media_sign_api": "30s",
    "media_ingest": "30s",
    "media_notifier": "30s",
    "media_watcher": "11min",
}
_MEMBERS = {
    "media_relay": ("media_sign_api", "media_ingest", "media_watcher"),
    "media_internal": ("media_ingest", "media_watcher"),
}


class MigrateSettings(Settings):
    """The administrator's login, and the passwords that the services' roles are to have."""

    database_url: SecretStr
    sign_api_db_password: SecretStr
    ingest_db_password: SecretStr
    notifier_db_password: SecretStr
    watcher_db_password: SecretStr

    def passwords(self) -> dict[str, str]:
        """Return the password of each login role."""
        return {
            "media_sign_api": self.sign_api_db_password.get_secret_value(),
            "media_ingest": self.ingest_db_password.get_secret_value(),
            "media_notifier": self.notifier_db_password.get_secret_value(),
            "media_watcher": self.watcher_db_password.get_secret_value(),
        }


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
        for role, options in _ROLES.items():
            if role not in known:
                await admin.execute(f"CREATE ROLE {role} {options}")
        for role, password in passwords.items():
            await admin.execute(f"ALTER ROLE {role} PASSWORD {_literal(password)}")
        for role, timeout in _STATEMENT_TIMEOUTS.items():
            await admin.execute(f"ALTER ROLE {role} SET statement_timeout = '{timeout}'")
        for group, members in _MEMBERS.items():
            await admin.execute(f"GRANT {group} TO {', '.join(members)}")
        await admin.execute("GRANT media_owner TO CURRENT_USER")
        await admin.execute("GRANT CREATE, USAGE ON SCHEMA public TO media_owner")


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
    settings = MigrateSettings()
    revision = asyncio.run(migrate(settings.database_url.get_secret_value(), settings.passwords()))
    sys.stdout.write(f"database: at revision {revision}\n")


if __name__ == "__main__":
    main()

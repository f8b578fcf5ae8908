"""Refuses to run against a database whose schema is not the one this code was written for."""

from __future__ import annotations

import asyncpg
from alembic.script import ScriptDirectory
from media_records.migrate import alembic_config
from media_runtime.postgres import Database


class PendingMigrationError(RuntimeError):
    """The database is not at the revision that this code needs."""


def head() -> str:
    """Return the newest revision that this code knows."""
    revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if revision is None:
        raise PendingMigrationError("this installation holds no migrations")
    return revision


async def refuse_pending_migrations(database: Database) -> None:
    """Raise PendingMigrationError unless the database is at head."""
    try:
        row = await database.fetchrow("SELECT version_num FROM alembic_version")
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        row = None
    found = row["version_num"] if row else "no revision"
    if found != head():
        raise PendingMigrationError(
            f"the database is at {found}, this service needs {head()}; "
            "run python -m media_records.migrate first"
        )

"""Refuses to run against a database whose schema is not the one this code was written for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import structlog
from media_runtime import background
from media_runtime.database.postgres import Database
from media_runtime.settings import PostgresSettings

log = structlog.get_logger(__name__)

LOOK_SECONDS, STUCK_SECONDS = 5.0, 10.0
"""How often a service looks for sessions that stopped in mid-question, and for how long."""

_VERSIONS = Path(__file__).parent / "migrations" / "versions"


class PendingMigrationError(RuntimeError):
    """The database is not at the revision that this code needs."""


def head() -> str:
    """
    Return the newest revision that this code knows.

    Files of migrations are named by their numbers, so that services start without Alembic.
    """
    revisions = [path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py")]
    if not revisions:
        raise PendingMigrationError("this installation holds no migrations")
    return max(revisions)


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


@asynccontextmanager
async def connected(settings: PostgresSettings, *, name: str) -> AsyncIterator[Database]:
    """
    Give the database for the block, in the name of a service.

    Sessions of this service that stopped in mid-question, say those of a frozen replica, are ended
    meanwhile. Raises PendingMigrationError, and DatabaseUnavailableError.
    """
    url, size = settings.database_url.get_secret_value(), settings.database_pool_size
    async with Database.connect(url, name=name, size=size) as database:
        await refuse_pending_migrations(database)
        step = partial(_end_stuck_sessions, database)
        looks = background.repeat(step, name="stuck_sessions", retry_seconds=LOOK_SECONDS)
        async with background.running(stuck_sessions=looks):
            yield database


async def _end_stuck_sessions(database: Database) -> None:
    await asyncio.sleep(LOOK_SECONDS)
    if ended := await database.end_stuck_sessions(after_seconds=STUCK_SECONDS):
        log.warning("sessions_ended", sessions=ended)

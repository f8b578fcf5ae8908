"""
Databases of a test's own, migrated once and cloned from a template.

Roles belong to the whole server, where stacks may be running: migrations here leave their
passwords alone, and each run of the tests logs in with roles of its own, made members of those
of the services.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
from media_records.migrate import migrate
from media_runtime.catalog import DATABASE_USERS

_RUN = f"t_{secrets.token_hex(5)}"
_PASSWORD = secrets.token_hex(16)


def admin_url(database: str | None = None) -> str:
    """Return the administrator's URL of DATABASE_URL's server, for another database of it."""
    url = os.environ.get("DATABASE_URL")
    assert url, "set DATABASE_URL to an administrator's login, or run ./mediactl test"
    parts = urlsplit(url)
    return parts._replace(path=f"/{database}").geturl() if database else url


def service_url(database: str, service: str) -> str:
    """Return the URL with which *service* logs in to *database*."""
    parts = urlsplit(admin_url(database))
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{login_of(service)}:{_PASSWORD}@{address}").geturl()


def login_of(service: str) -> str:
    """Return the role with which this run of the tests logs in as *service*."""
    return f"{_RUN}_{service}"


@asynccontextmanager
async def template() -> AsyncIterator[str]:
    """Give the name of a migrated database; at the end it is dropped, as are the run's logins."""
    async with empty_database() as name:
        await migrate(admin_url(name), {})
        for service in DATABASE_USERS:
            await _execute(
                f"CREATE ROLE {login_of(service)} LOGIN PASSWORD '{_PASSWORD}'"
                f" IN ROLE media_{service}"
            )
        try:
            yield name
        finally:
            for service in DATABASE_USERS:
                await _execute(f"DROP ROLE {login_of(service)}")


@asynccontextmanager
async def empty_database() -> AsyncIterator[str]:
    """Give the name of a new database without tables; it is dropped after."""
    async with clone_of("template1") as name:
        yield name


@asynccontextmanager
async def clone_of(original: str) -> AsyncIterator[str]:
    """Give the name of a copy of *original*; it is dropped after."""
    name = f"t_{secrets.token_hex(5)}"
    await _execute(f"CREATE DATABASE {name} TEMPLATE {original}")
    try:
        yield name
    finally:
        await _execute(f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(statement: str) -> None:
    """By a connection of its own: tests in between may take the server down."""
    connection = await asyncpg.connect(admin_url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()

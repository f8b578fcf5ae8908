"""Databases of a test's own, migrated once and cloned from a template."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
from media_records.migrate import migrate

SERVICES = ("sign_api", "ingest", "notifier", "watcher")

# Roles belong to the whole server: a stack that runs on it must keep the passwords it has.
PASSWORDS = {
    f"media_{service}": os.environ.get(f"{service.upper()}_DB_PASSWORD", "pw")
    for service in SERVICES
}


def admin_url(database: str | None = None) -> str:
    """Return the administrator's URL of DATABASE_URL's server, for another database of it."""
    url = os.environ.get("DATABASE_URL")
    assert url, "set DATABASE_URL to an administrator's login, or run ./mediactl test"
    parts = urlsplit(url)
    return parts._replace(path=f"/{database}").geturl() if database else url


def service_url(database: str, service: str) -> str:
    """Return the URL with which *service* logs in to *database*."""
    parts = urlsplit(admin_url(database))
    login = f"media_{service}:{PASSWORDS[f'media_{service}']}"
    return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port or 5432}").geturl()


@asynccontextmanager
async def fresh_database(template: str | None = None) -> AsyncIterator[str]:
    """Give the name of a new database, migrated or cloned from *template*; it is dropped after."""
    name = f"t_{secrets.token_hex(5)}"
    admin = await asyncpg.connect(admin_url())
    try:
        await admin.execute(
            f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")
        )
        if template is None:
            await migrate(admin_url(name), PASSWORDS)
        yield name
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()

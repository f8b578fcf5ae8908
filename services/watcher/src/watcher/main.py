"""Wiring of the watcher: the only place that builds its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from media_records.schema import refuse_pending_migrations
from media_runtime.errors import TransientError
from media_runtime.postgres import Database
from media_runtime.storage import ObjectStore
from media_runtime.telemetry import Check, ops_routes
from starlette.applications import Starlette
from starlette.routing import Route
from watcher.metrics import ROUND_SECONDS
from watcher.settings import WatcherSettings
from watcher.use_cases import CleanUp, Round, Watch

SERVICE = "watcher"
log = structlog.get_logger(__name__)


def build_app(settings: WatcherSettings) -> Starlette:
    """Return the app, which makes a round now and at each interval."""
    readiness: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with _database(settings) as database:
            readiness["postgres"] = database.ping
            store = ObjectStore(settings)
            rounds = asyncio.create_task(_rounds(settings, database, store))
            try:
                yield
            finally:
                rounds.cancel()
                with suppress(asyncio.CancelledError):
                    await rounds
                store.close()

    routes = [Route(path, endpoint) for path, endpoint in ops_routes(readiness)]
    return Starlette(routes=routes, lifespan=lifespan)


async def watch_once(settings: WatcherSettings) -> Round:
    """Make one round without cleaning up, and return what it saw."""
    async with _database(settings) as database:
        return await Watch(database, settings)()


async def _rounds(settings: WatcherSettings, database: Database, store: ObjectStore) -> None:
    watch, clean_up = Watch(database, settings), CleanUp(database, store, settings)
    while True:
        try:
            with ROUND_SECONDS.time():
                await watch()
                await clean_up()
        except TransientError as error:
            log.warning("round_failed", error=str(error))
        except Exception:
            log.exception("round_failed")
        await asyncio.sleep(settings.watch_interval_seconds)


@asynccontextmanager
async def _database(settings: WatcherSettings) -> AsyncIterator[Database]:
    url = settings.database_url.get_secret_value()
    async with Database.connect(url, name=SERVICE, size=2) as database:
        await refuse_pending_migrations(database)
        yield database

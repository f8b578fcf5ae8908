"""Wiring of the watcher: the only place that builds its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

import structlog
from media_records.lifecycle import Lifecycle
from media_records.schema import refuse_pending_migrations
from media_runtime.errors import TransientError
from media_runtime.kafka import Producer
from media_runtime.outbox import Outbox
from media_runtime.postgres import Database
from media_runtime.settings import PostgresSettings
from media_runtime.storage import ObjectStore
from media_runtime.telemetry import Check, ops_routes
from starlette.applications import Starlette
from starlette.routing import Route
from watcher.metrics import ROUND_SECONDS
from watcher.orphans import Orphan, find_orphans, remove_object
from watcher.reconcile import SERVICE, Reconciler, VerifyBuckets
from watcher.settings import OrphanSettings, WatcherSettings, WatchSettings
from watcher.sweep import Sweep
from watcher.use_cases import Round, Watch

_CONNECTIONS = 8
Part = Callable[[], Awaitable[object]]
log = structlog.get_logger(__name__)


def build_app(settings: WatcherSettings) -> Starlette:
    """Return the app, which makes a round now and at each interval."""
    readiness: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            producer = await stack.enter_async_context(Producer.connect(settings, name=SERVICE))
            database = await stack.enter_async_context(_database(settings))
            readiness["postgres"] = database.ping
            store = await stack.enter_async_context(ObjectStore.connect(settings))
            outbox = Outbox(database, producer, service=SERVICE)
            await stack.enter_async_context(outbox.relaying())
            rounds: list[Part] = [
                Watch(database, settings),
                Reconciler(
                    database=database,
                    store=store,
                    outbox=outbox,
                    lifecycle=Lifecycle(outbox, service=SERVICE),
                    settings=settings,
                ),
                VerifyBuckets(database=database, store=store, settings=settings),
                Sweep(database, store, settings),
            ]
            await stack.enter_async_context(_repeating(rounds, settings.watch_interval_seconds))
            yield

    routes = [Route(path, endpoint) for path, endpoint in ops_routes(readiness)]
    return Starlette(routes=routes, lifespan=lifespan)


async def watch_once(settings: WatchSettings) -> Round:
    """Make one round without cleaning up, and return what it saw."""
    async with _database(settings) as database:
        return await Watch(database, settings)()


async def orphans_now(
    settings: OrphanSettings, *, min_age: timedelta, remove: bool
) -> AsyncIterator[Orphan]:
    """Yield orphans that are older than *min_age*, and *remove* the objects among them."""
    async with ObjectStore.connect(settings) as store, _database(settings) as database:
        async for orphan in find_orphans(database, store, min_age=min_age):
            yield orphan
            if remove and orphan.kind == "object":
                await remove_object(store, orphan)


@asynccontextmanager
async def _repeating(parts: Sequence[Part], interval_seconds: float) -> AsyncIterator[None]:
    task = asyncio.create_task(_repeat(parts, interval_seconds), name="rounds")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _repeat(parts: Sequence[Part], interval_seconds: float) -> None:
    while True:
        with ROUND_SECONDS.time():
            for part in parts:
                await _one(part)
        await asyncio.sleep(interval_seconds)


async def _one(part: Part) -> None:
    # One part that fails, say while storage is away, does not hold the others up.
    name = type(part).__name__
    try:
        await part()
    except TransientError as error:
        log.warning("round_waits", part=name, error=str(error))
    except Exception:
        log.exception("round_failed", part=name)


@asynccontextmanager
async def _database(settings: PostgresSettings) -> AsyncIterator[Database]:
    url = settings.database_url.get_secret_value()
    async with Database.connect(url, name=SERVICE, size=_CONNECTIONS) as database:
        await refuse_pending_migrations(database)
        yield database

"""Wiring of the watcher: the only place that builds its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from media_records.lifecycle import Lifecycle
from media_records.schema import refuse_pending_migrations
from media_runtime.kafka import Producer
from media_runtime.outbox import Outbox
from media_runtime.postgres import Database
from media_runtime.settings import PostgresSettings
from media_runtime.storage import ObjectStore
from media_runtime.telemetry import Check, ops_routes
from starlette.applications import Starlette
from starlette.routing import Route
from watcher.lag import Lag
from watcher.orphans import Orphan, find_orphans, remove_object
from watcher.pressure import Pressure
from watcher.reconcile import SERVICE, Reconciler, VerifyBuckets
from watcher.rounds import Part, repeating
from watcher.settings import OrphanSettings, WatcherSettings, WatchSettings
from watcher.sweep import Sweep
from watcher.use_cases import Round, Watch

_CONNECTIONS = 8


def build_app(settings: WatcherSettings) -> Starlette:
    """Return the app, which makes a round now and at each interval, unless another one does."""
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
                Pressure(database),
                Lag(settings),
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
            await stack.enter_async_context(
                repeating(database, rounds, interval_seconds=settings.watch_interval_seconds)
            )
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
async def _database(settings: PostgresSettings) -> AsyncIterator[Database]:
    url = settings.database_url.get_secret_value()
    async with Database.connect(url, name=SERVICE, size=_CONNECTIONS) as database:
        await refuse_pending_migrations(database)
        yield database

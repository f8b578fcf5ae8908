"""Wiring of the watcher: the only place that builds its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from media_records.schema import refuse_pending_migrations
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.kafka.producer import Producer
from media_runtime.settings import PostgresSettings
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import Check, ops_routes
from starlette.applications import Starlette
from starlette.routing import Route
from watcher.cleanup.grants import SweepGrants
from watcher.cleanup.retention import Retention
from watcher.cleanup.sweep import Sweep
from watcher.reconcile.assets import SERVICE, Reconciler, VerifyBuckets
from watcher.reconcile.buckets import MakeBuckets
from watcher.rounds import Part, repeating
from watcher.settings import WatcherSettings, WatchSettings
from watcher.watch import Seen, Watch

_CONNECTIONS = 8
_FLUSH_SECONDS = 5.0


def build_app(settings: WatcherSettings) -> Starlette:
    """Return the app, which makes a round now and at each interval, unless another one does."""
    readiness: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            producer = await stack.enter_async_context(Producer.connect(settings, name=SERVICE))
            database = await stack.enter_async_context(connected(settings))
            readiness["postgres"] = database.ping
            store = await stack.enter_async_context(ObjectStore.connect(settings))
            outbox = Outbox(database, producer, service=SERVICE)
            await stack.enter_async_context(outbox.relaying())
            parts = parts_of_a_round(Work(database, outbox), store, settings)
            await stack.enter_async_context(MakeBuckets(database, store, settings).going_on())
            await stack.enter_async_context(
                repeating(database, parts, interval_seconds=settings.watch_interval_seconds)
            )
            yield

    routes = [Route(path, endpoint) for path, endpoint in ops_routes(readiness)]
    return Starlette(routes=routes, lifespan=lifespan)


def parts_of_a_round(work: Work, store: ObjectStore, settings: WatcherSettings) -> list[Part]:
    """Return all that a round does, in its order."""
    database = work.database
    return [
        Watch.at_everything(database, settings),
        Reconciler(work=work, store=store, settings=settings),
        VerifyBuckets(database=database, store=store, settings=settings),
        Retention(work, settings),
        SweepGrants(database, store, settings),
        Sweep(database, store, settings),
    ]


async def watch_once(settings: WatchSettings) -> Seen:
    """Look once, without cleaning up, and return what is wrong."""
    async with connected(settings) as database:
        return await Watch.at_everything(database, settings)()


@asynccontextmanager
async def acting(settings: WatcherSettings) -> AsyncIterator[Work]:
    """Give what a command acts with; what it tells is on its way at the end, or soon after."""
    async with (
        connected(settings) as database,
        Producer.connect(settings, name=SERVICE) as producer,
    ):
        outbox = Outbox(database, producer, service=SERVICE)
        yield Work(database, outbox)
        # Where Kafka is away, the relay of the running watcher goes on.
        with suppress(TransientError, TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await outbox.flush()


@asynccontextmanager
async def connected(settings: PostgresSettings) -> AsyncIterator[Database]:
    """Give the database for the block; raises what Database.connect() raises."""
    url = settings.database_url.get_secret_value()
    async with Database.connect(url, name=SERVICE, size=_CONNECTIONS) as database:
        await refuse_pending_migrations(database)
        yield database

"""Wiring of the watcher: the only place that builds its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from media_records.work import Work
from media_runtime.kafka.producer import Producer
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import Check, ops_routes
from starlette.applications import Starlette
from starlette.routing import Route
from watcher.cleanup.grants import SweepGrants
from watcher.cleanup.retention import Retention
from watcher.cleanup.sweep import Sweep
from watcher.cleanup.uploads import SweepUploads
from watcher.leader_loop import Part, run_periodically
from watcher.reconcile.assets import SERVICE, Reconciler, VerifyBuckets
from watcher.reconcile.buckets import BucketProvisioner
from watcher.settings import WatcherSettings
from watcher.watch import Watch


def build_app(settings: WatcherSettings) -> Starlette:
    """Return the app, which makes a round now and at each interval, unless another one does."""
    readiness: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with (
            Producer.connect(settings, name=SERVICE) as producer,
            Work.connect(settings, producer, service=SERVICE) as work,
            ObjectStore.connect(settings) as store,
            BucketProvisioner(work.database, store, settings).running(),
            run_periodically(
                work.database,
                parts_of_a_round(work, store, settings),
                interval_seconds=settings.watch_interval_seconds,
            ),
        ):
            readiness["postgres"] = work.database.ping
            yield

    routes = [Route(path, endpoint) for path, endpoint in ops_routes(readiness)]
    return Starlette(routes=routes, lifespan=lifespan)


def parts_of_a_round(work: Work, store: ObjectStore, settings: WatcherSettings) -> list[Part]:
    """Return all that a round does, in its order."""
    database = work.database
    return [
        Watch.all_checks(database, settings),
        Reconciler(work=work, store=store, settings=settings),
        VerifyBuckets(database=database, store=store, settings=settings),
        Retention(work, settings),
        SweepGrants(database, store, settings),
        SweepUploads(database, store, settings),
        Sweep(database, store, settings),
    ]

"""Wiring of ingest: the only place that builds its parts."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from faststream.asgi import AsgiFastStream
from ingest import inspect
from ingest.answers import OnAnswer
from ingest.ask import AskForPictures
from ingest.inspect import Inspect
from ingest.intake import Intake
from ingest.outputs import video
from ingest.outputs.source import Doer
from ingest.outputs.video import SERVICE, Encode
from ingest.run import RunTask
from ingest.settings import IngestSettings
from ingest.sources import Sources
from ingest.worker import Workers
from media_contracts import MEDIA_INGEST, MEDIA_THUMBNAILED
from media_records.schema import refuse_pending_migrations
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.consumer import consuming, make_broker, on_batches, on_events
from media_runtime.kafka.producer import Producer
from media_runtime.media.ffmpeg import Ffmpeg, InputLimits
from media_runtime.media.jail import Jail
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.scratch import empty_folder
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import Check, ops_routes

# A batch is taken in within a second; nobody's first notification waits for more than two.
_NOTIFICATIONS = 500


def build_app(settings: IngestSettings) -> AsgiFastStream:
    """Return the app; it connects when it starts and gives its jobs back when it stops."""
    producer = Producer(settings, name=SERVICE)
    jail = Jail(settings.jail)
    limits = InputLimits(settings.upload_max_pixels, settings.upload_max_streams)
    ffmpeg = Ffmpeg(jail, limits)
    broker = make_broker(settings, producer, name=SERVICE)
    readiness: dict[str, Check] = {"kafka": consuming(broker, producer)}

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        empty_folder(settings.scratch_dir)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(producer.close)
            database = await stack.enter_async_context(
                Database.connect(
                    settings.database_url.get_secret_value(),
                    name=SERVICE,
                    size=settings.database_pool_size,
                )
            )
            await refuse_pending_migrations(database)
            readiness["postgres"] = database.ping
            store = await stack.enter_async_context(ObjectStore.connect(settings))
            pool = await stack.enter_async_context(
                # As many as workers: nobody's image waits until another one's is opened.
                PicturePool(
                    jail, workers=settings.worker_count, max_pixels=settings.upload_max_pixels
                )
            )
            outbox = Outbox(database, producer, service=SERVICE)
            await stack.enter_async_context(outbox.relaying())
            work = Work(database, outbox)
            sources = Sources(database, store, settings.scratch_dir)
            stack.push_async_callback(sources.close)
            doers: dict[str, Doer] = {
                inspect.KIND: Inspect(settings=settings, pool=pool, ffmpeg=ffmpeg),
                video.KIND: Encode(
                    settings=settings, store=store, ffmpeg=ffmpeg, producer=producer
                ),
            }
            run = RunTask(work, sources, doers, settings.scratch_dir)
            workers = Workers(settings=settings, work=work, run=run, owner=_owner())
            on_batches(broker, MEDIA_INGEST, Intake(work), settings=settings, most=_NOTIFICATIONS)
            on_events(broker, MEDIA_THUMBNAILED, OnAnswer(work, store), settings=settings)
            await stack.enter_async_context(AskForPictures(settings, work).running())
            await stack.enter_async_context(workers.running())
            yield

    return AsgiFastStream(
        broker,
        asgi_routes=ops_routes(readiness, about={"jail": settings.jail}),
        lifespan=lifespan,
        logger=None,
    )


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"

"""Wiring of ingest: the only place that builds its parts."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from faststream.asgi import AsgiFastStream
from ingest.intake import Intake
from ingest.jobs import JobQueue
from ingest.outcomes import SERVICE, Outcomes
from ingest.process import ProcessUpload
from ingest.settings import IngestSettings
from ingest.wakeup import Wakeup
from ingest.worker import Workers
from media_contracts import MEDIA_INGEST, MEDIA_THUMBNAILED
from media_records.lifecycle import Lifecycle
from media_records.schema import refuse_pending_migrations
from media_runtime.ffmpeg import Ffmpeg, InputLimits
from media_runtime.jail import Jail
from media_runtime.kafka import Producer, consuming, make_broker, on_bytes, on_events
from media_runtime.outbox import Outbox
from media_runtime.picture_pool import PicturePool
from media_runtime.postgres import Database
from media_runtime.scratch import empty_folder
from media_runtime.storage import ObjectStore
from media_runtime.telemetry import Check, ops_routes


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
            lifecycle = Lifecycle(outbox, service=SERVICE)
            new_job = Wakeup()
            outcomes = Outcomes(database, store, outbox, lifecycle, new_job)
            process = ProcessUpload(
                settings=settings,
                database=database,
                store=store,
                producer=producer,
                outbox=outbox,
                lifecycle=lifecycle,
                outcomes=outcomes,
                pool=pool,
                ffmpeg=ffmpeg,
            )
            workers = Workers(
                settings=settings,
                database=database,
                queue=JobQueue(
                    database,
                    owner=_owner(),
                    lease_seconds=settings.lease_seconds,
                    most_asked=settings.company_pictures_at_once,
                ),
                process=process,
                outcomes=outcomes,
                lifecycle=lifecycle,
                outbox=outbox,
                new_job=new_job,
            )
            intake = Intake(
                reopen_seconds=settings.reopen_seconds,
                give_up_seconds=settings.give_up_seconds,
                database=database,
                outbox=outbox,
                lifecycle=lifecycle,
                outcomes=outcomes,
                new_job=new_job,
            )
            on_bytes(broker, MEDIA_INGEST, intake, settings=settings)
            on_events(
                broker,
                MEDIA_THUMBNAILED,
                outcomes.thumbnailed,
                settings=settings,
            )
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

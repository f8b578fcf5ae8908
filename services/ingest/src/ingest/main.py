"""Wiring of ingest: the only place that builds its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from faststream.asgi import AsgiFastStream
from ingest.answers import OnAnswer
from ingest.ask import AskForPictures
from ingest.film.codecs import ENCODERS
from ingest.film.vmaf import measurer
from ingest.images import Images
from ingest.intake import MOST, TURNS, Intake
from ingest.outputs.transcode import SERVICE
from ingest.run import RunTask, all_doers, results_in
from ingest.settings import IngestSettings
from ingest.sources import Sources
from ingest.tell import TellWaits
from ingest.worker import Workers
from media_contracts import MEDIA_INGEST, MEDIA_THUMBNAILED
from media_records.work import Work
from media_runtime.kafka.consumer import consuming, make_broker, on_batches, on_events
from media_runtime.kafka.producer import Producer
from media_runtime.kafka.turns import BY_COMPANY
from media_runtime.media.ffmpeg import Ffmpeg, InputLimits
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.sandbox import Sandbox
from media_runtime.media.scratch import empty_folder
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import Check, ops_routes


def build_app(settings: IngestSettings) -> AsgiFastStream:
    """Return the app; it connects when it starts and gives its tasks back when it stops."""
    producer = Producer(settings, name=SERVICE)
    sandbox = Sandbox(settings.sandbox)
    limits = InputLimits.of(settings)
    ffmpeg = Ffmpeg(sandbox, limits)
    broker = make_broker(settings, producer, name=SERVICE)
    readiness: dict[str, Check] = {"kafka": consuming(broker, producer)}

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        empty_folder(settings.scratch_dir)
        # Any worker may get any task: what one cannot encode would fail films by chance.
        await ffmpeg.require_encoders(ENCODERS)
        async with (
            aclosing(producer),
            Work.connect(settings, producer, service=SERVICE) as work,
            ObjectStore.connect(settings) as store,
            # As many as workers: nobody's image waits until another one's is opened.
            PicturePool(
                sandbox, workers=settings.worker_count, max_pixels=settings.upload_max_image_pixels
            ) as pool,
            Sources(work.database, store, settings.scratch_dir) as sources,
        ):
            readiness["postgres"] = work.database.ping
            doers = all_doers(
                settings, store, pool, ffmpeg, producer, results_in(work.database),
                measurer=measurer(sandbox, limits), profiles=work.database,
            )  # fmt: skip
            run = RunTask(work, sources, doers, settings.scratch_dir)
            images = Images(settings)
            ask = AskForPictures(settings, work, images)
            on_batches(
                broker, MEDIA_INGEST, Intake(work, ask), settings=settings, most=MOST, turns=TURNS
            )
            on_events(
                broker,
                MEDIA_THUMBNAILED,
                OnAnswer(work, store, images),
                settings=settings,
                turns=BY_COMPANY,
            )
            workers = Workers(settings, work, run)
            async with (
                ask.running(),
                TellWaits(settings, work).running(),
                workers.running(),
            ):
                yield

    routes = ops_routes(readiness, about={"sandbox": settings.sandbox})
    return AsgiFastStream(broker, asgi_routes=routes, lifespan=lifespan, logger=None)

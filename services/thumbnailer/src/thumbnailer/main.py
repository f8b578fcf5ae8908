"""Wiring of the thumbnailer: the only place that builds its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from faststream.asgi import AsgiFastStream
from media_contracts import MEDIA_THUMBNAIL
from media_runtime.kafka.consumer import consuming, make_broker, on_events
from media_runtime.kafka.producer import Producer
from media_runtime.kafka.turns import BY_COMPANY
from media_runtime.media.ffmpeg import Ffmpeg, InputLimits
from media_runtime.media.kept_files import KeptFiles
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.sandbox import Sandbox
from media_runtime.media.scratch import empty_folder
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import Check, ops_routes
from thumbnailer.handlers import SERVICE, OnRequest
from thumbnailer.settings import ThumbnailerSettings
from thumbnailer.use_cases import MakePictures


def build_app(settings: ThumbnailerSettings) -> AsgiFastStream:
    """Return the app; it connects when it starts and lets go when it stops."""
    producer = Producer(settings, name=SERVICE)
    sandbox = Sandbox(settings.sandbox)
    ffmpeg = Ffmpeg(sandbox, InputLimits.of(settings))
    broker = make_broker(settings, producer, name=SERVICE)
    readiness: dict[str, Check] = {"kafka": consuming(broker, producer)}

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        # FastStream starts the broker inside this context, and stops it before leaving it.
        empty_folder(settings.scratch_dir)
        consumers = settings.thumbnailer_consumers
        async with (
            aclosing(producer),
            ObjectStore.connect(settings) as store,
            PicturePool(
                sandbox, workers=consumers, max_pixels=settings.upload_max_image_pixels
            ) as pool,
            KeptFiles(settings.scratch_dir, keep_bytes=settings.keep_bytes) as sources,
        ):
            readiness["storage"] = store.ping
            make_pictures = MakePictures(
                settings=settings, store=store, pool=pool, ffmpeg=ffmpeg, sources=sources
            )
            on_events(
                broker,
                MEDIA_THUMBNAIL,
                OnRequest(make_pictures, producer),
                settings=settings,
                consumers=consumers,
                turns=BY_COMPANY,
            )
            yield

    routes = ops_routes(readiness, about={"sandbox": settings.sandbox})
    return AsgiFastStream(broker, asgi_routes=routes, lifespan=lifespan, logger=None)

"""Wiring of the notifier: the only place that builds its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from media_records.schema import refuse_pending_migrations
from media_runtime.database.postgres import Database
from media_runtime.http.app import answer_with_problems
from media_runtime.http.auth import TokenVerifier
from media_runtime.http.metrics import RequestMetrics
from media_runtime.http.openapi import describe
from media_runtime.http.page import serve_api_page
from media_runtime.http.rates import CompanyRates
from media_runtime.kafka.producer import Producer
from media_runtime.telemetry.ops import ops_routes
from notifier.event_log import EventLog
from notifier.hub import Hub
from notifier.links import ending_links
from notifier.log_reader import LogReader
from notifier.positions import PositionCodec
from notifier.routes import FIELD_CODES, Services, router
from notifier.settings import NotifierSettings
from notifier.streams import Streams
from notifier.tickets import Tickets
from starlette.routing import Route

SERVICE = "notifier"


def build_app(settings: NotifierSettings) -> tuple[FastAPI, Callable[[], None]]:
    """Return the app, and what ends all its streams; the latter may be called at any time."""
    secret = settings.event_id_secret.get_secret_value()
    codec = PositionCodec(secret, settings.kafka_topic_prefix)
    hub = Hub(
        codec,
        history_events=settings.history_events,
        queue_events=settings.client_queue_events,
        streams_per_company=settings.streams_per_company,
    )
    loops: list[asyncio.AbstractEventLoop] = []

    def end_streams() -> None:
        for loop in loops:
            loop.call_soon_threadsafe(hub.stop)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(
                Database.connect(
                    settings.database_url.get_secret_value(),
                    name=SERVICE,
                    size=settings.database_pool_size,
                )
            )
            await refuse_pending_migrations(database)
            producer = await stack.enter_async_context(Producer.connect(settings, name=SERVICE))
            reader = LogReader(
                settings,
                codec,
                stretches_at_once=settings.backfills_at_once,
                stretch_records=settings.backfill_records,
                stretch_seconds=settings.backfill_seconds,
            )
            event_log = EventLog(
                reader,
                producer,
                hub,
                history_seconds=settings.history_seconds,
                history_events=settings.history_events,
            )
            await stack.enter_async_context(event_log.followed())
            await stack.enter_async_context(ending_links(settings, producer, name=SERVICE))
            app.state.services = Services(
                verifier=TokenVerifier(settings),
                tickets=Tickets(database, lifetime_seconds=settings.ticket_seconds),
                streams=Streams(
                    hub,
                    event_log,
                    reader,
                    codec,
                    heartbeat_seconds=settings.heartbeat_seconds,
                    backfills_per_company=settings.backfills_per_company,
                ),
                codec=codec,
                write_seconds=settings.write_seconds,
                rates=CompanyRates(settings.company_requests_per_minute),
            )
            readiness = {"events": event_log.caught_up, "postgres": database.ping}
            ops = ops_routes(readiness, metrics=settings.metrics_http_port is None)
            app.router.routes.extend(Route(path, endpoint) for path, endpoint in ops)
            yield

    app = FastAPI(
        title="Media events",
        version="1.0.0",
        description="What becomes of a company's uploads, as it happens.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(router)
    answer_with_problems(app, field_codes=FIELD_CODES)
    describe(app)
    serve_api_page(app, settings)
    app.add_middleware(RequestMetrics)
    if settings.cors_allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.strip() for origin in settings.cors_allow_origins.split(",")],
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Last-Event-ID"],
        )
    return app, end_streams

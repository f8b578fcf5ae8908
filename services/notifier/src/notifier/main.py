"""Wiring of the notifier: the only place that builds its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from media_records.schema import connected
from media_records.tickets import Tickets
from media_runtime.http.auth import TokenVerifier
from media_runtime.http.public import public_app
from media_runtime.http.rate_limit import CompanyRateLimiter
from media_runtime.kafka.producer import Producer
from media_runtime.telemetry.ops import Check
from notifier.event_log import EventLog
from notifier.hub import Hub
from notifier.links import ending_links
from notifier.log_reader import LogReader
from notifier.positions import PositionCodec
from notifier.routes import FIELD_CODES, Services, router
from notifier.settings import NotifierSettings
from notifier.streams import Streams
from notifier.webhooks import Webhooks

SERVICE = "notifier"


def build_app(settings: NotifierSettings) -> tuple[FastAPI, Callable[[], None]]:
    """Return the app, and what ends all its streams; the latter may be called at any time."""
    codec = PositionCodec(settings.event_id_secret.get_secret_value(), settings.kafka_topic_prefix)
    hub, reader = Hub(codec, settings), LogReader(settings, codec)
    readiness: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hub.runs_here()
        async with (
            connected(settings, name=SERVICE) as database,
            Producer.connect(settings, name=SERVICE) as producer,
        ):
            webhooks = Webhooks(database, producer, settings)
            event_log = EventLog(reader, producer, hub, settings, told=webhooks.wakeup.set)
            async with (
                event_log.running(),
                webhooks.running(),
                ending_links(settings, producer, name=SERVICE),
            ):
                readiness.update(events=event_log.caught_up, postgres=database.ping)
                app.state.services = Services(
                    verifier=TokenVerifier(settings),
                    tickets=Tickets(database, lifetime_seconds=settings.ticket_seconds),
                    streams=Streams(hub, event_log, reader, codec, settings),
                    codec=codec,
                    write_seconds=settings.write_seconds,
                    rates=CompanyRateLimiter(settings.company_requests_per_minute),
                )
                yield

    app = public_app(
        router, settings, title="Media events", readiness=readiness, lifespan=lifespan,
        description="What becomes of a company's uploads, as it happens.",
        field_codes=FIELD_CODES, browsers_send=["Last-Event-ID"],
    )  # fmt: skip
    return app, hub.stop_soon

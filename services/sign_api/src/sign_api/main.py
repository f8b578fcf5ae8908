"""Wiring of the sign API: the only place that builds its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from media_records.schema import refuse_pending_migrations
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.http.app import answer_with_problems
from media_runtime.http.auth import TokenVerifier
from media_runtime.http.links import LinkSigner
from media_runtime.http.metrics import RequestMetrics
from media_runtime.http.openapi import describe
from media_runtime.http.page import serve_api_page
from media_runtime.http.rates import CompanyRates
from media_runtime.kafka.producer import Producer
from media_runtime.storage.presign import UploadSigner
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import ops_routes
from sign_api.routes import FIELD_CODES, Services, router
from sign_api.settings import SignApiSettings
from sign_api.use_cases import SERVICE, Assets, Buckets, SignUpload
from sign_api.views import SignRequest
from starlette.routing import Route


def build_app(settings: SignApiSettings) -> FastAPI:
    """Return the app; it connects when it starts and lets go when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
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
            store = await stack.enter_async_context(ObjectStore.connect(settings))
            outbox = Outbox(database, producer, service=SERVICE)
            await stack.enter_async_context(outbox.relaying())
            app.state.services = _services(settings, Work(database, outbox), store)
            # Signing goes on while Kafka or storage is away, so neither decides readiness.
            ops = ops_routes(
                {"postgres": database.ping}, metrics=settings.metrics_http_port is None
            )
            app.router.routes.extend(Route(path, endpoint) for path, endpoint in ops)
            yield

    app = FastAPI(
        title="Media sign API",
        version="1.0.0",
        description="Upload grants, and what became of each upload.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(router)
    answer_with_problems(app, field_codes=FIELD_CODES)
    describe(app, SignRequest)
    serve_api_page(app, settings)
    app.add_middleware(RequestMetrics)
    if settings.cors_allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.strip() for origin in settings.cors_allow_origins.split(",")],
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "traceparent"],
        )
    return app


def _services(settings: SignApiSettings, work: Work, store: ObjectStore) -> Services:
    database = work.database
    buckets = Buckets(database, store, wait_seconds=settings.bucket_wait_seconds)
    return Services(
        verifier=TokenVerifier(settings),
        sign_upload=SignUpload(
            database, UploadSigner(settings, settings.media_public_url), buckets, settings
        ),
        assets=Assets(work, retry_seconds=settings.asset_retry_seconds),
        links=LinkSigner(
            settings,
            settings.cdn_base_url or settings.media_public_url,
            lifetime=timedelta(seconds=settings.read_url_seconds),
        ),
        rates=CompanyRates(settings.company_requests_per_minute),
    )

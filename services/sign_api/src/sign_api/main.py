"""Wiring of the sign API: the only place that builds its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from media_records.work import Work
from media_runtime.http.auth import TokenVerifier
from media_runtime.http.links import LinkSigner
from media_runtime.http.public import public_app
from media_runtime.http.rate_limit import CompanyRateLimiter
from media_runtime.kafka.producer import Producer
from media_runtime.storage.presign import UploadSigner
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import Check
from sign_api.batches import Batches
from sign_api.playback import router
from sign_api.routes import FIELD_CODES, Services
from sign_api.settings import SignApiSettings
from sign_api.upload_views import BatchRequest, SignRequest
from sign_api.uploads import Uploads
from sign_api.use_cases import SERVICE, Assets, Buckets, SignUpload
from sign_api.webhooks import Endpoints


def build_app(settings: SignApiSettings) -> FastAPI:
    """Return the app; it connects when it starts and lets go when it stops."""
    readiness: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            Producer.connect(settings, name=SERVICE) as producer,
            Work.connect(settings, producer, service=SERVICE) as work,
            ObjectStore.connect(settings) as store,
        ):
            # Signing goes on while Kafka or storage is away, so neither decides readiness.
            readiness["postgres"] = work.database.ping
            buckets = Buckets(work.database, store, wait_seconds=settings.bucket_wait_seconds)
            signer = UploadSigner(settings, settings.media_public_url)
            app.state.services = Services(
                verifier=TokenVerifier(settings),
                sign_upload=SignUpload(work.database, signer, buckets, settings),
                uploads=Uploads(work, store, signer, buckets, settings),
                batches=Batches(
                    work,
                    signer,
                    buckets,
                    settings,
                    retry_seconds=settings.asset_retry_seconds,
                ),
                webhooks=Endpoints(work, settings),
                assets=Assets(work, retry_seconds=settings.asset_retry_seconds),
                links=LinkSigner(
                    settings,
                    settings.cdn_base_url or settings.media_public_url,
                    lifetime=timedelta(seconds=settings.read_url_seconds),
                ),
                rates=CompanyRateLimiter(settings.company_requests_per_minute),
            )
            yield

    return public_app(
        router, settings, title="Media sign API", readiness=readiness, lifespan=lifespan,
        description="Upload grants, and what became of each upload.", field_codes=FIELD_CODES,
        models=[SignRequest, BatchRequest],
        browsers_send=["Content-Type", "Idempotency-Key", "traceparent"],
    )  # fmt: skip

"""An API that clients reach: all that such a service has beside its routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig
from media_contracts.errors import ErrorCode
from media_runtime.http.app import answer_with_problems
from media_runtime.http.metrics import RequestMetrics
from media_runtime.http.openapi import describe
from media_runtime.http.page import serve_api_page
from media_runtime.settings import PublicSettings
from media_runtime.telemetry.ops import Check, ops_routes
from pydantic import BaseModel
from starlette.routing import Route

# FastAPI's own, which looks for providers with each request; ours is media_runtime.http.tracing.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


def public_app(
    router: APIRouter,
    settings: PublicSettings,
    *,
    title: str,
    description: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    readiness: Mapping[str, Check],
    field_codes: Mapping[str, ErrorCode],
    models: Sequence[type[BaseModel]] = (),
    browsers_send: Sequence[str] = (),
) -> FastAPI:
    """
    Return the app of *router*, with problems as errors, metrics, operations and its own page.

    What must be reachable may be added to *readiness* until the app has started; *field_codes* are
    those of answer_with_problems(), *models* those of describe(). Pages of the origins that
    CORS_ALLOW_ORIGINS names may send the headers *browsers_send*.
    """
    app = FastAPI(
        title=title,
        version="1.0.0",
        description=description,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
    )
    # As they are: routes of an included router are looked for twice with each request.
    app.router.routes.extend(router.routes)
    answer_with_problems(app, field_codes=field_codes)
    describe(app, *models)
    serve_api_page(app, settings)
    ops = ops_routes(readiness, metrics=settings.metrics_http_port is None)
    app.router.routes.extend(Route(path, endpoint) for path, endpoint in ops)
    app.add_middleware(RequestMetrics)
    if settings.cors_allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.strip() for origin in settings.cors_allow_origins.split(",")],
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", *browsers_send],
        )
    return app

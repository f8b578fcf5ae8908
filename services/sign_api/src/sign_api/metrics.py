"""Every instrument of the sign API."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import Counter, Histogram

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

REQUESTS = Counter(
    "sign_api_requests_total", "HTTP requests answered.", ["route", "method", "status"]
)
SECONDS = Histogram(
    "sign_api_request_seconds",
    "Time to answer an HTTP request.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1),
)
GRANTS = Counter("sign_api_grants_total", "Upload grants given.", ["kind"])
REFUSED = Counter(
    "sign_api_refused_total", "Grants refused for a limit of their company.", ["limit"]
)
BUCKETS = Counter("sign_api_buckets_provisioned_total", "Company buckets made and verified.")

_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})


class RequestMetrics:
    """ASGI middleware: counts and times requests by route template, never by URL."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass the request on and observe its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def observed(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUESTS.labels(route, method, str(status)).inc()
            SECONDS.labels(route).observe(time.perf_counter() - started)

"""Rate, errors and duration of HTTP requests, by route template and never by URL."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from media_runtime.http.guard import App, Message, Receive, Send
from prometheus_client import Counter, Histogram

REQUESTS = Counter("http_requests_total", "Requests answered.", ["route", "method", "status"])
# 0.3 s is the objective for signing.
SECONDS = Histogram(
    "http_request_duration_seconds",
    "Time to the first byte of the answer; failed is one with an error of ours.",
    ["route", "method", "outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5),
)

_SERVER_ERROR = 500
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})


class RequestMetrics:
    """ASGI middleware that counts and times requests."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass the request on and observe its answer; one without an answer counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _observe(scope, status, time.perf_counter() - started)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            if status is None:
                _observe(scope, _SERVER_ERROR, time.perf_counter() - started)


def _observe(scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    REQUESTS.labels(route, method, str(status)).inc()
    outcome = "failed" if status >= _SERVER_ERROR else "answered"
    SECONDS.labels(route, method, outcome).observe(seconds)

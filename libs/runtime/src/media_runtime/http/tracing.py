"""
Spans of HTTP requests, by the semantic conventions of OpenTelemetry.

A request's query is left out: it may hold a ticket.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from media_runtime.http.guard import App, Message, Receive, Send
from media_runtime.telemetry import tracing
from opentelemetry.trace import Span, SpanKind, StatusCode

_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
_NOT_TRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_SERVER_FAULT = 500

Scope = MutableMapping[str, Any]


def traced(app: App) -> App:
    """Return *app* with a span for each request while tracing is on, else *app* itself."""
    return _TracedRequests(app) if tracing.is_on() else app


class _TracedRequests:
    """ASGI app that makes a request a span, named after its route and never after its URL."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its span."""
        if scope["type"] != "http" or scope["path"] in _NOT_TRACED:
            return await self._app(scope, receive, send)
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        fields = tracing.extract(
            (name.decode("latin-1"), value) for name, value in scope["headers"]
        )
        status = _SERVER_FAULT

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracing.span(
            "HTTP" if method == "_OTHER" else method,
            kind=SpanKind.SERVER,
            parent=fields.get("traceparent"),
            tracestate=fields.get("tracestate", ""),
            attributes=_asked(scope, method),
        ) as span:
            try:
                await self._app(scope, receive, observed)
            finally:
                _answered(span, scope, method, status)


def _asked(scope: Scope, method: str) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {
        "http.request.method": method,
        "url.scheme": scope["scheme"],
        "url.path": scope["path"],
        "network.protocol.version": scope["http_version"],
    }
    if scope.get("server"):
        attributes["server.address"], port = scope["server"]
        if port is not None:
            attributes["server.port"] = port
    return attributes


def _answered(span: Span, scope: Scope, method: str, status: int) -> None:
    route = getattr(scope.get("route"), "path", None)
    if route:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= _SERVER_FAULT:
        span.set_status(StatusCode.ERROR)
        span.set_attribute("error.type", str(status))

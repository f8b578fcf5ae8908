"""Logs and the operations endpoints: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from media_runtime.telemetry.tracing import add_current_span
from prometheus_client import make_asgi_app

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Check = Callable[[], Awaitable[None]]

log = structlog.get_logger(__name__)

_CHECK_SECONDS = 5.0


def configure_logging(
    service: str, *, log_format: str = "auto", level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send all logs to *stream*, or standard output: JSON lines, or for people on a terminal."""
    stream = stream or sys.stdout
    human = log_format == "console" or (log_format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_current_span,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("aiokafka", "urllib3", "faststream", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


class _Probe:
    """
    Answers 200 when every check passes, else 503 with the names of those that fail.

    Why they fail is for the log alone, once while it lasts: anyone may ask, and causes name hosts.
    """

    def __init__(self, checks: Mapping[str, Check], about: Mapping[str, str]) -> None:
        self._checks = checks
        self._about = about
        self._logged: dict[str, str] = {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        del scope, receive
        outcomes = await asyncio.gather(*(self._passes(name) for name in self._checks))
        problems = [name for name, passes in zip(self._checks, outcomes, strict=True) if not passes]
        status = "failing" if problems else "ok"
        body = json.dumps({"status": status, "problems": problems, **self._about})
        await send(
            {
                "type": "http.response.start",
                "status": 503 if problems else 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": body.encode()})

    async def _passes(self, name: str) -> bool:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._checks[name]()
        except Exception as error:  # noqa: BLE001 - any failure means "not ready"
            kind = type(error).__name__
            if self._logged.get(name) != kind:
                log.warning("not_ready", check=name, error=f"{kind}: {error}"[:500])
            self._logged[name] = kind
            return False
        self._logged.pop(name, None)
        return True


class _Metrics:
    """Prometheus's app as an object: Starlette's Route takes a function for a request handler."""

    def __init__(self) -> None:
        self._app = make_asgi_app()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def ops_routes(
    readiness: Mapping[str, Check],
    *,
    about: Mapping[str, str] | None = None,
    metrics: bool = True,
) -> list[tuple[str, AsgiApp]]:
    """
    Return the operations endpoints as ASGI apps, *metrics* among them unless served elsewhere.

    *readiness* names what must be reachable; *about* is what /readyz says besides.
    """
    routes: list[tuple[str, AsgiApp]] = [
        ("/healthz", _Probe({}, {})),
        ("/readyz", _Probe(readiness, about or {})),
    ]
    return [*routes, ("/metrics", _Metrics())] if metrics else routes

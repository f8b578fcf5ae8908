"""Runs one ASGI app in this process until SIGTERM."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping
from socket import socket
from types import FrameType
from typing import Any, Literal

import uvicorn
from media_runtime.http.guard import Guarded, bounded_protocol
from media_runtime.http.tracing import traced
from media_runtime.settings import PublicSettings, Settings
from media_runtime.telemetry.tracing import stop_tracing
from prometheus_client import start_http_server

GRACE_SECONDS = 20
_OWN_FILES = 200  # connections to Kafka, PostgreSQL and storage, and files


def serve(
    app: Any,
    settings: Settings,
    *,
    on_stop: Callable[[], None] | None = None,
    loop: Literal["asyncio", "uvloop"] = "asyncio",
    max_bytes_of: Mapping[str, int] | None = None,
) -> None:
    """
    Serve *app*, guarded; on SIGTERM open requests get GRACE_SECONDS before they are cut off.

    A service that consumes from Kafka stays with asyncio's own *loop*: on uvloop a write to a
    connection that the broker has closed raises RuntimeError, which aiokafka does not take for
    a lost connection, and the consumer stands still (aio-libs/aiokafka#1038).

    *max_bytes_of* are paths whose requests may have a larger body than those of others.

    *on_stop* is called as soon as the signal arrives, for answers that would never end by
    themselves; it runs in the signal handler.
    """
    if isinstance(settings, PublicSettings) and settings.metrics_http_port is not None:
        start_http_server(settings.metrics_http_port, settings.http_host)
    config = uvicorn.Config(
        Guarded(
            traced(app), max_body_bytes=settings.http_max_body_bytes, max_bytes_of=max_bytes_of
        ),
        http=bounded_protocol(
            request_seconds=settings.http_request_seconds,
            max_connections=min(settings.http_max_connections, _may_open()),
        ),
        ws="none",
        host=settings.http_host,
        port=settings.http_port,
        loop=loop,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _Server(config, on_stop).run()


def _may_open() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, files - _OWN_FILES) if files != resource.RLIM_INFINITY else sys.maxsize


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await super().shutdown(sockets)
        stop_tracing()  # the process ends by its signal, without Python's exit handlers

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._on_stop is not None:
            self._on_stop()
        super().handle_exit(sig, frame)

"""Runs one ASGI app in this process until SIGTERM."""

from __future__ import annotations

import uvicorn

from media_runtime.settings import Settings

GRACE_SECONDS = 20


def serve(app: object, settings: Settings) -> None:
    """Serve *app*; on SIGTERM open requests get GRACE_SECONDS before they are cut off."""
    uvicorn.run(
        app,  # type: ignore[arg-type]
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )

"""Starts the watcher, ``python -m watcher``, or makes one round, ``python -m watcher --once``."""

import asyncio
import sys

from media_runtime.server import serve
from media_runtime.telemetry import configure_logging
from watcher.main import build_app, watch_once
from watcher.settings import WatcherSettings

QUIET, ALERT = 0, 2

if __name__ == "__main__":
    settings = WatcherSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    if "--once" in sys.argv[1:]:
        sys.exit(ALERT if asyncio.run(watch_once(settings)).alert else QUIET)
    serve(build_app(settings), settings)

"""Starts the watcher, ``python -m watcher``, or makes one round, ``python -m watcher --once``."""

import asyncio
import sys

from media_runtime.server import serve
from media_runtime.telemetry import configure_logging
from watcher.main import build_app, watch_once
from watcher.settings import WatcherSettings, WatchSettings

QUIET, ALERT = 0, 2


def main() -> None:
    """Do what the command line says."""
    once = "--once" in sys.argv[1:]
    settings = WatchSettings() if once else WatcherSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    if isinstance(settings, WatcherSettings):
        serve(build_app(settings), settings)
    else:
        sys.exit(ALERT if asyncio.run(watch_once(settings)).alert else QUIET)


if __name__ == "__main__":
    main()

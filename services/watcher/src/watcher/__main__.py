"""Starts the watcher, ``python -m watcher``, or runs one of its commands: see ``--help``."""

import argparse
import asyncio
import sys

from media_runtime.server import serve
from media_runtime.telemetry import configure_logging
from media_runtime.tracing import configure_tracing
from watcher.answers import FOUND, QUIET
from watcher.commands import add_commands, answer
from watcher.main import build_app, watch_once
from watcher.settings import WatcherSettings, WatchSettings


def main() -> int:
    """Do what the command line says; the code is 2 where something needs attention."""
    parser = argparse.ArgumentParser("python -m watcher", description=__doc__)
    parser.add_argument("--once", action="store_true", help="look once; 2 on alert")
    add_commands(parser)
    arguments = parser.parse_args()
    if hasattr(arguments, "run"):
        configure_logging("watcher", level="WARNING", stream=sys.stderr)
        return answer(arguments)
    if arguments.once:
        return _once()
    settings = WatcherSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    configure_tracing("watcher")
    serve(build_app(settings), settings)
    return QUIET


def _once() -> int:
    settings = WatchSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    return FOUND if asyncio.run(watch_once(settings)).alert else QUIET


if __name__ == "__main__":
    sys.exit(main())

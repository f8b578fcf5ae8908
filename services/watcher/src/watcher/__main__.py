"""Starts the watcher, ``python -m watcher``, or has it look once: see ``--help``."""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from datetime import timedelta

from media_runtime.server import serve
from media_runtime.telemetry import configure_logging
from media_runtime.tracing import configure_tracing
from watcher.main import build_app, orphans_now, watch_once
from watcher.settings import OrphanSettings, WatcherSettings, WatchSettings

QUIET, FOUND = 0, 2


def main() -> int:
    """Do what the command line says; the code is 2 for an alert, or for orphans."""
    parser = argparse.ArgumentParser("python -m watcher", description=__doc__)
    parser.add_argument("--once", action="store_true", help="make one round; 2 on alert")
    parser.add_argument("--orphans", action="store_true", help="list orphans; 2 if there are any")
    parser.add_argument("--remove", action="store_true", help="remove the objects among them")
    parser.add_argument("--min-age", type=float, default=3600, help="seconds; younger ones wait")
    arguments = parser.parse_args()
    if arguments.once:
        return _once()
    if arguments.orphans:
        return asyncio.run(_orphans(timedelta(seconds=arguments.min_age), remove=arguments.remove))
    settings = WatcherSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    configure_tracing("watcher")
    serve(build_app(settings), settings)
    return QUIET


def _once() -> int:
    settings = WatchSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    return FOUND if asyncio.run(watch_once(settings)).alert else QUIET


async def _orphans(min_age: timedelta, *, remove: bool) -> int:
    code = QUIET
    async for orphan in orphans_now(OrphanSettings(), min_age=min_age, remove=remove):
        sys.stdout.write(json.dumps(asdict(orphan), default=str) + "\n")
        code = FOUND
    return code


if __name__ == "__main__":
    sys.exit(main())

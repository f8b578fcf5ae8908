"""Starts the watcher, ``python -m watcher``, or runs one of its commands: see ``--help``."""

import sys
from typing import Annotated

import typer
from media_runtime.http.server import serve
from media_runtime.telemetry.ops import configure_logging
from media_runtime.telemetry.terminal import CommandError
from media_runtime.telemetry.tracing import configure_tracing
from watcher.main import build_app
from watcher.operator.app import app
from watcher.operator.commands import look_once
from watcher.settings import WatcherSettings


@app.callback(invoke_without_command=True)
def watcher(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Look once; exit code 2 on alert.")] = False,
) -> None:
    """Watch, or do what a command says."""
    if context.invoked_subcommand is not None:
        return
    if once:
        look_once()
    settings = WatcherSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    configure_tracing("watcher")
    serve(build_app(settings), settings)


def main() -> None:
    """Do what the command line says; the code is 2 where something needs attention."""
    try:
        app(prog_name="python -m watcher")
    except CommandError as error:
        sys.stderr.write(f"watcher: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

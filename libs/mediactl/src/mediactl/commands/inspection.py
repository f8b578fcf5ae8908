"""The commands that look: status, logs, settings, env, doctor."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Annotated

import typer
from media_runtime.telemetry.terminal import facts, print_json, wide_console
from mediactl.devstack import logs as log_reader
from mediactl.devstack import settings as settings_of_a_stack
from mediactl.devstack import stack
from mediactl.devstack.doctor import examine, findings_table
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.devstack.state import State, exclusive
from mediactl.devstack.status import Row, status_table
from mediactl.errors import MediactlError
from rich.live import Live

_LIVE_SECONDS = 2.0


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Look again every 2 s; ^C ends it.")] = False,
) -> None:
    """Show each part of the stack; the exit code is 0 only when all are ready."""
    home = Home.from_environment()
    state = State(home.state_file)
    if state.provider is None and not as_json:
        raise MediactlError("No stack is up here: start one with './mediactl up'.")
    if live and not as_json:
        _live(lambda: stack.open_stack(home, State(home.state_file)).rows())
    rows = stack.open_stack(home, state).rows() if state.provider else []
    if as_json:
        document = {"provider": state.provider, "parts": [row.as_json() for row in rows]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        wide_console().print(status_table(rows))
    if not rows or not all(row.is_healthy for row in rows):
        raise typer.Exit(1)


def logs(
    name: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="One of status; default: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each.")] = 50,
) -> None:
    """Show the last lines of one log or of all, and with -f what follows."""
    home = Home.from_environment()
    state = State(home.state_file)
    if state.provider is not None:
        names = [name] if name else []
        command = stack.open_stack(home, state).follow_command(names, lines=lines, follow=follow)
        if command is not None:
            os.execvp(command[0], command)  # noqa: S606 - compose shows its own logs
    files = log_reader.log_files(home, name)
    _write(log_reader.tail_all(files, lines))
    if follow:
        _write(log_reader.follow_all(files))


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Look for what is missing or unsafe; the exit code is 0 only when all is well."""
    home = Home.from_environment()
    provider = stack.provider_of(home, State(home.state_file))
    findings = examine(provider, read_variables(home) if home.env_file.exists() else {})
    if not as_json:
        sys.stdout.write(f"For the provider {provider}:\n")
    if as_json:
        document = {"findings": [finding.as_json() for finding in findings]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        wide_console().print(findings_table(findings))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def settings(
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE…]", help="NAME= forgets one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the settings that the stack was given, secrets apart; or change some."""
    home = Home.from_environment()
    if assignments:
        given = settings_of_a_stack.assigned(assignments)
        with exclusive(home.lock_file):
            names = settings_of_a_stack.remember(State(home.state_file), given)
        if names and not as_json:
            sys.stdout.write(f"{settings_of_a_stack.told(names)}\n")
    known = State(home.state_file).settings()
    shown = {name: settings_of_a_stack.shown(name, known[name]) for name in sorted(known)}
    if as_json:
        print_json({"settings": shown})
    elif shown:
        wide_console().print(facts(shown))
    else:
        sys.stdout.write("None: all is by default.\n")


def env() -> None:
    """Print the stack's addresses and secrets as shell assignments."""
    home = Home.from_environment()
    if not home.env_file.exists():
        raise MediactlError("No stack was started here: run './mediactl up' first.")
    sys.stdout.write(home.env_file.read_text())


def _live(look: Callable[[], list[Row]]) -> None:
    with Live(status_table(look()), console=wide_console(), auto_refresh=False) as screen:
        while True:
            time.sleep(_LIVE_SECONDS)
            screen.update(status_table(look()), refresh=True)


def _write(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

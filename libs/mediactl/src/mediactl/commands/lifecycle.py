"""The commands that change what runs: up, down, start, stop, restart, scale."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from media_runtime.telemetry.terminal import wide_console
from mediactl.devstack import settings, stack
from mediactl.devstack.home import Home
from mediactl.devstack.published import endpoint_table
from mediactl.devstack.services import SCALABLE
from mediactl.devstack.state import State, exclusive
from mediactl.progress import progress_on

ServiceName = Annotated[
    str, typer.Argument(help="A service, or a server of a native stack, such as kafka.")
]


def up(
    provider: Annotated[
        str | None,
        typer.Option(help="env, compose or native. Default: the first of them that works."),
    ] = None,
) -> None:
    """
    Start infrastructure and services, wait until all is ready, print the endpoints.

    Settings of the environment are remembered for later commands: see 'mediactl settings'.
    """
    home = Home.from_environment()
    with exclusive(home.lock_file), progress_on() as progress:
        before = State(home.state_file)
        variables = stack.up(home, progress, wanted=provider)
    wide_console().print(endpoint_table(variables))
    after = State(home.state_file).settings()
    changed = settings.changed(before.settings(), after)
    if before.running() and changed:
        sys.stdout.write(f"\n{settings.told(changed)}\n")
    sys.stdout.write(f"\nEverything, secrets included, is in {home.env_file}\n")


def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Forget data, logs and secrets.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --wipe: also remove what was installed.")
    ] = False,
) -> None:
    """Stop what up started. Data, ports and secrets are kept unless you wipe them."""
    if everything and not wipe:
        raise typer.BadParameter("--all goes with --wipe.")
    home = Home.from_environment()
    with exclusive(home.lock_file), progress_on() as progress:
        found = stack.down(home, progress)
        if wipe:
            stack.wipe(home, tools=everything)
    sys.stdout.write("Stopped.\n" if found else "Nothing was running.\n")


def start(name: ServiceName) -> None:
    """Start one part of a stack that is up."""
    home = Home.from_environment()
    with exclusive(home.lock_file):
        running = stack.open_running_stack(home, State(home.state_file))
        running.start(name)
        stack.publish(home, running)
    sys.stdout.write(f"{name} is ready.\n")


def stop(
    name: ServiceName,
    kill: Annotated[bool, typer.Option("--kill", help="Kill it, as a crash would.")] = False,
) -> None:
    """Stop one part of a stack that is up."""
    home = Home.from_environment()
    with exclusive(home.lock_file):
        _stop(stack.open_running_stack(home, State(home.state_file)), name, kill=kill)
    sys.stdout.write(f"{name} has stopped.\n")


def restart(
    name: ServiceName,
    kill: Annotated[bool, typer.Option("--kill", help="Kill it first, as a crash would.")] = False,
) -> None:
    """Stop one part of a stack that is up, and start it again."""
    home = Home.from_environment()
    with exclusive(home.lock_file):
        running = stack.open_running_stack(home, State(home.state_file))
        _stop(running, name, kill=kill)
        running.start(name)
        stack.publish(home, running)
    sys.stdout.write(f"{name} is ready.\n")


def scale(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(SCALABLE)}.")],
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=100)],
) -> None:
    """Have N replicas of a service; 'down' and 'up' keep that number."""
    home = Home.from_environment()
    with exclusive(home.lock_file), progress_on() as progress:
        running = stack.open_running_stack(home, State(home.state_file))
        running.scale(name, count, progress)
        stack.publish(home, running)
    sys.stdout.write(f"{count} of {name} {'is' if count == 1 else 'are'} ready.\n")


def _stop(running: stack.Stack, name: str, *, kill: bool) -> None:
    if kill:
        running.kill(name)
    else:
        running.stop(name)

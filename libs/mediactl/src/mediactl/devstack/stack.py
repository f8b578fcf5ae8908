"""
One stack, whoever provides its infrastructure: what every command works with.

``open_stack`` gives the stack that runs, or the one that ``up`` is to start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from mediactl.devstack import providers, settings
from mediactl.devstack.compose import COMPOSED, ComposeStack
from mediactl.devstack.home import Home
from mediactl.devstack.local import LocalStack
from mediactl.devstack.native.postgres import remove_outside_data
from mediactl.devstack.published import shell_assignments
from mediactl.devstack.state import State, write_private
from mediactl.devstack.status import Row
from mediactl.errors import MediactlError
from mediactl.progress import Progress


class Stack(Protocol):
    """The system as a whole: infrastructure and services."""

    def up(self, progress: Progress) -> dict[str, str]:
        """Start what does not run, wait until it is ready, and return what to publish."""

    def down(self, progress: Progress) -> None:
        """Stop everything that up started; data stays."""

    def rows(self) -> list[Row]:
        """Return how each part is."""

    def start(self, name: str) -> None:
        """Start one part and wait until it is ready."""

    def stop(self, name: str) -> None:
        """Stop one part."""

    def kill(self, name: str) -> None:
        """Kill one part as a crash would."""

    def scale(self, service: str, count: int, progress: Progress) -> None:
        """Have *count* replicas of a service; raises UsageError where it cannot have them."""

    def published(self) -> dict[str, str]:
        """Return what a running stack publishes."""

    def follow_command(self, names: list[str], *, lines: int, follow: bool) -> list[str] | None:
        """Return the command that shows logs, or None where they are files in the home."""


def open_stack(
    home: Home,
    state: State,
    *,
    wanted: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Stack:
    """
    Return the stack in *home*, with the settings that it remembers and those of *environ*.

    Raises UsageError for a provider that it cannot have.
    """
    environ = settings.in_force(state, os.environ if environ is None else environ)
    provider = provider_of(home, state, wanted=wanted, environ=environ)
    if provider == providers.COMPOSE:
        return ComposeStack(home, state, environ)
    return LocalStack(home, state, environ, native=provider == providers.NATIVE)


def provider_of(
    home: Home,
    state: State,
    *,
    wanted: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Return who provides the stack in *home*, or would with the next ``up``."""
    return providers.choose_provider(
        state,
        os.environ if environ is None else environ,
        wanted=wanted,
        docker_works=partial(providers.can_compose, home),
    )


def open_running_stack(home: Home, state: State) -> Stack:
    """Return the stack that was started in *home*; raises MediactlError where there is none."""
    if state.provider is None:
        raise MediactlError("No stack is up here: start one with './mediactl up'.")
    return open_stack(home, state)


def up(home: Home, progress: Progress, *, wanted: str | None = None) -> dict[str, str]:
    """
    Start the stack in *home*, write its ``env`` file, and return what that file holds.

    The caller holds the home's lock. Repeating it finds what runs. The settings that the
    environment gives are remembered for all later commands.
    """
    home.create()
    state = State(home.state_file)
    settings.remember(state, os.environ)
    variables = open_stack(home, state, wanted=wanted).up(progress)
    write_private(home.env_file, shell_assignments(variables))
    return variables


def publish(home: Home, running: Stack) -> None:
    """Write the ``env`` file of a stack whose parts may have moved."""
    write_private(home.env_file, shell_assignments(running.published()))


def down(home: Home, progress: Progress) -> bool:
    """Stop the stack in *home*; returns False where none was up."""
    state = State(home.state_file)
    if state.provider is None:
        return False
    open_stack(home, state).down(progress)
    state.provider = None
    return True


def wipe(home: Home, *, tools: bool = False) -> None:
    """
    Forget a stack that is down: data, state, logs, secrets; with *tools*, what was installed.

    Anything of a stack that still runs is an error of the caller.
    """
    state = State(home.state_file)
    if state.fact(COMPOSED):
        ComposeStack(home, state, dict(os.environ)).wipe()
    remove_outside_data(home.path, state.fact("postgres_data"))
    for directory in (home.data, home.logs):
        shutil.rmtree(directory, ignore_errors=True)
    for file in (home.state_file, home.env_file, *home.path.glob("compose.env*")):
        file.unlink(missing_ok=True)
    if tools:
        for name in ("bin", "kafka", "go", "uv", "venv", "sdk_typescript"):
            shutil.rmtree(home.tools / name, ignore_errors=True)

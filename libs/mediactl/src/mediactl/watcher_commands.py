"""
Mounts the watcher's commands, with the login and the settings of the stack's watcher.

mediactl has no way to the rows of its own: what operators may see and do, the watcher may.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import typer
from mediactl.devstack.credentials import stack_credentials
from mediactl.devstack.endpoints import endpoints_from_environment
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.devstack.services import StackContext, service_environment
from mediactl.devstack.settings import in_force, topic_prefix
from mediactl.devstack.state import State
from mediactl.errors import MediactlError
from typer.core import TyperGroup

_OF_THE_TERMINAL = ("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR")


class WithOperators(TyperGroup):
    """A group of commands that has the watcher's as well; these run on the stack."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *_operators().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; the watcher is imported only where the command may be its own."""
        return super().get_command(ctx, cmd_name) or _operators().get_command(ctx, cmd_name)


@cache
def _operators() -> TyperGroup:
    from watcher.operator.app import app  # it takes a second, which other commands need not pay

    _mount(app)
    found = typer.main.get_command(app)
    assert isinstance(found, TyperGroup)  # noqa: S101 - it has several commands
    return found


def _mount(commands: typer.Typer) -> None:
    for command in commands.registered_commands:
        if command.callback is not None:
            command.callback = _on_the_stack(command.callback)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _mount(group.typer_instance)


def _on_the_stack(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def run(*arguments: object, **options: object) -> None:
        kept = {name: os.environ[name] for name in _OF_THE_TERMINAL if name in os.environ}
        environment = _environment(Home.from_environment())
        # Nothing else that this shell has may pass for a setting of the watcher's.
        os.environ.clear()
        os.environ.update(environment | kept)
        command(*arguments, **options)

    return run


def _environment(home: Home) -> dict[str, str]:
    environment = service_environment("watcher", 0, stack_context(home))
    environment["LOG_FORMAT"] = "auto"
    return environment


def stack_context(home: Home) -> StackContext:
    """Return what services find around them in the stack of *home*; raises MediactlError."""
    variables = read_variables(home)
    endpoints = endpoints_from_environment(variables)
    if endpoints is None:
        raise MediactlError("The stack has published no endpoints: run './mediactl up' again.")
    state = State(home.state_file)
    environ = in_force(state, os.environ)
    return StackContext(
        endpoints=endpoints,
        credentials=stack_credentials(state, environ),
        topic_prefix=topic_prefix(state),
        scratch=home.data / "scratch",
        public_url=variables["MEDIA_URL"],
        edge_urls=variables["EDGE_METRICS_URL"].removesuffix("/metrics"),
        environ=environ,
    )

"""The stack under test: its addresses, and its parts to kill and start again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from mediactl.devstack import processes
from mediactl.devstack.home import Home
from mediactl.devstack.ports import free_port
from mediactl.devstack.program import answers_ok
from mediactl.devstack.services import service_environment
from mediactl.devstack.stack import Stack, open_stack
from mediactl.devstack.state import State, exclusive
from mediactl.watcher_commands import stack_context

from support.eventually import eventually


def variable(name: str) -> str:
    """Return what the stack has published; without a stack the test fails, it is not skipped."""
    value = os.environ.get(name)
    if not value:
        pytest.fail(
            f"{name} is not set. These tests need a running stack: run './mediactl test', or "
            "start one with './mediactl up' and source its env file "
            "(set -a; . .mediactl/env; set +a) with MEDIACTL_HOME set to its home."
        )
    return value


@dataclass(frozen=True)
class Parts:
    """
    The processes of the stack, by name: five services, kafka, postgres, minio, prometheus,
    alertmanager.

    ``settings`` are variables such as INGEST_LEASE_SECONDS that parts are started with.
    """

    settings: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        """Where the stack keeps its state and logs."""
        variable("MEDIACTL_HOME")
        return Home.from_environment()

    def pid(self, name: str) -> int | None:
        """Return the id of the live process of a part, or None."""
        found = State(self.home.state_file).process(name)
        return found.pid if found and processes.is_alive(found) else None

    def port(self, name: str) -> int | None:
        """Return the port of a part."""
        kept = State(self.home.state_file).port(name)
        # In containers what scales has no port of its own: Docker chooses one at each start.
        return kept or next((row.port for row in self._stack().rows() if row.name == name), None)

    def stop(self, name: str) -> None:
        """Ask a part to end and wait until it has."""
        with exclusive(self.home.lock_file):
            self._stack().stop(name)

    def kill(self, name: str) -> None:
        """Kill a part with SIGKILL, and only it."""
        with exclusive(self.home.lock_file):
            self._stack().kill(name)

    def start(self, name: str) -> None:
        """Start a part and wait until it is ready."""
        with exclusive(self.home.lock_file):
            self._stack().start(name)

    def restart(self, name: str) -> None:
        """Kill a part and start it again."""
        self.kill(name)
        self.start(name)

    def signal(self, name: str, signum: int) -> None:
        """Send a signal to a part's process, and only to it."""
        pid = self.pid(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signum)

    def environment_of(self, name: str, **settings: str) -> dict[str, str]:
        """Return the environment of one more process of a service, with its own logins."""
        alone = {f"{name.upper()}_KAFKA_INSTANCE_ID": ""}
        given = {**os.environ, **self.settings, **alone, **settings}
        around = replace(stack_context(self.home), environ=given)
        return service_environment(name, free_port(), around)

    @asynccontextmanager
    async def another(
        self, name: str, *, without: Collection[str] = (), **settings: str
    ) -> AsyncIterator[str]:
        """
        Run one more process of a service for the block and give its address.

        The variables *without* are not set for it.
        """
        given = self.environment_of(name, **settings)
        environment = {key: value for key, value in given.items() if key not in without}
        url = f"http://127.0.0.1:{environment['HTTP_PORT']}"
        command = [sys.executable, "-P", "-m", name]
        with subprocess.Popen(command, env=environment) as running:  # noqa: ASYNC220
            try:
                await eventually(lambda: answers_ok(f"{url}/readyz"), timeout=90)
                yield url
            finally:
                running.terminate()

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Have a part killed for the block; it is started again, however the block ends."""
        self.kill(name)
        try:
            yield
        finally:
            self.start(name)

    def _stack(self) -> Stack:
        home = self.home
        state = State(home.state_file)
        if state.provider is None:
            pytest.fail(f"No stack is up in {home.path}: run './mediactl test'.")
        return open_stack(home, state, environ={**os.environ, **self.settings})


@contextmanager
def restarted(name: str, **settings: str) -> Iterator[Parts]:
    """Run a service with *settings* of its own for the block, then as it was."""
    # A member that leaves its consumer group in good order is not waited for.
    parts = Parts(settings)
    parts.stop(name)
    try:
        parts.start(name)
        yield parts
    finally:
        Parts().stop(name)
        Parts().start(name)


def command_lines_with(text: str) -> list[str]:
    """Return the command lines of this machine's processes that contain *text*."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found

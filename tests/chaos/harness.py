"""
A stack of the run's own, and hands on each of its parts.

Invariant: only processes that this harness started are ever signalled, each known by its start.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from mediactl.devstack import processes, stack
from mediactl.devstack.home import Home
from mediactl.devstack.local import LocalStack
from mediactl.devstack.ports import free_port
from mediactl.devstack.program import Program
from mediactl.devstack.services import SERVICES, ServiceProgram
from mediactl.devstack.state import State, exclusive
from mediactl.errors import MediactlError
from mediactl.progress import progress_on

from chaos.target import Target
from support.http_clients import web

SERVERS = ("kafka", "postgres", "minio")
HOOKS = Path(__file__).with_name("hooks")

SETTINGS: Mapping[str, str] = {
    "INGEST_LEASE_SECONDS": "5",
    "INGEST_HEARTBEAT_SECONDS": "1",
    "INGEST_PICTURES_LEASE_SECONDS": "5",
    "INGEST_TASK_RETRY_SECONDS": "1",
    # Kills come closer together here than anywhere else, and none is the file's fault.
    "INGEST_TASK_MAX_TRIES": "12",
    # What is killed leaves its writes to the kernel; nobody cuts the power.
    "POSTGRES_FSYNC": "off",
    "WATCHER_WATCH_INTERVAL_SECONDS": "2",
    "WATCHER_RECONCILE_AFTER_SECONDS": "5",
    "WATCHER_STUCK_SECONDS": "15",
    "WATCHER_BUCKET_VERIFY_SECONDS": "5",
}
"""What differs from a stack in production: time is short."""


class Harness:
    """One stack under attack."""

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self.environ = {
            **os.environ,
            **SETTINGS,
            **(settings or {}),
            "MEDIACTL_HOME": str(home),
            "MEDIACTL_TOOLS": str(Home.from_environment().tools),
            "MEDIACTL_ROOT": str(Home.from_environment().root),
        }
        self.home = Home.from_environment(self.environ)
        self.target: Target
        self.deaths: Counter[str] = Counter()
        """How often a service ended by itself and was started again."""
        self._lock = threading.Lock()
        self._running: dict[str, Program] = {}
        self._altered: set[str] = set()

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Harness]:
        """Start the stack for the block, on the data of its last run."""
        os.environ.update(self.environ)
        await asyncio.to_thread(self._up)
        try:
            yield self
        finally:
            await asyncio.to_thread(self._down)

    def _up(self) -> None:
        self.home.create()
        with exclusive(self.home.lock_file), progress_on() as progress:
            variables = stack.up(self.home, progress)
        self.target = Target.from_environment({**self.environ, **variables})
        self._running = {program.name: program for program in self._local()._programs()}

    def _down(self) -> None:
        for program in self._running.values():
            if program.process is not None and processes.is_alive(program.process):
                os.kill(program.process.pid, signal.SIGCONT)
            program.stop()
        with exclusive(self.home.lock_file), progress_on() as progress:
            stack.down(self.home, progress)

    def _local(self, settings: Mapping[str, str] | None = None) -> LocalStack:
        state = State(self.home.state_file)
        environ = {**self.environ, **(settings or {})}
        local = stack.open_stack(self.home, state, environ=environ)
        if not isinstance(local, LocalStack):
            raise MediactlError("The fault suite needs native servers, to kill them.")
        return local

    def is_alive(self, name: str) -> bool:
        """Return whether a part's process runs; a frozen one does."""
        return self._running[name].is_alive

    def pid(self, name: str) -> int:
        """Return the process id of a part that runs or ran."""
        process = self._running[name].process
        assert process is not None
        return process.pid

    async def kill(self, name: str) -> None:
        """Kill a part with SIGKILL, and only it: its children are left to notice."""
        await asyncio.to_thread(self._running[name].kill)

    async def stop(self, name: str) -> float:
        """Ask a part to end and return the seconds it took."""
        started = time.monotonic()
        await asyncio.to_thread(self._running[name].stop)
        return time.monotonic() - started

    async def start(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        """Start a part, with *settings* of its own, and wait until it is ready."""
        await asyncio.to_thread(self._start, name, settings)

    def _start(self, name: str, settings: Mapping[str, str] | None) -> None:
        with self._lock:
            program = self._local(settings)._program(name)
            self._running[name] = program
            (self._altered.add if settings else self._altered.discard)(name)
            process = program.start()
            State(self.home.state_file).remember_process(name, process)
        program.wait_ready()

    async def restart(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        """Stop a part in good order and start it again."""
        await self.stop(name)
        await self.start(name, settings)

    def signal(self, name: str, signum: int) -> None:
        """Send a signal to a part's process; for PostgreSQL, to all its processes."""
        pid = self.pid(name)
        members = processes._family(pid) if name == "postgres" else {pid}
        for member in members:
            with suppress(ProcessLookupError):
                os.kill(member, signum)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Have a part stopped by SIGSTOP for the block."""
        self.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(name, signal.SIGCONT)

    @asynccontextmanager
    async def kept_alive(self, *names: str) -> AsyncIterator[None]:
        """Start parts that end, as a container runtime does, for the block."""
        keepers = [asyncio.create_task(self._keep(name)) for name in names or SERVICES]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            for name in names or SERVICES:
                if not self.is_alive(name):
                    await self.start(name)

    async def _keep(self, name: str) -> None:
        while True:
            await asyncio.sleep(0.1)
            if not self.is_alive(name):
                self.deaths[name] += 1
                # One that is killed before it is ready is started again as well.
                with suppress(MediactlError):
                    await self.start(name)

    async def healed(self) -> None:
        """Start what does not run as usual, so that the next scenario finds a whole stack."""
        for name in (*SERVERS, *SERVICES):
            if not self.is_alive(name):
                await self.start(name)
            elif name in self._altered:
                await self.restart(name)

    @asynccontextmanager
    async def another(
        self, name: str, settings: Mapping[str, str] | None = None, *, wait: bool = True
    ) -> AsyncIterator[int]:
        """
        Run one more process of a service for the block; gives its process id.

        Without *wait* it is not waited for: beside a frozen member of its consumer groups it
        works long before it is ready.
        """
        port = free_port()
        scratch = self.home.data / "scratch" / f"{name}-{port}"
        own = {
            f"{name.upper()}_SCRATCH_DIR": str(scratch),
            f"{name.upper()}_KAFKA_INSTANCE_ID": "",
            **(settings or {}),
        }
        around = replace(self._local()._surroundings(), environ={**self.environ, **own})
        scratch.mkdir(parents=True, exist_ok=True)
        log_file = self.home.log_file(f"{name}-another")
        program = ServiceProgram(name, port=port, around=around, log_file=log_file)
        await asyncio.to_thread(program.start)
        assert program.process is not None
        try:
            if wait:
                await asyncio.to_thread(program.wait_ready)
            yield program.process.pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(program.process.pid, signal.SIGCONT)
            await asyncio.to_thread(program.stop)
            # As with a container, what it had on disk goes with it.
            shutil.rmtree(scratch, ignore_errors=True)

    async def metric(self, service: str, name: str) -> float:
        """Return the sum of a counter of a service, over its labels."""
        url = f"http://127.0.0.1:{self._running[service].port}/metrics"  # type: ignore[attr-defined]
        return await read_metric(url, name)


async def read_metric(url: str, name: str) -> float:
    """Return the sum of the samples *name* that *url* exports."""
    async with web(timeout=10) as http:
        lines = (await http.get(url)).text.splitlines()
    values = [
        line.rpartition(" ")[2] for line in lines if line.startswith((name + " ", name + "{"))
    ]
    return sum(map(float, values))


def hooks(*, kill: str = "", mutation: str = "", hits: Path | None = None) -> dict[str, str]:
    """Return variables, without a service's prefix, that set the hooks of its process."""
    return {
        "PYTHONPATH": str(HOOKS),
        "CHAOS_KILL": kill,
        "CHAOS_MUTATION": mutation,
        "CHAOS_HITS": str(hits or ""),
    }


def for_service(name: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return *variables* as mediactl hands them on to the service *name* alone."""
    return {f"{name.upper()}_{key}": value for key, value in variables.items()}

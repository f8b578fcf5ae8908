"""
A stack whose services are processes of this machine.

Its infrastructure is either native or given by the environment; then it is left alone.
Invariant: each process is in the state before anyone waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from mediactl.credentials import stack_credentials
from mediactl.endpoints import Endpoints, endpoints_from_environment
from mediactl.errors import UsageError
from mediactl.home import Home
from mediactl.native.infrastructure import (
    MONITORS,
    NativeInfrastructure,
    NativeOptions,
    tell_prometheus,
)
from mediactl.native.install import ensure_media_tools
from mediactl.parallel import run_all
from mediactl.program import Program
from mediactl.progress import Progress, SilentProgress, step
from mediactl.providers import ENVIRONMENT, NATIVE
from mediactl.provision import provision
from mediactl.published import published_variables
from mediactl.services import SERVICES, ServiceProgram, Surroundings
from mediactl.state import State, remember_free_port
from mediactl.status import Row, external_rows, program_row

TOPIC_PREFIX = "topic_prefix"


class LocalStack:
    """The five services natively, with or without native infrastructure."""

    def __init__(
        self, home: Home, state: State, environ: Mapping[str, str], *, native: bool
    ) -> None:
        self._home = home
        self._state = state
        self._environ = environ
        self._native = native

    def up(self, progress: Progress) -> dict[str, str]:
        """Start what does not run, wait until it is ready, and return what to publish."""
        self._keep_topic_prefix()
        self._state.provider = NATIVE if self._native else ENVIRONMENT
        self._choose_ports()
        self._start_infrastructure(progress)
        around = self._surroundings()
        services = self._services(around)
        if not all(service.is_alive for service in services):
            provision(around, progress)
        run_all([partial(self._start, service, progress) for service in services])
        return published_variables(
            around.endpoints,
            self._state.ports(),
            around.credentials,
            monitors=MONITORS if self._native else (),
        )

    def down(self, progress: Progress) -> None:
        """Stop the services, then the native servers."""
        with step(progress, "services", "stopping", done="stopped"):
            run_all([partial(self._stop, service) for service in self._services()])
        if self._native:
            with step(progress, "servers", "stopping", done="stopped"):
                self._infrastructure().stop()

    def rows(self) -> list[Row]:
        """Return how each part is."""
        infrastructure = [] if self._native else external_rows(self._endpoints())
        programs = self._programs()
        rows = run_all([partial(program_row, p, self._state.port(p.name)) for p in programs])
        return [*infrastructure, *rows]

    def start(self, name: str) -> None:
        """Start one part and wait until it is ready."""
        if name in SERVICES:
            self._choose_port(name)
            if self._native:
                tell_prometheus(self._home, self._state)
        self._start(self._program(name), SilentProgress())

    def stop(self, name: str) -> None:
        """Stop one part."""
        self._stop(self._program(name))

    def kill(self, name: str) -> None:
        """Kill one part as a crash would."""
        self._program(name).kill()

    def follow_command(self, names: list[str], *, lines: int, follow: bool) -> list[str] | None:
        """Return None: the logs are files in the home."""
        del names, lines, follow
        return None

    def _start(self, program: Program, progress: Progress) -> None:
        with step(progress, program.name, "looking" if program.is_alive else "starting"):
            self._state.remember_process(program.name, program.start())
            program.wait_ready()

    def _stop(self, program: Program) -> None:
        program.stop()
        self._state.remember_process(program.name, None)

    def _program(self, name: str) -> Program:
        programs = {program.name: program for program in self._programs()}
        if name not in programs:
            raise UsageError(f"There is no {name!r} to work on: choose from {', '.join(programs)}.")
        return programs[name]

    def _programs(self) -> list[Program]:
        servers = self._infrastructure().servers() if self._native else []
        return [*servers, *self._services()]

    def _services(self, around: Surroundings | None = None) -> list[ServiceProgram]:
        around = around or self._surroundings()
        return [
            ServiceProgram(
                name,
                port=self._state.port(name) or 0,
                around=around,
                log_file=self._home.log_file(name),
                process=self._state.process(name),
            )
            for name in SERVICES
        ]

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            endpoints=self._endpoints(),
            credentials=stack_credentials(self._state, self._environ),
            topic_prefix=self._state.fact(TOPIC_PREFIX) or "",
            scratch=self._home.data / "scratch",
            environ=self._environ,
        )

    def _infrastructure(self) -> NativeInfrastructure:
        prefix = self._state.fact(TOPIC_PREFIX) or ""
        options = NativeOptions(topic_prefix=prefix, environ=self._environ)
        return NativeInfrastructure(self._home, options, self._state)

    def _start_infrastructure(self, progress: Progress) -> None:
        if self._native:
            self._infrastructure().start(progress)
        else:
            self._remember_endpoints()
            ensure_media_tools(self._home, progress)

    def _remember_endpoints(self) -> None:
        given = endpoints_from_environment(self._environ)
        if given is not None:
            for name, value in given.variables().items():
                self._state.remember_secret(f"given_{name.lower()}", value)

    def _endpoints(self) -> Endpoints:
        if self._native:
            return self._infrastructure().endpoints()
        names = Endpoints.__dataclass_fields__
        known = {name: self._state.known_secret(f"given_{name}") or "" for name in names}
        if not all(known.values()):
            raise UsageError(
                "Provider env needs KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL, S3_ENDPOINT_URL, "
                "S3_ACCESS_KEY and S3_SECRET_KEY in the environment: set all of them."
            )
        return Endpoints(**known)

    def _keep_topic_prefix(self) -> None:
        given, known = self._environ.get("KAFKATOPIC_PREFIX"), self._state.fact(TOPIC_PREFIX)
        if known is not None and given not in {None, known}:
            raise UsageError(
                f"This stack was made with KAFKATOPIC_PREFIX={known!r}: unset the variable, or "
                "run 'mediactl down --wipe' to start anew."
            )
        self._state.remember_fact(TOPIC_PREFIX, known or given or "")

    def _choose_ports(self) -> None:
        for name in SERVICES:
            self._choose_port(name)

    def _choose_port(self, name: str) -> None:
        if name not in self._state.running():
            remember_free_port(name, self._state, self._environ)

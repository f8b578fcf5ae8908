"""
A stack whose services are processes of this machine.

Its infrastructure is either native or given by the environment; then it is left alone.
Invariant: each process is in the state before anyone waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

from mediactl.devstack.credentials import stack_credentials
from mediactl.devstack.endpoints import KAFKA_LOGIN, Endpoints, endpoints_from_environment
from mediactl.devstack.home import Home
from mediactl.devstack.native.edge import EdgePorts, EdgeServer
from mediactl.devstack.native.infrastructure import (
    MONITORS,
    NativeInfrastructure,
    NativeOptions,
    storage_token_file,
    tell_prometheus,
)
from mediactl.devstack.native.install import ensure_media_tools
from mediactl.devstack.native.kafka import FIRST_LOGIN
from mediactl.devstack.parallel import run_all
from mediactl.devstack.program import Program
from mediactl.devstack.providers import ENVIRONMENT, NATIVE
from mediactl.devstack.provision import provision
from mediactl.devstack.published import published_variables
from mediactl.devstack.services import (
    SERVICES,
    ServiceProgram,
    StackContext,
    check_scalable,
    replica_name,
    split_replica,
)
from mediactl.devstack.settings import keep_topic_prefix, topic_prefix
from mediactl.devstack.state import State, remember_free_port
from mediactl.devstack.status import Row, external_rows, program_row
from mediactl.errors import UsageError
from mediactl.progress import Progress, SilentProgress, step

_EDGE_DIGEST = "edge_digest"


class LocalStack:
    """The services natively, with or without native infrastructure."""

    def __init__(
        self, home: Home, state: State, environ: Mapping[str, str], *, native: bool
    ) -> None:
        self._home = home
        self._state = state
        self._environ = environ
        self._native = native

    def up(self, progress: Progress) -> dict[str, str]:
        """Start what does not run, wait until it is ready, and return what to publish."""
        keep_topic_prefix(self._state, self._environ)
        self._state.provider = NATIVE if self._native else ENVIRONMENT
        self._choose_ports(self._service_names())
        self._start_infrastructure(progress)
        around = self._surroundings()
        services = self._services(around)
        # Where all runs as well: what somebody took away from the servers is what is mended here.
        provision(around, progress, first_login=FIRST_LOGIN if self._native else None)
        run_all([partial(self._start, service, progress) for service in services])
        self._start_edge(progress)
        return self.published()

    def published(self) -> dict[str, str]:
        """Return what to publish."""
        around = self._surroundings()
        return published_variables(
            around.endpoints,
            self._state.ports(),
            around.credentials,
            monitors=MONITORS if self._native else (),
            topic_prefix=around.topic_prefix,
            public_url=around.public_url,
        )

    def down(self, progress: Progress) -> None:
        """Stop the services, then the native servers."""
        with step(progress, "services", "stopping", done="stopped"):
            run_all([partial(self._stop, one) for one in [self._edge(), *self._services()]])
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
        """Start one part, with all its replicas, and wait until it is ready."""
        names = [program.name for program in self._part(name)]
        self._choose_ports(names)
        programs = [self._program(one) for one in names]
        run_all([partial(self._start, program, SilentProgress()) for program in programs])
        self._start_edge(SilentProgress())

    def stop(self, name: str) -> None:
        """Stop one part, with all its replicas."""
        run_all([partial(self._stop, program) for program in self._part(name)])

    def kill(self, name: str) -> None:
        """Kill one part, with all its replicas, as a crash would."""
        run_all([program.kill for program in self._part(name)])

    def scale(self, service: str, count: int, progress: Progress) -> None:
        """Have *count* replicas of a service; those that run go on. Raises UsageError."""
        check_scalable(service)
        before = self._state.replicas(service)
        surplus = [replica_name(service, number) for number in range(count + 1, before + 1)]
        programs = [self._program(name) for name in surplus]
        run_all([partial(self._stop, program) for program in programs])
        for name in surplus:
            self._state.forget_port(name)
        self._state.remember_replicas(service, count)
        names = [replica_name(service, number) for number in range(1, count + 1)]
        self._choose_ports(names)
        run_all([partial(self._start, self._program(name), progress) for name in names])

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

    def _part(self, name: str) -> list[Program]:
        """Return the program of this name, and where that is a service all its replicas."""
        first = self._program(name)
        if name not in SERVICES:
            return [first]
        return [one for one in self._programs() if split_replica(one.name)[0] == name]

    def _programs(self) -> list[Program]:
        servers = self._infrastructure().servers() if self._native else []
        return [*servers, *self._services(), self._edge()]

    def _services(self, around: StackContext | None = None) -> list[ServiceProgram]:
        around = around or self._surroundings()
        return [
            ServiceProgram(
                name,
                port=self._state.port(name) or 0,
                around=around,
                log_file=self._home.log_file(name),
                process=self._state.process(name),
            )
            for name in self._service_names()
        ]

    def _edge(self) -> EdgeServer:
        return EdgeServer(
            code=self._home.root / "deploy" / "edge",
            data=self._home.data / "edge",
            log_file=self._home.log_file("edge"),
            ports=EdgePorts(self._state.port("edge") or 0, self._state.port("edge_internal") or 0),
            behind=self._behind_edge(),
            environ=self._environ,
            process=self._state.process("edge"),
        )

    def _behind_edge(self) -> dict[str, str]:
        around = self._surroundings()
        prefix = self._environ.get("S3_BUCKET_PREFIX") or "media-"
        return {
            "EDGE_SIGN_API": f"127.0.0.1:{self._state.port('sign_api')}",
            "EDGE_NOTIFIER": f"127.0.0.1:{self._state.port('notifier')}",
            "EDGE_STORAGE": around.endpoints.s3_endpoint_url,
            "EDGE_S3_ACCESS_KEY": f"{prefix}edge",
            "EDGE_S3_SECRET_KEY": around.credentials.storage_secrets["edge"],
            **around.credentials.edge_variables(),
        }

    def _start_edge(self, progress: Progress) -> None:
        """Start the edge, anew where its configuration is another by now."""
        edge = self._edge()
        digest = edge.digest()
        if edge.is_alive and digest != self._state.fact(_EDGE_DIGEST):
            self._stop(edge)
            edge = self._edge()
        self._state.remember_fact(_EDGE_DIGEST, digest)
        self._start(edge, progress)

    def _service_names(self) -> list[str]:
        return [
            replica_name(service, number)
            for service in SERVICES
            for number in range(1, self._state.replicas(service) + 1)
        ]

    def _surroundings(self) -> StackContext:
        return StackContext(
            endpoints=self._endpoints(),
            credentials=stack_credentials(self._state, self._environ),
            topic_prefix=topic_prefix(self._state),
            scratch=self._home.data / "scratch",
            public_url=self._public_url(),
            edge_urls=f"http://127.0.0.1:{self._state.port('edge_internal')}",
            environ=self._environ,
            metrics_token=storage_token_file(self._home) if self._native else None,
        )

    def _public_url(self) -> str:
        given = self._environ.get("MEDIA_PUBLIC_URL")
        return (given or f"http://127.0.0.1:{self._state.port('edge')}").rstrip("/")

    def _infrastructure(self) -> NativeInfrastructure:
        prefix = topic_prefix(self._state)
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
            for name, value in asdict(given).items():
                self._state.remember_secret(f"given_{name}", value)

    def _endpoints(self) -> Endpoints:
        if self._native:
            return self._infrastructure().endpoints()
        names = Endpoints.__dataclass_fields__
        known = {name: self._state.known_secret(f"given_{name}") or "" for name in names}
        if not all(known[name] for name in names if name.upper() not in KAFKA_LOGIN):
            raise UsageError(
                "Provider env needs KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL, S3_ENDPOINT_URL, "
                "S3_ACCESS_KEY and S3_SECRET_KEY in the environment: set all of them."
            )
        return Endpoints(**known)

    def _choose_ports(self, names: Sequence[str]) -> None:
        """Choose the ports of those services among *names* that do not run."""
        running = self._state.running()
        if "edge" not in running:
            for name in ("edge", "edge_internal"):
                remember_free_port(name, self._state, self._environ)
        for name in set(names) & set(self._service_names()) - set(running):
            remember_free_port(name, self._state, self._environ)
        if self._native:
            tell_prometheus(self._home, self._state)

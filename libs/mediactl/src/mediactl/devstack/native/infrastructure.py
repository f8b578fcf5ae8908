"""
The servers of one stack as a unit.

Invariant: what was started is in the state before anyone waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mediactl.devstack.endpoints import Endpoints, local_endpoints
from mediactl.devstack.home import Home
from mediactl.devstack.native.alertmanager import AlertmanagerServer
from mediactl.devstack.native.install import ensure_tools, expected_tools
from mediactl.devstack.native.kafka import KafkaServer
from mediactl.devstack.native.minio import MinioServer
from mediactl.devstack.native.postgres import PostgresServer, new_data_directory
from mediactl.devstack.native.prometheus import PrometheusServer, write_targets
from mediactl.devstack.native.tools import Tools
from mediactl.devstack.parallel import run_all
from mediactl.devstack.program import Program
from mediactl.devstack.state import State, remember_free_port
from mediactl.progress import Progress, SilentProgress, step

MONITORS = ("prometheus", "alertmanager")
_PORTS = ("kafka", "kafka_controller", "postgres", "minio", *MONITORS)
_POSTGRES_DATA = "postgres_data"


@dataclass(frozen=True)
class NativeOptions:
    """What may differ between stacks; ``environ`` is where set ports are looked up."""

    topic_prefix: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


class NativeInfrastructure:
    """
    Kafka, PostgreSQL, MinIO, Prometheus and Alertmanager of the stack in *home*.

    A new object takes over the servers that an earlier one started. Each may be stopped,
    killed and started by itself.
    """

    kafka: KafkaServer
    postgres: PostgresServer
    minio: MinioServer
    prometheus: PrometheusServer
    alertmanager: AlertmanagerServer

    def __init__(
        self, home: Home, options: NativeOptions | None = None, state: State | None = None
    ) -> None:
        self.home = home
        self.options = options or NativeOptions()
        self.state = state or State(home.state_file)
        self._build(expected_tools(home))

    def start(self, progress: Progress | None = None) -> Endpoints:
        """Install and start what is missing, wait until all is ready, return the endpoints."""
        progress = progress or SilentProgress()
        self.home.create()
        tools = ensure_tools(self.home, progress)
        self._choose_ports()
        self._choose_postgres_data()
        tell_prometheus(self.home, self.state)
        self._build(tools)
        run_all([partial(self.start_one, server, progress) for server in self.servers()])
        return self.endpoints()

    def start_one(self, server: Program, progress: Progress | None = None) -> None:
        """Start one server unless it runs, and wait until it is ready."""
        text = "looking" if server.is_alive else "starting"
        with step(progress or SilentProgress(), server.name, text):
            self.state.remember_process(server.name, server.start())
            server.wait_ready()

    def stop(self) -> None:
        """Stop the servers; their data stays."""
        running = [server for server in self.servers() if server.is_alive]
        # Kafka goes last, so that MinIO can still hand over its notifications.
        run_all([server.stop for server in running if server is not self.kafka])
        run_all([server.stop for server in running if server is self.kafka])
        for server in self.servers():
            self.state.remember_process(server.name, None)

    def endpoints(self) -> Endpoints:
        """Return where the servers are reached."""
        return local_endpoints(self.state)

    def servers(self) -> list[Program]:
        """Return the servers, whether they run or not."""
        return [self.kafka, self.postgres, self.minio, self.prometheus, self.alertmanager]

    def _choose_ports(self) -> None:
        for name in _PORTS:
            if name.removesuffix("_controller") not in self.state.running():
                remember_free_port(name, self.state, self.options.environ)

    def _choose_postgres_data(self) -> None:
        known = self.state.fact(_POSTGRES_DATA)
        if known is None or not Path(known).exists():
            self.state.remember_fact(_POSTGRES_DATA, str(new_data_directory(self.home.path)))

    def _build(self, tools: Tools) -> None:
        self.kafka = self._kafka(tools)
        self.postgres = self._postgres(tools)
        self.minio = self._minio(tools)
        self.prometheus = self._prometheus(tools)
        self.alertmanager = self._alertmanager(tools)

    def _kafka(self, tools: Tools) -> KafkaServer:
        return KafkaServer(
            tools=tools,
            config=self.home.root / "deploy" / "kafka",
            data=self.home.data / "kafka",
            log_file=self.home.log_file("kafka"),
            port=self.state.port("kafka") or 0,
            controller_port=self.state.port("kafka_controller") or 0,
            password=self.state.secret("kafka_admin_password"),
            process=self.state.process("kafka"),
        )

    def _postgres(self, tools: Tools) -> PostgresServer:
        data = self.state.fact(_POSTGRES_DATA)
        return PostgresServer(
            binaries=tools.postgres_binaries,
            data=Path(data) if data else self.home.data / "postgres",
            log_file=self.home.log_file("postgres"),
            port=self.state.port("postgres") or 0,
            password=self.state.secret("postgres_password"),
            environ=self.options.environ,
            process=self.state.process("postgres"),
        )

    def _minio(self, tools: Tools) -> MinioServer:
        return MinioServer(
            binary=tools.minio,
            data=self.home.data / "minio",
            log_file=self.home.log_file("minio"),
            port=self.state.port("minio") or 0,
            access_key=self.state.secret("s3_access_key"),
            secret_key=self.state.secret("s3_secret_key"),
            kafka_bootstrap_servers=self.kafka.bootstrap_servers,
            kafka_password=self.state.secret("minio_kafka_password"),
            topic_prefix=self.options.topic_prefix,
            process=self.state.process("minio"),
        )

    def _prometheus(self, tools: Tools) -> PrometheusServer:
        return PrometheusServer(
            binary=tools.prometheus,
            rules=self.home.root / "deploy" / "prometheus" / "rules",
            runbooks=self.home.root / "deploy" / "runbooks",
            data=_prometheus_data(self.home),
            log_file=self.home.log_file("prometheus"),
            port=self.state.port("prometheus") or 0,
            environ=self.options.environ,
            process=self.state.process("prometheus"),
        )

    def _alertmanager(self, tools: Tools) -> AlertmanagerServer:
        return AlertmanagerServer(
            binary=tools.alertmanager,
            config=self.home.root / "deploy" / "alertmanager",
            data=self.home.data / "alertmanager",
            log_file=self.home.log_file("alertmanager"),
            port=self.state.port("alertmanager") or 0,
            environ=self.options.environ,
            process=self.state.process("alertmanager"),
        )


def tell_prometheus(home: Home, state: State) -> None:
    """Have Prometheus scrape the ports in *state*, whether it runs already or not."""
    write_targets(_prometheus_data(home), state.ports())


def storage_token_file(home: Home) -> Path:
    """Return where Prometheus looks for what it shows the object store."""
    return _prometheus_data(home) / "minio.token"


def _prometheus_data(home: Home) -> Path:
    return home.data / "prometheus"

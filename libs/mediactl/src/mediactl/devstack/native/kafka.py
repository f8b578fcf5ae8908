"""
One Kafka broker in KRaft mode, run from its Maven artifacts.

Invariant: topics and users are made by provisioning alone, with the administrator's login;
nobody gets in without one, or does what nothing allows.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from mediactl.devstack.endpoints import KAFKA_ADMIN
from mediactl.devstack.native.tools import Tools
from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.program import Command, Program
from mediactl.devstack.state import write_private
from mediactl.errors import MediactlError

HEAP = "-Xmx512m"
FIRST_LOGIN = "PLAIN"
"""How the administrator, whom the configuration names, comes in before there are users."""

_METADATA, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = (3, 1), (17, 1), (36, 0)


class KafkaServer(Program):
    """The broker. *config* is the directory with server.properties and log4j2.properties."""

    def __init__(
        self,
        *,
        tools: Tools,
        config: Path,
        data: Path,
        log_file: Path,
        port: int,
        controller_port: int,
        password: str,
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__("kafka", log_file, process)
        self.port = port
        self._tools = tools
        self._config = config
        self._data = data
        self._controller_port = controller_port
        self._password = password

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def _properties(self) -> Path:
        return self._data / "server.properties"

    def prepare(self) -> None:
        """Write the configuration and, before the first start, format the storage."""
        self._data.mkdir(parents=True, exist_ok=True)
        base = (self._config / "server.properties").read_text()
        write_private(self._properties, base + self._local_properties())
        if not (self._data / "log" / "meta.properties").exists():
            self._format()

    def command(self) -> Command:
        """Return the broker's command line."""
        return Command(self._java("kafka.Kafka", str(self._properties)), _environment())

    def is_ready(self) -> bool:
        """Return whether the broker has joined its cluster and serves clients."""
        return knows_brokers("127.0.0.1", self.port, self._password)

    def _local_properties(self) -> str:
        login = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{KAFKA_ADMIN}" password="{self._password}" '
            f'user_{KAFKA_ADMIN}="{self._password}";'
        )
        return (
            f"\nlisteners=CLIENTS://127.0.0.1:{self.port},"
            f"CONTROLLER://127.0.0.1:{self._controller_port}\n"
            f"advertised.listeners=CLIENTS://127.0.0.1:{self.port}\n"
            f"controller.quorum.voters=1@127.0.0.1:{self._controller_port}\n"
            f"log.dirs={self._data / 'log'}\n"
            f"listener.name.clients.plain.sasl.jaas.config={login}\n"
            f"listener.name.controller.plain.sasl.jaas.config={login}\n"
        )

    def _format(self) -> None:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        storage_tool = self._java(
            "kafka.tools.StorageTool",
            *("format", "--cluster-id", cluster_id, "--config", str(self._properties)),
        )
        done = subprocess.run(
            storage_tool, env=_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MediactlError(f"Kafka could not format {self._data}: {done.stderr.strip()}")

    def _java(self, *arguments: str) -> list[str]:
        return [
            str(self._tools.java),
            HEAP,
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={self._config / 'log4j2.properties'}",
            "-cp",
            f"{self._tools.kafka_jars}/*",
            *arguments,
        ]


def knows_brokers(host: str, port: int, password: str, *, timeout_seconds: float = 2) -> bool:
    """
    Return whether the server lets the administrator in, and its metadata names a broker.

    A broker that listens but has not joined its cluster yet names none, and would refuse to
    create topics. Answered by the bare protocol: a client library would retry and log.
    """
    name, login = FIRST_LOGIN.encode(), f"\0{KAFKA_ADMIN}\0{password}".encode()
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            _ask(connection, _SASL_HANDSHAKE, struct.pack(">h", len(name)) + name)
            answer = _ask(connection, _SASL_AUTHENTICATE, struct.pack(">i", len(login)) + login)
            (error,) = struct.unpack_from(">h", answer)
            (brokers,) = struct.unpack_from(">i", _ask(connection, _METADATA, struct.pack(">i", 0)))
    except (OSError, struct.error):
        return False
    return bool(error == 0 and brokers > 0)


def _ask(connection: socket.socket, request: tuple[int, int], body: bytes) -> bytes:
    """Send one request and return what its answer holds."""
    message = struct.pack(">hhih", *request, 1, -1) + body
    connection.sendall(struct.pack(">i", len(message)) + message)
    with connection.makefile("rb", buffering=0) as stream:
        size, _correlation = struct.unpack(">ii", _read(stream, 8))
        return _read(stream, size - 4)


def _read(stream: Any, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := stream.read(size - len(found))):
        found += more
    return found


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

"""
One Kafka broker in KRaft mode, run from its Maven artifacts.

Invariant: topics are created by provisioning alone; the broker never makes one by itself.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from mediactl.errors import MediactlError
from mediactl.native.tools import Tools
from mediactl.processes import ProcessRef
from mediactl.program import Command, Program

HEAP = "-Xmx512m"
_METADATA_KEY, _METADATA_VERSION = 3, 1


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
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__("kafka", log_file, process)
        self.port = port
        self._tools = tools
        self._config = config
        self._data = data
        self._controller_port = controller_port

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
        self._properties.write_text(base + self._local_properties())
        if not (self._data / "log" / "meta.properties").exists():
            self._format()

    def command(self) -> Command:
        """Return the broker's command line."""
        return Command(self._java("kafka.Kafka", str(self._properties)), _environment())

    def is_ready(self) -> bool:
        """Return whether the broker has joined its cluster and serves clients."""
        return knows_brokers("127.0.0.1", self.port)

    def _local_properties(self) -> str:
        return (
            f"\nlisteners=PLAINTEXT://127.0.0.1:{self.port},"
            f"CONTROLLER://127.0.0.1:{self._controller_port}\n"
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}\n"
            f"controller.quorum.voters=1@127.0.0.1:{self._controller_port}\n"
            f"log.dirs={self._data / 'log'}\n"
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


def knows_brokers(host: str, port: int, *, timeout_seconds: float = 2) -> bool:
    """
    Return whether the server's metadata names a broker.

    A broker that listens but has not joined its cluster yet names none, and would refuse to
    create topics. Answered by the bare protocol: a client library would retry and log.
    """
    request = struct.pack(">hhih", _METADATA_KEY, _METADATA_VERSION, 1, -1) + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            reply = connection.makefile("rb")
            size, _correlation, brokers = struct.unpack(">iii", reply.read(12))
    except (OSError, struct.error):
        return False
    return bool(size >= 8 and brokers > 0)  # noqa: PLR2004 - the two fields after the size


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

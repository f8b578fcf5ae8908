"""What runs, and how it is."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from media_runtime.telemetry.terminal import duration
from mediactl.devstack import processes
from mediactl.devstack.endpoints import Endpoints
from mediactl.devstack.program import Program
from rich.table import Table

READY = "ready"
NOT_READY = "not ready"
STOPPED = "stopped"
_COLOURS = {READY: "green", NOT_READY: "yellow", STOPPED: "red"}


@dataclass(frozen=True)
class Row:
    """One part of the stack; what is unknown, as for servers run by others, is None."""

    name: str
    health: str
    port: int | None
    pid: int | None = None
    uptime_seconds: float | None = None
    memory_bytes: int | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether this part does its work."""
        return self.health == READY

    def as_json(self) -> dict[str, Any]:
        """Return the row for ``status --json``."""
        return asdict(self)


def program_row(program: Program, port: int | None) -> Row:
    """Return the row of a program that mediactl runs."""
    process = program.process
    found = processes.usage(process) if process else None
    if process is None or found is None:
        return Row(program.name, STOPPED, port)
    return Row(
        name=program.name,
        health=READY if program.is_ready() else NOT_READY,
        port=port,
        pid=process.pid,
        uptime_seconds=round(found.uptime_seconds, 1),
        memory_bytes=found.memory_bytes,
    )


def external_rows(endpoints: Endpoints) -> list[Row]:
    """Return the rows of servers that somebody else runs: whether they accept connections."""
    bootstrap = endpoints.kafka_bootstrap_servers.split(",")[0]
    return [
        _external("kafka", f"kafka://{bootstrap}", 9092),
        _external("postgres", endpoints.database_url, 5432),
        _external("minio", endpoints.s3_endpoint_url, 80),
    ]


def status_table(rows: Sequence[Row]) -> Table:
    """Return the rows for a person."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "health", "pid", "port", "uptime", "memory"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            f"[{_COLOURS.get(row.health, 'yellow')}]{row.health}",
            _text(row.pid),
            _text(row.port),
            "-" if row.uptime_seconds is None else duration(row.uptime_seconds),
            "-" if row.memory_bytes is None else f"{row.memory_bytes / 1_000_000:.0f} MB",
        )
    return table


def _external(name: str, url: str, default_port: int) -> Row:
    parts = urlsplit(url)
    port = parts.port or default_port
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", port), timeout=2).close()
    except OSError:
        return Row(name, NOT_READY, port)
    return Row(name, READY, port)


def _text(value: int | None) -> str:
    return "-" if value is None else str(value)

"""
The edge: one nginx before the services and storage, the only way to them from outside.

Invariant: it is configured by deploy/edge/start.sh alone, as it is in a container.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.program import Command, Program, answers_ok
from mediactl.devstack.services import NOT_FOR_SERVICES

# Settings of start.sh that pass through under their own names.
_GIVEN = ("S3_REGION", "S3_BUCKET_PREFIX", "CORS_ALLOW_ORIGINS", "CDN_BASE_URL")
_PREFIX = "EDGE_"


@dataclass(frozen=True)
class EdgePorts:
    """Where it listens on this machine: for clients, and for what is inside."""

    public: int
    internal: int


class EdgeServer(Program):
    """The server; *behind* holds what start.sh must know: addresses, keys, storage login."""

    # QUIT lets uploads under way end, for 30 s (worker_shutdown_timeout); TERM would cut them off.
    stop_signal = signal.SIGQUIT
    stop_seconds = 35

    def __init__(
        self,
        *,
        code: Path,
        data: Path,
        log_file: Path,
        ports: EdgePorts,
        behind: Mapping[str, str],
        environ: Mapping[str, str],
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__("edge", log_file, process)
        self._code = code
        self._data = data
        self._ports = ports
        self._behind = behind
        self._environ = environ

    @property
    def internal_url(self) -> str:
        """Where the notifier ends links, and Prometheus reads metrics."""
        return f"http://127.0.0.1:{self._ports.internal}"

    def prepare(self) -> None:
        """Make the directory for cache and configuration."""
        self._data.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Return the server's command line and environment."""
        given = {
            name: value
            for name, value in self._environ.items()
            if (name in _GIVEN or name.startswith(_PREFIX))
            and value
            and not name.endswith(NOT_FOR_SERVICES)
        }
        maximum = self._environ.get("SIGN_API_MAX_UPLOAD_BYTES")
        return Command(
            ["sh", str(self._code / "start.sh"), str(self._code), str(self._data)],
            {
                "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
                "EDGE_LISTEN": f"127.0.0.1:{self._ports.public}",
                **({"MAX_UPLOAD_BYTES": maximum} if maximum else {}),
                **given,
                "EDGE_INTERNAL_LISTEN": f"127.0.0.1:{self._ports.internal}",
                **self._behind,
            },
        )

    def digest(self) -> str:
        """Return what the server is configured by, as a digest."""
        found = hashlib.sha256(repr(sorted(self.command().env.items())).encode())
        for file in sorted(self._code.rglob("*")):
            if file.is_file():
                found.update(file.read_bytes())
        return found.hexdigest()

    def is_ready(self) -> bool:
        """Return whether the server answers."""
        return answers_ok(f"{self.internal_url}/healthz")

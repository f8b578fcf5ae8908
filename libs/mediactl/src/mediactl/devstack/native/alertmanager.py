"""
One Alertmanager, which takes Prometheus's alerts and tells people.

Invariant: it listens at its port alone; the gossip between several of them is switched off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mediactl.devstack.native.prometheus import scrape_seconds
from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.program import Command, Program, answers_ok
from mediactl.devstack.settings import ALERTMANAGER_SETTINGS

RETENTION_TIME = "120h"


class AlertmanagerServer(Program):
    """
    The server; *config* is the directory with alertmanager.yml and start.sh.

    start.sh adds the receivers of the environment to the configuration, as it does in a
    container.
    """

    def __init__(
        self,
        *,
        binary: Path,
        config: Path,
        data: Path,
        log_file: Path,
        port: int,
        environ: Mapping[str, str],
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__("alertmanager", log_file, process)
        self.port = port
        self._binary = binary
        self._config = config
        self._data = data
        self._environ = environ

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def configuration_file(self) -> Path:
        """What the server is configured by, written anew at each start."""
        return self._data / "alertmanager.yml"

    def prepare(self) -> None:
        """Make the directory for silences and notifications."""
        self._data.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Return the server's command line and environment."""
        argv = ["sh", str(self._config / "start.sh"), str(self._config / "alertmanager.yml")]
        argv += [str(self.configuration_file), str(self._binary)]
        argv += [f"--storage.path={self._data / 'storage'}", f"--data.retention={RETENTION_TIME}"]
        argv += [f"--web.listen-address=127.0.0.1:{self.port}", f"--web.external-url={self.url}"]
        argv += ["--cluster.listen-address="]
        given = {
            name: self._environ[name] for name in ALERTMANAGER_SETTINGS if self._environ.get(name)
        }
        return Command(
            argv,
            {
                "PATH": os.environ.get("PATH", os.defpath),
                # Two rounds of rules: a page mutes the tickets that it explains before they go.
                "ALERTMANAGER_GROUP_WAIT": f"{2 * scrape_seconds(self._environ)}s",
                **given,
            },
        )

    def is_ready(self) -> bool:
        """Return whether the server takes alerts."""
        return answers_ok(f"{self.url}/-/ready")

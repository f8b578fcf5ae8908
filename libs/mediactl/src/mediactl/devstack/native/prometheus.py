"""
One Prometheus server, which scrapes every part of the stack.

Invariant: it reads whom to scrape from files that it watches, so a part that comes back at
another port is found without a restart.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.program import Command, Program, answers_ok
from mediactl.devstack.services import SERVICES, split_replica
from mediactl.errors import MediactlError

JOBS = (*SERVICES, "edge", "minio", "prometheus", "alertmanager")
RETENTION_TIME, RETENTION_SIZE = "15d", "1GB"
DEFAULT_SCRAPE_SECONDS = 15
_SCRAPE_VARIABLE = "PROMETHEUS_SCRAPE_SECONDS"
_ALERT_VARIABLE = "PROMETHEUS_ALERT_SECONDS"
_RUNBOOKS_VARIABLE = "RUNBOOK_BASE_URL"
_MINUTES = re.compile(r"^( +for: )\d+[sm]$", re.MULTILINE)
_USER_ASSETS = "/user"
# What faces clients tells of itself elsewhere.
_PORTS = {"edge": "edge_internal"}
_PATHS = {"minio": "/minio/v2/metrics/cluster"}
_TOKENS = {"minio": "minio.token"}
"""Files, beside the configuration, with what a job shows to be let in."""


class PrometheusServer(Program):
    """
    The server; *rules* is the directory whose ``*.yml`` hold its alert and recording rules.

    It serves the files of *runbooks*, where its alerts lead unless RUNBOOK_BASE_URL names another
    place. Scrape interval and rules are read when it starts. With PROMETHEUS_ALERT_SECONDS in
    *environ*, alerts that wait for seconds or minutes wait for so long instead.
    """

    def __init__(
        self,
        *,
        binary: Path,
        rules: Path,
        runbooks: Path,
        data: Path,
        log_file: Path,
        port: int,
        environ: Mapping[str, str],
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__("prometheus", log_file, process)
        self.port = port
        self._binary = binary
        self._rules = rules
        self._runbooks = runbooks
        self._data = data
        self._environ = environ

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def configuration_file(self) -> Path:
        """What the server is configured by, written anew at each start."""
        return self._data / "prometheus.yml"

    def prepare(self) -> None:
        """Write the configuration."""
        self._data.mkdir(parents=True, exist_ok=True)
        runbooks = self._environ.get(_RUNBOOKS_VARIABLE) or f"{self.url}{_USER_ASSETS}"
        document = configuration(self._own_rules(), scrape_seconds(self._environ), runbooks)
        self.configuration_file.write_text(json.dumps(document, indent=2) + "\n")

    def _own_rules(self) -> Path:
        seconds = self._environ.get(_ALERT_VARIABLE)
        if not seconds:
            return self._rules
        hasty = self._data / "rules"
        hasty.mkdir(exist_ok=True)
        for path in self._rules.glob("*.yml"):
            text = _MINUTES.sub(rf"\g<1>{seconds}s", path.read_text())
            (hasty / path.name).write_text(text)
        return hasty

    def command(self) -> Command:
        """Return the server's command line."""
        argv = [
            str(self._binary),
            f"--config.file={self.configuration_file}",
            f"--storage.tsdb.path={self._data / 'tsdb'}",
            f"--storage.tsdb.retention.time={RETENTION_TIME}",
            f"--storage.tsdb.retention.size={RETENTION_SIZE}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.external-url={self.url}",  # in alerts, for people to follow
            f"--web.user-assets={self._runbooks}",
        ]
        return Command(argv, {"PATH": os.environ.get("PATH", os.defpath)})

    def is_ready(self) -> bool:
        """Return whether the server answers queries."""
        return answers_ok(f"{self.url}/-/ready")


def configuration(rules: Path, seconds: int, runbooks: str) -> dict[str, Any]:
    """Return Prometheus's configuration; JSON is YAML, so it can be written as either."""
    return {
        "global": {
            "scrape_interval": f"{seconds}s",
            "evaluation_interval": f"{seconds}s",
            "external_labels": {"runbooks": runbooks.rstrip("/")},
        },
        "rule_files": [str(rules / "*.yml")],
        "alerting": {
            "alertmanagers": [_discovered("alertmanager")],
            # It is part of each alert's runbook_url by now.
            "alert_relabel_configs": [{"action": "labeldrop", "regex": "runbooks"}],
        },
        "scrape_configs": [
            {
                "job_name": job,
                "metrics_path": _PATHS.get(job, "/metrics"),
                **_shown(job),
                **_discovered(job),
            }
            for job in JOBS
        ],
    }


def write_targets(data: Path, ports: Mapping[str, int]) -> None:
    """Tell the server whose data lies in *data* the ports of its jobs; it notices by itself."""
    for job in JOBS:
        wanted = _PORTS.get(job, job)
        found = [port for name, port in ports.items() if split_replica(name)[0] == wanted]
        group = [{"targets": [f"127.0.0.1:{port}" for port in found]}] if found else []
        _replace(data / _targets_file(job), json.dumps(group) + "\n")


def scrape_seconds(environ: Mapping[str, str]) -> int:
    """Return how often to scrape and to evaluate rules; raises MediactlError."""
    text = environ.get(_SCRAPE_VARIABLE) or str(DEFAULT_SCRAPE_SECONDS)
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise MediactlError(
            f"{_SCRAPE_VARIABLE} must be a whole number of seconds, 1 or more, not {text!r}."
        )
    return int(text)


def _shown(job: str) -> dict[str, Any]:
    return {"authorization": {"credentials_file": _TOKENS[job]}} if job in _TOKENS else {}


def _discovered(job: str) -> dict[str, Any]:
    return {"file_sd_configs": [{"files": [_targets_file(job)]}]}


def _targets_file(job: str) -> str:
    return f"targets/{job}.json"  # relative to the configuration


def _replace(path: Path, text: str) -> None:
    # The server reads a file as soon as it changes, so a half-written one must never be seen.
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)

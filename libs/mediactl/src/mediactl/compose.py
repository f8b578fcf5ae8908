"""
A stack in containers: docker-compose.yml at the root, infrastructure included.

Invariant: compose gets its variables from mediactl alone; stray ones of the person's shell
do not reach it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mediactl.credentials import Credentials, stack_credentials
from mediactl.endpoints import local_endpoints
from mediactl.errors import MediactlError
from mediactl.home import Home
from mediactl.native.alertmanager import WEBHOOKS
from mediactl.ports import PORT_VARIABLES
from mediactl.progress import Progress, step
from mediactl.providers import COMPOSE
from mediactl.published import published_variables
from mediactl.services import SERVICES
from mediactl.state import State, remember_free_port, write_private
from mediactl.status import NOT_READY, READY, STOPPED, Row

COMPOSED = "composed"
"""The fact that there may be volumes to remove."""

_SERVERS = ("kafka", "postgres", "minio")
_MONITORS = ("prometheus", "alertmanager", "grafana")
# Those that clients reach serve their metrics on a port that is not published.
_MEASURED = ("ingest", "thumbnailer", "watcher")
_PUBLISHED = (*_SERVERS, *_MONITORS, *SERVICES)


class ComposeStack:
    """Everything in containers; the ports of ``_PUBLISHED`` are published on 127.0.0.1."""

    def __init__(self, home: Home, state: State, environ: Mapping[str, str]) -> None:
        self._home = home
        self._state = state
        self._environ = environ

    def up(self, progress: Progress) -> dict[str, str]:
        """Build and start the containers, wait until they are healthy."""
        running = self._state.provider == COMPOSE and bool(list(self._containers()))
        if not running:
            for name in _PUBLISHED:
                remember_free_port(name, self._state, self._environ)
        self._state.provider = COMPOSE
        self._state.remember_fact(COMPOSED, "yes")
        write_private(self._home.compose_env_file, _assignments(self._variables()))
        with step(progress, "compose", "building and starting containers"):
            self._run("up", "-d", "--build", "--wait")
        published = published_variables(
            local_endpoints(self._state),
            self._state.ports(),
            self._credentials(),
            monitors=_MONITORS,
            measured=_MEASURED,
        )
        return {**published, **self._grafana()}

    def down(self, progress: Progress) -> None:
        """Remove the containers; their volumes stay."""
        with step(progress, "compose", "stopping", done="stopped"):
            self._run("down")

    def wipe(self) -> None:
        """Remove containers, networks and volumes."""
        self._run("down", "--volumes", "--remove-orphans")

    def rows(self) -> list[Row]:
        """Return how each container is."""
        found = {container["Service"]: container for container in self._containers()}
        return [self._row(name, found.get(name)) for name in _PUBLISHED]

    def start(self, name: str) -> None:
        """Start one container and wait until it is healthy."""
        self._run("up", "-d", "--wait", "--no-deps", name)

    def stop(self, name: str) -> None:
        """Stop one container."""
        self._run("stop", name)

    def kill(self, name: str) -> None:
        """Kill one container."""
        self._run("kill", "--signal", "SIGKILL", name)

    def follow_command(self, names: list[str], *, lines: int, follow: bool) -> list[str] | None:
        """Return compose's own command for logs."""
        return self._argv("logs", "--tail", str(lines), *(["-f"] if follow else []), *names)

    def _row(self, name: str, container: Mapping[str, Any] | None) -> Row:
        port = self._state.port(name)
        if container is None or container.get("State") != "running":
            return Row(name, STOPPED, port)
        healthy = container.get("Health") in {"healthy", ""}
        return Row(name, READY if healthy else NOT_READY, port)

    def _containers(self) -> Iterator[dict[str, Any]]:
        # Compose prints a JSON array in some versions, and an object a line in others.
        for line in self._output("ps", "-a", "--format", "json").splitlines():
            if line.strip():
                document = json.loads(line)
                yield from document if isinstance(document, list) else [document]

    def _variables(self) -> dict[str, str]:
        endpoints, ports = local_endpoints(self._state), self._state.ports()
        return {
            **{PORT_VARIABLES[name]: str(ports[name]) for name in _PUBLISHED},
            "POSTGRES_PASSWORD": self._state.secret("postgres_password"),
            "S3_ACCESS_KEY": endpoints.s3_access_key,
            "S3_SECRET_KEY": endpoints.s3_secret_key,
            "S3_PUBLIC_ENDPOINT_URL": endpoints.s3_endpoint_url,
            "KAFKA_TOPIC_PREFIX": self._environ.get("KAFKA_TOPIC_PREFIX", ""),
            **self._credentials().password_variables(),
            **self._credentials().storage_variables(),
            **self._credentials().token_variables(),
            **self._credentials().event_variables(),
            **self._grafana(),
            **{name: self._environ.get(name, "") for name in WEBHOOKS},
        }

    def _grafana(self) -> dict[str, str]:
        return {"GRAFANA_PASSWORD": self._state.secret("grafana_password")}

    def _credentials(self) -> Credentials:
        return stack_credentials(self._state, self._environ)

    def _argv(self, *words: str) -> list[str]:
        digest = hashlib.sha256(str(self._home.path).encode()).hexdigest()[:8]
        files = ["--env-file", str(self._home.compose_env_file)]
        files += ["-f", str(self._home.root / "docker-compose.yml")]
        return ["docker", "compose", "-p", f"media-{digest}", *files, *words]

    def _environment(self) -> dict[str, str]:
        ours = self._variables()
        return {name: value for name, value in os.environ.items() if name not in ours}

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            self._argv(*words), env=self._environment(), stdout=sys.stderr, check=False
        )
        if done.returncode:
            raise MediactlError(
                f"'docker compose {words[0]}' failed: see above, and './mediactl logs'."
            )

    def _output(self, *words: str) -> str:
        done = subprocess.run(
            self._argv(*words),
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MediactlError(f"'docker compose {words[0]}' failed: {done.stderr.strip()}")
        return done.stdout


def _assignments(variables: Mapping[str, str]) -> str:
    # Compose expands $ outside of single quotes.
    return "".join(f"{name}='{value}'\n" for name, value in variables.items())

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mediactl.devstack import containers
from mediactl.devstack.containers import Usage
from mediactl.devstack.credentials import Credentials, stack_credentials
from mediactl.devstack.endpoints import local_endpoints
from mediactl.devstack.home import Home
from mediactl.devstack.ports import PORT_VARIABLES
from mediactl.devstack.providers import COMPOSE
from mediactl.devstack.published import published_variables
from mediactl.devstack.services import (
    SCALABLE,
    SERVICES,
    check_scalable,
    own_settings,
    replica_name,
    split_replica,
)
from mediactl.devstack.settings import (
    ALERTMANAGER_SETTINGS,
    given_settings,
    is_setting,
    keep_topic_prefix,
    topic_prefix,
)
from mediactl.devstack.state import State, remember_free_port, write_private
from mediactl.devstack.status import NOT_READY, READY, STOPPED, Row
from mediactl.errors import MediactlError, UsageError
from mediactl.progress import Progress, step

COMPOSED = "composed"
"""The fact that there may be volumes to remove."""

# What mediactl's own commands reach on this machine is published beside what clients do.
_FILES = ("docker-compose.yml", "deploy/ports.yml")
_LAST_LINES = 20
_SERVERS = ("kafka", "postgres", "minio")
_MONITORS = ("prometheus", "alertmanager", "grafana")
_PARTS = (*_SERVERS, *_MONITORS, *SERVICES, "edge")
# Each replica of the others has a port of Docker's choice.
_PUBLISHED = (*(name for name in _PARTS if name not in SCALABLE), "edge_internal")


class ComposeStack:
    """Everything in containers; their ports are published on 127.0.0.1."""

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
        keep_topic_prefix(self._state, self._environ)
        self._state.provider = COMPOSE
        self._state.remember_fact(COMPOSED, "yes")
        self._write_variables()
        with step(progress, "compose", "building and starting containers; at first for minutes"):
            self._up("--build", *self._scales(SCALABLE))
        return self.published()

    def published(self) -> dict[str, str]:
        """Return what to publish; what scales is where Docker put its first replica."""
        first = {name: found[0] for name, found in self._found().items() if name in SCALABLE}
        ports = {name: port for name, one in first.items() if (port := _port(one)) is not None}
        published = published_variables(
            local_endpoints(self._state),
            {**{name: self._state.ports()[name] for name in _PUBLISHED}, **ports},
            self._credentials(),
            monitors=_MONITORS,
            # Those that clients reach serve their metrics on a port that is not published.
            measured=SCALABLE,
            topic_prefix=topic_prefix(self._state),
            public_url=self._environ.get("MEDIA_PUBLIC_URL"),
        )
        return {**published, **self._grafana()}

    def down(self, progress: Progress) -> None:
        """Remove the containers and the files of their work; volumes with a name stay."""
        with step(progress, "compose", "stopping", done="stopped"):
            self._down()

    def wipe(self) -> None:
        """Remove containers, networks and volumes."""
        self._down("--volumes", "--remove-orphans")

    def rows(self) -> list[Row]:
        """Return how each container is."""
        found = self._found()
        every = [one for some in found.values() for one in some]
        used = containers.usage([one["ID"] for one in every if one["State"] == "running"])
        return [
            self._row(replica_name(name, number), container, used)
            for name in _PARTS
            for number, container in enumerate(self._expected(name, found.get(name, [])), start=1)
        ]

    def start(self, name: str) -> None:
        """Start one part, with all its replicas, and wait until it is healthy."""
        self._refuse_replica(name)
        self._write_variables()
        self._up("--no-deps", *self._scales([name]), name)

    def stop(self, name: str) -> None:
        """Stop one part, with all its replicas."""
        self._refuse_replica(name)
        self._run("stop", name)

    def kill(self, name: str) -> None:
        """Kill one part, with all its replicas."""
        self._refuse_replica(name)
        self._run("kill", "--signal", "SIGKILL", name)

    def scale(self, service: str, count: int, progress: Progress) -> None:
        """Have *count* replicas of a service; those that run go on. Raises UsageError."""
        check_scalable(service)
        self._state.remember_replicas(service, count)
        with step(progress, service, f"scaling to {count}"), self._without_leftovers():
            self.start(service)

    def follow_command(self, names: list[str], *, lines: int, follow: bool) -> list[str] | None:
        """Return compose's own command for logs."""
        for name in names:
            self._refuse_replica(name)
        return self._argv("logs", "--tail", str(lines), *(["-f"] if follow else []), *names)

    def _found(self) -> dict[str, list[dict[str, Any]]]:
        """Return the containers of each service, the first replica first."""
        found: dict[str, list[dict[str, Any]]] = {}
        for container in sorted(self._containers(), key=_number):
            found.setdefault(container["Service"], []).append(container)
        return found

    def _expected(
        self, name: str, found: Sequence[dict[str, Any]]
    ) -> Sequence[dict[str, Any] | None]:
        return [*found, *[None] * (self._state.replicas(name) - len(found))]

    def _scales(self, names: Iterable[str]) -> list[str]:
        counts = {name: self._state.replicas(name) for name in names if name in SCALABLE}
        return [word for name, count in counts.items() for word in ("--scale", f"{name}={count}")]

    def _refuse_replica(self, name: str) -> None:
        service, number = split_replica(name)
        if number > 1:
            raise UsageError(f"Compose treats all replicas alike: name {service}, not {name}.")

    def _row(
        self, name: str, container: Mapping[str, Any] | None, used: Mapping[str, Usage]
    ) -> Row:
        port = self._state.port(name) if name in _PUBLISHED else _port(container)
        if container is None or container.get("State") != "running":
            return Row(name, STOPPED, port)
        healthy = container.get("Health") in {"healthy", ""}
        usage = used.get(container["ID"])
        return Row(
            name,
            READY if healthy else NOT_READY,
            port,
            uptime_seconds=usage.uptime_seconds if usage else None,
            memory_bytes=usage.memory_bytes if usage else None,
        )

    def _containers(self) -> Iterator[dict[str, Any]]:
        # Compose prints a JSON array in some versions, and an object a line in others.
        for line in self._output("ps", "-a", "--format", "json").splitlines():
            if line.strip():
                document = json.loads(line)
                yield from document if isinstance(document, list) else [document]

    def _variables(self) -> dict[str, str]:
        endpoints, ports = local_endpoints(self._state), self._state.ports()
        return {
            **{PORT_VARIABLES[name]: str(ports[name]) for name in _PUBLISHED if name in ports},
            "POSTGRES_PASSWORD": self._state.secret("postgres_password"),
            "S3_ACCESS_KEY": endpoints.s3_access_key,
            "S3_SECRET_KEY": endpoints.s3_secret_key,
            "KAFKA_TOPIC_PREFIX": topic_prefix(self._state),
            "KAFKA_ADMIN_PASSWORD": endpoints.kafka_sasl_password,
            **dict.fromkeys(ALERTMANAGER_SETTINGS, ""),
            **{name: value for name, value in given_settings(self._environ).items() if value},
            **self._credentials().password_variables(),
            **self._credentials().storage_variables(),
            **self._credentials().kafka_variables(),
            **self._credentials().token_variables(),
            **self._credentials().event_variables(),
            **self._credentials().edge_variables(),
            "EDGE_SECRET": self._state.secret("edge_secret"),
            "SETTINGS_FILE": str(self._home.compose_env_file),
            **self._grafana(),
        }

    def _write_variables(self) -> None:
        file, given = self._home.compose_env_file, self._variables()
        write_private(file, _assignments(given))
        for service in SERVICES:
            own = _assignments(own_settings(service, given))
            write_private(file.with_name(f"{file.name}.{service}"), own)

    def _grafana(self) -> dict[str, str]:
        return {"GRAFANA_PASSWORD": self._state.secret("grafana_password")}

    def _credentials(self) -> Credentials:
        return stack_credentials(self._state, self._environ)

    def _argv(self, *words: str) -> list[str]:
        digest = hashlib.sha256(str(self._home.path).encode()).hexdigest()[:8]
        files = ["--env-file", str(self._home.compose_env_file)]
        files += [word for name in _FILES for word in ("-f", str(self._home.root / name))]
        return ["docker", "compose", "-p", f"media-{digest}", *files, *words]

    def _environment(self) -> dict[str, str]:
        ours = self._variables()
        return {
            name: value
            for name, value in os.environ.items()
            if name not in ours and not is_setting(name) and name not in PORT_VARIABLES.values()
        }

    def _up(self, *words: str) -> None:
        try:
            self._run("up", "-d", "--wait", *words)
        except MediactlError as error:
            raise MediactlError(f"{error}{self._failed_migration()}") from error

    def _failed_migration(self) -> str:
        """Return why the step before the services failed, if it is what failed."""
        ended = [one for one in self._found().get("migrate", []) if one.get("ExitCode")]
        if not ended:
            return ""
        lines = self._output("logs", "--no-log-prefix", "--tail", str(_LAST_LINES), "migrate")
        return f"\nThe last lines of migrate:\n{lines.rstrip()}"

    def _down(self, *words: str) -> None:
        self._write_variables()  # an older version may have written fewer
        with self._without_leftovers():
            self._run("down", *words)

    @contextmanager
    def _without_leftovers(self) -> Iterator[None]:
        """Remove the volumes without a name of containers that the block removes."""
        # Docker keeps them for ever, and after a kill they hold uploads.
        before = self._anonymous_volumes()
        yield
        containers.remove_volumes(sorted(before - self._anonymous_volumes()))

    def _anonymous_volumes(self) -> set[str]:
        return containers.anonymous_volumes([one["ID"] for one in self._containers()])

    def _run(self, *words: str) -> None:
        """Run compose: on a terminal as it is, else with what it says in a log alone."""
        argv, log = self._argv(*words), self._home.log_file("compose")
        if sys.stderr.isatty():
            done = subprocess.run(argv, env=self._environment(), stdout=sys.stderr, check=False)
            told = "see above"
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w") as file:
                done = subprocess.run(
                    argv, env=self._environment(), stdout=file, stderr=file, check=False
                )
            told = f"{_last_lines(log)}\nsee {log}" if done.returncode else ""
        if done.returncode:
            raise MediactlError(
                f"'docker compose {words[0]}' failed: {told}, and './mediactl logs'."
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
    quoted = {name: value.replace("'", "\\'") for name, value in variables.items()}
    return "".join(f"{name}='{value}'\n" for name, value in quoted.items())


def _last_lines(log: Path) -> str:
    return "\n".join(["", *log.read_text(errors="replace").splitlines()[-_LAST_LINES:]])


def _number(container: Mapping[str, Any]) -> int:
    tail = str(container.get("Name", "")).rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 1


def _port(container: Mapping[str, Any] | None) -> int | None:
    """Return the port that Docker chose for a container, where it runs."""
    published = (container or {}).get("Publishers") or []
    return next((one["PublishedPort"] for one in published if one.get("PublishedPort")), None)

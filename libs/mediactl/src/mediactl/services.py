"""
The five services: which variables each is given, and each as a program in the background.

Invariant: a service is given the address and login of what it talks to and of nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from mediactl.credentials import DATABASE_SERVICES, Credentials
from mediactl.endpoints import Endpoints
from mediactl.processes import ProcessRef
from mediactl.program import Command, Program, answers_ok

SERVICES = ("sign_api", "ingest", "thumbnailer", "notifier", "watcher")
_KAFKA = ("sign_api", "ingest", "thumbnailer", "notifier", "watcher")
_STORAGE = ("sign_api", "ingest", "thumbnailer", "watcher")
_MAKE_BUCKETS = ("watcher",)
_TOKENS = ("sign_api", "notifier")
_EVENT_IDS = ("notifier",)
_SCRATCH = ("ingest", "thumbnailer")

# What any program needs of the person's environment, and settings that all services share.
_INHERITED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("MEDIA_ENV", "LOG_LEVEL"),
    *("S3_PUBLIC_ENDPOINT_URL", "S3_BUCKET_PREFIX", "S3_NOTIFICATION_ARNS", "S3_QUARANTINE_DAYS"),
)
_INHERITED_PREFIX = "OTEL_"
# Named after a service, but meant for mediactl itself.
_NOT_FOR_SERVICES = ("_METRICS_PORT", "_METRICS_URL", "_DB_PASSWORD", "_S3_SECRET")


@dataclass(frozen=True)
class Surroundings:
    """What the services of one stack find around them."""

    endpoints: Endpoints
    credentials: Credentials
    topic_prefix: str
    scratch: Path
    environ: Mapping[str, str]


def service_environment(name: str, port: int, around: Surroundings) -> dict[str, str]:
    """
    Return the whole environment of the service *name*.

    A variable ``INGEST_X`` of the person's environment reaches ingest alone, as ``INGEST_X``
    and as ``X``, and wins over what mediactl would set; likewise for the other services.
    """
    return {
        **inherited(around.environ),
        "PYTHONUNBUFFERED": "1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "LOG_FORMAT": "json",
        "KAFKA_TOPIC_PREFIX": around.topic_prefix,
        "KAFKA_INSTANCE_ID": name,
        **_reached(name, around),
        **own_settings(name, around.environ),
    }


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of *environ* that every program of the stack is given."""
    return {
        name: value
        for name, value in environ.items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIX)
    }


def own_settings(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *environ* that are meant for one service."""
    prefix = f"{service.upper()}_"
    found = {
        name: value
        for name, value in environ.items()
        if name.startswith(prefix) and not name.endswith(_NOT_FOR_SERVICES)
    }
    return {**{name.removeprefix(prefix): value for name, value in found.items()}, **found}


def with_login(database_url: str, user: str, password: str) -> str:
    """Return *database_url* with another login."""
    parts = urlsplit(database_url)
    address = parts.netloc.rpartition("@")[2]
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{address}"))


def _reached(name: str, around: Surroundings) -> dict[str, str]:
    endpoints, credentials = around.endpoints, around.credentials
    variables = {}
    if name in DATABASE_SERVICES:
        password = credentials.database_passwords[name]
        url = with_login(endpoints.database_url, f"media_{name}", password)
        variables["DATABASE_URL"] = url
    if name in _KAFKA:
        variables["KAFKA_BOOTSTRAP_SERVERS"] = endpoints.kafka_bootstrap_servers
    if name in _STORAGE:
        variables["S3_REGION"] = around.environ.get("S3_REGION") or "us-east-1"
        variables["S3_ENDPOINT_URL"] = endpoints.s3_endpoint_url
        variables |= _storage_login("S3_", name, around)
    if name in _MAKE_BUCKETS:
        variables |= _storage_login("S3_PROVISIONER_", "provisioner", around)
    if name in _TOKENS:
        variables |= credentials.token_variables()
    if name in _EVENT_IDS:
        variables |= credentials.event_variables()
    if name in _SCRATCH:
        variables["SCRATCH_DIR"] = str(around.scratch / name)
    return variables


def _storage_login(prefix: str, user: str, around: Surroundings) -> dict[str, str]:
    buckets = around.environ.get("S3_BUCKET_PREFIX") or "media-"
    return {
        f"{prefix}ACCESS_KEY": f"{buckets}{user}",  # as media_runtime.storage_users names it
        f"{prefix}SECRET_KEY": around.credentials.storage_secrets[user],
    }


class ServiceProgram(Program):
    """One of the five services, started as ``python -m <name>``."""

    # More than the services' own grace for open requests.
    stop_seconds = 30

    def __init__(
        self,
        name: str,
        *,
        port: int,
        around: Surroundings,
        log_file: Path,
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__(name, log_file, process)
        self.port = port
        self._around = around

    @property
    def url(self) -> str:
        """Where the service is reached."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Make the service's scratch directory."""
        if self.name in _SCRATCH:
            (self._around.scratch / self.name).mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Return the service's command line and environment."""
        argv = [sys.executable, "-P", "-m", self.name]
        return Command(argv, service_environment(self.name, self.port, self._around))

    def is_ready(self) -> bool:
        """Return whether the service says that it is ready."""
        return answers_ok(f"{self.url}/readyz")

"""
The services: which variables each is given, and each as a program in the background.

Invariant: a service is given the address and login of what it talks to and of nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from media_runtime import catalog
from mediactl.devstack.credentials import Credentials
from mediactl.devstack.endpoints import Endpoints
from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.program import Command, Program, answers_ok
from mediactl.errors import UsageError

SERVICES = tuple(catalog.SERVICES)
SCALABLE = tuple(name for name, one in catalog.SERVICES.items() if not one.public)
"""Those that nobody calls: more of them need no balancer in front."""

_REPLICA = re.compile(r"([a-z_]+)-([0-9]+)")
_MAKE_USERS = "KAFKA_MAKE_USERS"

# What any program needs of the person's environment.
_INHERITED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
SHARED = (
    *("MEDIA_ENV", "LOG_LEVEL", "S3_REGION"),
    *("S3_BUCKET_PREFIX", "S3_NOTIFICATION_ARNS", "S3_QUARANTINE_DAYS", "CORS_ALLOW_ORIGINS"),
)
SHARED_PREFIX = "OTEL_"
"""Settings that all services share."""

# Named after a service, but meant for mediactl itself.
NOT_FOR_SERVICES = (
    *("_METRICS_PORT", "_METRICS_URL"),
    *("_DB_PASSWORD", "_S3_SECRET", "_KAFKA_PASSWORD"),
    *("EDGE_KEYS", "EDGE_URLS"),
)


@dataclass(frozen=True)
class StackContext:
    """What the services of one stack find around them."""

    endpoints: Endpoints
    credentials: Credentials
    topic_prefix: str
    scratch: Path
    public_url: str
    edge_urls: str
    environ: Mapping[str, str]
    metrics_token: Path | None = None
    """Where Prometheus looks for what it shows the object store, if there is one of ours."""


def replica_name(service: str, number: int) -> str:
    """Return the name of a replica, such as ``ingest-2``; the first has the service's own."""
    return service if number == 1 else f"{service}-{number}"


def split_replica(name: str) -> tuple[str, int]:
    """Return the program and the number that the name of a replica stands for."""
    found = _REPLICA.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 1)


def check_scalable(service: str) -> None:
    """Raise UsageError for a part that there is only one of."""
    if service in SCALABLE:
        return
    if service in SERVICES:
        raise UsageError(
            f"Clients reach {service} at one address, so more of it need a load balancer in "
            f"front, which is yours: services/{service}/README.md tells how to start it alone."
        )
    raise UsageError(f"There is no {service!r} to scale: choose from {', '.join(SCALABLE)}.")


def service_environment(name: str, port: int, around: StackContext) -> dict[str, str]:
    """
    Return the whole environment of the service, or of the replica, *name*.

    A variable ``INGEST_X`` of the person's environment reaches ingest alone, as ``INGEST_X``
    and as ``X``, and wins over what mediactl would set; likewise for the other services. What
    replicas may not share is set apart by their numbers.
    """
    service, number = split_replica(name)
    environment = {
        **inherited(around.environ),
        "PYTHONUNBUFFERED": "1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "LOG_FORMAT": "json",
        "KAFKA_TOPIC_PREFIX": around.topic_prefix,
        "KAFKA_INSTANCE_ID": service,
        **_reached(service, around),
    }
    prefix = f"{service.upper()}_"
    for key, value in own_settings(service, around.environ).items():
        environment |= {key: value, key.removeprefix(prefix): value}
    if number > 1:
        for key in ("KAFKA_INSTANCE_ID", "SCRATCH_DIR"):
            if environment.get(key):
                environment[key] = replica_name(environment[key], number)
        environment["HTTP_PORT"] = str(port)
        for key in ("KAFKA_INSTANCE_ID", "SCRATCH_DIR", "HTTP_PORT"):
            environment.pop(prefix + key, None)
    return environment


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of *environ* that every program of the stack is given."""
    return {
        name: value
        for name, value in environ.items()
        if name in _INHERITED or name in SHARED or name.startswith(SHARED_PREFIX)
    }


def own_settings(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *environ* that are meant for one service."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(f"{service.upper()}_") and not name.endswith(NOT_FOR_SERVICES)
    }


def with_login(database_url: str, user: str, password: str) -> str:
    """Return *database_url* with another login."""
    parts = urlsplit(database_url)
    address = parts.netloc.rpartition("@")[2]
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{address}"))


def _reached(name: str, around: StackContext) -> dict[str, str]:
    endpoints, credentials = around.endpoints, around.credentials
    service = catalog.SERVICES[name]
    variables = {}
    if service.database:
        password = credentials.database_passwords[name]
        url = with_login(endpoints.database_url, f"media_{name}", password)
        variables["DATABASE_URL"] = url
    if "kafka" in service.needs:
        variables["KAFKA_BOOTSTRAP_SERVERS"] = endpoints.kafka_bootstrap_servers
        variables |= kafka_login(name, around)
    if service.storage:
        variables["S3_REGION"] = around.environ.get("S3_REGION") or "us-east-1"
        variables["S3_ENDPOINT_URL"] = endpoints.s3_endpoint_url
        variables |= _storage_login("S3_", name, around)
    if "provisioner" in service.needs:
        variables |= _storage_login("S3_PROVISIONER_", catalog.PROVISIONER, around)
    if service.public:
        variables |= credentials.token_variables()
    if "event_ids" in service.needs:
        variables |= credentials.event_variables()
    if "links" in service.needs:
        variables |= credentials.edge_variables()
        variables["MEDIA_PUBLIC_URL"] = around.public_url
    if "edges" in service.needs:
        variables["EDGE_URLS"] = around.edge_urls
    if "media" in service.needs:
        variables["SCRATCH_DIR"] = str(around.scratch / name)
    return variables


def makes_kafka_users(around: StackContext) -> bool:
    """Return whether the broker's users are ours to make, and not their provider's."""
    return around.endpoints.kafka_has_logins and around.environ.get(_MAKE_USERS) != "no"


def kafka_login(user: str, around: StackContext) -> dict[str, str]:
    """Return the variables with which one of the broker's users logs in, where any does."""
    protocol = around.endpoints.kafka_security_protocol
    reached = {"KAFKA_SECURITY_PROTOCOL": protocol} if protocol else {}
    if not makes_kafka_users(around):
        return reached
    return {
        **reached,
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        # As media_runtime.kafka.users names it.
        "KAFKA_SASL_USERNAME": f"{around.topic_prefix}{user}",
        "KAFKA_SASL_PASSWORD": around.credentials.kafka_passwords[user],
    }


def _storage_login(prefix: str, user: str, around: StackContext) -> dict[str, str]:
    buckets = around.environ.get("S3_BUCKET_PREFIX") or "media-"
    return {
        f"{prefix}ACCESS_KEY": f"{buckets}{user}",  # as media_runtime.storage.users names it
        f"{prefix}SECRET_KEY": around.credentials.storage_secrets[user],
    }


class ServiceProgram(Program):
    """A service, or a further replica, started as ``python -m <service>``."""

    # More than the services' own grace for open requests.
    stop_seconds = 30

    def __init__(
        self,
        name: str,
        *,
        port: int,
        around: StackContext,
        log_file: Path,
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__(name, log_file, process)
        self.port = port
        self.service = split_replica(name)[0]
        self._around = around

    @property
    def url(self) -> str:
        """Where the service is reached."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Make the service's scratch directory."""
        if "SCRATCH_DIR" in self.command().env:
            Path(self.command().env["SCRATCH_DIR"]).mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Return the service's command line and environment."""
        argv = [sys.executable, "-P", "-m", self.service]
        return Command(argv, service_environment(self.name, self.port, self._around))

    def is_ready(self) -> bool:
        """Return whether the service says that it is ready."""
        return answers_ok(f"{self.url}/readyz")

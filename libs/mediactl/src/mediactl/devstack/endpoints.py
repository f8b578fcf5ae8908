"""Where the infrastructure of a stack is reached, whoever provides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mediactl.devstack.state import State
from mediactl.errors import UsageError

ADMIN = "postgres"
DATABASE = "media"

_VARIABLES = (
    "KAFKA_BOOTSTRAP_SERVERS",
    "DATABASE_URL",
    "S3_ENDPOINT_URL",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
)
KAFKA_LOGIN = (
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
)
"""How Kafka's administrator logs in; a broker that lets everyone in needs none of them."""

KAFKA_ADMIN = "admin"


@dataclass(frozen=True)
class Endpoints:
    """The three servers, each with its administrator's login."""

    kafka_bootstrap_servers: str
    database_url: str
    s3_endpoint_url: str
    s3_access_key: str
    s3_secret_key: str
    kafka_security_protocol: str = ""
    kafka_sasl_mechanism: str = ""
    kafka_sasl_username: str = ""
    kafka_sasl_password: str = ""

    def variables(self) -> dict[str, str]:
        """Return the endpoints as environment variables."""
        given = {name: getattr(self, name.lower()) for name in (*_VARIABLES, *KAFKA_LOGIN)}
        return {name: value for name, value in given.items() if value}

    @property
    def kafka_has_logins(self) -> bool:
        """Whether clients of Kafka log in."""
        return self.kafka_security_protocol.startswith("SASL_")


def endpoints_from_environment(environ: Mapping[str, str]) -> Endpoints | None:
    """
    Return the endpoints that the environment gives, or None where it gives none of them.

    Raises UsageError where it gives only some: guessing the rest would mix two stacks.
    """
    given = {name: environ[name] for name in _VARIABLES if environ.get(name)}
    if not given:
        return None
    missing = [name for name in _VARIABLES if name not in given]
    if missing:
        raise UsageError(
            f"The environment sets {', '.join(given)} but not {', '.join(missing)}: set all of "
            "them to use servers of your own, or none to have mediactl start them."
        )
    given |= {name: environ[name] for name in KAFKA_LOGIN if environ.get(name)}
    return Endpoints(**{name.lower(): value for name, value in given.items()})


def local_endpoints(state: State) -> Endpoints:
    """Return the endpoints of servers that mediactl itself runs on this machine."""
    password = state.secret("postgres_password")
    address = f"127.0.0.1:{state.port('postgres')}"
    return Endpoints(
        kafka_bootstrap_servers=f"127.0.0.1:{state.port('kafka')}",
        database_url=f"postgresql://{ADMIN}:{password}@{address}/{DATABASE}",
        s3_endpoint_url=f"http://127.0.0.1:{state.port('minio')}",
        s3_access_key=state.secret("s3_access_key"),
        s3_secret_key=state.secret("s3_secret_key"),
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="SCRAM-SHA-256",
        kafka_sasl_username=KAFKA_ADMIN,
        kafka_sasl_password=state.secret("kafka_admin_password"),
    )

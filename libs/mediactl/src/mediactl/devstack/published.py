"""
What a stack tells others about itself: the file ``env``, and the table of endpoints.

Invariant: ``env`` is plain shell assignments, quoted, and readable by its owner alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping

from media_runtime.catalog import SUBSCRIBER
from mediactl.devstack.credentials import Credentials
from mediactl.devstack.endpoints import Endpoints
from mediactl.devstack.home import Home
from mediactl.devstack.services import SERVICES
from mediactl.errors import MediactlError
from rich.table import Table

_SHOWN = {
    "MEDIA_URL": "for clients: API, events, uploads, files",
    "MEDIA_API_URL": "inside: sign API (OpenAPI at /openapi.json)",
    "MEDIA_EVENTS_URL": "inside: notifier (OpenAPI at /openapi.json)",
    "S3_ENDPOINT_URL": "inside: object store",
    "KAFKA_BOOTSTRAP_SERVERS": "Kafka",
    "PROMETHEUS_URL": "Prometheus",
    "ALERTMANAGER_URL": "Alertmanager",
    "GRAFANA_URL": "Grafana (admin, GRAFANA_PASSWORD)",
}


def published_variables(
    endpoints: Endpoints,
    ports: Mapping[str, int],
    credentials: Credentials,
    *,
    monitors: Collection[str] = (),
    measured: Collection[str] = SERVICES,
    topic_prefix: str = "",
    public_url: str | None = None,
) -> dict[str, str]:
    """
    Return the variables that ``up`` publishes of a stack in which *monitors* run.

    *measured* are the services whose metrics can be read from outside; of several replicas the
    first is named.
    """
    return {
        "MEDIA_URL": public_url or f"http://127.0.0.1:{ports['edge']}",
        "MEDIA_API_URL": f"http://127.0.0.1:{ports['sign_api']}",
        "MEDIA_EVENTS_URL": f"http://127.0.0.1:{ports['notifier']}",
        **endpoints.variables(),
        **{
            f"{name.upper()}_METRICS_URL": f"http://127.0.0.1:{ports[name]}/metrics"
            for name in measured
            if name in ports
        },
        "EDGE_METRICS_URL": f"http://127.0.0.1:{ports['edge_internal']}/metrics",
        **({"KAFKA_TOPIC_PREFIX": topic_prefix} if topic_prefix else {}),
        **{f"{name.upper()}_URL": f"http://127.0.0.1:{ports[name]}" for name in monitors},
        **(subscriber_login(credentials, topic_prefix) if endpoints.kafka_has_logins else {}),
        **credentials.token_variables(),
    }


def subscriber_login(credentials: Credentials, topic_prefix: str) -> dict[str, str]:
    """Return the login with which other teams read outcomes from Kafka."""
    return {
        "KAFKA_SUBSCRIBER_USERNAME": f"{topic_prefix}{SUBSCRIBER}",
        "KAFKA_SUBSCRIBER_PASSWORD": credentials.kafka_passwords[SUBSCRIBER],
    }


def shell_assignments(variables: Mapping[str, str]) -> str:
    """Return the variables as lines that a shell can source."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


def endpoint_table(variables: Mapping[str, str]) -> Table:
    """Return the endpoints for a person; secrets stay in the file."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("endpoint", "variable", "value"):
        table.add_column(column, no_wrap=True)
    for name, text in _SHOWN.items():
        if name in variables:
            table.add_row(text, name, variables[name])
    for service in SERVICES:
        name = f"{service.upper()}_METRICS_URL"
        if name in variables:
            table.add_row(f"metrics of {service}", name, variables[name])
    return table


def read_variables(home: Home) -> dict[str, str]:
    """Return the variables that ``up`` published; raises MediactlError before the first up."""
    try:
        return parse_assignments(home.env_file.read_text())
    except FileNotFoundError as error:
        raise MediactlError("There is no stack yet: run './mediactl up' first.") from error


def read_dotenv(home: Home) -> dict[str, str]:
    """Return the variables of a stack that ``docker compose`` runs by hand; none without .env."""
    try:
        return parse_assignments((home.root / ".env").read_text())
    except FileNotFoundError:
        return {}


def parse_assignments(text: str) -> dict[str, str]:
    """Return the variables that lines such as ``NAME='value'`` assign."""
    words = (shlex.split(line, comments=True) for line in text.splitlines())
    pairs = (first[0].partition("=") for first in words if first)
    return {name: value for name, _, value in pairs}

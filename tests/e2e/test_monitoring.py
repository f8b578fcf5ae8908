"""What Prometheus sees of the stack that it is part of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from mediactl.devstack.ports import free_port
from mediactl.devstack.services import SERVICES

from support.eventually import eventually
from support.http_clients import get
from support.surroundings import Parts, variable

PARTS = {*SERVICES, "edge", "minio", "prometheus", "alertmanager"}


def prometheus(path: str, **parameters: str) -> Any:
    """Return what Prometheus's API answers."""
    url = f"{variable('PROMETHEUS_URL')}/api/v1/{path}"
    answer = get(url, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def up() -> dict[str, str]:
    """Return by job whether its last scrape succeeded."""
    found = prometheus("query", query="up")["result"]
    return {one["metric"]["job"]: one["value"][1] for one in found}


def port_of(job: str) -> int | None:
    """Return where Prometheus scrapes *job*."""
    active = prometheus("targets", state="active")["activeTargets"]
    (found,) = [one for one in active if one["labels"]["job"] == job]
    return urlsplit(found["scrapeUrl"]).port


@contextmanager
def moved(name: str, port: int) -> Iterator[None]:
    """Have a service at another port for the block."""
    variable_name = f"{name.upper()}_METRICS_PORT"
    before = Parts().port(name)
    Parts().stop(name)
    try:
        Parts({variable_name: str(port)}).start(name)
        yield
    finally:
        Parts().stop(name)
        Parts({variable_name: str(before)}).start(name)


async def test_every_part_is_scraped():
    await eventually(lambda: up() == dict.fromkeys(PARTS, "1"), timeout=30)


async def test_alerts_go_to_the_alertmanager_of_the_stack():
    url = f"{variable('ALERTMANAGER_URL')}/api/v2/alerts"

    await eventually(
        lambda: prometheus("alertmanagers")["activeAlertmanagers"] == [{"url": url}], timeout=30
    )


async def test_a_service_that_is_down_is_seen_and_seen_again(parts: Parts):
    with parts.down("watcher"):
        await eventually(lambda: up()["watcher"] == "0", timeout=30)

    await eventually(lambda: up()["watcher"] == "1", timeout=30)


async def test_a_service_at_another_port_is_found_without_a_restart(parts: Parts):
    before, pid, port = parts.port("watcher"), parts.pid("prometheus"), free_port()

    with moved("watcher", port):
        await eventually(lambda: port_of("watcher") == port, timeout=30)
        await eventually(lambda: up()["watcher"] == "1", timeout=30)

    await eventually(lambda: port_of("watcher") == before, timeout=30)
    assert parts.pid("prometheus") == pid

"""Prometheus and Alertmanager by themselves: from a rule that fires to the person it is told to."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from mediactl.home import checkout_root
from mediactl.native import AlertmanagerServer, PrometheusServer
from mediactl.native.prometheus import write_targets
from mediactl.native.tools import find_alertmanager, find_prometheus
from mediactl.ports import free_port

from support.eventually import eventually

# Prometheus finds its first targets, and whom to tell, 5 s after its start. An alert that fires
# before is told a minute later.
RULES = """\
groups:
  - name: planted
    rules:
      - {alert: Planted, expr: up == 1, for: 2s, labels: {severity: page, service: ingest}}
"""


@contextmanager
def inbox() -> Iterator[tuple[str, list[str]]]:
    """Take notifications; gives the address, and the names of the alerts that came."""
    names: list[str] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            names.extend(alert["labels"]["alertname"] for alert in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", names
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def alertmanager(tmp_path: Path, **environ: str) -> Iterator[AlertmanagerServer]:
    binary = find_alertmanager()
    assert binary is not None
    server = AlertmanagerServer(
        binary=binary,
        config=checkout_root(os.environ) / "deploy" / "alertmanager",
        data=tmp_path / "alertmanager",
        log_file=tmp_path / "alertmanager.log",
        port=free_port(),
        environ={"PROMETHEUS_SCRAPE_SECONDS": "1", **environ},
    )
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@contextmanager
def prometheus(tmp_path: Path, ports: dict[str, int]) -> Iterator[PrometheusServer]:
    binary = find_prometheus()
    assert binary is not None
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "planted.yml").write_text(RULES)
    write_targets(tmp_path / "prometheus", ports)
    server = PrometheusServer(
        binary=binary,
        rules=rules,
        runbooks=tmp_path,
        data=tmp_path / "prometheus",
        log_file=tmp_path / "prometheus.log",
        port=free_port(),
        environ={"PROMETHEUS_SCRAPE_SECONDS": "1"},
    )
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def fire(server: AlertmanagerServer, *alerts: dict[str, str]) -> None:
    document = [{"labels": labels} for labels in alerts]
    answer = httpx.post(f"{server.url}/api/v2/alerts", json=document, trust_env=False)
    assert answer.status_code == 200, answer.text


def alerts_at(server: AlertmanagerServer) -> dict[str, Any]:
    found = httpx.get(f"{server.url}/api/v2/alerts", trust_env=False).json()
    return {alert["labels"]["alertname"]: alert for alert in found}


async def test_a_rule_that_fires_is_told_to_the_webhook(tmp_path):
    with (
        inbox() as (url, names),
        alertmanager(tmp_path, ALERTMANAGER_WEBHOOK_URL=url) as server,
        prometheus(tmp_path, {"alertmanager": server.port}) as watching,
    ):
        await eventually(lambda: names == ["Planted"], timeout=20)

        assert alerts_at(server)["Planted"]["generatorURL"].startswith(f"{watching.url}/graph")


async def test_pages_go_where_pages_go_and_mute_tickets_of_their_service(tmp_path):
    with (
        inbox() as (webhook, told),
        inbox() as (pager, paged),
        alertmanager(
            tmp_path, ALERTMANAGER_WEBHOOK_URL=webhook, ALERTMANAGER_PAGE_URL=pager
        ) as server,
    ):
        fire(
            server,
            {"alertname": "Down", "severity": "page", "service": "ingest"},
            {"alertname": "Slow", "severity": "ticket", "service": "ingest"},
            {"alertname": "Full", "severity": "ticket", "service": "minio"},
            {"alertname": "Odd", "severity": "ticket"},
        )

        await eventually(lambda: paged == ["Down"] and sorted(told) == ["Full", "Odd"])

        muted = {name for name, one in alerts_at(server).items() if one["status"]["inhibitedBy"]}
        assert muted == {"Slow"}


async def test_a_page_about_no_service_mutes_nothing(tmp_path):
    with inbox() as (url, names), alertmanager(tmp_path, ALERTMANAGER_WEBHOOK_URL=url) as server:
        fire(server, {"alertname": "Down", "severity": "page"})
        fire(server, {"alertname": "Odd", "severity": "ticket"})

        await eventually(lambda: sorted(names) == ["Down", "Odd"])


def test_without_a_webhook_alerts_are_kept_for_who_looks(tmp_path):
    with alertmanager(tmp_path) as server:
        fire(server, {"alertname": "Down", "severity": "page"})

        (alert,) = alerts_at(server).values()
        assert [receiver["name"] for receiver in alert["receivers"]] == ["page"]
        assert "webhook_configs" not in server.configuration_file.read_text()


def test_silences_survive_a_restart(tmp_path):
    silence = {
        "matchers": [{"name": "alertname", "value": "Down", "isRegex": False, "isEqual": True}],
        "startsAt": "2020-01-01T00:00:00Z",
        "endsAt": "2100-01-01T00:00:00Z",
        "createdBy": "test",
        "comment": "test",
    }
    with alertmanager(tmp_path) as server:
        made = httpx.post(f"{server.url}/api/v2/silences", json=silence, trust_env=False)
        server.stop()
        server.start()
        server.wait_ready()

        kept = httpx.get(f"{server.url}/api/v2/silences", trust_env=False).json()

    assert [one["id"] for one in kept] == [made.json()["silenceID"]]

"""Prometheus and Alertmanager by themselves: from a rule that fires to the person it is told to."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import yaml
from mediactl.devstack.home import checkout_root
from mediactl.devstack.native import AlertmanagerServer, PrometheusServer
from mediactl.devstack.native.prometheus import write_targets
from mediactl.devstack.native.tools import find_alertmanager, find_prometheus
from mediactl.devstack.ports import free_port

from support.eventually import eventually
from support.http_clients import get, post

# Prometheus finds its first targets, and whom to tell, 5 s after its start. An alert that fires
# before is told a minute later.
RULES = """\
groups:
  - name: planted
    rules:
      - {alert: Planted, expr: up == 1, for: 2s, labels: {severity: page, service: ingest}}
"""
OURS = checkout_root(os.environ) / "deploy" / "prometheus" / "rules" / "alerts.yml"


@contextmanager
def serving(server: ThreadingTCPServer) -> Iterator[int]:
    """Serve for the block; gives the port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str | None, Any]]]]:
    """Take POSTs; gives the address, and of each its authorization and its document."""
    taken: list[tuple[str | None, Any]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Taking)) as port:
        yield f"http://127.0.0.1:{port}/", taken


@contextmanager
def inbox() -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Take notifications; gives the address, and what returns the alerts that came by name."""
    with receiver() as (url, taken):
        yield (
            url,
            lambda: [alert["labels"]["alertname"] for _, body in taken for alert in body["alerts"]],
        )


class _Mail(StreamRequestHandler):
    """As much of SMTP as one client needs who sends a mail."""

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                self.server.mails.append(  # type: ignore[attr-defined]
                    b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                )
            self.wfile.write(b"250 ok\r\n")
            if line.upper().startswith(b"QUIT"):
                return


@contextmanager
def mail_host() -> Iterator[tuple[str, list[str]]]:
    """Take mail; gives host and port, and the mails that came."""
    server = ThreadingTCPServer(("127.0.0.1", 0), _Mail)
    server.mails = []  # type: ignore[attr-defined]
    with serving(server) as port:
        yield f"127.0.0.1:{port}", server.mails  # type: ignore[attr-defined]


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
def prometheus(
    tmp_path: Path, ports: dict[str, int], rules_text: str = RULES
) -> Iterator[PrometheusServer]:
    binary = find_prometheus()
    assert binary is not None
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "planted.yml").write_text(rules_text)
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


def fire(server: AlertmanagerServer, *alerts: dict[str, str], **fields: object) -> None:
    document = [{"labels": labels, **fields} for labels in alerts]
    answer = post(f"{server.url}/api/v2/alerts", json=document)
    assert answer.status_code == 200, answer.text


def alerts_at(server: AlertmanagerServer) -> dict[str, Any]:
    found = get(f"{server.url}/api/v2/alerts").json()
    return {alert["labels"]["alertname"]: alert for alert in found}


async def test_a_rule_that_fires_is_told_to_the_webhook(tmp_path):
    with (
        inbox() as (url, names),
        alertmanager(tmp_path, ALERTMANAGER_WEBHOOK_URL=url) as server,
        prometheus(tmp_path, {"alertmanager": server.port}) as watching,
    ):
        await eventually(lambda: names() == ["Planted"], timeout=20)

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

        await eventually(lambda: paged() == ["Down"] and sorted(told()) == ["Full", "Odd"])

        muted = {name for name, one in alerts_at(server).items() if one["status"]["inhibitedBy"]}
        assert muted == {"Slow"}


async def test_a_page_that_lasts_is_escalated_to_who_hears_of_no_other(tmp_path):
    (escalation,) = [
        group
        for group in yaml.safe_load(OURS.read_text())["groups"]
        if group["name"] == "media_escalation_alerts"
    ]
    (rule,) = escalation["rules"]
    assert rule["for"] == "1h"
    rule["for"] = "3s"
    planted = yaml.safe_load(RULES)["groups"]
    rules = yaml.safe_dump({"groups": [*planted, escalation]})
    with (
        inbox() as (pager, paged),
        receiver() as (manager, escalated),
        alertmanager(
            tmp_path, ALERTMANAGER_PAGE_URL=pager, ALERTMANAGER_ESCALATION_URL=manager
        ) as server,
        prometheus(tmp_path, {"alertmanager": server.port}, rules),
    ):
        await eventually(lambda: paged() and escalated, timeout=30)

        ((_, body), *_) = escalated
        (alert,) = body["alerts"]
        assert (alert["labels"]["alertname"], alert["labels"]["page"]) == (
            "MediaPageLasts", "Planted",
        )  # fmt: skip
        assert alert["labels"]["service"] == "ingest"
        assert set(paged()) == {"Planted"}


async def test_slack_and_mail_are_told_like_webhooks_and_of_the_end_too(tmp_path):
    with (
        receiver() as (slack, posted),
        mail_host() as (host, mails),
        alertmanager(
            tmp_path,
            ALERTMANAGER_SLACK_URL=slack,
            ALERTMANAGER_PAGE_MAIL_TO="ops@media.example",
            ALERTMANAGER_SMTP_HOST=host,
            ALERTMANAGER_SMTP_FROM="alerts@media.example",
            ALERTMANAGER_SMTP_TLS="false",
            ALERTMANAGER_GROUP_INTERVAL="1s",
        ) as server,
    ):
        summary = {"summary": "11 uploads wait.", "runbook_url": "http://runbooks/backlog.md"}
        labels = {"alertname": "Down", "severity": "page"}
        fire(server, labels, annotations=summary)

        await eventually(lambda: posted and mails, timeout=20)

        (told,) = posted[0][1]["attachments"]
        assert told["title"] == "[firing] Down"
        assert "11 uploads wait. http://runbooks/backlog.md" in told["text"]
        assert "To: ops@media.example" in mails[0]

        fire(server, labels, annotations=summary, endsAt="2020-01-01T00:00:00Z")
        await eventually(lambda: len(posted) > 1 and len(mails) > 1, timeout=20)
        assert posted[1][1]["attachments"][0]["title"] == "[resolved] Down"


async def test_a_webhook_knows_by_its_token_who_calls(tmp_path):
    with (
        receiver() as (url, taken),
        alertmanager(
            tmp_path, ALERTMANAGER_WEBHOOK_URL=url, ALERTMANAGER_WEBHOOK_TOKEN="it's secret"
        ) as server,
    ):
        fire(server, {"alertname": "Odd", "severity": "ticket"})

        await eventually(lambda: taken, timeout=20)

        assert taken[0][0] == "Bearer it's secret"
        assert server.configuration_file.stat().st_mode & 0o077 == 0


async def test_a_page_about_no_service_mutes_nothing(tmp_path):
    with inbox() as (url, names), alertmanager(tmp_path, ALERTMANAGER_WEBHOOK_URL=url) as server:
        fire(server, {"alertname": "Down", "severity": "page"})
        fire(server, {"alertname": "Odd", "severity": "ticket"})

        await eventually(lambda: sorted(names()) == ["Down", "Odd"])


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
        made = post(f"{server.url}/api/v2/silences", json=silence)
        server.stop()
        server.start()
        server.wait_ready()

        kept = get(f"{server.url}/api/v2/silences").json()

    assert [one["id"] for one in kept] == [made.json()["silenceID"]]

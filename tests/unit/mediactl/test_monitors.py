import json
import re
from pathlib import Path

import pytest
from mediactl.devstack.native import AlertmanagerServer, PrometheusServer
from mediactl.devstack.native.prometheus import JOBS, scrape_seconds, write_targets
from mediactl.devstack.services import SERVICES
from mediactl.errors import MediactlError


def prometheus(tmp_path, **environ):
    return PrometheusServer(
        binary=Path("prometheus"),
        rules=Path("/checkout/deploy/prometheus/rules"),
        runbooks=Path("/checkout/deploy/runbooks"),
        data=tmp_path / "prometheus",
        log_file=tmp_path / "prometheus.log",
        port=20_001,
        environ=environ,
    )


def alertmanager(tmp_path, **environ):
    return AlertmanagerServer(
        binary=Path("prometheus-alertmanager"),
        config=Path("/checkout/deploy/alertmanager"),
        data=tmp_path / "alertmanager",
        log_file=tmp_path / "alertmanager.log",
        port=20_002,
        environ=environ,
    )


def written(tmp_path, **environ):
    server = prometheus(tmp_path, **environ)
    server.prepare()
    return json.loads(server.configuration_file.read_text())


def targets(tmp_path, job):
    return json.loads((tmp_path / "prometheus" / "targets" / f"{job}.json").read_text())


def test_every_part_with_metrics_is_scraped(tmp_path):
    jobs = {one["job_name"]: one["metrics_path"] for one in written(tmp_path)["scrape_configs"]}

    assert set(jobs) == {*SERVICES, "edge", "minio", "prometheus", "alertmanager"}
    assert jobs.pop("minio") == "/minio/v2/metrics/cluster"
    assert set(jobs.values()) == {"/metrics"}


def test_rules_are_those_of_the_checkout(tmp_path):
    assert written(tmp_path)["rule_files"] == ["/checkout/deploy/prometheus/rules/*.yml"]


def test_alerts_wait_for_less_where_that_is_wanted_but_for_hours_as_ever(tmp_path):
    rules = tmp_path / "checkout"
    rules.mkdir()
    (rules / "a.yml").write_text("  - alert: A\n    for: 1m\n  - alert: B\n    for: 1h\n")
    server = PrometheusServer(
        binary=Path("prometheus"), rules=rules, runbooks=rules, data=tmp_path / "prometheus",
        log_file=tmp_path / "prometheus.log", port=1, environ={"PROMETHEUS_ALERT_SECONDS": "5"},
    )  # fmt: skip
    server.prepare()
    (pattern,) = json.loads(server.configuration_file.read_text())["rule_files"]

    assert re.findall(r"for: (\w+)", (Path(pattern).parent / "a.yml").read_text()) == ["5s", "1h"]


@pytest.mark.parametrize(
    ("environ", "text"), [({}, "15s"), ({"PROMETHEUS_SCRAPE_SECONDS": "1"}, "1s")]
)
def test_rules_are_looked_at_as_often_as_targets(tmp_path, environ, text):
    found = written(tmp_path, **environ)["global"]

    assert (found["scrape_interval"], found["evaluation_interval"]) == (text, text)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:20001/user"),
        ({"RUNBOOK_BASE_URL": "https://wiki.example/media/"}, "https://wiki.example/media"),
    ],
)
def test_runbooks_are_prometheuss_own_unless_they_lie_elsewhere(tmp_path, environ, url):
    document = written(tmp_path, **environ)

    assert document["global"]["external_labels"] == {"runbooks": url}
    drop = {"action": "labeldrop", "regex": "runbooks"}
    assert document["alerting"]["alert_relabel_configs"] == [drop]
    argv = prometheus(tmp_path).command().argv
    assert "--web.user-assets=/checkout/deploy/runbooks" in argv


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1s", "soon", "²"])
def test_an_interval_that_is_no_number_of_seconds_is_refused(text):
    with pytest.raises(MediactlError, match="PROMETHEUS_SCRAPE_SECONDS must be a whole number"):
        scrape_seconds({"PROMETHEUS_SCRAPE_SECONDS": text})


def test_targets_are_where_the_parts_listen_now(tmp_path):
    ports = {job: 21_000 + number for number, job in enumerate(JOBS)}
    ports["edge_internal"] = ports["edge"]
    write_targets(tmp_path / "prometheus", ports)
    write_targets(tmp_path / "prometheus", {**ports, "ingest": 22_000})

    for job in JOBS:
        port = 22_000 if job == "ingest" else ports[job]
        assert targets(tmp_path, job) == [{"targets": [f"127.0.0.1:{port}"]}]


def test_every_replica_is_a_target(tmp_path):
    write_targets(
        tmp_path / "prometheus", {"ingest": 1, "ingest-2": 2, "ingest-3": 3, "watcher": 4}
    )

    assert targets(tmp_path, "ingest") == [
        {"targets": ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]}
    ]
    assert targets(tmp_path, "watcher") == [{"targets": ["127.0.0.1:4"]}]


def test_a_part_without_a_port_is_no_target(tmp_path):
    write_targets(tmp_path / "prometheus", {"minio": 9000, "kafka": 9092})

    assert targets(tmp_path, "minio") == [{"targets": ["127.0.0.1:9000"]}]
    assert targets(tmp_path, "ingest") == []
    files = {file.name for file in (tmp_path / "prometheus" / "targets").iterdir()}
    assert files == {f"{job}.json" for job in JOBS}


def test_targets_are_read_from_the_files_that_are_written(tmp_path):
    write_targets(tmp_path / "prometheus", {})
    document = written(tmp_path)

    found = [*document["scrape_configs"], *document["alerting"]["alertmanagers"]]
    files = [file for one in found for sd in one["file_sd_configs"] for file in sd["files"]]

    assert len(files) == len(JOBS) + 1
    assert all((tmp_path / "prometheus" / file).is_file() for file in files)


def test_prometheus_keeps_15_days_or_1_gigabyte_and_listens_on_the_loopback(tmp_path):
    argv = prometheus(tmp_path).command().argv

    assert "--storage.tsdb.retention.time=15d" in argv
    assert "--storage.tsdb.retention.size=1GB" in argv
    assert "--web.listen-address=127.0.0.1:20001" in argv


def test_alertmanager_listens_at_one_port_alone(tmp_path):
    argv = alertmanager(tmp_path).command().argv

    assert "--web.listen-address=127.0.0.1:20002" in argv
    assert "--cluster.listen-address=" in argv


def test_alertmanager_is_given_its_webhooks_and_no_secrets(tmp_path):
    environ = {"ALERTMANAGER_WEBHOOK_URL": "http://hooks.example", "JWT_SECRET": "s"}

    given = alertmanager(tmp_path, **environ).command().env

    assert given["ALERTMANAGER_WEBHOOK_URL"] == "http://hooks.example"
    assert set(given) == {"PATH", "ALERTMANAGER_GROUP_WAIT", "ALERTMANAGER_WEBHOOK_URL"}


@pytest.mark.parametrize(("seconds", "wait"), [("15", "30s"), ("1", "2s")])
def test_a_group_of_alerts_waits_for_two_rounds_of_rules(tmp_path, seconds, wait):
    server = alertmanager(tmp_path, PROMETHEUS_SCRAPE_SECONDS=seconds)

    assert server.command().env["ALERTMANAGER_GROUP_WAIT"] == wait

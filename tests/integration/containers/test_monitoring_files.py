"""deploy's files for Prometheus, Alertmanager and Grafana: valid, and about this system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from mediactl.devstack.native.prometheus import JOBS, configuration
from mediactl.devstack.services import SERVICES
from mediactl.devstack.settings import ALERTMANAGER_SETTINGS

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
WEBHOOK, PAGER = "http://hooks.example/a?b=1&c=%22", "http://pager.example/"


def run(*argv: str | Path, **environment: str) -> str:
    """Run a program and return what it says."""
    done = subprocess.run(
        [str(word) for word in argv],
        capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def receivers(written: Path, **environment: str) -> dict[str, str | None]:
    """Return the receivers' webhooks, by start.sh and approved by Alertmanager."""
    folder = DEPLOY / "alertmanager"
    program = [folder / "start.sh", folder / "alertmanager.yml", written]
    for shell in filter(shutil.which, ("sh", "bash", "dash")):
        told = run(shell, *program, "echo", "--an-option", **environment)
        assert told.strip() == f"--an-option --config.file={written}"
    run("amtool", "check-config", written)
    found = yaml.safe_load(written.read_text())["receivers"]
    hooks = {one["name"]: one.get("webhook_configs", [{}])[0].get("url") for one in found}
    assert list(hooks) == ["default", "page", "escalation"]
    return hooks


def test_prometheus_accepts_its_file():
    run("promtool", "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


def test_containers_and_the_native_stack_have_the_same_jobs():
    native = configuration(Path("/rules"), 15, "${RUNBOOK_BASE_URL}")
    paths = [
        {one["job_name"]: one.get("metrics_path", "/metrics") for one in found["scrape_configs"]}
        for found in (PROMETHEUS, native)
    ]

    assert paths[0] == paths[1]
    assert set(paths[0]) == set(JOBS)
    assert PROMETHEUS["global"] == native["global"]
    relabelled = [one["alerting"]["alert_relabel_configs"] for one in (PROMETHEUS, native)]
    assert relabelled[0] == relabelled[1]


def test_an_alert_in_containers_leads_to_a_runbook_that_prometheus_serves():
    service = COMPOSE["services"]["prometheus"]
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    served = next(word for word in service["command"] if word.startswith("--web.user-assets="))

    assert served.partition("=")[2] == mounts["./deploy/runbooks"]
    own = "http://127.0.0.1:${PROMETHEUS_PORT:-9090}/user"
    assert service["environment"] == {"RUNBOOK_BASE_URL": f"${{RUNBOOK_BASE_URL:-{own}}}"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_replica_of_a_service_is_scraped_at_its_port(service):
    (job,) = [one for one in PROMETHEUS["scrape_configs"] if one["job_name"] == service]
    (found,) = job["dns_sd_configs"]

    assert (found["names"], found["type"]) == ([service], "A")
    container = COMPOSE["services"][service]
    # Those that clients reach have a port for metrics that is not published.
    inside = container["environment"].get("METRICS_HTTP_PORT", "8080")
    assert inside == str(found["port"])
    assert all(port.endswith(":8080") for port in container.get("ports", []))


def test_alertmanager_tells_nobody_unless_it_is_given_a_webhook(tmp_path):
    assert receivers(tmp_path / "written.yml") == {
        "default": None,
        "page": None,
        "escalation": None,
    }


def test_a_webhook_is_told_of_everything_and_a_pager_of_pages(tmp_path):
    written = tmp_path / "written.yml"

    assert receivers(written, ALERTMANAGER_WEBHOOK_URL=WEBHOOK) == {
        "default": WEBHOOK,
        "page": WEBHOOK,
        "escalation": WEBHOOK,
    }
    assert receivers(written, ALERTMANAGER_PAGE_URL=PAGER) == {
        "default": None,
        "page": PAGER,
        "escalation": PAGER,
    }
    assert receivers(
        written, ALERTMANAGER_WEBHOOK_URL=WEBHOOK, ALERTMANAGER_PAGE_URL=PAGER
    ) == {"default": WEBHOOK, "page": PAGER, "escalation": PAGER}  # fmt: skip


def test_who_hears_of_what_lasts_is_told_besides(tmp_path):
    given = {"ALERTMANAGER_WEBHOOK_URL": WEBHOOK, "ALERTMANAGER_ESCALATION_URL": PAGER}

    assert receivers(tmp_path / "written.yml", **given) == {
        "default": WEBHOOK,
        "page": WEBHOOK,
        "escalation": PAGER,
    }


def test_slack_and_mail_have_the_same_three_columns(tmp_path):
    written = tmp_path / "written.yml"
    receivers(
        written,
        ALERTMANAGER_SLACK_URL=WEBHOOK,
        ALERTMANAGER_PAGE_SLACK_URL=PAGER,
        ALERTMANAGER_MAIL_TO="o'ps@media.example",
        ALERTMANAGER_ESCALATION_MAIL_TO="boss@media.example",
        ALERTMANAGER_SMTP_HOST="mail.example:587",
        ALERTMANAGER_SMTP_FROM="alerts@media.example",
        ALERTMANAGER_SMTP_USERNAME="u",
        ALERTMANAGER_SMTP_PASSWORD='it\'s "secret"',
    )
    found = yaml.safe_load(written.read_text())["receivers"]

    assert [one["slack_configs"][0]["api_url"] for one in found] == [WEBHOOK, PAGER, PAGER]
    mails = [one["email_configs"][0] for one in found]
    to = ["o'ps@media.example", "o'ps@media.example", "boss@media.example"]
    assert [mail["to"] for mail in mails] == to
    assert {mail["auth_password"] for mail in mails} == {'it\'s "secret"'}
    assert all(mail["require_tls"] for mail in mails)


def test_compose_passes_every_setting_of_alertmanager_on():
    given = COMPOSE["services"]["alertmanager"]["environment"]

    assert given == {name: f"${{{name}:-}}" for name in ALERTMANAGER_SETTINGS}


def test_grafana_finds_prometheus_and_the_dashboards():
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/media.yml").read_text())["providers"]
    grafana = COMPOSE["services"]["grafana"]

    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]


# Grafana ignores a key that it does not know, and says nothing of it.
KNOWN = {
    "datasources": {
        *("name", "type", "uid", "access", "url", "orgId", "isDefault", "editable", "version"),
        *("user", "database", "basicAuth", "basicAuthUser", "withCredentials"),
        *("jsonData", "secureJsonData"),
    },
    "providers": {
        *("name", "orgId", "folder", "folderUid", "type", "disableDeletion", "allowUiUpdates"),
        *("updateIntervalSeconds", "options"),
    },
    "options": {"path", "foldersFromFilesStructure"},
    "jsonData": {
        *("httpMethod", "timeInterval", "queryTimeout", "manageAlerts", "prometheusType"),
        *("prometheusVersion", "cacheLevel", "incrementalQuerying", "customQueryParameters"),
        *("disableRecordingRules", "exemplarTraceIdDestinations", "seriesLimit"),
    },
}


def test_grafana_knows_every_key_of_its_provisioning():
    for path in (DEPLOY / "grafana" / "provisioning").glob("*/*.yml"):
        document = yaml.safe_load(path.read_text())
        assert document.pop("apiVersion") == 1
        ((kind, entries),) = document.items()
        for entry in entries:
            assert set(entry) <= KNOWN[kind]
            for part in KNOWN.keys() & entry.keys():
                assert set(entry[part]) <= KNOWN[part]


def test_nobody_enters_grafana_without_the_password():
    environment = COMPOSE["services"]["grafana"]["environment"]

    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_what_a_container_mounts_of_the_checkout_is_read_only(name):
    mounts = [v for v in COMPOSE["services"][name]["volumes"] if v.startswith("./")]

    assert mounts
    assert all(mount.endswith(":ro") for mount in mounts)


def test_both_stacks_keep_as_much():
    options = set(COMPOSE["services"]["prometheus"]["command"])

    assert {"--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB"} <= options

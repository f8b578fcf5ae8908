"""docker-compose.yml: whole, hardened, and without a secret of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from media_runtime.catalog import DATABASE_USERS, KAFKA_USERS, SERVICES, STORAGE_USERS, needing
from mediactl.devstack.services import SCALABLE

from support.surroundings import Parts, variable

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SETTINGS = {
    name: getattr(import_module(f"{name}.settings"), f"{name.title().replace('_', '')}Settings")
    for name in SERVICES
}
SECRETS = (
    "POSTGRES_PASSWORD",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "JWT_SECRET",
    "EVENT_ID_SECRET",
    "EDGE_SECRET",
    "GRAFANA_PASSWORD",
    "KAFKA_ADMIN_PASSWORD",
    *(f"{name.upper()}_DB_PASSWORD" for name in DATABASE_USERS),
    *(f"{name.upper()}_S3_SECRET" for name in STORAGE_USERS),
    *(f"{name.upper()}_KAFKA_PASSWORD" for name in KAFKA_USERS),
)
PUBLIC = {name for name, one in SERVICES.items() if one.public}


def compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                return command
    pytest.skip("no docker compose binary on this machine")


@pytest.fixture
def nothing_given(tmp_path):
    """A file of settings, and those of the services, in which nothing stands."""
    for name in SETTINGS:
        (tmp_path / f".env.{name}").touch()
    return tmp_path / ".env"


def config(secrets: dict[str, str], file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **secrets}
    environment["SETTINGS_FILE"] = str(file)
    # Compose reads the checkout's own .env unless it is given another.
    files = ["--env-file", "/dev/null", "-f", str(ROOT / "docker-compose.yml")]
    return subprocess.run(
        [*compose_command(), *files, "-f", str(ROOT / "deploy/ports.yml"), "config", *words],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip


def test_compose_accepts_the_file(nothing_given):
    done = config(dict.fromkeys(SECRETS, "secret"), nothing_given)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", SECRETS)
def test_a_missing_secret_stops_it(missing, nothing_given):
    done = config({name: "secret" for name in SECRETS if name != missing}, nothing_given)
    assert done.returncode != 0
    assert missing in done.stderr
    assert "deploy/env.sh" in done.stderr


def test_every_secret_is_asked_for_with_a_word_on_where_to_get_it():
    asked = re.findall(r"\$\{(\w+):\?(.*?)\}", TEXT)
    assert {name for name, _ in asked} == set(SECRETS)
    assert {hint for _, hint in asked} == {"write .env with deploy/env.sh, or run ./mediactl up"}


def test_env_sh_writes_every_secret_once_and_for_its_owner_alone(tmp_path):
    file = tmp_path / ".env"

    def written(*words: str) -> dict[str, str]:
        subprocess.run(["sh", ROOT / "deploy/env.sh", file, *words], check=True)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        return dict(line.split("=", 1) for line in file.read_text().splitlines())

    first = written("MINIO_PORT=9900")
    assert set(first) == {*SECRETS, "MINIO_PORT"}
    assert len(set(first.values())) == len(first)
    assert all(len(first[name]) == 48 for name in SECRETS)
    assert written("MINIO_PORT=9901") == first
    file.write_text("JWT_SECRET=mine\n")
    assert written()["JWT_SECRET"] == "mine"


def test_the_file_of_secrets_is_no_part_of_the_project():
    assert {".env", ".env.*"} <= set((ROOT / ".gitignore").read_text().split())


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_every_container_is_locked_down_and_bounded(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["user"].split(":")[0]) > 0
    assert service["init"] is True
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) <= {"cpus", "memory"}
    assert "memory" in limits
    # Docker refuses more processors than the machine has.
    assert float(limits.get("cpus", 1)) <= 1
    assert re.search(r":\S*\d", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_what_is_inside_is_reached_from_the_host_only_where_that_is_asked_for():
    published = yaml.safe_load((ROOT / "deploy/ports.yml").read_text())["services"]
    assert set(published) == {"kafka", "postgres", "minio", "edge", *PUBLIC}
    for name, service in published.items():
        assert name == "edge" or "ports" not in COMPOSE["services"][name]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_only_scratch_has_a_volume_without_a_name():
    """Such a volume ends with its container, which Docker leaves to who stops the stack."""
    unnamed = {
        (name, volume)
        for name, service in COMPOSE["services"].items()
        for volume in service.get("volumes", [])
        if ":" not in volume
    }
    assert unnamed == {(name, "/scratch") for name in needing("media")}


@pytest.mark.parametrize("name", ["sign_api", "ingest", "watcher"])
def test_a_service_is_healthy_when_it_says_that_it_is_ready(name):
    """The check of docker-compose.yml, at the port that the service has here."""
    *_, code = COMPOSE["services"][name]["healthcheck"]["test"]
    code = code.replace("8080", str(Parts().port(name)))
    check = [sys.executable, "-ISc", code]
    assert subprocess.run(check, check=False).returncode == 0
    not_ready = code.replace("/readyz", "/nothing")
    assert subprocess.run([*check[:-1], not_ready], check=False).returncode == 1


@pytest.mark.parametrize("name", sorted(set(COMPOSE["services"]) - {"migrate"}))
def test_every_server_says_whether_it_is_healthy(name):
    check = COMPOSE["services"][name]["healthcheck"]
    assert check["test"]
    # A busy machine starts Kafka in two minutes: slow is not unhealthy, at which `up` would fail.
    assert check["start_period"] == "180s"
    # Later a server that is gone is told of within a minute.
    assert int(check["interval"].removesuffix("s")) * check["retries"] <= 60


def test_the_database_is_healthy_only_where_others_reach_it():
    """While its first start makes the database, a server listens on the socket alone."""
    _, *check = COMPOSE["services"]["postgres"]["healthcheck"]["test"]
    port = str(urlsplit(variable("DATABASE_URL")).port)
    assert subprocess.run([*check, "-p", port], check=False).returncode == 0
    unreachable = subprocess.run([*check, "-p", "1"], check=False, capture_output=True, text=True)
    assert unreachable.returncode == 2
    assert unreachable.stdout.startswith("127.0.0.1:1 ")


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_service_starts_after_the_migrations_and_is_told_only_what_it_knows(name):
    service = COMPOSE["services"][name]
    conditions = {key: value["condition"] for key, value in service["depends_on"].items()}
    assert conditions["migrate"] == "service_completed_successfully"
    known = {field.upper() for field in SETTINGS[name].model_fields}
    told = {variable for variable in service["environment"] if not variable.startswith("OTEL_")}
    assert told <= known
    required = {
        field.upper() for field, info in SETTINGS[name].model_fields.items() if info.is_required()
    }
    assert required - set(service["environment"]) <= {"SCRATCH_DIR"}  # the image sets it
    assert service["stop_grace_period"] == "40s"


# What the image, or the other containers, decide; and what no two replicas may share.
WIRED = {
    *("HTTP_HOST", "HTTP_PORT", "SCRATCH_DIR", "KAFKA_INSTANCE_ID"),
    *("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC_PREFIX", "DATABASE_URL"),
    *("KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"),
    *("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"),
    *("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY"),
    *("S3_PROVISIONER_ACCESS_KEY", "S3_PROVISIONER_SECRET_KEY"),
    *("JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE"),
    *("METRICS_HTTP_PORT", "EVENT_ID_SECRET", "EDGE_KEYS", "EDGE_URLS"),
}


def settable(name: str) -> dict[str, str]:
    """Return a variable and a value for each setting that an operator may give a service."""
    prefix = f"{name.upper()}_"
    fields = {field.upper() for field in SETTINGS[name].model_fields} - WIRED
    return {
        field if field.startswith(prefix) else prefix + field: f"{name} {field}"
        for field in sorted(fields)
    }


def test_a_setting_needs_no_line_and_is_given_to_its_service_alone(tmp_path):
    """What the file of secrets says besides, env.sh sorts by service."""
    file = tmp_path / ".env"
    given = {name: settable(name) for name in SETTINGS}
    words = [f"{key}='{value}'" for some in given.values() for key, value in some.items()]
    subprocess.run(["sh", ROOT / "deploy/env.sh", file, *words], check=True)
    lines = (line.split("=", 1) for line in file.read_text().splitlines())
    secrets = {key: value for key, value in lines if key in SECRETS}

    done = config(secrets, file, "--format", "json")

    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    for name in SETTINGS:
        environment = services[name]["environment"]
        assert given[name].items() <= environment.items()
        others = {key for other in SETTINGS for key in given[other] if other != name}
        assert not others & environment.keys()
        assert stat.S_IMODE((tmp_path / f".env.{name}").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_service_is_given_no_secret_of_anothers(tmp_path, name):
    file = tmp_path / ".env"
    subprocess.run(["sh", ROOT / "deploy/env.sh", file], check=True)
    secrets = dict(line.split("=", 1) for line in file.read_text().splitlines())
    done = config(secrets, file, "--format", "json")
    text = json.dumps(json.loads(done.stdout)["services"][name]["environment"])

    seen = {key for key, value in secrets.items() if value in text}

    own = {f"{name.upper()}_{kind}" for kind in ("DB_PASSWORD", "S3_SECRET", "KAFKA_PASSWORD")}
    more = {
        "sign_api": {"JWT_SECRET", "EDGE_SECRET"},
        "notifier": {"JWT_SECRET", "EVENT_ID_SECRET"},
        "watcher": {"PROVISIONER_S3_SECRET"},
    }
    assert seen == (own | more.get(name, set())) & set(SECRETS)


@pytest.mark.parametrize(("name", "settings"), sorted(SETTINGS.items()))
def test_a_service_reads_its_settings_by_its_own_name(name, settings):
    assert settings.model_config["env_prefix"] == f"{name.upper()}_"


@pytest.mark.parametrize("name", SCALABLE)
def test_what_scales_has_no_port_of_the_hosts_for_itself(name):
    assert COMPOSE["services"][name]["ports"] == ["127.0.0.1::8080"]
    assert "container_name" not in COMPOSE["services"][name]


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_service_is_told_where_its_traces_go_if_anyone_said_so(name):
    """A variable without a value is passed on only where it is set."""
    environment = COMPOSE["services"][name]["environment"]
    told = {variable: value for variable, value in environment.items() if "OTEL_" in variable}
    assert told.keys() >= {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"}
    assert set(told.values()) == {None}


def test_metrics_of_what_clients_reach_are_scraped_at_a_port_that_is_not_published():
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    scraped = {
        name: config["port"]
        for job in prometheus["scrape_configs"]
        for config in job.get("dns_sd_configs", [])
        for name in config["names"]
    }
    for name in sorted(SETTINGS):
        service = COMPOSE["services"][name]
        own = service["environment"].get("METRICS_HTTP_PORT")
        assert scraped[name] == int(own or 8080)
        assert (own is not None) == (name in PUBLIC)
        assert all(port.endswith(":8080") for port in service.get("ports", []))


def test_locks_name_no_registry_and_no_machine():
    for lock in [ROOT / "requirements.lock", *ROOT.glob("*/*/requirements.lock")]:
        text = lock.read_text()
        assert "://" not in text
        assert "--hash=sha256:" in text
        assert str(ROOT) not in text

"""A new service is one folder and one entry of services.toml: all else derives from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DECLARED = "libs/runtime/src/media_runtime/services.toml"
GREETER = """
[greeter]
needs = ["kafka", "media"]
limits = { cpus = "1", memory = "64M" }
database = { groups = ["media_relay"], statement_timeout = "5s" }
storage.objects.outputs = ["GetObject"]

[porter]
needs = ["links"]
public = { variable = "PORTER_PORT", port = 8099 }
limits = { memory = "64M" }
"""
# What the launcher, the step before the services, and the generator know in a checkout.
PROGRAM = """
import json, os, sys
from pathlib import Path
from mediactl.devstack import credentials, doctor, ports, services, settings
from mediactl.repository import generated
from mediactl.devstack.endpoints import Endpoints
from mediactl.devstack.native.prometheus import JOBS
from mediactl.devstack.state import State
from media_records import migrate
from media_runtime import catalog
from media_runtime.storage.users import policy_of

root = Path(sys.argv[1])
changed = [str(file.relative_to(root)) for file in generated.generate(root)]
state = State(root / "state.json")
around = services.StackContext(
    endpoints=Endpoints("kafka:9094", "postgresql://admin:x@db/media", "http://s3", "root", "x",
                        kafka_security_protocol="SASL_PLAINTEXT"),
    credentials=credentials.stack_credentials(state, {}),
    topic_prefix="", scratch=root / "scratch", public_url="http://x", edge_urls="http://e",
    environ={"GREETER_TONE": "warm"},
)
print(json.dumps({
    "file": catalog.__file__,
    "changed": changed,
    "greeter": services.service_environment("greeter", 1, around) if "greeter" in catalog.SERVICES
        else {},
    "porter": services.service_environment("porter", 2, around) if "porter" in catalog.SERVICES
        else {},
    "scalable": services.SCALABLE,
    "ports": ports.PORT_VARIABLES,
    "is_setting": settings.is_setting("GREETER_TONE"),
    "jobs": JOBS,
    "roles": migrate.DATABASE_USERS,
    "policies": {user: policy_of(user, "media-") for user in catalog.STORAGE_USERS},
    "kafka_users": catalog.KAFKA_USERS,
}))
"""


def checkout(folder: Path, more: str = "") -> Path:
    """Make a copy of what derives from services.toml, with *more* in that file."""
    ignored = shutil.ignore_patterns("__pycache__", "*.png", "node_modules")
    for name in ("libs", "services", "deploy"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("docker-compose.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    with (folder / DECLARED).open("a") as file:
        file.write(more)
    return folder


def known(folder: Path):
    paths = map(str, folder.glob("*/*/src"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, folder],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["file"]).is_relative_to(folder)
    return found


def test_the_files_are_what_services_toml_makes_of_them(tmp_path):
    """Else: ./mediactl generate."""
    assert known(checkout(tmp_path))["changed"] == []


@pytest.fixture(scope="module")
def with_two_more(tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("checkout"), GREETER)
    for name in ("greeter", "porter"):
        package = folder / "services" / name / "src" / name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    return folder


@pytest.fixture(scope="module")
def facts(with_two_more):
    return known(with_two_more)


@pytest.fixture(scope="module")
def composed(with_two_more, facts):
    return yaml.safe_load((with_two_more / "docker-compose.yml").read_text())["services"]


def test_the_launcher_gives_a_new_service_what_it_needs_and_no_more(facts, with_two_more):
    given = facts["greeter"]
    assert given["DATABASE_URL"].startswith("postgresql://media_greeter:")
    assert given["KAFKA_SASL_USERNAME"] == "greeter"
    assert given["S3_ACCESS_KEY"] == "media-greeter"
    assert given["SCRATCH_DIR"] == str(with_two_more / "scratch/greeter")
    assert given["GREETER_TONE"] == given["TONE"] == "warm"
    assert not {"JWT_SECRET", "EDGE_KEYS", "EVENT_ID_SECRET", "S3_PROVISIONER_SECRET_KEY"} & {
        *given
    }
    assert {"JWT_SECRET", "EDGE_KEYS"} <= facts["porter"].keys()
    assert not {"DATABASE_URL", "S3_SECRET_KEY", "KAFKA_SASL_PASSWORD"} & facts["porter"].keys()
    assert facts["is_setting"]
    assert "greeter" in facts["scalable"]
    assert "porter" not in facts["scalable"]
    assert facts["ports"]["greeter"] == "GREETER_METRICS_PORT"
    assert facts["ports"]["porter"] == "PORTER_PORT"


def test_a_new_service_has_a_login_everywhere_it_needs_one(facts):
    assert "greeter" in facts["roles"]
    assert "greeter" in facts["kafka_users"]
    allowed = facts["policies"]["greeter"]["Statement"]
    assert [one["Action"] for one in allowed if one["Effect"] == "Allow"] == [["s3:GetObject"]]
    assert "/outputs/*" in allowed[-1]["Resource"][0]
    for kind in ("roles", "kafka_users", "policies"):
        assert "porter" not in facts[kind]


def test_a_new_service_runs_in_containers(composed, with_two_more):
    greeter, porter = composed["greeter"], composed["porter"]
    assert greeter["build"]["args"] == {"PART": "services/greeter", "PROGRAMS": "media"}
    assert greeter["command"] == ["greeter"]
    assert greeter["volumes"] == ["/scratch"]
    assert greeter["environment"].keys() == composed["ingest"]["environment"].keys()
    assert "@postgres:5432/media" in greeter["environment"]["DATABASE_URL"]
    assert greeter["deploy"]["resources"]["limits"] == {"cpus": "1", "memory": "64M"}
    assert "ports" not in porter
    assert porter["environment"].keys() - greeter["environment"].keys() >= {"EDGE_KEYS"}
    assert {"GREETER_DB_PASSWORD", "GREETER_KAFKA_PASSWORD", "GREETER_S3_SECRET"} <= {
        *composed["migrate"]["environment"]
    }
    published = yaml.safe_load((with_two_more / "deploy/ports.yml").read_text())["services"]
    assert published["porter"] == {"ports": ["127.0.0.1:${PORTER_PORT:-8099}:8080"]}
    assert "greeter" not in published


def test_a_new_service_is_given_secrets_by_hand_too(with_two_more, facts, tmp_path):
    subprocess.run(
        ["sh", with_two_more / "deploy/env.sh", tmp_path / ".env", "GREETER_TONE=warm"], check=True
    )
    assert "GREETER_S3_SECRET=" in (tmp_path / ".env").read_text()
    assert (tmp_path / ".env.greeter").read_text() == "GREETER_TONE=warm\n"


def test_a_new_service_is_watched(facts, with_two_more):
    prometheus = with_two_more / "deploy/prometheus"
    scraped = {
        one["job_name"]: one.get("dns_sd_configs", [{}])[0].get("port")
        for one in yaml.safe_load((prometheus / "prometheus.yml").read_text())["scrape_configs"]
    }
    assert (scraped["greeter"], scraped["porter"]) == (8080, 9100)
    assert {"greeter", "porter"} <= set(facts["jobs"])
    rules = {
        one["alert"]: one["expr"]
        for group in yaml.safe_load((prometheus / "rules/alerts.yml").read_text())["groups"]
        for one in group["rules"]
        if "alert" in one
    }
    assert "|greeter|porter|edge" in rules["MediaServiceDown"]
    assert 'absent(up{job="greeter"})' in rules["MediaServiceMissing"]
    if shutil.which("promtool"):
        files = [prometheus / "prometheus.yml", prometheus / "rules/alerts.yml"]
        for what, file in zip(("config", "rules"), files, strict=True):
            options = ["--syntax-only"] if what == "config" else []
            subprocess.run(["promtool", "check", what, *options, file], check=True)


def test_a_new_service_is_on_the_boards(facts, with_two_more):
    boards = with_two_more / "deploy/grafana/dashboards"
    panels = json.loads((boards / "services.json").read_text())["panels"]
    titles = [panel.get("title", "") for panel in panels]
    assert {"greeter", "greeter: records", "greeter: CPU", "porter: memory"} <= set(titles)
    assert "|greeter|porter" in (boards / "overview.json").read_text()


def test_a_new_service_is_kept_apart_from_the_others(facts, with_two_more):
    tools = tomllib.loads((with_two_more / "pyproject.toml").read_text())["tool"]
    assert {"greeter", "porter"} <= set(tools["importlinter"]["root_packages"])
    assert any(
        "| greeter | porter" in layer
        for contract in tools["importlinter"]["contracts"]
        for layer in contract.get("layers", [])
    )


@pytest.mark.parametrize(
    "entry", ['needs = ["kafak"]', "scratch = true", "database = { group = [] }", 'limits = "1G"']
)
def test_an_entry_with_a_misspelt_word_is_refused(entry, tmp_path):
    limits = "" if "limits" in entry else 'limits = { memory = "64M" }\n'
    package = tmp_path / "media_runtime"
    package.mkdir()
    source = ROOT / DECLARED
    shutil.copy(source.with_name("catalog.py"), package)
    (package / "__init__.py").touch()
    (package / "services.toml").write_text(f"[greeter]\n{limits}{entry}\n")
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import media_runtime.catalog"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "greeter" in done.stderr

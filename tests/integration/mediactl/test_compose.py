"""What mediactl asks of Docker, with a stand-in that records it."""

import json

import pytest
from mediactl import stack
from mediactl.errors import UsageError
from mediactl.home import Home
from mediactl.progress import SilentProgress
from mediactl.services import SERVICES
from mediactl.state import State

PARTS = ("kafka", "postgres", "minio", "prometheus", "alertmanager", "grafana", *SERVICES)


@pytest.fixture
def docker(monkeypatch, tmp_path):
    """Put a docker on the PATH that writes down each call and lists *containers*."""
    binary = tmp_path / "bin" / "docker"
    binary.parent.mkdir()
    binary.write_text(
        f'#!/bin/sh\necho "$@ JWT_SECRET=$JWT_SECRET" >> {tmp_path}/calls\n'
        f'case "$*" in *"ps -a"*) cat {tmp_path}/containers;; esac\n'
    )
    binary.chmod(0o755)
    (tmp_path / "containers").touch()
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    return tmp_path


@pytest.fixture
def home(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "docker-compose.yml").touch()
    return Home(tmp_path / "home", tmp_path / "home", root)


def calls(docker):
    return (docker / "calls").read_text().splitlines()


def lists(docker, containers):
    (docker / "containers").write_text("".join(json.dumps(c) + "\n" for c in containers))


def rows(home):
    return {row.name: row.health for row in stack.open_stack(home, State(home.state_file)).rows()}


def test_up_starts_the_containers_with_ports_and_secrets_of_the_stack(docker, home):
    variables = stack.up(home, SilentProgress())

    (up,) = [call for call in calls(docker) if " up " in call]
    assert "-d --wait --build" in up
    given = home.compose_env_file.read_text()
    assert f"JWT_SECRET='{variables['JWT_SECRET']}'" in given
    assert "\nEVENT_ID_SECRET='" in given
    for user in ("SIGN_API", "INGEST", "THUMBNAILER", "WATCHER", "PROVISIONER"):
        assert f"\n{user}_S3_SECRET='" in given
    assert f"MEDIA_API_PORT='{variables['MEDIA_API_URL'].rpartition(':')[2]}'" in given
    for name in ("PROMETHEUS", "ALERTMANAGER", "GRAFANA"):
        assert f"{name}_PORT='{variables[f'{name}_URL'].rpartition(':')[2]}'" in given
    # Those of the public services are not published, and this Docker tells of no replica's port.
    assert not any(name.endswith("_METRICS_URL") for name in variables)
    assert f"GRAFANA_PASSWORD='{variables['GRAFANA_PASSWORD']}'" in given
    assert home.compose_env_file.stat().st_mode & 0o077 == 0


def test_webhooks_of_the_shell_reach_alertmanager(docker, home, monkeypatch):
    monkeypatch.setenv("ALERTMANAGER_WEBHOOK_URL", "http://hooks.example/a")

    stack.up(home, SilentProgress())

    given = home.compose_env_file.read_text()
    assert "ALERTMANAGER_WEBHOOK_URL='http://hooks.example/a'" in given
    assert "ALERTMANAGER_PAGE_URL=''" in given


def test_a_second_up_keeps_the_addresses_of_running_containers(docker, home):
    first = stack.up(home, SilentProgress())
    lists(
        docker,
        [{"Service": "kafka", "ID": "a1b2c3d4e5f6", "State": "running", "Health": "healthy"}],
    )

    assert stack.up(home, SilentProgress()) == first


def test_stray_variables_of_the_shell_do_not_reach_compose(docker, home, monkeypatch):
    monkeypatch.setenv("JWT_SECRET", "s" * 32)

    stack.up(home, SilentProgress())

    assert all(call.endswith("JWT_SECRET=") for call in calls(docker) if "--env-file" in call)


def setting(home, name):
    lines = home.compose_env_file.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines).get(name)


def test_a_restart_in_another_shell_works_with_what_up_was_given(docker, home, monkeypatch):
    monkeypatch.setenv("WATCHER_RETENTION_DAYS", "3650")
    monkeypatch.setenv("WATCHER_ALERT_WEBHOOK_SECRET", "it's")
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", "p_")
    stack.up(home, SilentProgress())
    for name in ("WATCHER_RETENTION_DAYS", "WATCHER_ALERT_WEBHOOK_SECRET", "KAFKA_TOPIC_PREFIX"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")

    stack.open_running_stack(home, State(home.state_file)).start("watcher")

    assert setting(home, "WATCHER_RETENTION_DAYS") == "'3650'"
    assert setting(home, "WATCHER_ALERT_WEBHOOK_SECRET") == "'it\\'s'"
    assert setting(home, "KAFKA_TOPIC_PREFIX") == "'p_'"
    assert setting(home, "OTEL_TRACES_SAMPLER") == "'always_off'"


def test_replicas_are_kept_by_every_later_command(docker, home):
    stack.up(home, SilentProgress())
    lists(
        docker,
        [
            {"Service": "ingest", "Name": f"media-1-ingest-{number}", "ID": f"{number:012}",
             "State": "running", "Health": "healthy",
             "Publishers": [{"PublishedPort": 0}, {"PublishedPort": port}]}
            for number, port in ((2, 32_002), (1, 32_001))
        ],
    )  # fmt: skip
    running = stack.open_running_stack(home, State(home.state_file))

    running.scale("ingest", 3, SilentProgress())

    assert (
        calls(docker)[-1]
        .partition(" JWT")[0]
        .endswith("up -d --wait --no-deps --scale ingest=3 ingest")
    )
    found = {row.name: (row.health, row.port) for row in running.rows()}
    assert found["ingest"] == ("ready", 32_001)
    assert found["ingest-2"] == ("ready", 32_002)
    assert found["ingest-3"] == ("stopped", None)
    assert running.published()["INGEST_METRICS_URL"] == "http://127.0.0.1:32001/metrics"
    stack.up(home, SilentProgress())
    (*_, up) = [call for call in calls(docker) if "--build" in call]
    assert "--scale ingest=3 --scale thumbnailer=1 --scale watcher=1" in up
    with pytest.raises(UsageError, match="name ingest"):
        running.stop("ingest-2")
    with pytest.raises(UsageError, match="load balancer"):
        running.scale("notifier", 2, SilentProgress())


def test_status_tells_healthy_from_starting_from_stopped(docker, home):
    stack.up(home, SilentProgress())
    lists(
        docker,
        [
            {"Service": "kafka", "ID": "a1b2c3d4e5f6", "State": "running", "Health": "healthy"},
            {"Service": "ingest", "ID": "f6e5d4c3b2a1", "State": "running", "Health": "starting"},
            {"Service": "watcher", "State": "exited", "Health": ""},
            {"Service": "migrations", "State": "exited", "Health": ""},
        ],
    )

    found = rows(home)

    assert set(found) == set(PARTS)
    assert (found["kafka"], found["ingest"]) == ("ready", "not ready")
    assert found["watcher"] == found["minio"] == "stopped"


def test_wiping_removes_the_volumes_even_after_down(docker, home):
    stack.up(home, SilentProgress())
    assert stack.down(home, SilentProgress())

    stack.wipe(home)

    assert "down --volumes" in calls(docker)[-1]
    assert not home.state_file.exists()
    assert not home.compose_env_file.exists()

"""What mediactl asks of Docker, with a stand-in that records it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from mediactl.devstack import stack
from mediactl.devstack.containers import size_in_bytes
from mediactl.devstack.home import Home
from mediactl.devstack.services import SERVICES
from mediactl.devstack.state import State
from mediactl.errors import MediactlError, UsageError
from mediactl.progress import SilentProgress

PARTS = ("kafka", "postgres", "minio", "prometheus", "alertmanager", "grafana", *SERVICES, "edge")


@pytest.fixture
def docker(monkeypatch, tmp_path):
    """
    Put a docker on the PATH that writes down each call and lists *containers*.

    What it says of single containers is in the files *mounts*, *started* and *memory*, and how an
    ``up`` ends in *up*.
    """
    binary = tmp_path / "bin" / "docker"
    binary.parent.mkdir()
    binary.write_text(
        f'#!/bin/sh\necho "$@ JWT_SECRET=$JWT_SECRET" >> {tmp_path}/calls\n'
        f'case "$*" in *" down"*) : > {tmp_path}/containers;;\n'
        f'  *"ps -a"*) cat {tmp_path}/containers;;\n'
        f'  *"logs --no-log-prefix"*) echo "no such password";;\n'
        f'  *"up -d"*) echo "a line for each step"; exit $(cat {tmp_path}/up);;\n'
        f"  inspect*Mounts*) cat {tmp_path}/mounts;;\n"
        f"  inspect*StartedAt*) cat {tmp_path}/started;;\n"
        f"  stats*) cat {tmp_path}/memory;; esac\n"
    )
    binary.chmod(0o755)
    for name in ("containers", "mounts", "started", "memory"):
        (tmp_path / name).touch()
    (tmp_path / "up").write_text("0")
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
    told = {name for name in variables if name.endswith("_METRICS_URL")}
    assert told == {"EDGE_METRICS_URL"}
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


def setting(home, name, service=""):
    file = home.compose_env_file.with_name(f"compose.env{service and '.'}{service}")
    assert file.stat().st_mode & 0o077 == 0
    return dict(line.split("=", 1) for line in file.read_text().splitlines()).get(name)


def test_a_restart_in_another_shell_works_with_what_up_was_given(docker, home, monkeypatch):
    monkeypatch.setenv("WATCHER_RETENTION_DAYS", "3650")
    monkeypatch.setenv("WATCHER_S3_METRICS_TOKEN", "it's")
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", "p_")
    stack.up(home, SilentProgress())
    for name in ("WATCHER_RETENTION_DAYS", "WATCHER_S3_METRICS_TOKEN", "KAFKA_TOPIC_PREFIX"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")

    stack.open_running_stack(home, State(home.state_file)).start("watcher")

    assert setting(home, "WATCHER_RETENTION_DAYS", "watcher") == "'3650'"
    assert setting(home, "WATCHER_S3_METRICS_TOKEN", "watcher") == "'it\\'s'"
    assert setting(home, "WATCHER_RETENTION_DAYS", "ingest") is None
    assert setting(home, "WATCHER_S3_SECRET", "watcher") is None
    assert setting(home, "SETTINGS_FILE") == f"'{home.compose_env_file}'"
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

    (scaled,) = [call for call in calls(docker) if "--no-deps" in call]
    assert scaled.partition(" JWT")[0].endswith("up -d --wait --no-deps --scale ingest=3 ingest")
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

    assert [call for call in calls(docker) if "down --volumes" in call]
    assert not home.state_file.exists()
    assert not list(home.path.glob("compose.env*"))


def test_an_up_that_fails_says_why_the_step_before_the_services_did(docker, home):
    (docker / "up").write_text("1")
    lists(docker, [{"Service": "migrate", "ID": "a" * 12, "State": "exited", "ExitCode": 1}])

    with pytest.raises(MediactlError, match=r"The last lines of migrate:\nno such password"):
        stack.up(home, SilentProgress())


def test_without_a_terminal_what_compose_says_is_in_a_log_and_shown_if_it_fails(
    docker, home, capfd
):
    stack.up(home, SilentProgress())

    assert "a line for each step" in home.log_file("compose").read_text()
    assert "a line for each step" not in "".join(capfd.readouterr())
    (docker / "up").write_text("1")
    with pytest.raises(MediactlError, match="a line for each step"):
        stack.up(home, SilentProgress())


def test_status_tells_for_how_long_a_container_has_run_and_its_memory(docker, home):
    stack.up(home, SilentProgress())
    lists(
        docker,
        [
            {"Service": "kafka", "ID": "a" * 12, "State": "running", "Health": "healthy"},
            {"Service": "minio", "ID": "b" * 12, "State": "running", "Health": "healthy"},
        ],
    )
    started = datetime.now(UTC) - timedelta(hours=1)
    (docker / "started").write_text(f"{'a' * 64} {started:%Y-%m-%dT%H:%M:%S}.123456789Z\n")
    (docker / "memory").write_text(f"{'a' * 12} 177.5MiB / 1GiB\n")

    found = {row.name: row for row in stack.open_stack(home, State(home.state_file)).rows()}

    assert found["kafka"].uptime_seconds == pytest.approx(3600, abs=60)
    assert found["kafka"].memory_bytes == 186_122_240
    assert (found["minio"].health, found["minio"].uptime_seconds) == ("ready", None)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("12kB", 12_000), ("1.5GiB", 1_610_612_736), ("2MB", 2_000_000), ("--", None)],
)
def test_sizes_are_read_as_docker_writes_them(text, size):
    assert size_in_bytes(text) == size


def test_down_removes_the_volumes_of_the_work_under_way_and_no_others(docker, home):
    stack.up(home, SilentProgress())
    lists(docker, [{"Service": "ingest", "ID": "a" * 12, "State": "running"}])
    mounts = [
        {"Type": "volume", "Name": "c" * 64},
        {"Type": "volume", "Name": "media_minio"},
        {"Type": "bind", "Source": "/etc"},
    ]
    (docker / "mounts").write_text(json.dumps(mounts) + "\n")

    stack.down(home, SilentProgress())

    *_, removed = calls(docker)
    assert removed.startswith(f"volume rm {'c' * 64} ")

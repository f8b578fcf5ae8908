import subprocess

import pytest
from media_runtime.telemetry.terminal import duration
from mediactl.devstack.credentials import stack_credentials
from mediactl.devstack.endpoints import Endpoints
from mediactl.devstack.native.infrastructure import MONITORS
from mediactl.devstack.ports import PORT_VARIABLES
from mediactl.devstack.published import endpoint_table, published_variables, shell_assignments
from mediactl.devstack.state import State
from mediactl.devstack.status import Row

ENDPOINTS = Endpoints("127.0.0.1:1", "postgresql://a:b@h/d", "http://127.0.0.1:2", "k", "s")


def test_up_publishes_what_the_issue_asks_for(tmp_path):
    ports = {name: 20_000 + number for number, name in enumerate(PORT_VARIABLES)}
    credentials = stack_credentials(State(tmp_path / "state.json"), {})

    variables = published_variables(ENDPOINTS, ports, credentials)

    assert variables["MEDIA_API_URL"] == f"http://127.0.0.1:{ports['sign_api']}"
    assert variables["MEDIA_EVENTS_URL"] == f"http://127.0.0.1:{ports['notifier']}"
    assert variables["WATCHER_METRICS_URL"].endswith(f":{ports['watcher']}/metrics")
    assert set(variables) >= {
        *ENDPOINTS.variables(),
        *("SIGN_API_METRICS_URL", "INGEST_METRICS_URL", "THUMBNAILER_METRICS_URL"),
        *("NOTIFIER_METRICS_URL", "JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE"),
    }


def test_monitors_are_published_where_they_run(tmp_path):
    ports = {name: 20_000 + number for number, name in enumerate(PORT_VARIABLES)}
    credentials = stack_credentials(State(tmp_path / "state.json"), {})

    alone = published_variables(ENDPOINTS, ports, credentials)
    watched = published_variables(ENDPOINTS, ports, credentials, monitors=MONITORS)

    assert {name: watched[name] for name in set(watched) - set(alone)} == {
        "PROMETHEUS_URL": f"http://127.0.0.1:{ports['prometheus']}",
        "ALERTMANAGER_URL": f"http://127.0.0.1:{ports['alertmanager']}",
    }
    assert [row for row in rows_of(alone) if "PROMETHEUS" in row] == []
    assert [row for row in rows_of(watched) if "PROMETHEUS" in row] == ["PROMETHEUS_URL"]


def rows_of(variables):
    return list(endpoint_table(variables).columns[1].cells)


def test_a_shell_reads_back_what_was_written(tmp_path):
    value = "a b'c\"d$e;f"
    (tmp_path / "env").write_text(shell_assignments({"X": value}))

    done = subprocess.run(
        ["sh", "-c", f'. {tmp_path}/env; printf %s "$X"'],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3_725, "1 h 2 min"), (90_000, "1 d 1 h")],
)
def test_time_spans_are_short(seconds, text):
    assert duration(seconds) == text


def test_only_a_ready_part_is_healthy():
    assert Row("x", "ready", 1).is_healthy
    assert not Row("x", "not ready", 1).is_healthy

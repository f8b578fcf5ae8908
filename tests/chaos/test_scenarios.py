"""
Fault scenarios in their short version, played as ``mediactl chaos`` plays them.

Those of the default suite kill each part once, freeze one that works, and take the guard against
that away; FULL=1 has all of them played.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from chaos.scenarios import CONTROLS, SCENARIOS
from support.programs import output_of
from support.tiers import FULL, HOUR

CHAOS = Path(__file__).parent
DEFAULT = ("parts", "frozen", "m1-fence")
# Each control shows that a mutation's scenario is green without it; mediactl chaos plays them too.
PLAYED = [name for name in SCENARIOS if name not in CONTROLS] if FULL else DEFAULT


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Play all of them once and return what was said of each, by name, and everything."""
    report = tmp_path_factory.mktemp("chaos") / "report.txt"
    command = [sys.executable, str(CHAOS), *PLAYED, "--seed", "1", "--report", str(report)]
    # A stack of its own: what stands in the environment names the one of the other tests.
    environment = {name: value for name, value in os.environ.items() if name not in _ENDPOINTS}
    output = output_of(command, environment)
    assert report.exists(), output
    table = report.read_text().partition("In all:")[0]
    return {line.split()[0]: line for line in table.splitlines() if line.strip()}, output


_ENDPOINTS = {
    "KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY",
    "MEDIA_URL", "MEDIA_API_URL", "MEDIA_EVENTS_URL", "JWT_SECRET",
}  # fmt: skip


@pytest.mark.timeout(2 * HOUR if FULL else 3000)
@pytest.mark.parametrize("name", PLAYED)
def test_a_scenario_keeps_all_promises_or_is_noticed(played, name):
    lines, output = played
    assert name in lines, output
    verdict = "red as it should" if SCENARIOS[name].mutation else "kept"
    assert verdict in lines[name], output

"""Logs are for people on a terminal, and JSON for programs anywhere else."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from media_runtime.telemetry.ops import configure_logging

configure_logging("ingest"{options})
structlog.get_logger("ingest.worker").warning("job_ended", outcome="done", tries=2)
"""


def piped(options: str = "") -> str:
    """Return what the program writes into a pipe."""
    words = [sys.executable, "-c", PROGRAM.format(options=options)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def on_a_terminal(options: str = "") -> str:
    """Return what the program writes to a terminal."""
    ours, its = pty.openpty()
    words = [sys.executable, "-c", PROGRAM.format(options=options)]
    with os.fdopen(ours, "rb", buffering=0) as screen:
        subprocess.run(words, stdout=its, check=True, timeout=60)
        os.close(its)
        return screen.read(65536).decode()


@pytest.mark.parametrize(
    ("write", "options"), [(piped, ""), (on_a_terminal, ', log_format="json"')]
)
def test_a_line_for_programs_is_json_with_all_that_is_known(write, options):
    (line,) = write(options).splitlines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "job_ended", "level": "warning", "logger": "ingest.worker", "service": "ingest",
        "outcome": "done", "tries": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("write", "options"), [(on_a_terminal, ""), (piped, ', log_format="console"')]
)
def test_a_line_for_people_is_no_json(write, options):
    (line,) = write(options).splitlines()
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(line)
    for word in ("job_ended", "warning", "outcome", "done", "service", "ingest"):
        assert word in line


def test_a_terminal_has_colours():
    assert "\x1b[" in on_a_terminal()

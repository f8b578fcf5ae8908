"""Tests that are broken off clean up after themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.eventually import eventually
from support.programs import output_of

ROOT = Path(__file__).parents[3]
TIMES_OUT = """
import asyncio, contextlib
import pytest

ENDED = []

@contextlib.asynccontextmanager
async def server():
    try:
        yield
    finally:
        await asyncio.sleep(0.1)
        ENDED.append(True)

@pytest.mark.timeout(1)
async def test_that_hangs():
    async with server():
        await asyncio.sleep(600)

@pytest.fixture
async def slow_to_start():
    async with server():
        await asyncio.sleep(600)
        yield

@pytest.mark.timeout(1)
def test_with_a_fixture_that_hangs(slow_to_start):
    pass

@pytest.fixture
async def slow_to_end():
    async with server():
        yield
        await asyncio.sleep(600)

@pytest.mark.timeout(1)
async def test_whose_fixture_hangs_at_its_end(slow_to_end):
    pass

async def test_after_them():
    assert len(ENDED) == 3
    assert asyncio.all_tasks() == {asyncio.current_task()}
"""
IS_ENDED = """
import time
import pytest

@pytest.fixture
def server(tmp_path):
    print("up", flush=True)
    yield
    print("down", flush=True)

def test_that_is_ended(server):
    time.sleep(600)
"""
STUBBORN = """
import os, signal, sys, time

def end(*_):
    print("stopped", flush=True)
    sys.exit()

signal.signal(signal.SIGTERM, end)
print("up", flush=True)
os.kill(os.getppid(), signal.SIGUSR1)
time.sleep(600)
"""


def pytest_command(folder: Path, program: str) -> list[str]:
    """Return a command that runs *program* under the settings of this suite."""
    path = folder / "test_it.py"
    path.write_text(program)
    options = ["-p", "support.stopping", "-p", "no:cacheprovider", "-s", "--noconftest"]
    return [sys.executable, "-m", "pytest", *options, "-c", str(ROOT / "pyproject.toml"), str(path)]


def environment() -> dict[str, str]:
    # The run is no worker of the one that it is tested by.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return {**ours, "PYTHONPATH": str(ROOT / "tests")}


def test_what_times_out_cleans_up_before_the_next_test(tmp_path):
    command = pytest_command(tmp_path, TIMES_OUT)
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert "1 failed, 2 passed, 2 errors" in done.stdout, done.stdout
    assert "Timeout" in done.stdout


async def test_a_run_that_is_ended_by_a_signal_takes_down_what_it_set_up(tmp_path):
    told = tmp_path / "told"
    command = pytest_command(tmp_path, IS_ENDED)
    with (
        told.open("w") as output,
        subprocess.Popen(  # noqa: ASYNC220
            command, env=environment(), stdout=output
        ) as running,
    ):
        await eventually(lambda: "up" in told.read_text(), timeout=30)
        running.send_signal(signal.SIGTERM)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=30) == pytest.ExitCode.INTERRUPTED
    assert "down" in told.read_text()


def test_a_program_with_more_to_stop_is_asked_to_end_when_its_test_times_out(tmp_path):
    told = tmp_path / "told"
    command = ["sh", "-c", f'exec "$0" -c "$1" >{told}', sys.executable, STUBBORN]

    def time_out(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGUSR1, time_out)
    try:
        with pytest.raises(TimeoutError):
            output_of(command, environment())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert told.read_text().split() == ["up", "stopped"]

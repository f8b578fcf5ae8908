"""What a command runs and waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from mediactl.devstack.foreground import Foreground

from support.eventually import eventually

TIDY = """
import pathlib, signal, sys, time

told = pathlib.Path(sys.argv[1])

def end(*_):
    told.write_text("tidied up")
    sys.exit()

signal.signal(signal.SIGTERM, end)
told.write_text("up")
time.sleep(60)
"""
TWO_AT_ONCE = f"""
import os, pathlib, sys
from concurrent.futures import ThreadPoolExecutor
from mediactl.devstack.foreground import Foreground

folder = pathlib.Path(sys.argv[1])
foreground = Foreground(folder)

def tidy(name):
    return [sys.executable, "-c", {TIDY!r}, name]

with ThreadPoolExecutor(1) as beside:
    one = beside.submit(foreground.run_told_whole, "one", tidy("one"), os.environ)
    foreground.run(tidy("two"))
    one.result()
    foreground.run(tidy("three"))
"""


async def test_all_that_run_are_asked_to_end_and_waited_for_and_none_starts_then(tmp_path):
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    command = [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path)]
    with subprocess.Popen(command) as running:  # noqa: ASYNC220
        try:
            await eventually(lambda: is_up(one) and is_up(two))
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=30) == 0
        finally:
            running.kill()
    assert [one.read_text(), two.read_text()] == ["tidied up", "tidied up"]
    assert not three.exists()


def is_up(told: Path) -> bool:
    return told.exists() and told.read_text() == "up"


def test_what_runs_beside_is_told_of_whole_and_by_its_code(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    try:
        foreground = Foreground(tmp_path)
        command = ["sh", "-c", "echo one; echo two >&2; exit 3"]
        code = foreground.run_told_whole("numbers", command, os.environ)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 3
    assert capsys.readouterr().out == "$ numbers\none\ntwo\n"

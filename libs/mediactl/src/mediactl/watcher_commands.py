"""
Runs the watcher's own commands, with the login and the settings of the stack's watcher.

mediactl has no way to the rows of its own: what operators may see and do, the watcher may.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from mediactl.credentials import stack_credentials
from mediactl.endpoints import endpoints_from_environment
from mediactl.errors import MediactlError
from mediactl.home import Home
from mediactl.local import TOPIC_PREFIX
from mediactl.published import read_variables
from mediactl.services import Surroundings, service_environment
from mediactl.state import State

FAILED = 1


def watch_once(home: Home) -> int:
    """Have the watcher look once, its log on the terminal, and return its exit code."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "watcher", "--once"], env=_environment(home), check=False
    ).returncode


def ask_watcher(*words: str) -> tuple[int, Any]:
    """
    Return the exit code and the answer of a command of the watcher's.

    Raises MediactlError with what it says where it could not do it.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "watcher", *words],
        env=_environment(Home.from_environment()),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        lines = done.stderr.strip().splitlines()
        raise MediactlError(lines[-1] if lines else "The watcher said nothing.") from error
    if done.returncode == FAILED:
        raise MediactlError(str(answer["error"]))
    return done.returncode, answer


def _environment(home: Home) -> dict[str, str]:
    environment = service_environment("watcher", 0, surroundings(home))
    environment["LOG_FORMAT"] = "auto"
    return environment


def surroundings(home: Home) -> Surroundings:
    """Return what services find around them in the stack of *home*; raises MediactlError."""
    variables = read_variables(home)
    endpoints = endpoints_from_environment(variables)
    if endpoints is None:
        raise MediactlError("The stack has published no endpoints: run './mediactl up' again.")
    state = State(home.state_file)
    return Surroundings(
        endpoints=endpoints,
        credentials=stack_credentials(state, os.environ),
        topic_prefix=state.fact(TOPIC_PREFIX) or "",
        scratch=home.data / "scratch",
        environ=os.environ,
    )

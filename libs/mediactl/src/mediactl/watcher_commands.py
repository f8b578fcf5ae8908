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
from mediactl.published import read_variables
from mediactl.services import Surroundings, service_environment
from mediactl.settings import in_force, topic_prefix
from mediactl.state import State

FAILED = 1


def watch_once(home: Home) -> int:
    """Have the watcher look once, its log on the terminal, and return its exit code."""
    return subprocess.run(_command("--once"), env=_environment(home), check=False).returncode


def ask_watcher(*words: str, document: object = None) -> tuple[int, Any]:
    """
    Return the exit code and the answer of a command of the watcher's, which reads *document*.

    Raises MediactlError with what it says where it could not do it.
    """
    done = subprocess.run(
        _command(*words),
        env=_environment(Home.from_environment()),
        input=json.dumps(document),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, _answer(done.returncode, done.stdout, done.stderr)


def list_failed(*words: str) -> None:
    """Pass on the ids of failed assets as the watcher reads them; raises MediactlError."""
    with subprocess.Popen(
        _command("failed", "--ids", *words),
        env=_environment(Home.from_environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None  # noqa: S101 - a pipe was asked for
        last = ""
        for line in running.stdout:
            last = line
            if not line.startswith("{"):
                sys.stdout.write(line)
    if running.returncode:
        _answer(FAILED, last, "")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "watcher", *words]


def _answer(code: int, output: str, log: str) -> Any:
    try:
        answer = json.loads(output)
    except ValueError as error:
        lines = log.strip().splitlines()
        raise MediactlError(lines[-1] if lines else "The watcher said nothing.") from error
    if code == FAILED:
        raise MediactlError(str(answer["error"]))
    return answer


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
    environ = in_force(state, os.environ)
    return Surroundings(
        endpoints=endpoints,
        credentials=stack_credentials(state, environ),
        topic_prefix=topic_prefix(state),
        scratch=home.data / "scratch",
        public_url=variables["MEDIA_URL"],
        edge_urls=variables["EDGE_METRICS_URL"].removesuffix("/metrics"),
        environ=environ,
    )

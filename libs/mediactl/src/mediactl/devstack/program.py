"""
A program of the stack that runs in the background, from start to readiness to stop.

Invariant: start changes nothing when the program runs already.
"""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from mediactl.devstack import processes
from mediactl.devstack.processes import ProcessRef
from mediactl.errors import MediactlError

_HTTP_OK = 200
_LINES_SHOWN = 15


class NotReadyError(MediactlError):
    """A program died or took too long; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Command:
    """What to execute: the arguments, and the whole environment."""

    argv: Sequence[str]
    env: Mapping[str, str]


class Program(ABC):
    """
    One program in the background.

    ``process`` is the process it runs as, or ran as; give it to take over a program that an
    earlier command started.
    """

    ready_seconds: float = 180
    stop_seconds: float = 15
    stop_signal: int = signal.SIGTERM

    def __init__(self, name: str, log_file: Path, process: ProcessRef | None = None) -> None:
        self.name = name
        self.log_file = log_file
        self.process = process
        self._log_start = 0

    @abstractmethod
    def command(self) -> Command:
        """Return what to execute."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the program does its work now; never raises."""

    def prepare(self) -> None:  # noqa: B027 - most programs need nothing
        """Make what the program needs before it starts; repeated at each start."""

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and processes.is_alive(self.process)

    def start(self) -> ProcessRef:
        """Start the program unless it runs, without waiting until it is ready."""
        if self.process is not None and processes.is_alive(self.process):
            return self.process
        self.prepare()
        command = self.command()
        processes.rotate(self.log_file)
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.process = processes.spawn(
            command.argv, env=command.env, log_file=self.log_file, cwd=Path("/")
        )
        return self.process

    def wait_ready(self, timeout_seconds: float | None = None) -> None:
        """Return once the program is ready; raises NotReadyError on its death or a time-out."""
        timeout = self.ready_seconds if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + timeout
        while not self.is_ready() or not self.is_alive:
            if not self.is_alive:
                raise self._not_ready("ended before it was ready")
            if time.monotonic() > deadline:
                raise self._not_ready(f"was not ready after {timeout:.0f} seconds")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the program, by force where it does not end in time."""
        if self.process is not None:
            processes.stop(self.process, signum=self.stop_signal, timeout_seconds=self.stop_seconds)

    def kill(self) -> None:
        """Kill the program as a crash would: its children are left to notice."""
        if self.process is not None:
            processes.crash(self.process)

    def _not_ready(self, what: str) -> NotReadyError:
        tail = processes.last_lines(self.log_file, _LINES_SHOWN, start=self._log_start)
        shown = "\n".join(f"  {line}" for line in tail) or "  (nothing)"
        return NotReadyError(f"{self.name} {what}. The last lines of {self.log_file}:\n{shown}")


def answers_ok(url: str, *, timeout_seconds: float = 2) -> bool:
    """Return whether a GET of *url* is answered by status 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_seconds) as response:
            return bool(response.status == _HTTP_OK)
    except (urllib.error.URLError, HTTPException, OSError):
        return False

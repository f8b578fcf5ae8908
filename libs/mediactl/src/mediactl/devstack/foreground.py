"""
Programs that a command runs and waits for.

Invariant: none of them outlives the command, and each has had its time to tidy up.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ENDED = -signal.SIGTERM


class Foreground:
    """
    Runs programs in *root*, from several threads as well.

    What is to end before its time, by Ctrl-C, which reaches all of them, or by SIGTERM, is waited
    for: it may have programs of its own to stop. None is started after that.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: set[subprocess.Popen[str]] = set()
        self._is_over = False
        signal.signal(signal.SIGTERM, lambda *_: self.end())

    def end(self) -> None:
        """Ask all programs to end, and start no other."""
        self._is_over = True
        for running in tuple(self._running):
            running.terminate()

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Run *command* to its end and return its code."""
        if self._is_over:
            return _ENDED
        with self._started(command, environment) as running:
            try:
                return running.wait()
            except KeyboardInterrupt:
                running.wait()
                raise

    def run_told_whole(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> int:
        """Run *command*, show all that it said once it has ended, and return its code."""
        if self._is_over:
            return _ENDED
        whole = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with self._started(command, environment, **whole) as running:
            said, _ = running.communicate()
        sys.stdout.write(f"$ {name}\n{said}")
        sys.stdout.flush()
        return running.returncode

    @contextmanager
    def _started(
        self, command: Sequence[str], environment: Mapping[str, str] | None, **streams: Any
    ) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            command, cwd=self._root, env=environment, text=True, **streams
        ) as running:
            self._running.add(running)
            if self._is_over:  # meanwhile
                running.terminate()
            try:
                yield running
            finally:
                self._running.discard(running)

"""
Shows the logs of programs that run as plain processes.

Lines of several programs are told apart by the program's name in front.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mediactl.devstack.home import Home
from mediactl.devstack.processes import last_lines
from mediactl.devstack.services import split_replica
from mediactl.errors import UsageError

_POLL_SECONDS = 0.2


def log_files(home: Home, name: str | None) -> list[Path]:
    """Return the logs of all programs, or those of *name* and its replicas; raises UsageError."""
    known = sorted(home.logs.glob("*.log"), key=lambda file: file.stem)
    if name is None:
        return [file for file in known if not file.stem.startswith("install-")]
    found = [file for file in known if file.stem == name or split_replica(file.stem)[0] == name]
    if not found:
        names = ", ".join(file.stem for file in known) or "none yet"
        raise UsageError(f"There is no log of {name!r}; there are: {names}.")
    return found


def tail_all(files: Sequence[Path], count: int) -> Iterator[str]:
    """Return the last *count* lines of each file, one file after the other."""
    for file in files:
        yield from _labelled(file, last_lines(file, count), alone=len(files) == 1)


def follow_all(files: Sequence[Path], *, go_on: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """Return lines as they are written, until *go_on* says no."""
    tails = [_Tail(file) for file in files]
    for tail in tails:
        tail.skip()
    while go_on():
        fresh = [line for tail in tails for line in tail.lines(alone=len(files) == 1)]
        yield from fresh
        if not fresh:
            time.sleep(_POLL_SECONDS)


@dataclass
class _Tail:
    """One followed file; a file that became shorter was replaced and is read from its start."""

    file: Path
    position: int = 0
    rest: bytes = field(default=b"")

    def skip(self) -> None:
        self.position = self.file.stat().st_size if self.file.exists() else 0

    def lines(self, *, alone: bool) -> Iterator[str]:
        *complete, self.rest = (self.rest + self._read()).split(b"\n")
        text = [line.decode(errors="replace") for line in complete]
        return _labelled(self.file, text, alone=alone)

    def _read(self) -> bytes:
        try:
            with self.file.open("rb") as log:
                size = log.seek(0, 2)
                log.seek(self.position if size >= self.position else 0)
                read = log.read()
                self.position = log.tell()
                return read
        except FileNotFoundError:
            return b""


def _labelled(file: Path, lines: Iterable[str], *, alone: bool) -> Iterator[str]:
    for line in lines:
        yield line if alone else f"{file.stem:<12} {line}"

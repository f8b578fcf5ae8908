"""
What programs that open media take on the CPU, for whoever asks.

The sandbox's own process does not wait for what it runs, so that the kernel adds the program's time
to nobody's: a shell beside the program tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

COUNTING = ("/bin/sh", "-c", '"$@"; code=$?; times >&2; exit "$code"', "sh")
"""Comes before a program, whose time on the CPU is then the last of what it says as an error."""
_TIME = r"(\d+)m(\d+(?:\.\d+)?)s"
# As POSIX has it: of the shell, and of what it has run.
_TIMES = re.compile(rf"{_TIME} {_TIME}\r?\n{_TIME} {_TIME}\s*\Z")
_MINUTE = 60


@dataclass(frozen=True)
class Run:
    """A command that was run: a program in its version, where that is known, and its arguments."""

    program: str
    version: str | None
    arguments: Sequence[str]


@dataclass
class Meter:
    """Seconds on the CPU of all threads, and the commands that took them, without their paths."""

    cpu_seconds: float = 0.0
    commands: list[Run] = field(default_factory=list)


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Give what is filled in while programs end that are run for the block."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def note(run: Run) -> None:
    """Note a command that was run."""
    if meter := _METER.get():
        meter.commands.append(run)


def count(said: str) -> str:
    """Count the time that is the last of what was *said*, if it is, and return the rest."""
    found = _TIMES.search(said)
    if found is None:
        return said
    if meter := _METER.get():
        numbers = [float(number) for number in found.groups()]
        minutes, seconds = sum(numbers[::2]), sum(numbers[1::2])
        meter.cpu_seconds += minutes * _MINUTE + seconds
    return said[: found.start()]

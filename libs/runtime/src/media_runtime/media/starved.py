"""Tells a program that does nothing from one that the machine gives no time to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_LOOKS, _PAUSE_SECONDS = 8, 0.5
# One that works alone on a core has nearly all of the time.
_LEAST_SHARE = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")
_RUNNABLE = frozenset("RD")


class Seen(NamedTuple):
    """What the processes of a program had on the CPU so far, and whether one wants more."""

    cpu_seconds: float
    wants_more: bool


async def is_starved(pid: int) -> bool:
    """
    Return whether the program that *pid* began wants to go on and gets next to no time.

    It looks for four seconds. A program that waits for something that never comes wants nothing.
    """
    first = last = seen(pid)
    for _ in range(_LOOKS):
        if not last.wants_more:
            return False
        await asyncio.sleep(_PAUSE_SECONDS)
        last = seen(pid)
    return last.cpu_seconds - first.cpu_seconds < _LEAST_SHARE * _LOOKS * _PAUSE_SECONDS


def seen(pid: int) -> Seen:
    """Return what is seen of a process and all that it began, as far as they run."""
    stats = dict(_stats(Path("/proc")))
    family = family_of(pid, stats)
    ticks = sum(sum(map(int, _words(stats[one])[11:13])) for one in family)
    threads = (
        stat for one in family for _, stat in _stats(Path("/proc") / str(one) / "task")
    )  # a program's first thread may wait for its others
    return Seen(ticks / _TICKS, any(_words(stat)[0] in _RUNNABLE for stat in threads))


def family_of(pid: int, stats: Mapping[int, str]) -> set[int]:
    """Return a process and all that it began, by what /proc/PID/stat says of each process."""
    parents = {one: int(_words(stat)[1]) for one, stat in stats.items()}
    family = {pid} & parents.keys()
    while more := {one for one, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _words(stat: str) -> list[str]:
    # The name before may have spaces and parentheses of its own.
    return stat.rpartition(")")[2].split()


def _stats(folder: Path) -> Iterator[tuple[int, str]]:
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.isdecimal():
                with suppress(OSError):  # it has ended
                    yield int(path.name), (path / "stat").read_text(errors="replace")

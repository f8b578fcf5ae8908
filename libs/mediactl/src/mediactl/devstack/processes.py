"""
Programs in the background: start, look, stop, read their logs.

Invariant: a process is known by its id, its start time *and* the run of the system it belongs
to, so a recycled id is never taken for ours and never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mediactl.errors import MediactlError

_POLL_SECONDS = 0.02
_LOG_ROTATE_BYTES = 20_000_000
_TICKS = os.sysconf("SC_CLK_TCK")

# Children of this very process must be reaped, else they stay visible as zombies.
_children: set[int] = set()


UNKNOWN_ERA = ""
"""Of a reference written before eras were: good for a live process, not for what one left."""


@cache
def current_era() -> str:
    """
    Return what tells this run of the machine or container from every other one.

    Ids and ticks begin anew after a reboot or in a recreated container.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    first = _stat(1)
    return f"{boot}:{first.started if first else 0}"


@dataclass(frozen=True)
class ProcessRef:
    """One process for ever: ``started`` is its start in clock ticks since boot."""

    pid: int
    started: int
    era: str = field(default_factory=current_era)


@dataclass(frozen=True)
class Usage:
    """How long a process has run and what it holds, its descendants included."""

    uptime_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class _Stat:
    pid: int
    state: str
    parent: int
    session: int
    threads: int
    started: int

    @property
    def has_ended(self) -> bool:
        """Whether all is over: while other threads end, their process still holds its ports."""
        return self.state in "ZX" and self.threads <= 1


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], log_file: Path, cwd: Path | None = None
) -> ProcessRef:
    """
    Start *argv* detached, in a session of its own, with its output appended to *log_file*.

    Raises MediactlError where the program cannot be executed.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        try:
            child = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise MediactlError(f"Cannot start {argv[0]}: {error.strerror}.") from error
    # Popen would warn of a process that outlives this one; _reap() waits for it instead.
    child.returncode = 0
    _children.add(child.pid)
    stat = _stat(child.pid)
    return ProcessRef(child.pid, stat.started if stat else 0)


def is_alive(ref: ProcessRef) -> bool:
    """Return whether exactly this process still runs; one that only awaits its reaper does not."""
    _reap(ref.pid)
    stat = _stat(ref.pid)
    if stat is None or ref.era not in {UNKNOWN_ERA, current_era()}:
        return False
    return stat.started == ref.started and not stat.has_ended


def stop(ref: ProcessRef, *, signum: int = signal.SIGTERM, timeout_seconds: float = 15) -> bool:
    """
    Ask the process to end, then kill its session; returns whether it ended by itself.

    A process that is gone already counts as ended; what it left behind is killed.
    """
    if is_alive(ref):
        _signal(ref.pid, signum)
    ended = wait_until(lambda: not is_alive(ref), timeout_seconds=timeout_seconds)
    kill(ref)
    return ended


def kill(ref: ProcessRef) -> None:
    """Kill the process, its descendants and its session, and wait until all are gone."""
    family = _references(_family(ref.pid)) if is_alive(ref) else []
    wait_until(lambda: _kill_session(ref) + _kill_all(family) == 0, timeout_seconds=10)
    _reap(ref.pid)


def crash(ref: ProcessRef) -> None:
    """Kill this one process, as the kernel does when memory runs out, and wait for its end."""
    if is_alive(ref):
        _signal(ref.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(ref), timeout_seconds=10)


def usage(ref: ProcessRef) -> Usage | None:
    """Return the usage of a live process, or None."""
    if not is_alive(ref):
        return None
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    family = _family(ref.pid)
    return Usage(
        uptime_seconds=max(0.0, uptime - ref.started / _TICKS),
        memory_bytes=sum(_memory(pid) for pid in family),
    )


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float) -> bool:
    """Poll *condition* until it holds; returns False when the time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def last_lines(log_file: Path, count: int, *, start: int = 0) -> list[str]:
    """Return the last *count* lines of a log from byte *start*; nothing where there is none."""
    try:
        with log_file.open(encoding="utf-8", errors="replace") as log:
            log.seek(start)
            return [line.rstrip("\n") for line in deque(log, maxlen=count)]
    except FileNotFoundError:
        return []


def rotate(log_file: Path) -> None:
    """Put a log that has grown large aside; the one put aside before is dropped."""
    if log_file.exists() and log_file.stat().st_size > _LOG_ROTATE_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))


def _reap(pid: int) -> None:
    if pid not in _children:
        return
    try:
        ended, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # another thread was first
        ended = pid
    if ended:
        _children.discard(pid)


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name is in brackets and may itself hold spaces and brackets.
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[17]), int(fields[19]))


def _all_stats() -> Iterator[_Stat]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None:
                yield stat


def _kill_session(ref: ProcessRef) -> int:
    # While members of a session live, the kernel gives its id to no new process; a process
    # that has the id but another start time therefore means that the session is gone.
    _reap(ref.pid)
    leader = _stat(ref.pid)
    if ref.era != current_era() or (leader is not None and leader.started != ref.started):
        return 0
    members = [
        stat
        for stat in _all_stats()
        if stat.session == ref.pid and stat.started >= ref.started and not stat.has_ended
    ]
    for member in members:
        _signal(member.pid, signal.SIGKILL)
    return len(members)


def _kill_all(refs: Sequence[ProcessRef]) -> int:
    alive = [ref for ref in refs if is_alive(ref)]
    for ref in alive:
        _signal(ref.pid, signal.SIGKILL)
    return len(alive)


def _references(pids: Collection[int]) -> list[ProcessRef]:
    stats = [_stat(pid) for pid in pids]
    return [ProcessRef(stat.pid, stat.started) for stat in stats if stat is not None]


def _signal(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise MediactlError(
            f"Process {pid} belongs to another user; run this as the user who ran mediactl up."
        ) from error


def _family(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in _all_stats():
        children.setdefault(stat.parent, []).append(stat.pid)
    family, queue = {pid}, [pid]
    while queue:
        found = set(children.get(queue.pop(), [])) - family
        family |= found
        queue.extend(found)
    return family


def _memory(pid: int) -> int:
    # Pss counts a page shared by n processes as 1/n, so that the sum over a family is true.
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0

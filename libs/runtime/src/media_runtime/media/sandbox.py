"""
The sandbox in which programs open what strangers uploaded.

Invariant: a sandboxed program has no network and no capability, sees the system's programs, the
one file that it reads and the one folder that it writes, and nothing of the environment; it
writes nowhere else, not even into memory, and gives nothing there another name than a file's; each
process's memory and time, their number, and the size of each file are limited.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import structlog
from media_runtime.media.seccomp import sandbox_filter

log = structlog.get_logger(__name__)

SandboxKind = Literal["bubblewrap", "none"]

_NOBODY = "65534"
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/")
_LINKER = ("/etc/ld.so.cache", "/etc/alternatives")
_TRY_SECONDS = 10
# After the soft limit comes SIGXCPU, which tells it from the kernel's own SIGKILL.
_CPU_GRACE_SECONDS = 5


class SandboxError(RuntimeError):
    """The sandbox that the settings ask for does not work on this machine."""


@dataclass(frozen=True)
class Limits:
    """
    What one program may use. ``cpu_seconds`` is of all its threads together.

    The kernel does not count the ``processes`` of root: no service should run as root. Memory
    is of each process, address space and not what is used: all of them together, and what they
    share by memfd or shm, are for the service's own cgroup to limit.
    """

    cpu_seconds: int
    memory_bytes: int = 4 * 1024**3
    file_bytes: int = 8 * 1024**3
    processes: int = 256
    open_files: int = 64


class Sandbox:
    """How programs are run on this machine: ``bubblewrap``, or ``none`` with limits alone."""

    def __init__(self, kind: SandboxKind) -> None:
        """Raise SandboxError unless the sandbox works here."""
        self.kind: SandboxKind = kind
        if kind == "none":
            log.warning("no_sandbox", advice="Never in production: set SANDBOX=bubblewrap.")
        elif problem := _problem(()):
            raise SandboxError(
                f"The sandbox does not work here: {problem} Install bubblewrap and allow user"
                " namespaces; or, where nobody uploads but you, set SANDBOX=none and"
                " MEDIA_ENV=development."
            )
        else:
            _closing()  # not while the event loop waits

    def command(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        limits: Limits,
        reads: Path | None = None,
        writes: Path | None = None,
        libraries: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> list[str]:
        """
        Return the command that runs *program*, a path, on *arguments* in this sandbox.

        It may read the file *reads* and write into the folder *writes*, at the paths that
        they have outside; where the file lies in the folder, it stays read-only. *libraries*
        are folders that the program itself needs, and *environment* is all that it gets. What
        comes *before* it in the sandbox is a command that runs its arguments.

        Start it in a session of its own, from a thread that outlives it, and end it by SIGKILL to
        its process group. When this process dies, all of the group is killed.
        """
        variables = {"LANG": "C.UTF-8", **(environment or {})}
        walls: list[str] = []
        if self.kind == "bubblewrap":
            own = [] if program.startswith(_SYSTEM) else [Path(program).parent]
            walls = _walls([*own, *libraries], reads, writes, variables, _closing())
        limited = [*_limited(limits), *before, program, *arguments]
        return [*_with_environment(variables), *_dying_with_us(), *walls, *limited]


def _walls(
    libraries: Sequence[Path],
    reads: Path | None,
    writes: Path | None,
    variables: Mapping[str, str],
    closing: Sequence[str],
) -> list[str]:
    folder = [] if writes is None else ["--bind", str(writes), str(writes)]
    file = [] if reads is None else ["--ro-bind", str(reads), str(reads)]
    return [
        *(_bubblewrap(), "--unshare-all", "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY),
        *("--cap-drop", "ALL", "--die-with-parent"),
        "--clearenv",
        *(word for name, value in variables.items() for word in ("--setenv", name, value)),
        *_system(),
        *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *(word for path in libraries for word in ("--ro-bind", str(path), str(path))),
        *folder,
        *file,
        # All is mounted on memory: half of the machine's, which no limit counts.
        *("--remount-ro", "/", *closing, "--chdir", "/"),
        *(("--seccomp", _FILTER_FD) if _filter() else ()),
        "--",
    ]


def _limited(limits: Limits) -> list[str]:
    cpu = limits.cpu_seconds
    return [
        _find("prlimit"),
        f"--cpu={cpu}:{cpu + _CPU_GRACE_SECONDS}",
        f"--as={limits.memory_bytes}",
        f"--fsize={limits.file_bytes}",
        f"--nproc={limits.processes}",
        f"--nofile={limits.open_files}",
        "--core=0",
        "--",
    ]


def _with_environment(variables: Mapping[str, str]) -> list[str]:
    # The sandbox's own process is seen from inside, with the environment that it was started in.
    return [_find("env"), "-i", *(f"{name}={value}" for name, value in variables.items())]


# The kernel sends a signal when the thread that forked a process ends, though not to processes of
# that process: bubblewrap's own waits for it, for ever, where it dies while it sets the walls up.
# Hence a shell between, which then kills the whole group. One whose parent had died before it
# asked for the signal gets none, but has another parent.
_KILL_ALL_WITH_US = """
[ "$PPID" = "$1" ] || exit 1
filter=$2
shift 2
trap 'kill -s KILL 0' TERM
"$@" <&0 9<"$filter" &
wait "$!"
"""
_FILTER_FD = "9"


def _dying_with_us() -> tuple[str, ...]:
    shell = ("/bin/sh", "-c", _KILL_ALL_WITH_US, "sh", str(os.getpid()), _filter() or os.devnull)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return shell
    return (setpriv, "--pdeathsig", "TERM", "--no-new-privs", "--", *shell)


@cache
def _filter() -> str | None:
    """Return the path of the filter of system calls, in memory that lasts as this process does."""
    program = sandbox_filter()
    if program is None:
        log.warning("sandbox_filters_no_system_calls", machine=platform.machine())
        return None
    descriptor = os.memfd_create("sandbox-filter")
    os.write(descriptor, program)
    return f"/proc/{os.getpid()}/fd/{descriptor}"


@cache
def _system() -> tuple[str, ...]:
    words: list[str] = []
    for path in (folder.rstrip("/") for folder in _SYSTEM):
        if os.path.islink(path):  # noqa: PTH114 - where /usr is merged
            words += ["--symlink", os.readlink(path), path]  # noqa: PTH115
        elif os.path.isdir(path):  # noqa: PTH112
            words += ["--ro-bind", path, path]
    for path in _LINKER:
        words += ["--ro-bind-try", path, path]
    return tuple(words)


@cache
def _closing() -> tuple[str, ...]:
    """
    Return the option that forbids further user namespaces, where it works.

    In one of its own a program would be root, and reach more of the kernel. bubblewrap has the
    option since 0.8, and needs a /proc/sys that can be written, which not all containers have.
    """
    option = ("--disable-userns",)
    problem = _problem(option)
    if problem is None:
        return option
    log.warning("sandbox_allows_user_namespaces", why=problem)
    return ()


def _problem(closing: Sequence[str]) -> str | None:
    """Return why bubblewrap does not work here, as a sentence, or None."""
    walls = _walls([], None, None, {}, closing)
    limited = [*_limited(Limits(cpu_seconds=1)), _find("true")]
    command = [*_with_environment({}), *_dying_with_us(), *walls, *limited]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, timeout=_TRY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}."
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip() + "."


def _bubblewrap() -> str:
    return _find("bwrap")


def _find(program: str) -> str:
    return shutil.which(program) or program


def main() -> int:
    """Say whether the sandbox works on this machine: ``python -m media_runtime.media.sandbox``."""
    try:
        Sandbox("bubblewrap")
    except SandboxError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write("bubblewrap works: no network, no other file, no capability, limits.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""
Programs from the distribution's packages: what is missing, and installing it where allowed.

Invariant: a PostgreSQL cluster of the system is neither made, started nor changed; the
package alone is wanted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mediactl.errors import MissingToolsError
from mediactl.home import Home
from mediactl.native import tools
from mediactl.native.steps import run_logged
from mediactl.progress import Progress, step

_CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.d/mediactl.conf")
_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")


@dataclass(frozen=True)
class Requirement:
    """A program that comes with *package*, and how to see whether it is there."""

    package: str
    purpose: str
    find: Callable[[], Path | None]


FFMPEG = Requirement(
    "ffmpeg", f"ffmpeg and ffprobe, {tools.FFMPEG_AT_LEAST} or newer", tools.find_ffmpeg
)
BUBBLEWRAP = Requirement(
    "bubblewrap", "bubblewrap, the jail in which uploads are opened", tools.find_bubblewrap
)
POSTGRES = Requirement(
    "postgresql",
    f"the PostgreSQL server, {tools.POSTGRES_AT_LEAST} or newer",
    tools.find_postgres_binaries,
)
JAVA = Requirement(
    "default-jre-headless", f"Java, {tools.JAVA_AT_LEAST} or newer, to run Kafka", tools.find_java
)
MAVEN = Requirement("maven", "Maven, to fetch Kafka", tools.find_maven)


def missing(requirements: Sequence[Requirement]) -> list[Requirement]:
    """Return which of *requirements* this machine lacks."""
    return [requirement for requirement in requirements if requirement.find() is None]


def may_install() -> bool:
    """Return whether this user may install packages with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def check_installable(lacking: Sequence[Requirement]) -> None:
    """Raise MissingToolsError with the whole list where something is missing for good."""
    if lacking and not may_install():
        raise MissingToolsError(_explain(lacking))


def install(lacking: Sequence[Requirement], home: Home, progress: Progress) -> None:
    """Install the packages of *lacking*; raises MissingToolsError where they are too old."""
    if not lacking:
        return
    names = sorted({requirement.package for requirement in lacking})
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log_file = home.log_file("install-apt")
    with step(progress, "apt", f"installing {', '.join(names)}"), _no_cluster_of_the_system():
        run_logged([*_APT, "update", "-q"], env=env, log_file=log_file)
        words = ["install", "-q", "-y", "--no-install-recommends", *names]
        run_logged([*_APT, *words], env=env, log_file=log_file)
    still = missing(lacking)
    if still:
        raise MissingToolsError(
            _listed("The packages of this distribution are too old. mediactl needs:", still)
            + "\nInstall newer ones, or use Docker or servers of your own."
        )


def _explain(lacking: Sequence[Requirement]) -> str:
    names = " ".join(sorted({requirement.package for requirement in lacking}))
    command = f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}"
    if shutil.which("apt-get") is None:
        command = f"(the package manager of this system; the names on Debian are: {names})"
    return (
        _listed("This machine lacks programs that mediactl may not install as this user:", lacking)
        + f"\nInstall them with:\n  {command}\nthen run the same mediactl command again."
    )


def _listed(title: str, lacking: Sequence[Requirement]) -> str:
    return "\n".join([title, *(f"  {r.package}: {r.purpose}" for r in lacking)])


@contextmanager
def _no_cluster_of_the_system() -> Iterator[None]:
    # Debian's server package makes and starts a cluster when it is installed for the first
    # time, unless this file, which it includes, says otherwise.
    if Path("/usr/lib/postgresql").exists() or _CREATE_CLUSTER.exists():
        yield
        return
    _CREATE_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    _CREATE_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        _CREATE_CLUSTER.unlink(missing_ok=True)

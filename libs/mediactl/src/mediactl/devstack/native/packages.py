"""
Programs from the distribution's packages: what is missing, and installing it where allowed.

Invariant: the programs alone are wanted: no PostgreSQL cluster of the system is made, started
or changed, and no service that a package brings along runs or is enabled afterwards.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mediactl.devstack.home import Home
from mediactl.devstack.native import tools
from mediactl.devstack.native.steps import run_logged
from mediactl.errors import MissingToolsError
from mediactl.progress import Progress, step

_CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.d/mediactl.conf")
_POLICY = Path("/usr/sbin/policy-rc.d")
_UNITS = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")


@dataclass(frozen=True)
class Requirement:
    """
    A program that comes with *package*, and how to see whether it is there.

    ``service`` is what the package would run on its own.
    """

    package: str
    purpose: str
    find: Callable[[], Path | None]
    service: str | None = None


FFMPEG = Requirement(
    "ffmpeg", f"ffmpeg and ffprobe, {tools.FFMPEG_AT_LEAST} or newer", tools.find_ffmpeg
)
BUBBLEWRAP = Requirement(
    "bubblewrap", "bubblewrap, the sandbox in which uploads are opened", tools.find_bubblewrap
)
POSTGRES = Requirement(
    "postgresql",
    f"the PostgreSQL server, {tools.POSTGRES_AT_LEAST} or newer",
    tools.find_postgres_binaries,
)
JAVA = Requirement(
    "default-jre-headless", f"Java, {tools.JAVA_AT_LEAST} or newer, to run Kafka", tools.find_java
)
PROMETHEUS = Requirement("prometheus", "Prometheus", tools.find_prometheus, service="prometheus")
ALERTMANAGER = Requirement(
    "prometheus-alertmanager",
    "Alertmanager, which sends Prometheus's alerts",
    tools.find_alertmanager,
    service="prometheus-alertmanager",
)
NGINX = Requirement(
    "nginx", "nginx, the edge before the services and storage", tools.find_nginx, service="nginx"
)
NGINX_JS = Requirement(
    "libnginx-mod-http-js", "nginx's module for JavaScript, which checks links", tools.find_nginx
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
    services = [r.service for r in lacking if r.service and not _has_unit(r.service)]
    with (
        step(progress, "apt", f"installing {', '.join(names)}"),
        _no_cluster_of_the_system(),
        _no_service_of_the_system(services, log_file),
    ):
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


@contextmanager
def _no_service_of_the_system(services: Sequence[str], log_file: Path) -> Iterator[None]:
    # Debian starts and enables a package's service when it is installed. Whether it may start
    # is asked of this program; one that is there already is somebody else's and stays.
    ours = bool(services) and not _POLICY.exists()
    if ours:
        _POLICY.write_text(_policy(services))
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
        for service in filter(_has_unit, services):
            _switch_off(service, log_file)


def _policy(services: Sequence[str]) -> str:
    refused = "|".join(f"{service}|{service}.service" for service in services)
    return (
        "#!/bin/sh\n# Of mediactl, while it installs packages.\n"
        f'case "$1" in {refused}) exit 101 ;; esac\nexit 0\n'
    )


def _has_unit(service: str) -> bool:
    return any((directory / f"{service}.service").exists() for directory in _UNITS)


def _switch_off(service: str, log_file: Path) -> None:
    run_logged(["update-rc.d", service, "disable"], env=os.environ, log_file=log_file)
    if Path("/run/systemd/system").exists():
        stop = ["systemctl", "disable", "--now", service]
        run_logged(stop, env=os.environ, log_file=log_file)

"""Looks at a machine and its stack for what is missing or unsafe."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from media_runtime.catalog import needing
from mediactl.devstack.native import packages
from mediactl.devstack.providers import COMPOSE, NATIVE
from rich.table import Table

_SECONDS = 15.0
# In containers the images have them all.
_OF_SERVICES = (packages.FFMPEG, packages.BUBBLEWRAP)
_PROGRAMS = (
    *(*_OF_SERVICES, packages.POSTGRES, packages.JAVA),
    *(packages.PROMETHEUS, packages.ALERTMANAGER),
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    about: str

    def as_json(self) -> dict[str, Any]:
        """Return the finding for ``doctor --json``."""
        return asdict(self)


def examine(provider: str, variables: Mapping[str, str]) -> list[Finding]:
    """
    Return what was found: what *provider* needs of this machine, and the sandboxs in force.

    *variables* are those that ``up`` published, or none.
    """
    return [*_needs(provider), *_sandboxs_in_force(variables)]


def findings_table(findings: list[Finding]) -> Table:
    """Return the findings for a person."""
    table = Table("what", "", "about", box=None, pad_edge=False, header_style="bold")
    for finding in findings:
        mark = "[green]ok" if finding.ok else "[red]wrong"
        table.add_row(finding.name, mark, finding.about)
    return table


def _needs(provider: str) -> Iterator[Finding]:
    if provider == COMPOSE:
        yield _docker()
        return
    yield from _programs(_PROGRAMS if provider == NATIVE else _OF_SERVICES)
    yield _sandbox()


def _docker() -> Finding:
    command = ["docker", "compose", "version"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("docker compose", False, str(error))
    about = done.stdout.strip() or done.stderr.strip()[-500:]
    return Finding("docker compose", done.returncode == 0, about)


def _programs(wanted: Sequence[packages.Requirement]) -> Iterator[Finding]:
    for one in wanted:
        found = one.find()
        about = str(found) if found else f"missing: {one.purpose} (package {one.package})"
        yield Finding(one.package, found is not None, about)


def _sandbox() -> Finding:
    command = [sys.executable, "-P", "-m", "media_runtime.media.sandbox"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Finding(
        "sandbox", done.returncode == 0, done.stdout.strip() or done.stderr.strip()[-500:]
    )


def _sandboxs_in_force(variables: Mapping[str, str]) -> Iterator[Finding]:
    for service in needing("media"):
        url = variables.get(f"{service.upper()}_METRICS_URL")
        if url is None:
            continue
        name = f"sandbox of {service}"
        try:
            answer = httpx.get(
                url.removesuffix("/metrics") + "/readyz", timeout=_SECONDS, trust_env=False
            )
            sandbox = str(answer.json().get("sandbox"))
        except (httpx.HTTPError, ValueError) as error:
            yield Finding(name, False, f"does not answer: {error!r}")
        else:
            safe = sandbox == "bubblewrap"
            yield Finding(
                name, safe, sandbox if safe else f"{sandbox}: uploads are opened without walls"
            )

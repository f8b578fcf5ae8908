"""Looks at a machine and its stack for what is missing or unsafe."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from mediactl.native import packages
from rich.table import Table

_OPENERS = ("ingest", "thumbnailer")
_SECONDS = 15.0
_PROGRAMS = (
    *(packages.FFMPEG, packages.BUBBLEWRAP, packages.POSTGRES, packages.JAVA),
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


def examine(variables: Mapping[str, str]) -> list[Finding]:
    """Return what was found; *variables* are those that ``up`` published, or none."""
    return [*_programs(), _jail(), *_jails_in_force(variables)]


def findings_table(findings: list[Finding]) -> Table:
    """Return the findings for a person."""
    table = Table("what", "", "about", box=None, pad_edge=False, header_style="bold")
    for finding in findings:
        mark = "[green]ok" if finding.ok else "[red]wrong"
        table.add_row(finding.name, mark, finding.about)
    return table


def _programs() -> Iterator[Finding]:
    for one in _PROGRAMS:
        found = one.find()
        about = str(found) if found else f"missing: {one.purpose} (package {one.package})"
        yield Finding(one.package, found is not None, about)


def _jail() -> Finding:
    command = [sys.executable, "-P", "-m", "media_runtime.jail"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Finding("jail", done.returncode == 0, done.stdout.strip() or done.stderr.strip()[-500:])


def _jails_in_force(variables: Mapping[str, str]) -> Iterator[Finding]:
    for service in _OPENERS:
        url = variables.get(f"{service.upper()}_METRICS_URL")
        if url is None:
            continue
        name = f"jail of {service}"
        try:
            answer = httpx.get(
                url.removesuffix("/metrics") + "/readyz", timeout=_SECONDS, trust_env=False
            )
            jail = str(answer.json().get("jail"))
        except (httpx.HTTPError, ValueError) as error:
            yield Finding(name, False, f"does not answer: {error!r}")
        else:
            safe = jail == "bubblewrap"
            yield Finding(name, safe, jail if safe else f"{jail}: uploads are opened without walls")

"""
What the system is made of: known vulnerabilities, licences and bills of material of the locks.

The work is done by pip-audit, pip-licenses and cyclonedx-py; what is accepted, and why, stands in
pyproject.toml under ``tool.media``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from mediactl.errors import MediactlError, UsageError

_AUDIT_SECONDS = 120


@dataclass(frozen=True)
class Vulnerability:
    """A known one; ``accepted`` is the reason why it may stay for now, or None."""

    package: str
    version: str
    id: str
    fixed_in: tuple[str, ...]
    accepted: str | None = None


@dataclass(frozen=True)
class Audit:
    """
    What an audit found, in how many packages; ``skipped`` are not in the database.

    ``unreachable`` says why it could not look at all.
    """

    packages: int
    skipped: int = 0
    vulnerabilities: tuple[Vulnerability, ...] = ()
    unreachable: str | None = None

    @property
    def passes(self) -> bool:
        """Whether nothing was found that is not accepted."""
        return all(one.accepted for one in self.vulnerabilities)


@dataclass(frozen=True)
class Licence:
    """The licence of a package; ``accepted`` is whether the project takes it."""

    package: str
    version: str
    licence: str
    accepted: bool


def audit(root: Path, *, today: date) -> Audit:
    """Look up every locked package; without the database the answer is an unreachable Audit."""
    lock = str(root / "requirements.lock")
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    try:
        done = _run("pip_audit", ["-r", lock, *options], seconds=_AUDIT_SECONDS)
    except subprocess.TimeoutExpired:
        return Audit(0, unreachable=f"no answer within {_AUDIT_SECONDS} seconds")
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return Audit(0, unreachable=(done.stderr.strip() or "no answer").splitlines()[-1])
    return read_audit(found, _exceptions(root, today))


def read_audit(dependencies: Sequence[Mapping[str, Any]], accepted: Mapping[str, str]) -> Audit:
    """Return what pip-audit's list says; *accepted* has reasons by id."""
    looked_up = [one for one in dependencies if "skip_reason" not in one]
    if dependencies and not looked_up:
        return Audit(0, unreachable=str(dependencies[0]["skip_reason"]))
    vulnerabilities = [
        Vulnerability(
            package=one["name"],
            version=one["version"],
            id=found["id"],
            fixed_in=tuple(found["fix_versions"]),
            accepted=next((accepted[i] for i in _ids(found) if i in accepted), None),
        )
        for one in looked_up
        for found in one["vulns"]
    ]
    skipped = len(dependencies) - len(looked_up)
    return Audit(len(looked_up), skipped, tuple(vulnerabilities))


def licences(root: Path) -> list[Licence]:
    """Return the licence of every installed package of others."""
    settings = _settings(root)["licences"]
    done = _run("piplicenses", ["--format", "json", "--from", "mixed"])
    if done.returncode:
        raise MediactlError(f"pip-licenses failed: {done.stderr.strip()}")
    ours = {path.parent.name for path in root.glob("*/*/pyproject.toml")} | set(settings["ours"])
    return [
        Licence(
            one["Name"],
            one["Version"],
            one["License"],
            accepted=one["Name"] in settings["exceptions"]
            or is_accepted(one["License"], settings["accepted"]),
        )
        for one in json.loads(done.stdout)
        if one["Name"].replace("-", "_") not in ours
    ]


def is_accepted(expression: str, accepted: Sequence[str]) -> bool:
    """Return whether each part of a licence expression leaves a choice that is accepted."""
    parts = re.split(r"; | AND ", expression.replace("(", "").replace(")", ""))
    known = [one.replace("(", "").replace(")", "") for one in accepted]
    return all(any(choice in known for choice in part.split(" OR ")) for part in parts)


def bill_of_materials(root: Path, service: str | None) -> str:
    """Return the CycloneDX document, as JSON, of one service's lock or of the whole."""
    lock = root / "services" / service / "requirements.lock" if service else None
    lock = lock or root / "requirements.lock"
    if not lock.is_file():
        raise UsageError(f"There is no service {service!r}.")
    options = ["--output-format", "JSON", "--output-reproducible"]
    done = _run("cyclonedx_py", ["requirements", str(lock), *options])
    if done.returncode:
        raise MediactlError(f"cyclonedx-py failed: {done.stderr.strip()}")
    return done.stdout


def _ids(vulnerability: Mapping[str, Any]) -> tuple[str, ...]:
    return vulnerability["id"], *vulnerability.get("aliases", ())


def _exceptions(root: Path, today: date) -> dict[str, str]:
    found = _settings(root)["audit"]["exceptions"]
    return {one["id"]: one["reason"] for one in found if one["until"] >= today}


def _settings(root: Path) -> Any:
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["media"]


def _run(
    module: str, arguments: Sequence[str], *, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )

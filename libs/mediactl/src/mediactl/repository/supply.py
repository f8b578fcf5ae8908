"""
What the system is made of: known vulnerabilities, licences and bills of material of the locks.

The work is done by pip-audit, pip-licenses and cyclonedx-py; packages of npm and Maven, which they
do not know, are looked up here. What is accepted, and why, stands in pyproject.toml under
``tool.media``.

Invariant: an audit passes for want of a database alone; one that fails in any other way is an
error.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from mediactl.errors import MediactlError, UsageError
from mediactl.repository import pinned

OSV_URL = "https://api.osv.dev/v1/query"
_ANSWER_SECONDS = 5
_ERROR_CHARACTERS = 2000


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
    What an audit found, in how many packages; ``skipped`` were not looked up.

    ``unreachable`` says why it could not look at all.
    """

    packages: int
    skipped: int = 0
    vulnerabilities: tuple[Vulnerability, ...] = ()
    unreachable: str | None = None

    @property
    def passes(self) -> bool:
        """Whether all was looked up, and nothing found that is not accepted."""
        return not self.skipped and all(one.accepted for one in self.vulnerabilities)


@dataclass(frozen=True)
class Licence:
    """The licence of a package; ``accepted`` is whether the project takes it."""

    package: str
    version: str
    licence: str
    accepted: bool


def audit(root: Path, *, today: date, url: str = OSV_URL) -> Audit:
    """
    Look every locked package up in an OSV database, those of npm and Maven too.

    While the database is away the Audit is unreachable.

    Raises MediactlError where pip-audit fails although the database answers.
    """
    accepted = _exceptions(root, today)
    away = _no_answer(url)
    if away is not None:
        return Audit(0, unreachable=away)
    lock = str(root / "requirements.lock")
    done = _run(
        "pip_audit",
        [
            *("-r", lock, "--disable-pip", "--require-hashes"),
            *("--vulnerability-service", "osv", "--osv-url", url),
            *("--format", "json", "--progress-spinner", "off"),
        ],
    )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        away = _no_answer(url)
        if away is not None:
            return Audit(0, unreachable=away)
        raise MediactlError(f"pip-audit failed: {done.stderr[-_ERROR_CHARACTERS:]}") from error
    of_python = read_audit(found, accepted)
    others = pinned.packages(root)
    try:
        known = _known(others, accepted, url)
    except (httpx.HTTPError, ValueError) as error:
        return Audit(0, unreachable=str(error) or type(error).__name__)
    return replace(
        of_python,
        packages=of_python.packages + len(others),
        vulnerabilities=(*of_python.vulnerabilities, *known),
    )


def _known(
    wanted: Sequence[tuple[str, str, str]], accepted: Mapping[str, str], url: str
) -> list[Vulnerability]:
    """Return what the database at *url* knows of packages: ecosystem, name and version of each."""
    found = list[Vulnerability]()
    with httpx.Client(timeout=_ANSWER_SECONDS) as http:
        for ecosystem, name, version in wanted:
            question = {"package": {"name": name, "ecosystem": ecosystem}, "version": version}
            answer = http.post(url, json=question).raise_for_status().json()
            found += [
                Vulnerability(
                    package=name,
                    version=version,
                    id=one["id"],
                    fixed_in=_fixes(one, name),
                    accepted=next((accepted[i] for i in _ids(one) if i in accepted), None),
                )
                for one in answer.get("vulns", ())
            ]
    return found


def _fixes(vulnerability: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(
        event["fixed"]
        for affected in vulnerability.get("affected", ())
        if affected.get("package", {}).get("name") == name
        for known in affected.get("ranges", ())
        for event in known["events"]
        if "fixed" in event
    )


def _no_answer(url: str) -> str | None:
    """Return why the database does not answer a question, or None where it does."""
    question = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "0"}
    try:
        httpx.post(url, json=question, timeout=_ANSWER_SECONDS).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        return str(error) or type(error).__name__
    return None


def read_audit(dependencies: Sequence[Mapping[str, Any]], accepted: Mapping[str, str]) -> Audit:
    """Return what pip-audit's list says; *accepted* has reasons by id."""
    looked_up = [one for one in dependencies if "skip_reason" not in one]
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
    ours = members(root)
    return [
        Licence(
            one["Name"],
            one["Version"],
            one["License"],
            accepted=one["Name"] in settings["exceptions"]
            or is_accepted(one["License"], settings["accepted"]),
        )
        for one in json.loads(done.stdout)
        if one["Name"] not in ours
    ]


def members(root: Path) -> list[str]:
    """Return the names of the project's own packages."""
    found = [*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]
    return sorted(tomllib.loads(path.read_text())["project"]["name"] for path in found)


def is_accepted(expression: str, accepted: Sequence[str]) -> bool:
    """Return whether each part of a licence expression leaves a choice that is accepted."""
    parts = re.split(r"; | AND ", expression.replace("(", "").replace(")", ""))
    known = [one.replace("(", "").replace(")", "") for one in accepted]
    return all(any(choice in known for choice in part.split(" OR ")) for part in parts)


def bill_of_materials(root: Path, service: str | None) -> str:
    """
    Return the CycloneDX document, as JSON, of one service or of the whole.

    It has the packages of the lock, and what else is pinned: images, jars, programs.
    """
    lock = root / "services" / service / "requirements.lock" if service else None
    lock = lock or root / "requirements.lock"
    if not lock.is_file():
        raise UsageError(f"There is no service {service!r}.")
    # Its own validation takes up to ten seconds; a test validates what it makes of these locks.
    options = ["--output-format", "JSON", "--output-reproducible", "--no-validate"]
    done = _run("cyclonedx_py", ["requirements", str(lock), *options])
    if done.returncode:
        raise MediactlError(f"cyclonedx-py failed: {done.stderr.strip()}")
    document = json.loads(done.stdout)
    document["components"] += pinned.components(root, service)
    return json.dumps(document, indent=2) + "\n"


def _ids(vulnerability: Mapping[str, Any]) -> tuple[str, ...]:
    return vulnerability["id"], *vulnerability.get("aliases", ())


def _exceptions(root: Path, today: date) -> dict[str, str]:
    found = _settings(root)["audit"]["exceptions"]
    return {one["id"]: one["reason"] for one in found if one["until"] >= today}


def _settings(root: Path) -> Any:
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["media"]


def _run(module: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)

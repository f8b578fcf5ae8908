"""
Somebody who is woken by an alert and knows nothing but the runbook that it names.

They type its lines as they stand there, and fill in what the lines before have shown.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.runbooks import Runbook, filled, runbook

ROOT = Path(__file__).parents[2]
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOT_READY = re.compile(r"^(\w+) +(?:stopped|not ready)\b", re.MULTILINE)
_COUNTED = re.compile(r"failed since \w+: (.+)\.$", re.MULTILINE)
_LETTER = re.compile(r"^(\S+:\d+:\d+) .*\b(malformed|rejected|unexpected)\b", re.MULTILINE)


class NightShift:
    """Follows runbooks; a question of a command is answered with yes."""

    def __init__(self, *, quota_bytes: int) -> None:
        self._allowed = str(quota_bytes)
        self.typed: list[str] = []

    def follow(self, alert: Mapping[str, Mapping[str, str]]) -> None:
        """Look and cure as the runbook of a firing *alert* says; each line of a cure must work."""
        book = runbook(alert["annotations"]["runbook_url"].rpartition("/")[2])
        known = {"BYTES": [self._allowed]}
        if "job" in alert["labels"]:
            known["NAME"] = [alert["labels"]["job"]]
        shown = ""
        for line in book.look:
            shown += self._type(line, known)
            known = {**_learned(book, shown), **known}
        for line in _cure(book, shown):
            self._type(line, known, must_work=True)

    def _type(
        self, line: str, known: Mapping[str, Sequence[str]], *, must_work: bool = False
    ) -> str:
        """Type *line*, once for each of several dead letters, and return what is shown."""
        shown = ""
        for letter in known.get("ID", [""]) if re.search(r"\bID\b", line) else [""]:
            values = {name: found[0] for name, found in known.items()} | {"ID": letter}
            command = filled(line, values)
            self.typed.append(command)
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, env=os.environ, input="y\n",
                capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert not must_work or done.returncode == 0, (command, done.stdout, done.stderr)
            shown += done.stdout
        return shown


def _learned(book: Runbook, shown: str) -> dict[str, list[str]]:
    """Return what the words in capitals stand for, as far as it was *shown*."""
    codes = [word.split()[0] for counted in _COUNTED.findall(shown) for word in counted.split(",")]
    found = {
        "NAME": _NOT_READY.findall(shown),
        "COMPANY": _UUID.findall(shown),
        "ASSET": _UUID.findall(shown),
        "CODE": [code for code in codes if code in book.named()],
        "ID": [name for name, _ in _LETTER.findall(shown)],
    }
    return {name: values for name, values in found.items() if values}


def _cure(book: Runbook, shown: str) -> list[str]:
    """Return the lines of the cure, by the reason that was *shown* where there are several."""
    cures = book.cures()
    if "" in cures:
        return cures[""]
    return next(lines for reason, lines in cures.items() if re.search(rf"\b{reason}\b", shown))

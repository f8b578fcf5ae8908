"""
What the clients of a run did and what they were told, one line of JSON for each operation.

Invariant: an entry is on disk before the operation's caller goes on; nothing is ever changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

Outcome = Literal["ok", "fail", "info"]
"""Done; not done; unknown, because the connection broke when it may have been done."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """
    One operation. ``at`` is the moment of its answer, in seconds since 1970.

    ``op`` is ``sign``, ``upload``, ``delete``, ``retry``, ``subscribe`` or ``quiesce``.
    ``size`` and ``md5`` describe what was uploaded; ``expect`` is what must become of it.
    """

    op: str
    outcome: Outcome
    at: float
    company: str | None = None
    asset_id: str | None = None
    sample: str | None = None
    expect: str | None = None
    size: int | None = None
    md5: str | None = None
    tries: int = 1
    detail: str = ""


class Journal:
    """An append-only file of entries."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, op: str, outcome: Outcome, **about: Any) -> Entry:
        """Append an entry of this moment and return it."""
        entry = Entry(op=op, outcome=outcome, at=time.time(), **about)
        append_line(self._file, entry)
        return entry

    def entries(self) -> list[Entry]:
        """Return all entries so far."""
        return self.read(self.path)

    @staticmethod
    def read(path: Path) -> list[Entry]:
        """Return the entries of a file; a last line that was cut short is left out."""
        known = {field.name for field in fields(Entry)}
        return [
            Entry(**{name: value for name, value in line.items() if name in known})
            for line in read_lines(path)
        ]

    @property
    def events_path(self) -> Path:
        """The sibling file in which watchers write what they heard."""
        return events_path(self.path)


def events_path(path: Path) -> Path:
    """Return the file of heard events that belongs to the journal at *path*."""
    return path.with_suffix(".events.jsonl")


def uploads(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return the upload of each asset; an acknowledged one wins over others."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.op == "upload" and entry.asset_id is not None:
            before = found.get(entry.asset_id)
            if before is None or before.outcome != "ok":
                found[entry.asset_id] = entry
    return found


def companies(entries: Iterable[Entry]) -> list[str]:
    """Return the companies that took part, in order of appearance."""
    return list(dict.fromkeys(entry.company for entry in entries if entry.company))


def append_line(file: Any, line: Any) -> None:
    """Write a dataclass as one line, and have the operating system take it."""
    file.write(json.dumps(asdict(line), separators=(",", ":")) + "\n")
    file.flush()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines; a last line that was cut short is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)

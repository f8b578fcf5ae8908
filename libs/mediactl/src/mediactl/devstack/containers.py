"""What Docker knows of single containers, beyond what compose tells of them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

# Docker names a volume that nobody named by a digest.
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"([\d.]+)([A-Za-z]*)B")
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9,
          "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}  # fmt: skip
_ID = 12


@dataclass(frozen=True)
class Usage:
    """For how long a container has run, and its memory where Docker knows it."""

    uptime_seconds: float
    memory_bytes: int | None


def usage(ids: Sequence[str]) -> dict[str, Usage]:
    """Return the usage of containers by their id; one that has ended meanwhile is left out."""
    if not ids:
        return {}
    stats = _lines("stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}", *ids)
    sizes = {words[0][:_ID]: size_in_bytes(words[1]) for words in map(str.split, stats)}
    now = datetime.now(UTC)
    started = _lines("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *ids)
    found = {words[0][:_ID]: _time(words[1]) for words in map(str.split, started)}
    return {
        one: Usage(round((now - found[one[:_ID]]).total_seconds(), 1), sizes.get(one[:_ID]))
        for one in ids
        if one[:_ID] in found
    }


def anonymous_volumes(ids: Sequence[str]) -> set[str]:
    """Return the volumes of containers that have no name: what is in them ends with the work."""
    return {name for name in _volumes(ids) if _ANONYMOUS.fullmatch(name)}


def remove_volumes(names: Sequence[str]) -> None:
    """Remove volumes that no container uses any more."""
    if names:
        _lines("volume", "rm", *names)


def size_in_bytes(text: str) -> int | None:
    """Return a size such as ``177.1MiB`` in bytes."""
    found = _SIZE.fullmatch(text)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


def _volumes(ids: Sequence[str]) -> Iterator[str]:
    for line in _lines("inspect", "--format", "{{json .Mounts}}", *ids) if ids else ():
        yield from (one["Name"] for one in json.loads(line) if one["Type"] == "volume")


def _time(text: str) -> datetime:
    # Nanoseconds, which fromisoformat does not take.
    return datetime.fromisoformat(f"{text[:19]}+00:00")


def _lines(*words: str) -> list[str]:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.strip()]

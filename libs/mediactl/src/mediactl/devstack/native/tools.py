"""
The programs that the native stack runs, and how they are found on this machine.

Invariant: what is returned exists and is new enough; older versions count as missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

POSTGRES_AT_LEAST = 15
FFMPEG_AT_LEAST = 5
JAVA_AT_LEAST = 17
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
_POSTGRES_PROGRAMS = ("initdb", "postgres", "psql", "pg_isready")


@dataclass(frozen=True)
class Tools:
    """Everything that the servers of the native stack are started from."""

    java: Path
    kafka_jars: Path
    minio: Path
    postgres_binaries: Path
    prometheus: Path
    alertmanager: Path


def find_java() -> Path | None:
    """Return a Java that Kafka runs on."""
    home = os.environ.get("JAVA_HOME")
    candidates = [shutil.which("java"), str(Path(home) / "bin/java") if home else None]
    return _newest_enough(candidates, ["-version"], r'version "(\d+)', JAVA_AT_LEAST)


def find_ffmpeg() -> Path | None:
    """Return ffmpeg where it is new enough and ffprobe is there as well."""
    if shutil.which("ffprobe") is None:
        return None
    # Builds from git call their version N-<number>, and are newer than any release we need.
    pattern = r"ffmpeg version (?:n|N-)?(\d+)"
    return _newest_enough([shutil.which("ffmpeg")], ["-version"], pattern, FFMPEG_AT_LEAST)


def find_bubblewrap() -> Path | None:
    """Return bubblewrap."""
    return _path(shutil.which("bwrap"))


def find_prometheus() -> Path | None:
    """Return Prometheus."""
    return _path(shutil.which("prometheus"))


def find_nginx() -> Path | None:
    """Return nginx, where its module for JavaScript is there as well."""
    # Where a person's own PATH does not lead.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return _path(shutil.which("nginx", path=path)) if NGINX_MODULE.exists() else None


def find_promtool() -> Path | None:
    """Return Prometheus's own checker of rules, which comes with it."""
    return _path(shutil.which("promtool"))


def find_alertmanager() -> Path | None:
    """Return Alertmanager, by Debian's name or by its own."""
    return _path(shutil.which("prometheus-alertmanager") or shutil.which("alertmanager"))


def find_maven() -> Path | None:
    """Return Maven."""
    return _path(shutil.which("mvn"))


def find_postgres_binaries() -> Path | None:
    """Return the directory with the newest server: Debian's places first, then the PATH."""
    versions = sorted(
        (p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()),
        key=lambda p: int(p.parent.name),
        reverse=True,
    )
    others = [Path(p).resolve().parent for p in [shutil.which("postgres")] if p]
    redhat = sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True)
    return next((p for p in [*versions, *others, *redhat] if _is_server(p)), None)


def _is_server(binaries: Path) -> bool:
    if not all((binaries / program).exists() for program in _POSTGRES_PROGRAMS):
        return False
    postgres = [str(binaries / "postgres")]
    return bool(_newest_enough(postgres, ["--version"], r"\) (\d+)", POSTGRES_AT_LEAST))


def _newest_enough(
    candidates: Sequence[str | None], arguments: list[str], pattern: str, at_least: int
) -> Path | None:
    for candidate in candidates:
        version = major_version(candidate, arguments, pattern) if candidate else None
        if candidate and version is not None and version >= at_least:
            return Path(candidate)
    return None


def major_version(program: str, arguments: list[str], pattern: str) -> int | None:
    """Return the number that *pattern* finds in what the program says of itself."""
    try:
        made = Path(program).stat()
        said = _said(program, *arguments, made=(made.st_ino, made.st_mtime_ns))
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, said)
    return int(found[1]) if found else None


@cache
def _said(*command: str, made: tuple[int, int]) -> str:
    # Looking at a stack asks for each of its parts, and each Java takes a tenth of a second.
    del made  # another program of this name is asked anew
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout + done.stderr


def _path(found: str | None) -> Path | None:
    return Path(found) if found else None

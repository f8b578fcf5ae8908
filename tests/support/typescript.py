"""The TypeScript SDK as it is built and packed, and programs that use it, in node."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediactl.devstack.home import Home
from mediactl.devstack.state import exclusive
from mediactl.repository.npm import SDK_TYPESCRIPT, environment, installed, node, npm

_SOURCES = ("src/*.ts", "tests/**/*.ts", "tsconfig*.json", "package.json", "README.md")
_EXAMPLE = re.compile(r"```ts\n(.*?)```", re.DOTALL)


def example() -> str:
    """Return the program of the package's README."""
    readme = Home.from_environment().root / SDK_TYPESCRIPT / "README.md"
    (program,) = _EXAMPLE.findall(readme.read_text())
    return str(program)


def built() -> Path:
    """Return a folder with the package as it is in the checkout, its tests and its example."""
    home = Home.from_environment()
    folder = installed(home)
    source = home.root / SDK_TYPESCRIPT
    files = sorted(file for pattern in _SOURCES for file in source.glob(pattern))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(source)}\n".encode() + file.read_bytes())
    stamp = folder / "built"
    with exclusive(home.tools / "sdk_typescript.lock"):
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return folder
        stamp.unlink(missing_ok=True)
        for name in ("src", "tests", "examples", "dist"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for file in files:
            copy = folder / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        (folder / "examples").mkdir()
        (folder / "examples" / "readme.ts").write_text(example())
        npm("run", "build", folder=folder)
        stamp.write_text(digest.hexdigest())
    return folder


def run_node(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run node in a folder to its end, and return how it ended."""
    return subprocess.run(
        [node(), *words], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def as_user(folder: Path) -> Path:
    """Return *folder* with the package installed, as its users have it: from what npm packs."""
    package = built()
    npm("pack", "--ignore-scripts", "--pack-destination", str(folder), folder=package)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    (packed,) = folder.glob("*.tgz")
    npm("install", "--ignore-scripts", "--prefer-offline", str(packed), folder=folder)
    return folder


async def start(program: Path, *words: str | Path, **variables: str) -> asyncio.subprocess.Process:
    """Start a program in node, in a group of its own; its output is to be read."""
    return await asyncio.create_subprocess_exec(
        *(node(), program, *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
        start_new_session=True,
    )


async def printed(
    program: Path, *words: str | Path, given: str = "", variables: Mapping[str, str] | None = None
) -> list[Any]:
    """Return what a program printed as lines of JSON, where it ended well."""
    running = await start(program, *words, **(variables or {}))
    output, _ = await running.communicate(given.encode())
    assert running.returncode == 0
    return [json.loads(line) for line in output.splitlines()]

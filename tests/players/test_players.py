"""A film plays in the players that web pages use, through the edge, on a page of another origin."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from mediactl.devstack.home import Home
from mediactl.devstack.ports import free_port

from support.clients import Company
from support.clock import RATE, make_clock
from support.edges import another_edge
from support.player import Browser, Played, installed
from support.surroundings import variable

SECONDS = 60
HEIGHTS = [240, 360, 480, 720]
READY = [("hls.js", "hlsUrl"), ("shaka", "dashUrl"), ("shaka", "hlsUrl")]
# What players say of a slow machine, and of what they asked for and need no longer.
OF_THE_MACHINE = ("bufferStalledError", "bufferNudgeOnStall", "aborted")
# What there is of a film while it is made grows for as long as that takes.
PATIENCE_SECONDS = 400
# Films are made, and then watched for as long as they last, on machines that do other things too.
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Stage:
    """A browser, and the origin of the edge that its page may use."""

    browser: Browser
    edge: str

    async def play(self, name: str, kind: str, url: str, **asked: object) -> Played:
        """Play the film behind a link, tell how it went, and return it."""
        through = url.replace(variable("MEDIA_URL"), self.edge)
        played = await self.browser.play(name, kind, through, rate=RATE, seconds=SECONDS, **asked)
        sys.stdout.write(f"\n{name}: {played.summary()}\n")
        return played


@pytest.fixture(scope="module")
async def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("players")
    modules = await installed(Home.from_environment().tools / "players")
    browser = Browser(modules, free_port(), folder)
    with another_edge(folder, CORS_ALLOW_ORIGINS=browser.origin) as edge:
        yield Stage(browser, edge)


@pytest.fixture(scope="module")
def clock(tmp_path_factory) -> Path:
    return make_clock(tmp_path_factory.mktemp("clock") / "clock.mp4", seconds=SECONDS)


@pytest.fixture(scope="module")
async def ready(http, clock):
    company = Company(http)
    return await company.ready(await company.upload(clock), timeout=600)


def check(played: Played) -> None:
    """Check what holds for every player."""
    told = played.told
    assert told["fatal"] == []
    assert [one for one in told["soft"] if not one.startswith(OF_THE_MACHINE)] == []
    assert told["logged"] == []
    assert {one["status"] for one in told["requests"]} <= {200, 206}
    assert told["reachesEnd"]
    assert told["duration"] == pytest.approx(SECONDS, abs=0.05)
    for name, still in played.stills.items():
        assert still["drawn"] == still["frame"], name
    assert median(played.picture_offsets) == pytest.approx(0, abs=0.5 / RATE)
    assert len(played.sound_offsets) >= 5
    assert median(played.sound_offsets) == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize(("kind", "link"), READY)
async def test_a_ready_film_plays_everywhere_in_every_size(stage, ready, kind, link):
    played = await stage.play(f"{kind}-{link}", kind, ready[link], tour=True)

    check(played)
    assert played.told["rungs"] == HEIGHTS
    for height in HEIGHTS:
        assert played.stills[str(height)]["height"] == height
    assert all(one >= 0.95 for one in played.progress.values())


@pytest.mark.parametrize("kind", ["hls.js", "shaka"])
async def test_a_film_plays_from_its_first_chunk_on_to_its_end(stage, http, clock, kind):
    company = Company(http)
    async with company.listening() as listener:
        asset_id = await company.upload(clock)
        await listener.heard(asset_id, "playable", timeout=400)
        asset = await company.asset(asset_id)
        assert asset["status"] == "processing"
        played = await stage.play(
            f"{kind}-early", kind, asset["hlsUrl"], patience=PATIENCE_SECONDS
        )

    check(played)
    first = played.told["grown"][0]
    assert first["isLive"]
    assert first["duration"] < SECONDS
    assert played.told["startsAt"] < 2
    assert not played.told["isLive"]

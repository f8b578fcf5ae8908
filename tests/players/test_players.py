"""A film plays in the players that web pages use, through the edge, on a page of another origin."""

from __future__ import annotations

from statistics import median

import pytest

from support.clients import Company
from support.clock import RATE, SECONDS
from support.player import Played

HEIGHTS = [240, 360, 480, 720]
READY = [("hls.js", "hlsUrl"), ("shaka", "dashUrl"), ("shaka", "hlsUrl")]
# What players say of a busy machine, and of what they asked for and need no longer.
OF_THE_MACHINE = ("bufferStalledError", "bufferNudgeOnStall", "aborted")
GOOD_PROGRESS = 0.95
# A film is made, and then watched for as long as it lasts.
pytestmark = pytest.mark.timeout(1200)


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
    assert {name: one for name, one in played.progress.items() if one < GOOD_PROGRESS} == {}


@pytest.mark.parametrize("kind", ["hls.js", "shaka"])
async def test_a_film_plays_from_its_first_chunk_on_to_its_end(stage, http, clock, kind):
    company = Company(http)
    async with company.listening() as listener:
        asset_id = await company.upload(clock)
        await listener.heard(asset_id, "playable", timeout=400)
        asset = await company.asset(asset_id)
        assert asset["status"] == "processing"
        played = await stage.play(f"{kind}-early", kind, asset["hlsUrl"], patience=400)

    check(played)
    first = played.told["grown"][0]
    assert first["isLive"]
    assert first["duration"] < SECONDS
    assert played.told["startsAt"] < 2
    assert not played.told["isLive"]
    assert {round(at) for at in played.told["beeps"]} >= set(range(2, SECONDS))

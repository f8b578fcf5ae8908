"""
Films of all kinds keep each picture and their sound's place, however they are cut.

By default these are a handful; FULL=1 has all of them made. The table of their figures is printed
with ``-s``, and by ``python tests/exactness``.
"""

from __future__ import annotations

import sys

import pytest

from exactness.examine import Result, examine
from exactness.report import text
from exactness.table import ALL
from support.films import silence_progress
from support.tiers import FULL

HANDFUL = {
    "rate 29.97.mkv",
    "uneven, a screen with pauses.webm",
    "uneven, a phone's clock.mp4",
    "sound, shorter.mp4",
    "sound, longer.mkv",
    "edit list, begins within a group.mp4",
    "fragments.mp4",
}
CHOSEN = [one for one in ALL if FULL or one.name in HANDFUL]


@pytest.fixture(scope="module")
def results():
    found: list[Result] = []
    yield found
    sys.stdout.write("\n" + text(found) + "\n")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", CHOSEN, ids=lambda one: one.name)
async def test_a_film_is_its_source_on_the_grid(recipe, results, tmp_path, monkeypatch):
    silence_progress(monkeypatch)
    result = await examine(recipe, tmp_path)
    results.append(result)
    assert not result.faults
    assert (result.name, result.pieces) == (recipe.name, recipe.pieces)


def test_there_are_as_many_films_as_promised():
    assert len(ALL) == len({one.name for one in ALL}) >= 60
    assert {one.name for one in ALL} > HANDFUL

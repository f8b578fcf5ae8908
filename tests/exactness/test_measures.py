"""What the measures are for is seen by them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from exactness.examine import MOST_CLICKS, MOST_DEGREES
from exactness.measures import Heard, Shown, chirps, compared, lag, on_grid, steadiness
from exactness.signals import cells, chirp_times, numbers_in, sound

SECONDS, RATE, JOIN = 6, 48_000, 3.0
AT = int(JOIN * RATE)


def heard(samples) -> Heard:
    return Heard(samples.astype(np.float32), RATE, 0.0)


def test_a_sound_that_is_whole_is_steady():
    found = steadiness(heard(sound(SECONDS, RATE)), [JOIN])
    assert found.degrees < 1
    assert found.clicks < MOST_CLICKS


def test_one_lost_sample_is_a_step():
    whole = sound(SECONDS, RATE)
    found = steadiness(heard(np.delete(whole, AT)), [JOIN])
    assert found.degrees > MOST_DEGREES
    assert found.at == pytest.approx(JOIN, abs=0.02)


def test_a_click_at_a_join_is_seen():
    whole = sound(SECONDS, RATE)
    whole[AT:] += 0.02
    assert steadiness(heard(whole), [JOIN]).clicks > MOST_CLICKS


@pytest.mark.parametrize("late", [0.0, 0.005, 1.0, -0.4])
def test_sound_is_found_where_it_is(late):
    film = heard(np.roll(sound(SECONDS, RATE), int(late * RATE)))
    found = chirps(film, SECONDS)
    wanted = dict(enumerate(chirp_times(SECONDS)))
    assert len(found) >= 4
    assert all(at == pytest.approx(wanted[n] + late, abs=0.0002) for n, at in found.items())


def test_a_lag_is_found():
    whole = sound(SECONDS, RATE)
    assert lag(heard(np.roll(whole, 48)), heard(whole)) == pytest.approx(0.001)


def test_pictures_tell_their_numbers():
    assert numbers_in(b"".join(map(cells, (0, 1, 2047, 4095)))) == [0, 1, 2047, 4095]
    assert numbers_in(bytes(16)) == [-1]
    damaged = bytearray(cells(5))
    damaged[9] ^= 255
    assert numbers_in(bytes(damaged)) == [-1]


def test_what_a_grid_has_to_show_is_the_nearest_picture():
    times = [Fraction(n, 1000) for n in (0, 33, 67, 100, 233)]
    shown = Shown([0, 1, 2, 3, 4], times)
    assert on_grid(shown, Fraction(0), Fraction(30), 8) == [0, 1, 2, 3, 3, 3, 3, 4]
    # Of two pictures for one frame the later one is shown.
    assert on_grid(shown, Fraction(0), Fraction(15), 4) == [1, 2, 3, 4]


def test_a_picture_that_is_lost_while_another_is_doubled_is_seen():
    found = compared([0, 1, 1, 3, 4], [0, 1, 2, 3, 4])
    assert (found.lost, found.doubled, found.wrong) == (1, 1, 1)

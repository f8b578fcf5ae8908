"""How what ingest asks for becomes pictures that are wanted."""

import pytest
from media_contracts import Crop, Fit, Focus, Gamut, PictureSpec
from thumbnailer.use_cases import _wanted


@pytest.mark.parametrize(
    ("told", "focus"),
    [
        ({}, (0.5, 0.5)),
        ({"crop": Crop.MIDDLE}, (0.5, 0.5)),
        ({"crop": Crop.ATTENTION}, "attention"),
        ({"focus": Focus(x=0.1, y=0.9)}, (0.1, 0.9)),
        ({"focus": Focus(x=0.1, y=0.9), "crop": Crop.ATTENTION}, (0.1, 0.9)),
    ],
)
def test_a_point_wins_over_what_people_look_at_first(told, focus):
    spec = PictureSpec(name="card", width=64, height=64, fit=Fit.COVER, key="k", **told)
    (wanted,) = _wanted([spec])
    assert wanted.focus == focus


@pytest.mark.parametrize(
    ("told", "gamut"),
    [({}, "srgb"), ({"gamut": Gamut.SRGB}, "srgb"), ({"gamut": Gamut.DISPLAY_P3}, "display-p3")],
)
def test_pictures_are_in_srgb_unless_more_is_asked_for(told, gamut):
    spec = PictureSpec(name="wide", width=64, height=64, fit=Fit.INSIDE, key="k", **told)
    (wanted,) = _wanted([spec])
    assert wanted.gamut == gamut

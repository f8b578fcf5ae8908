"""How what ingest asks for becomes pictures that are wanted."""

import pytest
from media_contracts import Crop, Fit, Focus, PictureSpec
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

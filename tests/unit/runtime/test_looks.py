"""A picture that shows nothing, or nothing sharply, is seen to be such."""

import pytest
from media_runtime.media.looks import Look, look, look_at
from PIL import Image, ImageFilter

GOOD = Look(light=110, spread=40, entropy=7, blur=0.3)


def test_a_blurred_picture_is_seen_to_be_blurred():
    fields = Image.effect_noise((36, 20), 120).resize((432, 240), Image.Resampling.NEAREST)
    scene = fields.filter(ImageFilter.GaussianBlur(0.7))
    looks = [look_at(scene.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 2, 5)]
    assert [one.is_sharp for one in looks] == [True, False, False]
    assert looks[0].blur < looks[1].blur < looks[2].blur
    faint = look_at(scene.point(lambda light: 100 + light // 8))
    assert faint.blur == pytest.approx(looks[0].blur, abs=0.1)


@pytest.mark.parametrize("light", [0, 255, 120])
@pytest.mark.parametrize("size", [(426, 240), (1, 1), (1, 400)])
def test_one_colour_shows_nothing(light, size):
    assert not look_at(Image.new("L", size, light)).shows_something


@pytest.mark.parametrize(
    "worse",
    [
        Look(light=20, spread=40, entropy=7, blur=0.1),
        Look(light=240, spread=40, entropy=7, blur=0.1),
        Look(light=110, spread=3, entropy=7, blur=0.1),
        Look(light=110, spread=40, entropy=7, blur=0.6),
        Look(light=110, spread=40, entropy=5, blur=0.3),
        Look(light=45, spread=40, entropy=7, blur=0.3),
        Look(light=110, spread=40, entropy=7, blur=0.5),
    ],
)
def test_the_better_picture_has_the_higher_rank(worse):
    assert GOOD.rank > worse.rank


def test_a_file_is_looked_at(tmp_path):
    Image.effect_noise((640, 480), 90).convert("RGB").save(tmp_path / "a.png")
    found = look(tmp_path / "a.png")
    assert found.shows_something
    assert found.is_sharp

"""What is seen of a picture: whether it shows something, and how sharply."""

from __future__ import annotations

from dataclasses import dataclass

from media_runtime.media.image_opening import Source, opened
from PIL import Image, ImageChops, ImageFilter, ImageStat

# In pixels: blur is measured over some of them, which are more of a larger picture.
_LONG_SIDE = 426
# Of 0 to 255: a fade or a flash is beyond these, and one colour spreads less.
_DARK, _BRIGHT, _PLAIN = 30, 232, 7
# Sharp photographs have 0.2 to 0.45, and 0.45 to 0.7 behind a Gaussian blur of two pixels.
_BLURRED = 0.55
_BLUR_RADIUS = 4


@dataclass(frozen=True)
class Look:
    """
    What is seen of one picture.

    ``light`` is the mean and ``spread`` the standard deviation of its grey, of 0 to 255;
    ``entropy`` is in bits a pixel. ``blur`` is from 0, of noise, to 1, of what has no edge (Crété
    et al., "The blur effect", SPIE 2007): how little of the steps between pixels a further blur
    takes away.
    """

    light: float
    spread: float
    entropy: float
    blur: float

    @property
    def shows_something(self) -> bool:
        """Whether it is not black, white or of one colour."""
        return _DARK <= self.light <= _BRIGHT and self.spread >= _PLAIN

    @property
    def is_sharp(self) -> bool:
        """Whether it has sharp edges."""
        return self.blur <= _BLURRED

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """How good it is: what shows something comes first, and of that what is sharp."""
        # Less towards black and white.
        light = max(0.0, min(1.0, self.light / 58, (255 - self.light) / 58))
        return self.shows_something, self.is_sharp, self.entropy * (1 - self.blur) * light


def look(source: Source) -> Look:
    """Return what is seen of a picture that was made here: RGB or grey, upright."""
    with opened(source) as (image, _):
        return look_at(image.convert("L"))


def look_at(grey: Image.Image) -> Look:
    """Return what is seen of a picture in grey."""
    grey.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.BOX)
    found = ImageStat.Stat(grey)
    return Look(found.mean[0], found.stddev[0], grey.entropy(), _blur(grey))


def _blur(grey: Image.Image) -> float:
    return max(_blur_along(grey, 1, 0), _blur_along(grey, 0, 1))


def _blur_along(grey: Image.Image, right: int, down: int) -> float:
    softer = grey.filter(ImageFilter.BoxBlur((_BLUR_RADIUS * right, _BLUR_RADIUS * down)))
    before, after = _steps(grey, right, down), _steps(softer, right, down)
    all_of_it = _mean(before)
    return 1 - _mean(ImageChops.subtract(before, after)) / all_of_it if all_of_it else 1.0


def _steps(grey: Image.Image, right: int, down: int) -> Image.Image:
    """Return how much each pixel differs from the next one."""
    width, height = grey.size
    if width <= right or height <= down:
        return Image.new("L", (1, 1))
    return ImageChops.difference(
        grey.crop((right, down, width, height)), grey.crop((0, 0, width - right, height - down))
    )


def _mean(grey: Image.Image) -> float:
    return ImageStat.Stat(grey).mean[0]

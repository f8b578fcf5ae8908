"""
The way from what an image tells of its colours to those of the pictures that are made of it.

Invariant: who knows only sRGB gets sRGB; colours beyond it are kept for Display P3 alone.
"""

from __future__ import annotations

import io
from typing import TypeAlias

from media_runtime.media import image_colours
from media_runtime.media.display_p3 import DISPLAY_P3
from media_runtime.media.image_colours import Colours, Gamut
from PIL import Image, ImageChops, ImageCms

Told: TypeAlias = tuple[bytes | None, Colours | None]
"""What an image tells of its colours: see told_colours() of media_runtime.media.image_decoding."""

# Red, green, blue, what is between two of them, and one that each way to another gamut changes.
_PURE_LIGHT = bytes.fromhex("ff0000 00ff00 0000ff ffff00 ff00ff 00ffff c82828")
_PURE_INK = bytes.fromhex("00ffff00 ff00ff00 ffff0000 0000ff00 00ff0000 ff000000 37d7d700")
# Of 255. What sRGB loses of other profiles for its own colours is less, and does not show.
_LEAST_LOSS = 16


def in_gamut(image: Image.Image, told: Told, gamut: Gamut = "srgb") -> Image.Image:
    """Return *image*, whose colours are as *told*, in *gamut*; as it is where nothing is told."""
    profile, colours = told
    if colours is not None and image.mode != "CMYK":
        return image_colours.to_gamut(image, colours, gamut)
    if profile:
        try:
            return _converted(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), gamut)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile, or one for other colours: as if there were none
    return image.convert("RGB") if image.mode in {"CMYK", "L"} else image


def is_wide(mode: str, told: Told) -> bool:
    """
    Return whether an image of this *mode*, with colours as *told*, may have some that sRGB has not.

    HDR is bent to what videos show, which is sRGB.
    """
    if mode not in {"RGB", "RGBA", "CMYK"} or image_colours.is_hdr(told[1]):
        return False
    as_stored, pure = ("CMYK", _PURE_INK) if mode == "CMYK" else ("RGB", _PURE_LIGHT)
    colours = Image.frombytes(as_stored, (len(pure) // len(as_stored), 1), pure)
    kept, lost = in_gamut(colours, told, "display-p3"), in_gamut(colours, told)
    if kept.tobytes() == lost.tobytes():
        return False  # nothing that makes sense was told
    again = _converted(lost, _profile("srgb"), "display-p3")
    return _largest(ImageChops.difference(kept, again)) > _LEAST_LOSS


def _converted(image: Image.Image, source: ImageCms.ImageCmsProfile, gamut: Gamut) -> Image.Image:
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if alpha else image
    converted = ImageCms.profileToProfile(colours, source, _profile(gamut), outputMode="RGB")
    assert converted is not None  # noqa: S101 - not in place
    if alpha:
        converted.putalpha(alpha)
    return converted


def _profile(gamut: Gamut) -> ImageCms.ImageCmsProfile:
    if gamut == "display-p3":
        return ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3))
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _largest(image: Image.Image) -> int:
    return max(high for _, high in image.getextrema())  # type: ignore[misc]

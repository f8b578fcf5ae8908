"""
The first look at an uploaded image, and its first pictures, in one process.

Invariant: like ``pictures``, this runs in a PicturePool's processes alone.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from media_runtime.errors import PermanentError
from media_runtime.media.pictures import (
    ImageInfo,
    RenderedPicture,
    WantedPicture,
    probe_image,
    render,
)

# Measured with Pillow 12: a baseline JPEG, and each further scan of a progressive one.
_SECONDS_A_MEGAPIXEL, _SECONDS_A_MEGAPIXEL_AND_SCAN = 0.02, 0.012


@dataclass(frozen=True)
class CheckedImage:
    """What an image's header says, and the pictures that were made at once."""

    info: ImageInfo
    pictures: list[RenderedPicture]


def check_and_render(
    source: BinaryIO, wanted: Sequence[WantedPicture], max_frames: int, quick_seconds: float
) -> CheckedImage:
    """
    Return what probe_image() and render() say of *source*; raises PictureError.

    Where its decoding may take *quick_seconds* or longer, it is not decoded, and no picture made.
    Nor is one where render() fails: whoever wants the pictures hears why.
    """
    with os.fdopen(os.dup(source.fileno()), "rb") as again:
        quick = quick_seconds / _SECONDS_A_MEGAPIXEL * 1_000_000
        info = probe_image(source, max_frames, decode_up_to=quick)
        if not wanted or decoding_seconds(info.width, info.height, info.scans) >= quick_seconds:
            return CheckedImage(info, [])
        again.seek(0, io.SEEK_SET)
        with suppress(PermanentError, MemoryError):
            return CheckedImage(info, render(again, wanted))
    return CheckedImage(info, [])


def decoding_seconds(width: int, height: int, scans: int) -> float:
    """Return about how long an image's first frame takes to be decoded, on one core."""
    a_megapixel = _SECONDS_A_MEGAPIXEL + (scans - 1) * _SECONDS_A_MEGAPIXEL_AND_SCAN
    return width * height / 1_000_000 * a_megapixel

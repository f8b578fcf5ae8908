"""
Finds what people look at first in a picture, by libvips.

Invariant: libvips sees pixels that Pillow has decoded. None of its own readers opens a file.
"""

from __future__ import annotations

from PIL import Image

WORKING_SIDE = 320
"""The longer side, in pixels, of a picture to look at; in a larger one it finds nothing else."""


def attention(image: Image.Image) -> tuple[float, float]:
    """
    Return the point of an RGB *image* that draws the eye, as shares of its width and height.

    Edges, skin and strong colours draw it, as they look in sRGB.
    """
    # Loading it takes longer than the search: a process that crops nothing does without.
    import pyvips

    pyvips.operation_block_set("VipsForeignLoad", True)
    width, height = image.size
    pixels = pyvips.Image.new_from_memory(image.tobytes(), width, height, 3, "uchar")
    _, found = pixels.copy(interpretation="srgb").smartcrop(
        # It weighs up areas of this size. What is cropped later may have any shape.
        max(1, width // 2), max(1, height // 2),
        interesting="attention", attention_x=True, attention_y=True,
    )  # fmt: skip
    return found["attention_x"] / width, found["attention_y"] / height

"""ThumbHash, by what the reference (npm's thumbhash 0.1.1) gives for the same pixels."""

import base64

import pytest
from media_runtime.media.thumbhash import thumbhash
from PIL import Image

REFERENCE = [
    ((40, 30), lambda x, y: (x * 6, y * 8, x * y % 256, 255), "XAgOHZhgdndwh4h2iGiIh/GxD/eI"),
    ((20, 50), lambda x, y: (x * 13 % 256, y * 5 % 256, 200, 255), "pQUKOxpwgIiIh4iHgHAI93c="),
    (
        (32, 32),
        lambda x, y: (x * 8, y * 8, 128, min(255, (x + y) * 4)),
        "o/iFHQwnoIewiIp3iKCwCvlocHeAeHh4eA==",
    ),
    ((8, 8), lambda x, y: (0, 0, 0, 255), "AAgCBwAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ((8, 8), lambda x, y: (9, 9, 9, 0), "AAiCBQAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
]


def halves(data: bytes) -> list[int]:
    return [half for byte in data for half in (byte & 15, byte >> 4)]


@pytest.mark.parametrize(("size", "colour", "expected"), REFERENCE)
def test_a_hash_is_that_of_the_reference(size, colour, expected):
    image = Image.new("RGBA", size)
    for y in range(size[1]):
        for x in range(size[0]):
            image.putpixel((x, y), colour(x, y))
    found, reference = thumbhash(image), base64.b64decode(expected)
    assert found[:5] == reference[:5]
    # A wave that is exactly zero is 7.5 of 15, which the noise of floats sends either way.
    for one, other in zip(halves(found[5:]), halves(reference[5:]), strict=True):
        assert one == other or {one, other} == {7, 8}

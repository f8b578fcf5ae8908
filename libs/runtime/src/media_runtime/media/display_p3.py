"""
Display P3, whose colours are wider than sRGB's: an ICC profile of our own.

Invariant: its bytes are always the same, and tell of no camera, program or time.
"""

from __future__ import annotations

import struct
from itertools import accumulate

# All in 65,536ths, as ICC.1:2010 writes numbers. The three colours make exactly its white, D50.
_WHITE = (63_190, 65_536, 54_061)
_RED, _GREEN, _BLUE = (33_759, 15_807, -69), (19_135, 45_367, 2_745), (10_296, 4_362, 51_385)
# How the white of screens, D65, became D50: by Bradford.
_ADAPTED = (68_674, 1_502, -3_291, 1_939, 64_912, -1_119, -606, 988, 49_262)
# The power, and where the curve of sRGB is a line.
_CURVE = (157_286, 62_119, 3_417, 5_072, 2_651)
_SRGB_KIND, _VERSION = 3, 0x0430_0000
# A profile must have one; readers refuse the year 0.
_DAY = (2000, 1, 1, 0, 0, 0)
_HEAD_BYTES, _TABLE_ROW_BYTES = 128, 12


def _numbers(kind: bytes, *values: int) -> bytes:
    return kind + bytes(4) + struct.pack(f">{len(values)}i", *values)


def _text(text: str) -> bytes:
    words = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">2I4s2I", 1, 12, b"enUS", len(words), 28) + words


def _profile() -> bytes:
    curve = b"para" + bytes(4) + struct.pack(">Hxx5i", _SRGB_KIND, *_CURVE)
    tags = {
        b"desc": _text("Display P3"), b"cprt": _text("CC0"), b"wtpt": _numbers(b"XYZ ", *_WHITE),
        b"rXYZ": _numbers(b"XYZ ", *_RED), b"gXYZ": _numbers(b"XYZ ", *_GREEN),
        b"bXYZ": _numbers(b"XYZ ", *_BLUE), b"chad": _numbers(b"sf32", *_ADAPTED),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    contents = {content: content + bytes(-len(content) % 4) for content in tags.values()}
    start = _HEAD_BYTES + 4 + _TABLE_ROW_BYTES * len(tags)
    places = dict(
        zip(contents, accumulate(map(len, contents.values()), initial=start), strict=False)
    )
    rows = [struct.pack(">4s2I", name, places[one], len(one)) for name, one in tags.items()]
    body = struct.pack(">I", len(tags)) + b"".join([*rows, *contents.values()])
    head = struct.pack(
        ">I4xI4s4s4s6H4s28x3i48x",
        _HEAD_BYTES + len(body), _VERSION, b"mntr", b"RGB ", b"XYZ ", *_DAY, b"acsp", *_WHITE,
    )  # fmt: skip
    return head + body


DISPLAY_P3 = _profile()
"""The profile, which an image of these colours brings with it."""

"""
The packets of a transport stream (ISO/IEC 13818-1), wherever the first of them begins. Pure.

Broadcasts are recorded from any byte on, and cut at any.
"""

from __future__ import annotations

SYNC = 0x47
# Plain, with a camcorder's clock before each (AVCHD), and with a broadcast's error correction.
_LENGTHS = (188, 192, 204)
_AT_THE_START = ((188, 0), (192, 4), (204, 0))
# A byte in 256 looks like the first of a packet: so many in a row are none by chance.
_IN_A_ROW = 5
HEAD_BYTES = (_IN_A_ROW + 1) * max(_LENGTHS)


def packets(stream: bytes) -> tuple[int, int] | None:
    """Return how long the packets are and where the first begins, or None where there are none."""
    for length, start in _AT_THE_START:
        if stream[start::length][:2] == bytes([SYNC] * 2):
            return length, start
    for length in _LENGTHS:
        for start in range(length):
            if stream[start::length][:_IN_A_ROW] == bytes([SYNC] * _IN_A_ROW):
                return length, start
    return None

"""
Where a client stands in the log: the next offset of every partition, as a text for clients.

Invariant: the text alone is enough to resume, on any replica, after any restart.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS

TOPICS = (MEDIA_STATUS, MEDIA_PROCESSED)
SLOTS = tuple((topic.name, number) for topic in TOPICS for number in range(topic.partitions))
"""Every partition that clients hear of, in the order in which positions list them."""

Positions = tuple[int, ...]

_VERSION = 1
_MARK_BYTES = 4
_LOW_BITS = 0x7F
_MORE = 0x80


class ForeignPositionError(ValueError):
    """The text is no position of this log."""


@dataclass(frozen=True)
class PositionCodec:
    """Writes and reads positions; *topic_prefix* tells the log of one stack from another's."""

    topic_prefix: str = ""

    def encode(self, positions: Sequence[int]) -> str:
        """Return the text of *positions*: version, mark and LEB128 numbers in base64url."""
        packed = bytearray([_VERSION, *self._mark()])
        for offset in positions:
            packed += _varint(offset)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def decode(self, text: str) -> Positions:
        """Return the positions in *text*; raises ForeignPositionError."""
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ForeignPositionError("not base64url") from error
        if packed[: 1 + _MARK_BYTES] != bytes([_VERSION, *self._mark()]):
            raise ForeignPositionError("of another version or log")
        positions = _varints(packed[1 + _MARK_BYTES :])
        if len(positions) != len(SLOTS):
            raise ForeignPositionError("of another number of partitions")
        return positions

    def no_earlier(self, text: str, floor: Positions) -> str:
        """Return the text of the later one, partition by partition, of *text* and *floor*."""
        found = self.decode(text)
        return self.encode([max(pair) for pair in zip(found, floor, strict=True)])

    def _mark(self) -> bytes:
        names = "\n".join(self.topic_prefix + topic.name for topic in TOPICS)
        return hashlib.sha256(names.encode()).digest()[:_MARK_BYTES]


def _varint(number: int) -> bytes:
    packed = bytearray()
    while number > _LOW_BITS:
        packed.append(number & _LOW_BITS | _MORE)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _varints(packed: bytes) -> Positions:
    numbers: list[int] = []
    number = shift = 0
    for byte in packed:
        number |= (byte & _LOW_BITS) << shift
        shift += 7
        if not byte & _MORE:
            numbers.append(number)
            number = shift = 0
        elif shift > 63:  # noqa: PLR2004 - Kafka's offsets have 63 bits
            raise ForeignPositionError("an offset is out of range")
    if shift:
        raise ForeignPositionError("cut short")
    return tuple(numbers)

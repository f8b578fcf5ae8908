"""
Where a client stands in the log: the next offset of every partition, sealed for its company.

The text alone is enough to resume, on any replica, after any restart. Invariant: it tells its
holder nothing, since offsets count what all companies do: it is encrypted, always of one length
and never the same twice, and it is good for its company alone.
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS

TOPICS = (MEDIA_STATUS, MEDIA_PROCESSED)
SLOTS = tuple((topic.name, number) for topic in TOPICS for number in range(topic.partitions))
"""Every partition that clients hear of, in the order in which positions list them."""

Positions = tuple[int, ...]

_VERSION = b"\x02"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 32
# Of one width: shorter numbers would tell how much there is.
_OFFSETS = struct.Struct(f">{len(SLOTS)}Q")
_BYTES = len(_VERSION) + _NONCE_BYTES + _OFFSETS.size + _TAG_BYTES


class ForeignPositionError(ValueError):
    """The text is no position that this company was given."""


class PositionCodec:
    """
    Writes and reads positions.

    Replicas share *secret*; *topic_prefix* tells the log of one stack from another's.
    """

    def __init__(self, secret: str, topic_prefix: str = "") -> None:
        log = "\n".join(f"{topic_prefix}{name} {number}" for name, number in SLOTS)
        derive = HKDF(SHA256(), _KEY_BYTES, salt=None, info=log.encode())
        self._cipher = AESGCMSIV(derive.derive(secret.encode()))

    def encode(self, positions: Sequence[int], company_id: UUID) -> str:
        """Return a new text of *positions*, for this company, in base64url."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, _OFFSETS.pack(*positions), company_id.bytes)
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode().rstrip("=")

    def decode(self, text: str, company_id: UUID) -> Positions:
        """Return the positions in *text*; raises ForeignPositionError."""
        packed = self.opened(text)[len(_VERSION) :]
        nonce, sealed = packed[:_NONCE_BYTES], packed[_NONCE_BYTES:]
        try:
            return _OFFSETS.unpack(self._cipher.decrypt(nonce, sealed, company_id.bytes))
        except InvalidTag as error:
            raise ForeignPositionError("it is not one that this company was given") from error

    @staticmethod
    def opened(text: str) -> bytes:
        """Return the bytes of *text*; raises ForeignPositionError where it can be no position."""
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ForeignPositionError("it is not base64url") from error
        if len(packed) != _BYTES or not packed.startswith(_VERSION):
            raise ForeignPositionError("it is of another version or length")
        return packed

    def no_earlier(self, text: str, floor: Positions, company_id: UUID) -> str:
        """Return *text* unless *floor* is later in a partition; then the later of each."""
        found = self.decode(text, company_id)
        later = tuple(map(max, found, floor))
        return text if later == found else self.encode(later, company_id)

"""
Pillow's reader of PNG chunks, made to take what decoding does not need as it comes.

Browsers show a PNG whose checksums are wrong or whose texts are huge. Pillow refuses it, or, told
to be tolerant, takes half a picture as well. What was damaged is found by image_structure.
"""

from __future__ import annotations

import struct
from typing import IO

from PIL import ImageFile, PngImagePlugin

DEFAULT_IMAGE = "default_image"
"""Set in an image's ``info`` where its first picture is no part of its film."""
CICP = "cicp"
"""In an image's ``info``: the four bytes of its cICP chunk."""


class _TolerantStream(PngImagePlugin.PngStream):
    fp: IO[bytes]

    def crc(self, cid: bytes, data: bytes) -> None:
        self.crc_skip(cid, data)

    def call(self, cid: bytes, pos: int, length: int) -> bytes:
        try:
            return super().call(cid, pos, length)
        except (SyntaxError, ValueError, IndexError, struct.error):
            # Too long, or broken, in a chunk that decoding can do without.
            if not cid[:1].islower() or cid in {b"fcTL", b"fdAT"}:
                raise
            self.fp.seek(pos + length)
            return b""

    def chunk_cICP(self, pos: int, length: int) -> bytes:  # noqa: ARG002, N802 - called by name
        content = ImageFile._safe_read(self.fp, length)  # noqa: SLF001
        self.im_info[CICP] = content[:4]
        return content


def read_tolerantly() -> None:
    """Have this process read all PNGs so."""
    PngImagePlugin.PngStream = _TolerantStream  # type: ignore[misc]

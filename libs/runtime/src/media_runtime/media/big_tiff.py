"""
Pillow's reader of TIFFs, made to read big-endian BigTIFFs.

Pillow knows their first bytes, and then looks for a BigTIFF's number where only little-endian
files have it.
"""

from __future__ import annotations

import io
import struct

from PIL import Image, TiffImagePlugin

_BIG_ENDIAN = b"MM\0\x2b"
_PLAIN_HEAD = b"MM\0\x2a" + bytes(4)
_HEAD_BYTES = 16
_ORIENTATION = 0x0112


class _Directory(TiffImagePlugin.ImageFileDirectory_v2):
    def __init__(self, head: bytes) -> None:
        super().__init__(_PLAIN_HEAD)
        self._bigtiff = True
        (self.next,) = struct.unpack(">Q", head[8:])


class _TiffImageFile(TiffImagePlugin.TiffImageFile):
    def _open(self) -> None:
        assert self.fp is not None  # noqa: S101 - it was just opened
        head = self.fp.read(_HEAD_BYTES)
        self.fp.seek(0)
        if not head.startswith(_BIG_ENDIAN):
            super()._open()
            return
        # What the class above does, with the directory of this one.
        self.tag_v2 = _Directory(head)
        self._TiffImageFile__first = self._TiffImageFile__next = self.tag_v2.next
        self._TiffImageFile__frame = -1
        self._fp = self.fp
        self._frame_pos = []
        self._tag_data_remaining = self.fp.seek(0, io.SEEK_END)
        self._tag_data_limits = []
        self._seek(0)

    def getexif(self) -> Image.Exif:
        if not isinstance(self.tag_v2, _Directory):
            return super().getexif()
        exif = Image.Exif()
        if _ORIENTATION in self.tag_v2:
            exif[_ORIENTATION] = self.tag_v2[_ORIENTATION]
        return exif


def read_big_tiffs() -> None:
    """Have this process read them."""
    Image.register_open(_TiffImageFile.format, _TiffImageFile, TiffImagePlugin._accept)  # noqa: SLF001

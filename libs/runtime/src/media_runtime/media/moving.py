"""
Moving images: all frames of a GIF, an APNG, a WebP or an AVIF, with their times.

Invariant: this runs in a PicturePool's processes alone. What it writes is one plain format, which
ffmpeg reads whatever the upload was.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from media_contracts.errors import ErrorCode
from media_runtime.media.image_decoding import count_frames, orientation_of, told_colours
from media_runtime.media.image_gamut import in_gamut
from media_runtime.media.image_opening import PictureError, opened, will_make
from media_runtime.media.pictures import MAX_FRAMES, on_white_ground, upright
from media_runtime.media.tolerant_png import DEFAULT_IMAGE
from PIL import Image, ImageFile

# Browsers take shorter ones, which old programs wrote for "as fast as it goes", as a tenth.
_LEAST_MS, _USUAL_MS, _MOST_MS = 11, 100, 65_535
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Moving:
    """
    What a moving image is: its size in pixels as it was written, and how long each frame is shown.

    ``loops`` is how often it is shown, 0 without end. ``is_clear`` says that something shines
    through, ``damaged`` that later frames could not be read.
    """

    width: int
    height: int
    frame_ms: list[int]
    loops: int
    is_clear: bool
    damaged: bool


def write_frames(
    source: BinaryIO,
    target: BinaryIO,
    max_side: int,
    max_pixels: int,
    on_white: bool,
) -> Moving:
    """
    Write all frames of the moving image *source* as an APNG to *target*.

    They are upright, in sRGB, have even sides, as H.264 needs them, none longer than *max_side*,
    and are never enlarged but by a pixel. What shines through does so, or is white. Raises
    PictureError, also for an image whose frames have more than *max_pixels* together.
    """
    with opened(source) as (image, _):
        count, is_whole = count_frames(image, MAX_FRAMES)
        first = 1 if image.info.get(DEFAULT_IMAGE) else 0
        total = count * image.width * image.height
        if total > max_pixels:
            raise PictureError(
                ErrorCode.TOO_MANY_PIXELS, kind="image", millions=max_pixels / 1_000_000,
                detail=f"{count} frames of {image.width}x{image.height}",
            )  # fmt: skip
        will_make(total)
        told = told_colours(image)
        orientation = orientation_of(image)
        loops = _loops(image)
        frame_ms: list[int] = []
        size = 0, 0
        is_clear = False
        frames = _Apng(target, count - first, loops)
        for frame, shown_ms in _frames(image, first, count):
            plain = upright(in_gamut(frame, told), orientation).convert("RGBA")
            size = size if frame_ms else _even(plain.size, max_side)
            if plain.size != size:
                plain = plain.resize(size, Image.Resampling.LANCZOS)
            is_clear = is_clear or plain.getchannel("A").getextrema()[0] < 255  # type: ignore[operator]  # noqa: PLR2004
            frames.add(on_white_ground(plain) if on_white else plain, shown_ms)
            frame_ms.append(shown_ms)
        frames.end()
    if not frame_ms:
        raise PictureError(ErrorCode.UNREADABLE_IMAGE, detail="no frame")
    damaged = not is_whole or len(frame_ms) < count - first
    return Moving(*size, frame_ms, loops, is_clear, damaged)


def _frames(
    image: ImageFile.ImageFile, first: int, count: int
) -> Iterator[tuple[Image.Image, int]]:
    for number in range(first, count):
        try:
            image.seek(number)
            image.load()
        except (PictureError, MemoryError):
            raise
        except Exception:  # decoders raise all kinds of errors on broken files
            if number == first:
                raise
            return
        shown_ms = round(float(image.info.get("duration") or 0))
        yield image, min(shown_ms, _MOST_MS) if shown_ms >= _LEAST_MS else _USUAL_MS


def _loops(image: Image.Image) -> int:
    # A GIF without the extension of its browsers is shown once.
    said = image.info.get("loop", 1 if image.format == "GIF" else 0)
    # A GIF tells how often it is shown again.
    again = 1 if image.format == "GIF" and "loop" in image.info and said else 0
    return max(0, int(said)) + again


def _even(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(size))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in size)
    return width, height


class _Apng:
    """Writes an APNG frame by frame, each whole: nothing is held in memory."""

    def __init__(self, target: BinaryIO, frames: int, plays: int) -> None:
        self._target = target
        self._head = struct.pack(">II", frames, plays)
        self._sequence = 0

    def add(self, frame: Image.Image, shown_ms: int) -> None:
        """Write a frame; all have the mode and the size of the first."""
        buffer = io.BytesIO()
        frame.save(buffer, "PNG", compress_level=1)
        parts = list(_chunks(buffer.getvalue()))
        is_first = self._sequence == 0
        if is_first:
            self._target.write(_SIGNATURE)
            self._chunk(b"IHDR", next(data for kind, data in parts if kind == b"IHDR"))
            self._chunk(b"acTL", self._head)
        told = struct.pack(">IIIIHHBB", *frame.size, 0, 0, shown_ms, 1000, 0, 0)
        self._numbered(b"fcTL", told)
        data = b"".join(data for kind, data in parts if kind == b"IDAT")
        if is_first:
            self._chunk(b"IDAT", data)
        else:
            self._numbered(b"fdAT", data)

    def end(self) -> None:
        """Write the end, if there was a frame."""
        if self._sequence:
            self._chunk(b"IEND", b"")
        self._target.flush()

    def _numbered(self, kind: bytes, data: bytes) -> None:
        self._chunk(kind, struct.pack(">I", self._sequence) + data)
        self._sequence += 1

    def _chunk(self, kind: bytes, data: bytes) -> None:
        check = zlib.crc32(kind + data)
        self._target.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 8 <= len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += size + 12

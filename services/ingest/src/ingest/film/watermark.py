"""A watermark: a picture of its company's that lies on each frame of a film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
from ingest.domain import Size
from media_contracts import MediaFile
from media_contracts.profiles import Watermark

MARK = "mark"
# What pictures of assets are stored as.
_READERS = {"image/png": "png_pipe", "image/jpeg": "jpeg_pipe", "image/webp": "webp_pipe"}
# Films are that, see media_runtime.media.colour.
_COLOURS = {"out_color_matrix": "bt709", "out_range": "tv", "flags": "bicubic"}


@dataclass(frozen=True)
class Mark:
    """A stored picture that lies on frames, where and how large: in pixels of the largest size."""

    key: str
    sha256: str | None
    content_type: str
    width: int
    height: int
    x: int
    y: int
    opacity: float

    def params(self) -> list[Any]:
        """Return it as JSON of a task."""
        return list(vars(self).values())

    @classmethod
    def of(cls, params: Sequence[Any]) -> Mark:
        """Return what params() wrote."""
        return cls(*params)


def is_readable(picture: MediaFile) -> bool:
    """Return whether a picture can lie on films."""
    return picture.content_type in _READERS


def placed(wanted: Watermark, picture: MediaFile, film: Size) -> Mark:
    """Return where a *picture* lies on a film of this size, and how large it is there."""
    short = min(film.width, film.height)
    margin = round(wanted.margin * short)
    most = Size(max(2, film.width - 2 * margin), max(2, film.height - 2 * margin))
    shape = (picture.height or 1) / (picture.width or 1)
    width = min(wanted.width * film.width, most.width, most.height / shape)
    size = Size(max(2, round(width)), max(2, round(width * shape)))
    vertical, _, horizontal = wanted.place.partition("-")
    left = {"left": margin, "right": film.width - size.width - margin}
    above = {"top": margin, "bottom": film.height - size.height - margin}
    return Mark(
        picture.key, picture.sha256, picture.content_type, size.width, size.height,
        left.get(horizontal, (film.width - size.width) // 2),
        above.get(vertical, (film.height - size.height) // 2),
        wanted.opacity,
    )  # fmt: skip


def marked(
    pictures: ffmpeg.Stream,
    mark: Mark | None,
    folder: Path,
    rate: Fraction,
    input_options: Mapping[str, object],
) -> ffmpeg.Stream:
    """Return *pictures* of so many frames a second with the *mark* that is in *folder*, if any."""
    if mark is None:
        return pictures
    reader = _READERS[mark.content_type]
    options = {**input_options, "format_whitelist": reader, "f": reader}
    # With another clock than theirs the frames' numbers would no longer be their times.
    picture = ffmpeg.input(f"file:{folder / MARK}", **options, framerate=str(rate))
    picture = picture.filter("scale", mark.width, mark.height, **_COLOURS)
    picture = picture.filter("format", "yuva420p")
    if mark.opacity < 1:
        picture = picture.filter("colorchannelmixer", aa=mark.opacity)
    return ffmpeg.overlay(pictures, picture, x=mark.x, y=mark.y)

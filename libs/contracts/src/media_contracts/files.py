"""Files: the objects in storage that an asset consists of."""

from __future__ import annotations

from enum import StrEnum

from media_contracts.envelope import Data
from pydantic import Field


class MediaKind(StrEnum):
    """What a file shows, or that it is sound alone."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"


class Fit(StrEnum):
    """
    How a picture fills its box.

    ``cover`` fills it exactly and crops what juts out, evenly on both sides.
    ``inside`` keeps the whole picture within it and never enlarges.
    """

    COVER = "cover"
    INSIDE = "inside"


class FileKind(StrEnum):
    """What a file is to its asset."""

    ORIGINAL = "original"
    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"
    THUMBNAIL = "thumbnail"
    PICTURE = "picture"
    PREVIEW = "preview"
    """A moving picture of a few moments."""
    TEXT = "text"
    """What is said or written in a video, as WebVTT in one language."""
    SEGMENT = "segment"
    """A piece of a stream, which players find in its manifests."""


class Track(Data):
    """
    One size of a stream's pictures in one codec, or its sound, which has no width and height.

    Its name says a codec that is not H.264: ``720-av1``.
    ``codec`` is as RFC 6381 writes it, sizes are in pixels and bytes, ``bits_per_second`` is the
    mean. ``ssim`` is how near its luma is to what was encoded, 1 of equal pictures: their mean.
    ``vmaf`` is how good it looks beside the source in the largest size, 100 of no difference: the
    mean of samples, where the profile asks for it.
    """

    name: str = Field(min_length=1, examples=["720"])
    codec: str = Field(examples=["avc1.64001f"])
    size: int = Field(ge=0)
    bits_per_second: int = Field(ge=0)
    duration_seconds: float = Field(ge=0)
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)
    ssim: float | None = Field(default=None, ge=0, le=1, examples=[0.981])
    vmaf: float | None = Field(default=None, ge=0, le=100, examples=[93.4])


class Stream(Data):
    """What players get by HLS and DASH: its tracks, the smallest first, sound last or alone."""

    name: str = Field(min_length=1, examples=["video"])
    tracks: list[Track] = Field(min_length=1)


class Command(Data):
    """
    What a task of an attempt has run, without what all such commands have.

    Its *arguments* have no paths; ``SOURCE`` is the upload.
    """

    task: str = Field(min_length=1, examples=["video-early"])
    program: str = Field(min_length=1, examples=["ffmpeg"])
    version: str | None = Field(default=None, examples=["5.1.9-0+deb12u1"])
    arguments: list[str]


class Receipt(Data):
    """
    How the files of an attempt were made.

    ``cpu_seconds`` are those of ffmpeg's processes for each output, by its name, and for
    ``inspect``. Of a stream's chunks ``commands`` has those of the first two: the others differ in
    their times alone.
    """

    cpu_seconds: dict[str, float] = Field(examples=[{"inspect": 0.2, "video": 41.7}])
    commands: list[Command]


class Text(Data):
    """
    What a text of a video is, as its file says.

    ``language`` is a tag of BCP 47, ``und`` where it is unknown. A text that is ``forced`` is for
    all who watch, whatever they have chosen; a ``default`` one is shown unless they choose another.
    """

    language: str = Field(default="und", min_length=2, max_length=35, examples=["en"])
    title: str | None = Field(default=None, min_length=1)
    forced: bool = False
    default: bool = False
    hearing_impaired: bool = False


class MediaFile(Data):
    """
    One stored file. Its name is unique within an attempt. Sizes are in bytes and pixels.

    ``kind`` is one of FileKind, to which later versions add. ``sha256`` (hexadecimal) is set where
    the bytes were hashed, ``text`` where it is one.
    """

    name: str = Field(min_length=1, examples=["video"])
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", examples=["video"])
    key: str = Field(min_length=1)
    content_type: str
    size: int = Field(ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)
    duration_seconds: float | None = Field(default=None, ge=0)
    text: Text | None = None

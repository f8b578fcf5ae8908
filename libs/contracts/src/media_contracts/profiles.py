"""
Profiles: what is to be made of an upload, and under which names it is found.

A published profile never changes: another version takes its place.
"""

from __future__ import annotations

from typing import Annotated, Literal

from media_contracts.envelope import Data
from media_contracts.files import FileKind, Fit, MediaKind
from pydantic import Field, model_validator


class Output(Data):
    """
    One thing that is wanted. Its name is unique in its profile, and the name of its file.

    An upload of which a *required* one cannot be made fails. Of one company's uploads, outputs
    of the lowest *priority* are made first.
    """

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9_-]*$", examples=["thumbnail"])
    required: bool = True
    priority: int = 0


class VideoOutput(Output):
    """
    A video, H.264 with AAC: a stream in several sizes, and one MP4 file of the largest.

    Its sides, in pixels, are those of the source at most. Smaller sizes are those of
    ``short_sides`` that are clearly smaller. ``crf`` is libx264's quality: 0 is lossless, 51 the
    worst. ``loudness`` is that of the whole, in LUFS; null leaves the sound as loud as it is.
    """

    type: Literal["video"] = "video"
    codec: Literal["h264"] = "h264"
    max_long_side: int = Field(default=1920, ge=2)
    max_short_side: int = Field(default=1080, ge=2)
    short_sides: tuple[Annotated[int, Field(ge=2)], ...] = (240, 360, 480, 720, 1080)
    crf: int = Field(default=23, ge=0, le=51)
    preset: str = "veryfast"
    loudness: float | None = Field(default=-16, ge=-40, le=-5)


class PictureOutput(Output):
    """
    A picture of an image, or of a moment of a video, within a box in pixels.

    It is a JPEG, or a format with transparency where the source has some.
    """

    type: Literal["picture"] = "picture"
    kind: Literal[FileKind.IMAGE, FileKind.THUMBNAIL, FileKind.PICTURE] = FileKind.PICTURE
    sources: frozenset[MediaKind] = frozenset(MediaKind)
    """The kinds of uploads of which it is made."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fit: Fit = Fit.INSIDE


AnyOutput = Annotated[VideoOutput | PictureOutput, Field(discriminator="type")]


class ProfileRef(Data):
    """Which profile an upload was processed by."""

    name: str
    version: int = Field(ge=1)


class Profile(ProfileRef):
    """A named list of outputs."""

    outputs: tuple[AnyOutput, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Profile:
        names = [output.name for output in self.outputs]
        if len(names) != len(set(names)):
            raise ValueError(f"two outputs of one name in {sorted(names)}")
        return self


DEFAULT = Profile(
    name="default",
    version=1,
    outputs=(
        VideoOutput(name="video"),
        PictureOutput(
            name="image",
            kind=FileKind.IMAGE,
            sources=frozenset({MediaKind.IMAGE}),
            width=4096,
            height=4096,
        ),
        PictureOutput(
            name="thumbnail", kind=FileKind.THUMBNAIL, width=320, height=240, fit=Fit.COVER
        ),
    ),
)
"""What every upload gets: a video or an image to show, and a thumbnail for lists."""

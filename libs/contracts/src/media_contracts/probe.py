"""What a look at an upload found: the facts of its media, and nothing of whoever made it."""

from __future__ import annotations

from media_contracts.envelope import Data
from pydantic import Field


class Colour(Data):
    """
    The colour that the file says it has, in ffmpeg's words; null where it says nothing.

    ``range`` is ``tv`` or ``pc``.
    """

    primaries: str | None = None
    transfer: str | None = None
    matrix: str | None = None
    range: str | None = None


class SoundTrack(Data):
    """One track of sound."""

    codec: str
    channels: int = Field(ge=0)
    layout: str | None = None


class TextTrack(Data):
    """One track of text, or of pictures of text. ``language`` is a tag of BCP 47."""

    codec: str
    language: str = "und"


class Probe(Data):
    """
    What a file is. ``width`` and ``height`` are in pixels as people see it.

    ``rotation`` is how far players turn the stored picture, in degrees clockwise. ``frames`` are
    those of an animated image. ``hdr`` is whether it can be brighter than white: what is made of it
    is not.
    """

    container: str
    codec: str | None = None
    width: int | None = Field(default=None, ge=0)
    height: int | None = Field(default=None, ge=0)
    rotation: int | None = None
    duration_seconds: float | None = Field(default=None, ge=0)
    frame_rate: float | None = Field(default=None, ge=0)
    frames: int | None = Field(default=None, ge=0)
    colour: Colour | None = None
    hdr: bool | None = None
    sound: list[SoundTrack] | None = None
    text: list[TextTrack] | None = None

"""
Every stable code of what an asset is ready in spite of.

Invariant: a code keeps its meaning for ever; one that is no longer needed is never used again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class WarningCode(StrEnum):
    """A code for programs, and a sentence for people."""

    sentence: str

    def __new__(cls, code: str, sentence: str) -> Self:
        """Make a member of its row."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member

    # fmt: off
    SOUND_LEFT_OUT = "sound_left_out", "The sound cannot be decoded and was left out."
    FILE_TRUNCATED = "file_truncated", "The end of the file is missing; what there is was used."
    FILE_DAMAGED = "file_damaged", "Parts of the file are damaged; what can be decoded was used."
    TYPE_DIFFERS = "type_differs", "The file is of another type than declared, and was taken as what it is."
    FRAME_RATE_REDUCED = "frame_rate_reduced", "The video was made with fewer frames a second than the file has."
    CODECS_LEFT_OUT = "codecs_left_out", "The video was not made in all codecs that were wanted."
    TEXT_LEFT_OUT = "text_left_out", "Some subtitles are pictures, too long or too many, or cannot be read, and were left out."
    ANIMATION_LEFT_OUT = "animation_left_out", "The image moves, but is too long or too damaged to become a film."
    # fmt: on

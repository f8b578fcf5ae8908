"""The ffmpeg command of a rendition, built by ffmpeg-python and run by media_runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
from ingest.domain import Size

_AUDIO_BITRATE = "128k"


@dataclass(frozen=True)
class EncodePlan:
    """
    What to make of one video: H.264 High in 4:2:0 and, where there is sound, AAC stereo.

    It ends after *max_seconds*, whatever the source claims to last.
    """

    size: Size
    has_audio: bool
    preset: str
    crf: int
    max_seconds: float


def encode_command(
    source: Path, target: Path, plan: EncodePlan, input_options: Mapping[str, object]
) -> list[str]:
    """
    Return the arguments after ``ffmpeg`` that write *target* from *source*.

    ffmpeg applies the source's rotation by itself. All metadata is dropped, and the index
    stands before the media (faststart), so that players begin before the file is loaded.
    """
    media = ffmpeg.input(f"file:{source}", **input_options)
    # V, unlike v, leaves out cover art; pixels are made square for players that assume it.
    picture = media["V:0"].filter("scale", plan.size.width, plan.size.height).filter("setsar", 1)
    streams = [picture]
    options: dict[str, object] = {
        "c:v": "libx264",
        "preset": plan.preset,
        "crf": plan.crf,
        "pix_fmt": "yuv420p",
        "map_metadata": -1,
        "map_chapters": -1,
        "movflags": "+faststart",
        "t": f"{plan.max_seconds:.3f}",
        "f": "mp4",
    }
    if plan.has_audio:
        streams.append(media["a:0"])
        options |= {"c:a": "aac", "b:a": _AUDIO_BITRATE, "ac": 2}
    arguments: list[str] = ffmpeg.output(*streams, f"file:{target}", **options).get_args()
    return arguments

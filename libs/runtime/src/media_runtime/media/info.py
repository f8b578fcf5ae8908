"""What ffprobe's answer means. Pure: media_runtime.media.ffmpeg asks the question."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

PROBE_ENTRIES = (
    "format=format_name,duration,nb_streams"
    ":stream=codec_type,codec_name,width,height,pix_fmt,avg_frame_rate,r_frame_rate,duration,"
    "channels,sample_aspect_ratio"
    ":stream_disposition=attached_pic:stream_tags=rotate:stream_side_data=rotation"
)
"""What to ask for, as ffprobe's ``-show_entries``."""


@dataclass(frozen=True)
class VideoStream:
    """
    The picture of a file. ``width`` and ``height`` are in pixels after rotation.

    ``rotation`` is how far players turn the stored picture: 0, 90, 180 or 270 degrees
    clockwise. ``pixel_aspect`` is the width of a shown pixel over its height.
    """

    codec: str
    width: int
    height: int
    rotation: int
    frame_rate: float | None
    pixel_format: str | None
    pixel_aspect: float


@dataclass(frozen=True)
class AudioStream:
    """The sound of a file."""

    codec: str
    channels: int


@dataclass(frozen=True)
class MediaInfo:
    """What ffprobe says of a file; its first video and audio stream, cover art left out."""

    format_name: str
    duration_seconds: float | None
    video: VideoStream | None
    audio: AudioStream | None
    stream_count: int


def media_info(found: dict[str, Any]) -> MediaInfo | None:
    """Return what ffprobe's JSON says, or None where it found no stream."""
    streams: list[dict[str, Any]] = found.get("streams", [])
    about: dict[str, Any] = found.get("format", {})
    if not streams:
        return None
    timed = [s for s in streams if s.get("codec_type") in {"video", "audio"}]
    durations = [_number(part.get("duration")) or 0.0 for part in (about, *timed)]
    return MediaInfo(
        format_name=about.get("format_name", ""),
        # A container may claim less than what a stream of it has.
        duration_seconds=max((seconds for seconds in durations if seconds > 0), default=None),
        video=next((_video(s) for s in streams if _is_video(s)), None),
        audio=next((_audio(s) for s in streams if s.get("codec_type") == "audio"), None),
        stream_count=int(about.get("nb_streams", len(streams))),
    )


def _is_video(stream: dict[str, Any]) -> bool:
    cover_art = bool(stream.get("disposition", {}).get("attached_pic"))
    return stream.get("codec_type") == "video" and not cover_art


def _video(stream: dict[str, Any]) -> VideoStream:
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    pixel_aspect = _number(stream.get("sample_aspect_ratio", "").replace(":", "/")) or 1.0
    rotation = _rotation(stream)
    if rotation in {90, 270}:
        width, height, pixel_aspect = height, width, 1 / pixel_aspect
    rates = (_number(stream.get(name)) for name in ("avg_frame_rate", "r_frame_rate"))
    return VideoStream(
        codec=stream.get("codec_name", "unknown"),
        width=width,
        height=height,
        rotation=rotation,
        frame_rate=next((rate for rate in rates if rate), None),
        pixel_format=stream.get("pix_fmt"),
        pixel_aspect=pixel_aspect,
    )


def _rotation(stream: dict[str, Any]) -> int:
    # The display matrix counts anticlockwise; the older tag counts clockwise.
    for side_data in stream.get("side_data_list", []):
        if "rotation" in side_data:
            return _quarter_turns(-(_number(str(side_data["rotation"])) or 0))
    return _quarter_turns(_number(stream.get("tags", {}).get("rotate")) or 0)


def _quarter_turns(degrees: float) -> int:
    return round(degrees / 90) * 90 % 360


def _audio(stream: dict[str, Any]) -> AudioStream:
    return AudioStream(stream.get("codec_name", "unknown"), int(stream.get("channels", 0)))


def _number(text: str | None) -> float | None:
    """Return a finite number or fraction as ffprobe writes it; None for what is not known."""
    top, _, bottom = (text or "").partition("/")
    try:
        number = float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None

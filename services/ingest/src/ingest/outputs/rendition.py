"""The ffmpeg command of a rendition, built by ffmpeg-python and run by media_runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
from ingest.domain import Size
from ingest.outputs.sound import Sound
from media_runtime.media.colour import Filter, apply, picture_filters, whole_frames
from media_runtime.media.info import VideoStream

_AUDIO_BITRATE = "128k"
MOST_FRAMES_A_SECOND = 60.0
# 59.94 and 60 come with a little jitter of their clocks.
_FAST = 61.0


@dataclass(frozen=True)
class EncodePlan:
    """
    What to make of one video: H.264 High in 4:2:0 and, where there is sound, AAC stereo.

    It ends after *max_seconds*, whatever the source claims to last. *filters* make the picture of
    stream *track*, counted among all; without them the first that is no cover art is scaled.
    """

    size: Size
    has_audio: bool
    preset: str
    crf: int
    max_seconds: float
    filters: Sequence[Filter] = ()
    track: int | None = None
    sound: Sound | None = None


def made_rate(frame_rate: float | None) -> float | None:
    """Return to how many frames a second a film is reduced, or None where it is not."""
    if not frame_rate or frame_rate <= _FAST:
        return None
    rate = frame_rate
    while rate > _FAST:
        rate /= 2
    near = round(rate)
    # The average of a camera that takes 240 is never exactly that.
    return float(near) if abs(rate - near) < near / 100 else rate


def film_filters(video: VideoStream, size: Size) -> list[Filter]:
    """Return the filters that make the picture of a rendition of *size*."""
    rate = made_rate(video.frame_rate)
    fewer = [Filter("fps", {"fps": f"{rate:.6f}"})] if rate else []
    return [
        *whole_frames(video),
        *fewer,
        *picture_filters(video, _scaling(video, size), fit=_fitting(video, size)),
        Filter("setsar", {"sar": 1}),
    ]


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
    filters = plan.filters or _plain(plan.size)
    picture = apply(media["V:0" if plan.track is None else str(plan.track)], filters)
    streams = [picture]
    options: dict[str, object] = {
        "c:v": "libx264",
        "preset": plan.preset,
        "crf": plan.crf,
        "pix_fmt": "yuv420p",
        "map_metadata": -1,
        "map_chapters": -1,
        # A clock as fine as any: frames stay at their time, and none is made up or left out.
        "fps_mode": "vfr",
        "enc_time_base": "1:90000",
        "movflags": "+faststart",
        "t": f"{plan.max_seconds:.3f}",
        "f": "mp4",
    }
    if plan.has_audio:
        sound, filtered = _sound(media, plan.sound)
        streams.append(sound)
        options |= {"c:a": "aac", "b:a": _AUDIO_BITRATE, "ac": 2, **filtered}
    arguments: list[str] = ffmpeg.output(*streams, f"file:{target}", **options).get_args()
    return arguments


def _plain(size: Size) -> list[Filter]:
    scale = Filter("scale", {"w": size.width, "h": size.height})
    return [scale, Filter("setsar", {"sar": 1})]


def _scaling(video: VideoStream, size: Size) -> dict[str, str | int]:
    if not video.changes_size:
        return {"w": size.width, "h": size.height}
    # The filters are made anew for each size: what is written here holds for all of them.
    scale = f"min({size.width}/(iw*sar),{size.height}/ih)"
    return {
        "w": f"max(2,trunc(iw*sar*{scale}/2+0.01)*2)",
        "h": f"max(2,trunc(ih*{scale}/2+0.01)*2)",
    }


def _fitting(video: VideoStream, size: Size) -> list[Filter]:
    if not video.changes_size:
        return []
    middle = {"x": "(ow-iw)/2", "y": "(oh-ih)/2"}
    return [Filter("pad", {"w": size.width, "h": size.height, **middle})]


def _sound(media: ffmpeg.Stream, sound: Sound | None) -> tuple[ffmpeg.Stream, dict[str, object]]:
    """Return the sound to write, and the options that it needs."""
    if sound is None:
        return media["a:0"], {}
    tracks = [media[str(track)] for track in sound.tracks]
    if not sound.is_joined:
        # In a graph of its own: that of the picture is made anew when its size changes.
        return tracks[0], {"af": sound.filters}
    return ffmpeg.filter(tracks, "amerge", inputs=len(tracks)), {}

"""A closer look at what a head does not tell of a film or sound: its packets, its sizes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.info import MediaInfo
from media_runtime.media.pace import (
    PACKET_ENTRIES,
    Packets,
    counted,
    has_jumps,
    needs_counting,
)

# An hour of 60 pictures a second, and of sound, takes two seconds.
_COUNT_CPU_SECONDS, _MOST_PACKETS = 60, 3_000_000
_SIZES_CPU_SECONDS, _MOST_KEY_FRAMES = 20, 20_000
_RESIZED = frozenset({"matroska,webm", "mpeg", "mpegts"})
_RESIZED_CODECS = frozenset({"vp8", "vp9", "av1", "h264", "hevc", "mpeg2video"})


async def look_closer(ffmpeg: Ffmpeg, source: Path, info: MediaInfo) -> MediaInfo:
    """Return *info* with what the file itself says, where its head may not be believed."""
    if needs_counting(info):
        info = await _counted(ffmpeg, source, info)
    video = info.video
    if video and info.format_name in _RESIZED and video.codec in _RESIZED_CODECS:
        return await _resized(ffmpeg, source, info)
    return info


async def _counted(ffmpeg: Ffmpeg, source: Path, info: MediaInfo) -> MediaInfo:
    packets = Packets()
    whole = await ffmpeg.read_lines(
        source,
        ("-show_entries", PACKET_ENTRIES),
        packets.take,
        cpu_seconds=_COUNT_CPU_SECONDS,
        most_lines=_MOST_PACKETS,
    )
    # What was counted in part is less than there is: no limit may be passed by it.
    return counted(info, packets.paces(jumps=has_jumps(info))) if whole else info


async def _resized(ffmpeg: Ffmpeg, source: Path, info: MediaInfo) -> MediaInfo:
    video = info.video
    if video is None:
        return info
    sizes: dict[tuple[int, int], None] = {}

    def take(line: str) -> None:
        found = re.match(r"(\d+),(\d+)", line)
        if found:
            sizes[int(found[1]), int(found[2])] = None

    await ffmpeg.read_lines(
        source,
        ("-select_streams", str(video.index), "-skip_frame", "nokey",
         "-show_entries", "frame=width,height"),
        take,
        cpu_seconds=_SIZES_CPU_SECONDS,
        most_lines=_MOST_KEY_FRAMES,
    )  # fmt: skip
    if len(sizes) <= 1:
        return info
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    if video.rotation in {90, 270}:
        width, height = height, width
    return replace(info, video=replace(video, width=width, height=height, changes_size=True))

"""
The time of a film or a sound as its packets tell it, where its head does not. Pure.

Invariant: what is kept of a packet is of a fixed size, however many there are.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from media_runtime.media.info import MediaInfo

PACKET_ENTRIES = "packet=stream_index,pts_time,dts_time,flags"
# A recorder that starts anew jumps further than any frame lasts.
_LONGEST_STEP_SECONDS = 10.0
# These have no index: their length is estimated from the first frames.
_BARE = frozenset({"mp3", "aac"})
_TRANSPORTS = frozenset({"mpeg", "mpegts", "mpegvideo"})
_FAST = 61.0


@dataclass(frozen=True)
class Pace:
    """How many packets a stream has, how long they last together, and whether that is sound."""

    packets: int
    seconds: float
    is_broken: bool = False

    @property
    def rate(self) -> float | None:
        """Packets a second; None of one alone."""
        return self.packets / self.seconds if self.packets > 1 and self.seconds else None


class Packets:
    """Takes ffprobe's lines, one a packet."""

    def __init__(self) -> None:
        self._times: dict[int, array[float]] = {}
        self._without: set[int] = set()

    def take(self, line: str) -> None:
        """Take one line; what cannot be read is passed over."""
        words = line.split(",")
        if len(words) < 4 or not words[0].isdigit() or "D" in words[3]:  # noqa: PLR2004
            return
        stream, shown, decoded = int(words[0]), _seconds(words[1]), _seconds(words[2])
        if shown is None:
            self._without.add(stream)
        time = shown if decoded is None else decoded
        if time is not None:
            self._times.setdefault(stream, array("d")).append(time)

    def paces(self, *, jumps: bool) -> dict[int, Pace]:
        """Return the pace of each stream; with *jumps* a long step is a clock that was set."""
        return {
            stream: _pace(times, stream in self._without, jumps=jumps)
            for stream, times in self._times.items()
        }


def has_jumps(info: MediaInfo) -> bool:
    """Return whether the container's clock may be set anew midway."""
    return info.format_name in _TRANSPORTS


def needs_counting(info: MediaInfo) -> bool:
    """Return whether the head of the file does not tell how long it is, or how fast."""
    video = info.video
    if video is None:
        return info.format_name in _BARE or info.duration_seconds is None
    unknown = video.frame_rate is None or info.duration_seconds is None
    doubtful = (video.frame_rate or 0) > _FAST and not info.format_name.startswith("mov")
    stretched = info.carries_more and video.duration_seconds is None
    return has_jumps(info) or unknown or doubtful or stretched


def counted(info: MediaInfo, paces: dict[int, Pace]) -> MediaInfo:
    """Return *info* with what was counted in place of what was said."""
    video = info.video
    main = video or info.audio
    if main is None or main.index not in paces:
        return info
    streams = {main.index, *(sound.index for sound in info.audio_streams)}
    seconds = max(pace.seconds for stream, pace in paces.items() if stream in streams)
    if video:
        pace = paces[video.index]
        video = replace(video, frame_rate=pace.rate, duration_seconds=pace.seconds)
    return replace(info, video=video, duration_seconds=seconds or None)


def _pace(times: array[float], without: bool, *, jumps: bool) -> Pace:
    steps = [after - before for before, after in pairwise(times)]
    usual = _usual(steps)
    good = [step for step in steps if step >= 0 and not (jumps and step > _LONGEST_STEP_SECONDS)]
    odd = len(steps) - len(good)
    return Pace(len(times), sum(good) + (odd + 1) * usual, is_broken=without or odd > 0)


def _usual(steps: Iterable[float]) -> float:
    rising = [step for step in steps if 0 < step <= _LONGEST_STEP_SECONDS]
    return median(rising) if rising else 0.0


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

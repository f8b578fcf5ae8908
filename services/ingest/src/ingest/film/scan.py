"""A film's grid, read off its packets without decoding any."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from ingest.film.grid import Grid, Packet, fit
from ingest.film.sound import Sound
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.info import MediaInfo

# Four hours of 30 pictures a second; an hour of them, some 500 MB, takes two seconds.
_MOST_PACKETS = 500_000
# A small file that tells of many pictures holds a worker up for no longer than this.
_LEAST_CPU_SECONDS, _BYTES_A_CPU_SECOND = 2, 20_000_000
_LINE = re.compile(r"(-?\d+|N/A),(-?\d+|N/A),(\d+|N/A),(\w*)")
_TIME_BASE = re.compile(r"(\d+)/([1-9]\d*)")
# Where packets may come without a time. ffmpeg fills it in by the order of pictures, which it knows
# of these codecs; of H.264 it does not, and what it fills in is wrong.
_LACK_TIMES = frozenset({"mpeg", "avi"})
_ORDERED = frozenset({"mpeg1video", "mpeg2video", "mpeg4"})
_FILLING = ("-fflags", "+genpts")
# Sound that ends this much later is no rounding: the last picture stands still for it.
_OUTLASTS_SECONDS = 0.25


@dataclass(frozen=True)
class Packets:
    """All packets of a film's pictures, with times in units of ``base`` seconds; see Grid."""

    packets: list[Packet]
    base: Fraction
    is_filled: bool = False


async def packets_in(ffmpeg: Ffmpeg, source: Path, info: MediaInfo) -> Packets | None:
    """Return the packets of a film's pictures; None where they do not tell of a grid."""
    if info.video is None or info.video.changes_size:
        return None
    is_filled = info.format_name in _LACK_TIMES and info.video.codec in _ORDERED
    packets: list[Packet] = []
    bases: list[Fraction] = []

    def take(line: str) -> None:
        if found := _LINE.match(line):
            shown, decoded, lasts, flags = found.groups()
            packets.append(
                Packet(_ticks(shown), _ticks(decoded), _ticks(lasts) or 0,
                       "K" in flags, "D" in flags)
            )  # fmt: skip
        elif found := _TIME_BASE.match(line):
            bases.append(Fraction(int(found[1]), int(found[2])))

    is_all = await ffmpeg.read_lines(
        source,
        (*(_FILLING if is_filled else ()), "-select_streams", str(info.video.index),
         "-show_entries", "packet=pts,dts,duration,flags:stream=time_base"),
        take,
        cpu_seconds=_cpu_seconds(source),
        most_lines=_MOST_PACKETS,
    )  # fmt: skip
    return Packets(packets, bases[0], is_filled) if is_all and bases and bases[0] else None


def grid_of(
    found: Packets, info: MediaInfo, sound: Sound | None, *, most_seconds: float
) -> Grid | None:
    """
    Return the grid of a film's frames; None where its packets cannot tell.

    It lasts as long as picture and sound, and *most_seconds* and a little more at most.
    """
    try:
        lead = _lead(found.packets, found.base, info)
        grid = replace(fit(found.packets, found.base, lead=lead), is_filled=found.is_filled)
    except ValueError:
        return None
    end = _sound_ends(info, sound)
    if end is not None and end > grid.origin + grid.seconds + Fraction(_OUTLASTS_SECONDS):
        grid = grid.until(min(end, float(grid.origin) + most_seconds + 1))
    return None if grid.seconds > most_seconds + 1 else grid


def _cpu_seconds(source: Path) -> int:
    return _LEAST_CPU_SECONDS + source.stat().st_size // _BYTES_A_CPU_SECOND


def _ticks(text: str) -> int | None:
    return None if text == "N/A" else int(text)


def _lead(packets: list[Packet], base: Fraction, info: MediaInfo) -> Fraction:
    """Return by how many seconds sound comes before the first picture."""
    first = min(
        (one.shown for one in packets if one.shown is not None and not one.is_left_out), default=0
    )
    starts = [one.start_seconds for one in info.audio_streams if one.start_seconds is not None]
    return max(Fraction(0), first * base - Fraction(min(starts))) if starts else Fraction(0)


def _sound_ends(info: MediaInfo, sound: Sound | None) -> float | None:
    """Return when the sound ends, of the source's clock, as far as that is known."""
    heard = [one for one in info.audio_streams if sound and one.index in sound.tracks]
    said = [
        (one.start_seconds or 0) + one.duration_seconds for one in heard if one.duration_seconds
    ]
    if said or not heard:
        return max(said, default=None)
    whole = None if info.carries_more else info.duration_seconds
    return info.start_seconds + whole if whole else None

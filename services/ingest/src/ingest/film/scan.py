"""A film's grid, read off its packets without decoding any."""

from __future__ import annotations

import re
from collections.abc import Awaitable
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
_STREAM = re.compile(r"(\d+),(\d+)/([1-9]\d*)")
# Where packets may come without a time. ffmpeg fills it in by the order of pictures, which it knows
# of these codecs; of H.264 it does not, and what it fills in is wrong.
_LACK_TIMES = frozenset({"mpeg", "avi"})
_ORDERED = frozenset({"mpeg1video", "mpeg2video", "mpeg4"})
_FILLING = ("-fflags", "+genpts")
# Sound that ends this much later is no rounding: the last picture stands still for it.
_OUTLASTS_SECONDS = 0.25


@dataclass(frozen=True)
class Packets:
    """All packets of a *stream*, with times in units of ``base`` seconds; see Grid."""

    stream: int
    packets: list[Packet]
    base: Fraction
    is_filled: bool = False


async def packets_in(
    ffmpeg: Ffmpeg, source: Path, info: MediaInfo, early: Awaitable[Packets | None] | None = None
) -> Packets | None:
    """
    Return the packets of a film's pictures; None where they do not tell of a grid.

    Where those that are read *early* are of another stream, they are read anew.
    """
    if info.video is None or info.video.changes_size:
        return None
    is_filled = info.format_name in _LACK_TIMES and info.video.codec in _ORDERED
    found = await early if early else None
    if found and (found.stream, found.is_filled) == (info.video.index, is_filled):
        return found
    return await read_packets(ffmpeg, source, str(info.video.index), is_filled=is_filled)


async def read_packets(
    ffmpeg: Ffmpeg, source: Path, stream: str = "v:0", *, is_filled: bool = False
) -> Packets | None:
    """Return all packets of a stream, as ffmpeg calls it; None where they are too many."""
    packets: list[Packet] = []
    about: list[tuple[int, Fraction]] = []

    def take(line: str) -> None:
        if found := _LINE.match(line):
            shown, decoded, lasts, flags = found.groups()
            packets.append(
                Packet(_ticks(shown), _ticks(decoded), _ticks(lasts) or 0,
                       "K" in flags, "D" in flags)
            )  # fmt: skip
        elif found := _STREAM.match(line):
            about.append((int(found[1]), Fraction(int(found[2]), int(found[3]))))

    is_all = await ffmpeg.read_lines(
        source,
        (*(_FILLING if is_filled else ()), "-select_streams", stream,
         "-show_entries", "packet=pts,dts,duration,flags:stream=index,time_base"),
        take,
        cpu_seconds=_cpu_seconds(source),
        most_lines=_MOST_PACKETS,
    )  # fmt: skip
    index, base = about[0] if is_all and about else (0, Fraction(0))
    return Packets(index, packets, base, is_filled) if base else None


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

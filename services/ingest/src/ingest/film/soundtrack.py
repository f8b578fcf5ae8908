"""The sound of a film on the clock of its frames: AAC packets that begin where they say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import ffmpeg
from ingest.film.grid import Grid
from ingest.film.sound import LEAST_GAP_SECONDS, Sound
from media_runtime.media.colour import Filter, apply

RATE, PACKET = 48_000, 1024
_KBITS = 128
_FRAGMENT_MICROSECONDS = 2_000_000
_CMAF = "+cmaf+empty_moov+default_base_moof+frag_discont+skip_trailer"
ENCODING: Mapping[str, object] = {
    "c:a": "aac",
    "b:a": f"{_KBITS}k",
    "bsf:a": "noise=drop='lt(pts,0)'",
    "avoid_negative_ts": "disabled",
    "fflags": "+bitexact",
    "flags:a": "+bitexact",
    "map_metadata": -1,
    "map_chapters": -1,
    "frag_duration": _FRAGMENT_MICROSECONDS,
    "movflags": _CMAF,
    "f": "mp4",
}
"""The options of an output that is a film's sound, from its first sample on."""
EARLY_PACKETS = 4 * 94
"""Four fragments: what is heard before the whole sound is there has fragments as that one has."""
_RUN_OUT = 8


def packets_of(grid: Grid) -> int:
    """Return how many packets of sound a film has, the last one whole."""
    return math.ceil(grid.seconds * RATE / PACKET)


def sound_command(
    source: Path,
    target: Path,
    grid: Grid,
    sound: Sound,
    input_options: Mapping[str, object],
    *,
    packets: int | None = None,
    louder: Sequence[Filter] = (),
) -> list[str]:
    """
    Return ffmpeg's arguments that write the sound of a film as a CMAF track.

    Its first sample is that of the first frame's time, whatever the source begins with, and it
    ends with the film, or after so many *packets*. The encoder's run-up is left out of the
    file: players that read no edit lists would play it, 21 ms late. *louder* are the filters that
    make it as loud as others.
    """
    media = ffmpeg.input(f"file:{source}", **input_options, copyts=None)
    whole = packets_of(grid)
    count = min(packets or whole, whole)
    # The encoder looks ahead: a last packet that nothing follows would click.
    run_out = _RUN_OUT if count < whole else 0
    heard = apply(mixed(media, sound), _on_clock(grid, (count + run_out) * PACKET, louder))
    arguments: list[str] = heard.output(
        f"file:{target}",
        **{**ENCODING, "bsf:a": f"noise=drop='lt(pts,0)+gte(pts,{count * PACKET})'"},
    ).get_args()
    return arguments


def alone_command(
    source: Path,
    target: Path,
    sound: Sound,
    input_options: Mapping[str, object],
    *,
    kbits_per_second: int,
    max_seconds: float,
    louder: Sequence[Filter] = (),
) -> list[str]:
    """
    Return ffmpeg's arguments that write a sound without a film as a CMAF track.

    It begins with its first sample and ends with its last one, or after *max_seconds*. *louder*
    are the filters that make it as loud as others.
    """
    media = ffmpeg.input(f"file:{source}", **input_options)
    # Some containers begin before their first sample, with what a decoder leaves out.
    begun = Filter("asetpts", {"expr": "PTS-STARTPTS"})
    heard = apply(mixed(media, sound), [begun, *from_its_start(louder)])
    arguments: list[str] = heard.output(
        f"file:{target}",
        **{**ENCODING, "b:a": f"{kbits_per_second}k", "t": f"{max_seconds:.3f}"},
    ).get_args()
    return arguments


def from_its_start(louder: Sequence[Filter]) -> list[Filter]:
    """Return the filters that make a sound stereo, from time 0 on, silent where there is none."""
    return [
        in_step(),
        Filter("aformat", {"channel_layouts": "stereo"}),
        *louder,
    ]


def mixed(media: ffmpeg.Stream, sound: Sound) -> ffmpeg.Stream:
    """Return what is heard of a source: its tracks together, in their channels or in two."""
    tracks = [media[str(track)] for track in sound.tracks]
    heard = tracks[0] if not sound.is_joined else ffmpeg.filter(tracks, "amerge", inputs=2)
    pan = next((one for one in sound.filters.split(",") if one.startswith("pan=")), None)
    return heard.filter("pan", args=pan.removeprefix("pan=")) if pan else heard


def in_step() -> Filter:
    """Return the filter that keeps sound at its packets' times, from zero on."""
    words = {"sample_rate": RATE, "async": 1, "first_pts": 0, "min_hard_comp": LEAST_GAP_SECONDS}
    return Filter("aresample", words)


def _on_clock(grid: Grid, samples: int, louder: Sequence[Filter]) -> list[Filter]:
    return [
        Filter("asetpts", {"expr": f"PTS-round({float(grid.origin):.9f}/TB)"}),
        *from_its_start(louder),
        Filter("apad", {}),
        Filter("atrim", {"end_pts": samples}),
    ]

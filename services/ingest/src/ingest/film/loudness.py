"""
How loud a film is, and what makes it as loud as others. Pure, but for measuring.

Loudness is in LUFS and true peaks are in dBTP, as EBU R 128 and ITU-R BS.1770 define them: the
peak is of the curve between the samples, which a player's converter makes of them. One gain is
for all of a film: what is quiet beside what is loud stays so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
from ingest.film.sound import Sound
from ingest.film.soundtrack import RATE, mixed
from media_runtime.errors import PermanentError
from media_runtime.media.colour import Filter, apply
from media_runtime.media.ffmpeg import Ffmpeg

# What streaming services and broadcasters for the web play at (AES TD1008, -16 for speech).
TARGET_LUFS = -16.0
# Quieter than any sound that is meant to be heard: it would be noise that is made loud.
_SILENT_LUFS = -60.0
_MOST_DECIBELS = 20.0
# AAC adds up to about half a decibel to peaks, and no player should have more than -1 dBTP.
_MOST_PEAK = -1.5
# Samples are limited to -2 dBFS, and twice as many of them: between those of noise the curve goes
# 4 dB higher, between these 0.3 dB.
_LIMITER = [
    Filter("aresample", {"sample_rate": 2 * RATE}),
    Filter("alimiter", {"limit": 0.794, "level": "disabled", "latency": 1}),
    Filter("aresample", {"sample_rate": RATE}),
]
# Measured: 5 to 14 ms of CPU for a second of AAC in stereo. Some codecs and machines take longer.
_LEAST_CPU_SECONDS, _CPU_SECONDS_A_SECOND = 10, 0.15
_LEAST_SECONDS, _TIMES_ITS_CPU = 60, 4
_BYTES = 1024**2  # nothing is written
_NUMBER = r"(-?\d+(?:\.\d+)?|-?inf|nan)"


@dataclass(frozen=True)
class Loudness:
    """How loud a sound is: ``integrated`` over all of it in LUFS, ``peak`` at most in dBTP."""

    integrated: float
    peak: float


def loudness_command(
    source: Path, sound: Sound, input_options: Mapping[str, object], *, max_seconds: float
) -> list[str]:
    """
    Return ffmpeg's arguments that say how loud a film's sound is; they write nothing.

    They end after *max_seconds* of it, whatever the source claims to last.
    """
    media = ffmpeg.input(f"file:{source}", **input_options, t=f"{max_seconds:.3f}")
    # What a source leaves out between sounds is silence, which counts for nothing here.
    measured = apply(
        mixed(media, sound),
        [
            Filter("aresample", {"sample_rate": RATE}),
            Filter("aformat", {"channel_layouts": "stereo"}),
            Filter("ebur128", {"peak": "true", "framelog": "verbose"}),
        ],
    )
    # The filter tells its summary as information.
    return [*measured.output("-", f="null").get_args(), "-loglevel", "info"]


def loudness_in(text: str) -> Loudness | None:
    """Return what ffmpeg said at its end, or None where there is no summary."""
    # A file's own words come before it.
    _, found, summary = text.rpartition("Summary:")
    integrated = re.search(rf"\bI: +{_NUMBER} LUFS", summary)
    peak = re.search(rf"\bPeak: +{_NUMBER} dBFS", summary)
    if not (found and integrated and peak):
        return None
    return Loudness(float(integrated[1]), float(peak[1]))


async def measure(
    transcoder: Ffmpeg,
    source: Path,
    sound: Sound,
    folder: Path,
    *,
    max_seconds: float,
    niceness: int = 0,
) -> Loudness | None:
    """
    Return how loud a film of at most *max_seconds* is.

    None where its sound cannot be decoded, or not soon enough. The clock that ran out, or a
    machine at fault, is a TransientError; see Ffmpeg.run. *folder* is for what it may write.
    """
    cpu_seconds = math.ceil(_LEAST_CPU_SECONDS + _CPU_SECONDS_A_SECOND * max_seconds)
    try:
        said = await transcoder.run(
            loudness_command(source, sound, transcoder.input_options, max_seconds=max_seconds),
            reads=source,
            writes=folder,
            timeout_seconds=_LEAST_SECONDS + _TIMES_ITS_CPU * cpu_seconds,
            cpu_seconds=cpu_seconds,
            max_bytes=_BYTES,
            niceness=niceness,
        )
    except PermanentError:
        return None
    return loudness_in(said)


def correction(measured: Loudness | None, target: float = TARGET_LUFS) -> list[Filter]:
    """
    Return the filters that bring a sound to *target* LUFS; none for silence or what is not known.

    A gain is at most 20 dB. Peaks that would exceed -1.5 dBTP are limited, which makes a sound of
    few high peaks a little quieter than *target*.
    """
    if measured is None or not measured.integrated >= _SILENT_LUFS:
        return []
    gain = max(-_MOST_DECIBELS, min(_MOST_DECIBELS, target - measured.integrated))
    limited = _LIMITER if measured.peak + gain > _MOST_PEAK else []
    return [Filter("volume", {"volume": f"{gain:.2f}dB"}), *limited]

"""
Which sound of a film is heard, and how it becomes stereo. Pure, but for listening.

Invariant: nothing is chosen that no decoder here can decode, and no channel is left out but the
one of low effects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
from media_runtime.errors import PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.ffmpeg_input import is_decoded
from media_runtime.media.info import AudioStream

LEAST_GAP_SECONDS = 0.018
"""
What is missing for so long is silence. The shortest packets last for 20 ms; ffmpeg by itself lets
sound be early by up to 100 ms. Clocks that tremble by less are let be.
"""
_SILENT_DECIBELS = -60.0
# A voice that begins later than that is found no more, and no more than so many are listened to.
_LISTEN_SECONDS, _MOST_LISTENED_TO = 600, 8
_LISTEN_CPU_SECONDS, _LEAST_CPU_SECONDS, _LISTEN_BYTES = 20, 4, 16 * 1024**2
_LISTEN_RATE = 8000
_RATES = frozenset({32_000, 44_100, 48_000})
_USUAL_RATE = 48_000
_STEREO = 2
_FL, _FR = "FL", "FR"
_POSITIONS = {
    "mono": "FC",
    "stereo": "FL+FR",
    "downmix": "FL+FR",
    "2.1": "FL+FR+LFE",
    "3.0": "FL+FR+FC",
    "3.0(back)": "FL+FR+BC",
    "3.1": "FL+FR+FC+LFE",
    "4.0": "FL+FR+FC+BC",
    "4.1": "FL+FR+FC+LFE+BC",
    "quad": "FL+FR+BL+BR",
    "quad(side)": "FL+FR+SL+SR",
    "5.0": "FL+FR+FC+BL+BR",
    "5.0(side)": "FL+FR+FC+SL+SR",
    "5.1": "FL+FR+FC+LFE+BL+BR",
    "5.1(side)": "FL+FR+FC+LFE+SL+SR",
    "6.0": "FL+FR+FC+BC+SL+SR",
    "6.1": "FL+FR+FC+LFE+BC+SL+SR",
    "7.0": "FL+FR+FC+BL+BR+SL+SR",
    "7.1": "FL+FR+FC+LFE+BL+BR+SL+SR",
    "7.1(wide)": "FL+FR+FC+LFE+BL+BR+FLC+FRC",
}
# How loud a channel is on the left and on the right: speech, which is in the middle, first.
_FRONT, _MIDDLE, _AROUND, _BEHIND = 0.7, 1.0, 0.5, 0.35


@dataclass(frozen=True)
class Sound:
    """The streams that are heard, by their numbers among all, and the filters of each."""

    tracks: tuple[int, ...]
    filters: str

    @property
    def is_joined(self) -> bool:
        """Whether the tracks are the left and the right of one sound."""
        return len(self.tracks) > 1


def candidates(streams: Sequence[AudioStream]) -> list[AudioStream]:
    """Return what may be heard, the likeliest first."""
    # What is not known of a stream is known once it is decoded.
    able = [one for one in streams if is_decoded(one.codec)]
    return sorted(able, key=lambda one: (not one.channels, not one.is_default, one.index))


def choose(streams: Sequence[AudioStream], peaks: Mapping[int, float | None]) -> Sound | None:
    """
    Return what is heard of the candidates *streams*.

    *peaks* are in decibels, by the streams' numbers, None where nothing could be decoded; of a
    stream that is not among them nothing is known.
    """
    able = [one for one in streams if peaks.get(one.index, 0.0) is not None]
    heard = [one for one in able if (peaks.get(one.index, 0.0) or 0.0) > _SILENT_DECIBELS]
    sides = [next((one for one in heard if _positions(one) == [side]), None) for side in (_FL, _FR)]
    if sides[0] is not None and sides[1] is not None:
        return Sound((sides[0].index, sides[1].index), _in_time(sides[0]))
    found = next(iter(heard or able), None)
    return Sound((found.index,), _stereo(found)) if found else None


async def listen(
    transcoder: Ffmpeg, source: Path, streams: Sequence[AudioStream], folder: Path
) -> dict[int, float | None]:
    """Return how loud each of several streams is at its loudest, in decibels."""
    if len(streams) <= 1:
        return {}
    some = streams[:_MOST_LISTENED_TO]
    # All together have so much: many sounds in a small file would keep a worker for minutes.
    seconds = max(_LEAST_CPU_SECONDS, _LISTEN_CPU_SECONDS // len(some))
    return {one.index: await _peak(transcoder, source, one, folder, seconds) for one in some}


async def _peak(
    transcoder: Ffmpeg, source: Path, stream: AudioStream, folder: Path, cpu_seconds: int
) -> float | None:
    said = folder / f"sound-{stream.index}.txt"
    key = "lavfi.astats.Overall.Peak_level"
    sound = (
        ffmpeg.input(f"file:{source}", **transcoder.input_options, t=_LISTEN_SECONDS)[
            str(stream.index)
        ]
        .filter("aresample", _LISTEN_RATE)
        .filter("asetnsamples", n=_LISTEN_RATE)
        .filter("astats", metadata=1, reset=1)
        .filter("ametadata", mode="print", key=key, file=str(said))
    )
    # What was decoded before it failed, or before its time was up, was heard.
    with suppress(PermanentError):
        await transcoder.run(
            sound.output("-", f="null").get_args(),
            reads=source,
            writes=folder,
            timeout_seconds=4 * _LISTEN_CPU_SECONDS,
            cpu_seconds=cpu_seconds,
            max_bytes=_LISTEN_BYTES,
        )
    words = said.read_text(errors="replace") if said.exists() else ""
    said.unlink(missing_ok=True)
    found = [float(level) for level in re.findall(rf"{re.escape(key)}=(-?[\d.]+|-inf)", words)]
    return max(found, default=None)


def _positions(stream: AudioStream) -> list[str] | None:
    """Return where the channels stand, in their order, or None where it is not known."""
    layout = stream.layout or ""
    spelt = re.fullmatch(r"\d+ channels \(([A-Z0-9+]+)\)", layout)
    names = (spelt[1] if spelt else _POSITIONS.get(layout, "")).split("+")
    return names if len(names) == stream.channels and all(names) else None


def _stereo(stream: AudioStream) -> str:
    # Some containers leave out the silence between sounds: it is put back, or the voice runs ahead.
    pan = _pan(stream)
    return f"{pan},{_in_time(stream)}" if pan else _in_time(stream)


def _in_time(stream: AudioStream) -> str:
    unusual = stream.sample_rate and stream.sample_rate not in _RATES
    words = f"async=1:min_hard_comp={LEAST_GAP_SECONDS}"
    return f"aresample={_USUAL_RATE}:{words}" if unusual else f"aresample={words}"


def _pan(stream: AudioStream) -> str | None:
    if stream.layout in {"mono", "stereo"} or not stream.channels:
        return None
    positions = _positions(stream)
    if positions is None:
        gains = [_by_order(number, stream.channels) for number in range(stream.channels)]
    else:
        gains = [_gain(name) for name in positions]
    if stream.channels == 1 or not all(any(side) for side in zip(*gains, strict=True)):
        gains = [(1.0, 1.0)] * stream.channels
    sides = ("+".join(_terms(gains, side)) for side in range(_STEREO))
    return "pan=stereo|" + "|".join(f"c{side}<{terms}" for side, terms in enumerate(sides))


def _terms(gains: Sequence[tuple[float, float]], side: int) -> list[str]:
    return [f"{gain[side]}*c{number}" for number, gain in enumerate(gains) if gain[side]]


def _by_order(number: int, channels: int) -> tuple[float, float]:
    if channels > 1 and channels % 2 and number == channels - 1:
        return 1.0, 1.0
    return (0.0, 1.0) if number % 2 else (1.0, 0.0)


def _gain(name: str) -> tuple[float, float]:
    if name.startswith("LFE"):
        return 0.0, 0.0
    if name in {_FL, _FR}:
        return (_FRONT, 0.0) if name == _FL else (0.0, _FRONT)
    if name == "FC":
        return _MIDDLE, _MIDDLE
    left, right = "L" in name, "R" in name
    if left != right:
        return (_AROUND, 0.0) if left else (0.0, _AROUND)
    return _BEHIND, _BEHIND

"""
What is said or written in a film, as WebVTT: packets as they are stored, read, cleaned, and timed.

No decoder of subtitles runs: ffmpeg copies their bytes and tells their times. Invariant: of what an
upload says, plain characters and ends of lines alone come into a cue; no tag, no control.
Sources: W3C WebVTT, Matroska's subtitle codec mappings, 3GPP TS 26.245, Aegisub's ASS tags.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise
from os import SEEK_CUR
from pathlib import Path
from typing import IO, Any

import ffmpeg
from media_contracts import Text
from media_runtime.media.info import TextStream

MOST_TRACKS = 16
"""No film that people make has more languages of one kind."""
_MOST_TRACK_BYTES, _MOST_STORED_BYTES = 16 * 1024**2, 32 * 1024**2
# Some 80,000 packets of all tracks: twice what films with drawn letters have. They are read here
# and not in the sandbox, so that each costs all who work in this process.
_MOST_TOLD = 4 * 1024**2
_MOST_BYTES, _MOST_CUES = 4 * 1024**2, 50_000
_MOST_CHARACTERS, _MOST_LINES, _MOST_TITLE = 1000, 12, 100
_MOST_PACKET_BYTES = 64 * 1024
# Of a cue that does not tell, where no other follows.
_USUAL_SECONDS = 5
_MILLIS = 1000
_PACKETS = "packets"


@dataclass(frozen=True)
class Cue:
    """A text and when it is shown, in thousandths of a second of the film."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Packet:
    """Bytes as stored, and when they are shown, of the source's clock; it may not tell how long."""

    at: Fraction
    lasts: Fraction
    data: bytes


def readable(found: Sequence[TextStream]) -> list[TextStream]:
    """Return those that become WebVTT: text and no pictures of it, and not too many."""
    return [one for one in found if one.codec in _READERS][:MOST_TRACKS]


def most_bytes(tracks: int) -> int:
    """
    Return how many bytes are read of each of so many tracks.

    What is said in a film takes a hundredth of that; drawings take more.
    """
    return min(_MOST_TRACK_BYTES, _MOST_STORED_BYTES // tracks)


def text_params(found: Sequence[TextStream]) -> list[list[Any]]:
    """Return them as JSON of a task."""
    return [[one.index, one.codec, about(one).model_dump(exclude_defaults=True)] for one in found]


def about(one: TextStream) -> Text:
    """Return what clients are told of a text."""
    title = _plain_line(one.title or "")[:_MOST_TITLE].strip()
    return Text(
        language=one.language,
        title=title or None,
        forced=one.is_forced,
        default=one.is_default,
        hearing_impaired=one.is_for_hearing_impaired,
    )


def text_command(
    source: Path, folder: Path, tracks: Sequence[int], input_options: Mapping[str, object]
) -> list[str]:
    """
    Return ffmpeg's arguments that write the packets of these *tracks*, counted among all.

    ``<number>.data`` has all bytes of one, ``packets`` their times and sizes. The source is read
    once, and its clock stays as it is.
    """
    media = ffmpeg.input(f"file:{source}", **input_options, copyts=None)
    streams = [media[str(track)] for track in tracks]
    # ffmpeg ends when all outputs are full, and not each of them: who reads them has to stop too.
    times = ffmpeg.output(
        *streams, f"file:{folder / _PACKETS}", c="copy", f="framecrc", fs=_MOST_TOLD
    )
    most = most_bytes(len(tracks))
    stored = [
        one.output(f"file:{data_path(folder, number)}", c="copy", f="data", fs=most)
        for number, one in enumerate(streams)
    ]
    arguments: list[str] = ffmpeg.merge_outputs(times, *stored).get_args()
    return arguments


def data_path(folder: Path, number: int) -> Path:
    """Return where the bytes of a track are, counted among those that were asked for."""
    return folder / f"{number}.data"


_LINE = re.compile(r"(\d+), *(?:-?\d+|NOPTS), *(-?\d+|NOPTS), *(-?\d+), *(\d+),")
_TIME_BASE = re.compile(r"#tb (\d+): (\d+)/([1-9]\d*)")


def told_in(folder: Path) -> list[str]:
    """Return what is told of the packets of all tracks, as far as it is read."""
    with (folder / _PACKETS).open(encoding="utf-8") as told:
        return told.readlines(_MOST_TOLD)


def packets(
    told: Iterable[str], stored: IO[bytes], number: int, most: int = _MOST_TRACK_BYTES
) -> Iterator[Packet]:
    """
    Yield the packets of one track, by what was *told* of all, as far as they are *stored*.

    About as many bytes as *most* are read.
    """
    time_base, own = Fraction(1, _MILLIS), f"{number},"
    for line in told:
        # All tracks are told of in one file: most of its lines are others'.
        if not line.startswith((own, "#")):
            continue
        if base := _TIME_BASE.match(line):
            if int(base[1]) == number:
                time_base = Fraction(int(base[2]), int(base[3]))
        elif (found := _LINE.match(line)) and int(found[1]) == number:
            at, lasts, size = found.groups()[1:]
            wanted = min(int(size), _MOST_PACKET_BYTES)
            if stored.tell() >= most or len(data := stored.read(wanted)) < wanted:
                return
            stored.seek(int(size) - wanted, SEEK_CUR)
            if at != "NOPTS":
                yield Packet(int(at) * time_base, int(lasts) * time_base, data)


def cues(
    found: Iterable[Packet], codec: str, *, origin: Fraction, seconds: Fraction
) -> Iterator[Cue]:
    """
    Yield the cues of packets in a film of so many *seconds*, whose first picture is at *origin*.

    What is shown twice at once, or goes on being shown, is one cue: who animates letters stores
    them for each picture.
    """
    read, end = _READERS[codec], round(seconds * _MILLIS)
    shown: dict[str, Cue] = {}
    for packet, until in _with_ends(found):
        text = clean(read(packet.data))
        start, stop = (round((time - origin) * _MILLIS) for time in (packet.at, until))
        cue = Cue(max(0, start), min(stop, end), text)
        if not text or cue.end <= cue.start:
            continue
        before = shown.get(text)
        if before and before.start <= cue.start <= before.end + 1:
            shown[text] = replace(before, end=max(before.end, cue.end))
            continue
        if before:
            yield before
        shown[text] = cue
    yield from shown.values()


def webvtt(found: Iterable[Cue]) -> tuple[str, bool]:
    """
    Return cues as a WebVTT file, and whether all of them are in it.

    Its clock is that of our fragments, whose first picture is shown at 0.
    """
    parts = ["WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n"]
    left = _MOST_BYTES
    for cue in sorted(found, key=lambda one: (one.start, one.end)):
        part = f"\n{_clock(cue.start)} --> {_clock(cue.end)}\n{cue.text}\n"
        left -= len(part.encode())
        if left < 0 or len(parts) > _MOST_CUES:
            return "".join(parts), False
        parts.append(part)
    return "".join(parts), True


def has_cues(text: str) -> bool:
    """Return whether a WebVTT file that was written here has any."""
    return " --> " in text


_ENDS_OF_LINES = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")


def clean(text: str) -> str:
    """Return the text of a cue: a few lines, none of them empty, in which nothing is markup."""
    lines = (_plain_line(line) for line in _ENDS_OF_LINES.split(text[: 4 * _MOST_CHARACTERS]))
    kept = "\n".join([line for line in lines if line][:_MOST_LINES])[:_MOST_CHARACTERS]
    return html.escape(kept.rstrip(), quote=False)


def _plain_line(text: str) -> str:
    return _CONTROLS.sub("", _ENDS_OF_LINES.sub(" ", text).replace("\t", " ")).strip(" ")


def _with_ends(found: Iterable[Packet]) -> Iterator[tuple[Packet, Fraction]]:
    """Yield packets with when they end; of one that does not tell that is when another comes."""
    for one, following in pairwise(chain(found, [None])):
        if one is None:
            return
        lasts = one.lasts
        if lasts <= 0:
            lasts = Fraction(_USUAL_SECONDS)
            if following and following.at > one.at:
                lasts = min(lasts, following.at - one.at)
        yield one, one.at + lasts


def _clock(millis: int) -> str:
    minutes, rest = divmod(millis, 60 * _MILLIS)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // _MILLIS:02}.{rest % _MILLIS:03}"


# What SubRip knows of HTML, and of ASS. "<3" is no tag.
_SUBRIP_TAG = re.compile(
    r"</?(?:[abcipsuv]|br|em|font|rt|ruby|span|strong)(?:[\s.=/][^<>]*)?>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
_WEBVTT_TAG = re.compile(r"<[^<>]*>")
_ASS_WORD = re.compile(r"\{([^{}]*)\}|\\([Nnh])|\\?([{}])|[^{}\\]+|\\")
_ASS_DRAWING = re.compile(r"\\p(\d+)")
_ASS_FIELDS = 8
_ASS_MEANS = {"N": "\n", "n": "\n", "h": "\u00a0"}


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _subrip(data: bytes) -> str:
    return _SUBRIP_TAG.sub("", _utf8(data))


def _webvtt(data: bytes) -> str:
    return html.unescape(_WEBVTT_TAG.sub("", _utf8(data)))


def _mov_text(data: bytes) -> str:
    """Return the text of a sample, which says how long it is; boxes of styles follow it."""
    text = data[2 : 2 + int.from_bytes(data[:2], "big")]
    if text[:2] in {b"\xfe\xff", b"\xff\xfe"}:
        return text.decode("utf-16", errors="replace")
    return _utf8(text)


def _ass(data: bytes) -> str:
    """Return what an event says: without its overrides, and without what it draws."""
    event = _utf8(data).split(",", _ASS_FIELDS)
    kept, is_drawing = [], False
    for word in _ASS_WORD.finditer(event[-1] if len(event) > _ASS_FIELDS else ""):
        overrides, means, literal = word.groups()
        if overrides is not None:
            for size in _ASS_DRAWING.findall(overrides):
                is_drawing = bool(size.strip("0"))
        elif not is_drawing:
            kept.append(_ASS_MEANS[means] if means else literal or word[0])
    return "".join(kept)


_READERS: Mapping[str, Callable[[bytes], str]] = {
    "ass": _ass,
    "ssa": _ass,
    "mov_text": _mov_text,
    "subrip": _subrip,
    "srt": _subrip,
    "text": _utf8,
    "webvtt": _webvtt,
}
"""What reads a packet, by ffprobe's name of its codec."""

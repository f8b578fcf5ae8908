"""
HLS and DASH of the same bytes, written from what is known of the files. Pure.

Players get byte ranges of the very files that were proven; nothing is packed anew. All names are
relative, so that whoever may read a manifest may read what it names.
Sources: RFC 8216 with draft-pantos-hls-rfc8216bis, ISO/IEC 23009-1.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import accumulate, groupby
from typing import Self
from xml.sax.saxutils import quoteattr

from media_runtime.media.texts import TextFile, dash_texts, hls_text_lines, hls_text_words
from media_runtime.media.tiles import Tiles, dash_images, hls_images_line

# Two groups of pictures: players ask for fewer, larger pieces.
_FRAGMENTS_A_SEGMENT = 2
_SOUND_GROUP = "sound"


@dataclass(frozen=True)
class Layout:
    """
    Where the fragments of one file stand, each by its start, the end of its first picture, its end
    and its ticks; ``head`` is how many bytes come before them. ``codecs`` are as RFC 6381 writes
    them, ``rate`` is of pictures, as a fraction, and ``ssim`` is how near they are to their source.
    """

    codecs: str
    timescale: int
    head: int
    fragments: Sequence[Sequence[int]]
    rate: str | None = None
    ssim: float | None = None

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> Self:
        """Return what text() wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Part:
    """Bytes of a file that are played in one piece; ``key_end`` is where its first picture ends."""

    uri: str
    start: int
    key_end: int
    end: int
    ticks: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.end - self.start

    def is_before(self, other: Part) -> bool:
        """Return whether *other* begins where this one ends."""
        return (self.uri, self.end) == (other.uri, other.start)


@dataclass(frozen=True)
class Rendition:
    """
    One size of a film in one codec, or its sound: where its head is, and its fragments in order.

    ``codecs`` are as RFC 6381 writes them.
    """

    name: str
    codecs: str
    timescale: int
    head_uri: str
    head_bytes: int
    fragments: tuple[Part, ...]
    width: int = 0
    height: int = 0
    rate: Fraction | None = None

    @property
    def family(self) -> str:
        """What it is encoded by, whatever profile and level: players switch within it."""
        return self.codecs.partition(".")[0]

    @property
    def segments(self) -> list[Part]:
        """What players ask for: fragments that stand together in a file, two by two."""
        found: list[Part] = []
        joined = 0
        for one in self.fragments:
            last = found[-1] if found else one
            joined += 1
            if found and joined < _FRAGMENTS_A_SEGMENT + 1 and last.is_before(one):
                found[-1] = replace(last, end=one.end, ticks=last.ticks + one.ticks)
            else:
                found.append(one)
                joined = 1
        return found

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(one.ticks for one in self.fragments) / self.timescale

    @property
    def peak_bandwidth(self) -> int:
        """The bits a second of the segment that needs most."""
        return max(math.ceil(8 * one.size * self.timescale / one.ticks) for one in self.segments)

    @property
    def average_bandwidth(self) -> int:
        """The bits a second of all of it."""
        return math.ceil(8 * sum(one.size for one in self.fragments) / self.seconds)


def rendition(
    name: str,
    files: Sequence[tuple[str, Layout]],
    *,
    width: int = 0,
    height: int = 0,
) -> Rendition:
    """Return the rendition whose chunks are in *files*, by their names, in order."""
    uri, first = files[0]
    parts = tuple(Part(uri, *numbers) for uri, layout in files for numbers in layout.fragments)
    return Rendition(
        name, first.codecs, first.timescale, uri, first.head, parts,
        width, height, Fraction(first.rate) if first.rate else None,
    )  # fmt: skip


def continued(begun: Rendition, whole: Rendition) -> Rendition:
    """Return *begun*, and after it what *whole* has from there on; their heads are the same."""
    ends = list(accumulate(one.ticks for one in whole.fragments))
    there = bisect_right(ends, sum(one.ticks for one in begun.fragments))
    return replace(begun, fragments=(*begun.fragments, *whole.fragments[there:]))


def hls_media(one: Rendition, *, is_whole: bool = True) -> str:
    """Return the playlist of a rendition; one that is not whole may be followed as it grows."""
    segments = one.segments
    return _lines([
        *_hls_head(one, (segment.ticks for segment in segments)),
        f"#EXT-X-PLAYLIST-TYPE:{'VOD' if is_whole else 'EVENT'}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        # Players begin a playlist that grows at its end, unless they are told.
        "#EXT-X-START:TIME-OFFSET=0",
        _map(one),
        *(line for part in segments for line in _hls_part(one, part, part.size)),
        *(["#EXT-X-ENDLIST"] if is_whole else []),
    ])  # fmt: skip


def hls_keys(one: Rendition) -> str:
    """Return the playlist of the pictures that stand alone, for fast seeking."""
    return _lines([
        *_hls_head(one, (part.ticks for part in one.fragments)),
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-I-FRAMES-ONLY",
        _map(one),
        *(
            line
            for part in one.fragments
            for line in _hls_part(one, part, part.key_end - part.start)
        ),
        "#EXT-X-ENDLIST",
    ])  # fmt: skip


def hls_master(
    ladder: Sequence[Rendition],
    sound: Rendition | None,
    *,
    is_whole: bool = True,
    tiles: Tiles | None = None,
    texts: Sequence[TextFile] = (),
) -> str:
    """
    Return the playlist of all sizes, or of sound alone.

    Each is ``<name>.m3u8``, as *tiles* and *texts* are.

    Players begin with the first one that they can play, and hear the same sound with all.
    The keys of a stream that is whole are ``<name>.keys.m3u8``.
    """
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if sound and not ladder:
        alone = (
            f"BANDWIDTH={sound.peak_bandwidth},AVERAGE-BANDWIDTH={sound.average_bandwidth},"
            f'CODECS="{sound.codecs}"'
        )
        lines += [f"#EXT-X-STREAM-INF:{alone}", f"{sound.name}.m3u8"]
    elif sound:
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{_SOUND_GROUP}",NAME="Sound",DEFAULT=YES,'
            f'AUTOSELECT=YES,CHANNELS="2",URI="{sound.name}.m3u8"'
        )
    lines += hls_text_lines(texts)
    for one in ladder:
        both = [one, sound] if sound else [one]
        about = [
            f"BANDWIDTH={sum(each.peak_bandwidth for each in both)}",
            f"AVERAGE-BANDWIDTH={sum(each.average_bandwidth for each in both)}",
            f'CODECS="{",".join(each.codecs for each in both)}"',
            f"RESOLUTION={one.width}x{one.height}",
            f"FRAME-RATE={float(one.rate or 0):.3f}",
            *([f'AUDIO="{_SOUND_GROUP}"'] if sound else []),
            *hls_text_words(texts),
            "CLOSED-CAPTIONS=NONE",
        ]
        lines += [f"#EXT-X-STREAM-INF:{','.join(about)}", f"{one.name}.m3u8"]
        keys = (
            f"#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={one.peak_bandwidth},"
            f'CODECS="{one.codecs}",RESOLUTION={one.width}x{one.height},URI="{one.name}.keys.m3u8"'
        )
        lines += [keys] if is_whole else []
    if tiles:
        lines.append(hls_images_line(tiles))
    return _lines(lines)


def dash(
    ladder: Sequence[Rendition],
    sound: Rendition | None,
    tiles: Tiles | None = None,
    texts: Sequence[TextFile] = (),
) -> str:
    """Return the manifest for DASH players; *ladder* has sizes of one codec side by side."""
    seen = "".join(_dash_pictures(list(sizes)) for _, sizes in groupby(ladder, _family))
    heard = (
        '<AdaptationSet contentType="audio" segmentAlignment="true" startWithSAP="1">'
        f'<Representation id={quoteattr(sound.name)} bandwidth="{sound.peak_bandwidth}" '
        f'codecs="{sound.codecs}" mimeType="audio/mp4" audioSamplingRate="{sound.timescale}">'
        f"{_segment_list(sound)}</Representation></AdaptationSet>"
        if sound
        else ""
    )
    images = dash_images(tiles) if tiles else ""
    seconds = max(one.seconds for one in [*ladder, *([sound] if sound else [])])
    written = dash_texts(texts, seconds)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" minBufferTime="PT4S" '
        'profiles="urn:mpeg:dash:profile:isoff-main:2011" '
        f'mediaPresentationDuration="PT{seconds:.6f}S"><Period id="0" start="PT0S">'
        f"{seen}{heard}{written}{images}</Period></MPD>\n"
    )


def _family(one: Rendition) -> str:
    return one.family


def _dash_pictures(sizes: Sequence[Rendition]) -> str:
    pictures = "".join(
        f'<Representation id={quoteattr(one.name)} bandwidth="{one.peak_bandwidth}" '
        f'codecs="{one.codecs}" mimeType="video/mp4" width="{one.width}" height="{one.height}" '
        f'frameRate="{one.rate}" sar="1:1">{_segment_list(one)}</Representation>'
        for one in sizes
    )
    return (
        '<AdaptationSet contentType="video" segmentAlignment="true" startWithSAP="1">'
        f"{pictures}</AdaptationSet>"
    )


def _hls_head(one: Rendition, ticks: Iterable[int]) -> list[str]:
    longest = max(math.ceil(each / one.timescale) for each in ticks)
    return ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{longest}"]


def _map(one: Rendition) -> str:
    return f'#EXT-X-MAP:URI="{one.head_uri}",BYTERANGE="{one.head_bytes}@0"'


def _hls_part(one: Rendition, part: Part, size: int) -> list[str]:
    seconds = part.ticks / one.timescale
    return [f"#EXTINF:{seconds:.6f},", f"#EXT-X-BYTERANGE:{size}@{part.start}", part.uri]


def _segment_list(one: Rendition) -> str:
    at, times, urls = 0, [], []
    for part in one.segments:
        times.append(f'<S t="{at}" d="{part.ticks}"/>')
        urls.append(
            f'<SegmentURL media={quoteattr(part.uri)} mediaRange="{part.start}-{part.end - 1}"/>'
        )
        at += part.ticks
    return (
        f'<SegmentList timescale="{one.timescale}"><Initialization '
        f'sourceURL={quoteattr(one.head_uri)} range="0-{one.head_bytes - 1}"/>'
        f"<SegmentTimeline>{''.join(times)}</SegmentTimeline>{''.join(urls)}</SegmentList>"
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"

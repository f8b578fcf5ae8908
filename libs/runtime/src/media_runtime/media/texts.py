"""
Texts of a film, told of to players: one WebVTT file of the whole film for each. Pure.

Sources: RFC 8216, 3.5 and 4.3.4.1, ISO/IEC 23009-1 with the roles of its annex.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from media_contracts import Text
from media_runtime.media.languages import UNKNOWN

_GROUP = "text"
_ROLES = "urn:mpeg:dash:role:2011"
# What Apple calls a text for those who hear nothing: it tells of sounds, and of who speaks.
_FOR_HEARING_IMPAIRED = (
    "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"
)


@dataclass(frozen=True)
class TextFile:
    """
    A text as it is stored: of so many bytes, at ``uri``.

    ``name`` is what its playlist is called. Both are relative to the manifests.
    """

    name: str
    uri: str
    size: int
    about: Text


def hls_text(one: TextFile, seconds: float) -> str:
    """Return the playlist of a text of a film of so many *seconds*: a single segment."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{math.ceil(seconds)}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        f"#EXTINF:{seconds:.6f},",
        one.uri,
        "#EXT-X-ENDLIST",
    ]
    return "\n".join([*lines, ""])


def hls_text_lines(texts: Sequence[TextFile]) -> Iterator[str]:
    """Yield the lines of a main playlist that name the texts, each ``<name>.m3u8``."""
    names = Counter[str]()
    default = _default(texts)
    for one in texts:
        about = one.about
        name = _quotable(about.title or about.language)
        names[name] += 1
        # Within a group no two have one name.
        name += f" ({names[name]})" if names[name] > 1 else ""
        words = [
            f'TYPE=SUBTITLES,GROUP-ID="{_GROUP}",NAME="{name}"',
            *([f'LANGUAGE="{about.language}"'] if about.language != UNKNOWN else []),
            f"DEFAULT={'YES' if one is default else 'NO'}",
            "AUTOSELECT=YES",
            f"FORCED={'YES' if about.forced else 'NO'}",
            *([f'CHARACTERISTICS="{_FOR_HEARING_IMPAIRED}"'] if about.hearing_impaired else []),
            f'URI="{one.name}.m3u8"',
        ]
        yield f"#EXT-X-MEDIA:{','.join(words)}"


def hls_text_words(texts: Sequence[TextFile]) -> list[str]:
    """Return what a size of a film says of its texts."""
    return [f'SUBTITLES="{_GROUP}"'] if texts else []


def dash_texts(texts: Sequence[TextFile], seconds: float) -> str:
    """Return the AdaptationSets of the texts of a film of so many *seconds*."""
    default = _default(texts)
    return "".join(_dash_text(one, seconds, is_default=one is default) for one in texts)


def _dash_text(one: TextFile, seconds: float, *, is_default: bool) -> str:
    about = one.about
    roles = ["caption" if about.hearing_impaired else "subtitle"]
    roles += ["forced-subtitle"] if about.forced else []
    roles += ["main"] if is_default else []
    return (
        f'<AdaptationSet contentType="text" mimeType="text/vtt" lang={quoteattr(about.language)}>'
        + (f"<Label>{escape(about.title)}</Label>" if about.title else "")
        + "".join(f'<Role schemeIdUri="{_ROLES}" value="{role}"/>' for role in roles)
        + f"<Representation id={quoteattr(one.name)} "
        f'bandwidth="{max(1, math.ceil(8 * one.size / seconds))}">'
        f"<BaseURL>{escape(one.uri)}</BaseURL></Representation></AdaptationSet>"
    )


def _default(texts: Sequence[TextFile]) -> TextFile | None:
    """Return the text that is shown unless another is chosen: a group has one at most."""
    return next((one for one in texts if one.about.default), None)


def _quotable(text: str) -> str:
    return text.replace('"', "'")

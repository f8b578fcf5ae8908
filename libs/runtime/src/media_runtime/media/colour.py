"""
The way from the colours that a film has to those that every player shows. Pure.

Invariant: what comes out is BT.709 or its like in the range of television, and says so truly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import ffmpeg
from media_runtime.media.info import Colours, VideoStream

Words = Mapping[str, str | int | float]

_HD_LINES = 720
# Of 16:9; sides are rounded to even numbers, or to multiples of 16.
_HD_SHAPE = 1.7
_BT709, _BT601, _BT2020 = "bt709", "smpte170m", "bt2020"
_PQ, _HLG = "smpte2084", "arib-std-b67"
_HDR = frozenset({_PQ, _HLG})
_TV, _FULL = "tv", "pc"
_GBR = "gbr"
# What every player shows right as it is.
_PLAIN_PRIMARIES = frozenset({_BT709, _BT601, "bt470bg", "smpte240m"})
_PLAIN_TRANSFERS = frozenset({_BT709, _BT601, "bt470m", "bt470bg", "smpte240m", "iec61966-2-1"})
_PLAIN_MATRICES = frozenset({_BT709, _BT601, "bt470bg"})
# The curve of BT.709 by other names.
_LIKE_BT709 = frozenset({"bt2020-10", "bt2020-12", "iec61966-2-4", "bt1361e"})
# What can be converted as well; any other word is nonsense.
_PRIMARIES = _PLAIN_PRIMARIES | {
    *("bt470m", "film", _BT2020, "smpte428", "smpte431", "smpte432", "ebu3213", "jedec-p22"),
}
_TRANSFERS = _PLAIN_TRANSFERS | _LIKE_BT709 | _HDR | {"linear", "log100", "log316"}
_MATRICES = _PLAIN_MATRICES | {"smpte240m", "fcc", "ycgco", "bt2020nc", "bt2020c", "ictcp"}
_WHITE_NITS = 203.0
_USUAL_PEAK_NITS = 1000.0
# Of these the frames are marked as what they are, whatever the stream says of itself.
_MAY_BE_INTERLACED = frozenset({"mpeg2video", "dvvideo"})
# Of Dolby Vision: what its base layer is (ETSI GS CCM 001, dv_bl_signal_compatibility_id).
_BASES = {1: _PQ, 2: _BT709, 4: _HLG, 6: _PQ}


@dataclass(frozen=True)
class Filter:
    """A filter of ffmpeg and its options."""

    name: str
    words: Words


def has_base(video: VideoStream) -> bool:
    """Return whether there is a picture that a player without Dolby Vision can show."""
    return video.dolby_vision is None or video.dolby_vision.base in _BASES


def true_colours(video: VideoStream) -> Colours:
    """
    Return what the colours are: as the stream says, where that makes sense.

    What it does not say is as players have it: BT.601 below 720 lines, else BT.709. A small
    picture in the shape of HD is one of HD made smaller, which changes no colours.
    """
    said, pixels = video.colours, video.pixel_format or ""
    full = said.range == _FULL or pixels.startswith("yuvj") or is_rgb(pixels)
    sharp = _stored_lines(video) >= _HD_LINES or is_rgb(pixels)
    usual = _BT709 if sharp or (_is_shaped_like_hd(video) and not full) else _BT601
    primaries = said.primaries if said.primaries in _PRIMARIES else None
    matrix = said.matrix if said.matrix in _MATRICES else None
    transfer = said.transfer if said.transfer in _TRANSFERS else None
    if video.dolby_vision is not None and transfer is None:
        transfer = _BASES.get(video.dolby_vision.base)
    if transfer in _HDR:
        if _contradicts(primaries, matrix, pixels):
            transfer = None
        else:
            primaries, matrix = primaries or _BT2020, matrix or "bt2020nc"
    if matrix in {"bt2020nc", "bt2020c", "ictcp"}:
        primaries = primaries or _BT2020
    if primaries == _BT2020:
        matrix = matrix or "bt2020nc"
    wide = primaries is not None and primaries not in _PLAIN_PRIMARIES
    matrix = matrix or (primaries if primaries in _PLAIN_MATRICES else _BT709 if wide else usual)
    primaries = primaries or (matrix if matrix in _PLAIN_PRIMARIES else usual)
    transfer = transfer or (_BT709 if primaries not in {_BT601, "bt470bg"} else _BT601)
    return Colours(primaries, transfer, _GBR if is_rgb(pixels) else matrix, _FULL if full else _TV)


def made_colours(colours: Colours) -> Colours:
    """Return what is made of *colours*."""
    if _is_plain(colours):
        return replace(colours, range=_TV)
    transfer = colours.transfer if colours.transfer in _PLAIN_TRANSFERS else _BT709
    primaries = colours.primaries if colours.primaries in _PLAIN_PRIMARIES else _BT709
    return Colours(primaries, transfer, _BT709, _TV)


def whole_frames(video: VideoStream) -> list[Filter]:
    """Return the filters that make one picture of two fields, where there are any."""
    if not (video.is_interlaced or video.codec in _MAY_BE_INTERLACED):
        return []
    return [Filter("bwdif", {"mode": "send_frame", "deint": "interlaced"})]


def picture_filters(
    video: VideoStream, size: Words, *, fit: Iterable[Filter] = (), pixels: str = "yuv420p"
) -> list[Filter]:
    """
    Return the filters that scale pictures by *size*, and make 8 bits of colours as players show.

    *size* are options of the filter ``scale``; *fit* follows before the colours are changed.
    *pixels* is the format that comes out: 4:2:0 needs even sides.
    """
    colours = true_colours(video)
    made = made_colours(colours)
    tags = _tags(made)
    last = Filter("format", {"pix_fmts": pixels})
    if is_grey(video.pixel_format or ""):
        # swscale takes every grey for full range: it is kept as it is, and called what it was.
        same = {"in_range": _FULL, "out_range": _FULL}
        grey = Filter("format", {"pix_fmts": "gray"})
        full = [_scale({"in_range": _FULL, "out_range": _TV})] if colours.range == _FULL else []
        return [
            _scale(size), *fit, grey, _scale(same), last, _range(colours), *full, last, tags,
        ]  # fmt: skip
    if colours.matrix == _GBR and _is_plain(replace(colours, matrix=_BT709)):
        into = {"out_color_matrix": _BT709, "out_range": _TV}
        rgb = Filter("format", {"pix_fmts": "gbrp"})
        return [_scale(size), *fit, rgb, _scale(into), last, tags]
    if _is_plain(colours):
        ranges = {"in_range": colours.range or _TV, "out_range": _TV}
        return [Filter("scale", {**size, **ranges}), *fit, last, tags]
    ranges = _same_range(colours)
    working = "gbrp12le" if colours.matrix == _GBR else "yuv444p12le"
    return [
        Filter("scale", {**size, **ranges}),
        *fit,
        Filter("format", {"pix_fmts": working}),
        _tags(colours),
        *(_tone_mapped(_peak(video, colours)) if colours.transfer in _HDR else _converted(made)),
        last,
        tags,
    ]


def apply(stream: ffmpeg.Stream, filters: Iterable[Filter]) -> ffmpeg.Stream:
    """Return *stream* behind all *filters*."""
    for one in filters:
        stream = stream.filter(one.name, **one.words)
    return stream


def is_hdr(video: VideoStream) -> bool:
    """Return whether white is not the brightest that a film shows."""
    return true_colours(video).transfer in _HDR


def is_rgb(pixel_format: str) -> bool:
    """Return whether a pixel format has red, green and blue."""
    return bool(re.match(r"(x2|0)?(rgb|bgr|gbr)|argb|abgr|pal8|bayer", pixel_format))


def is_grey(pixel_format: str) -> bool:
    """Return whether a pixel format has no colour."""
    return pixel_format.startswith(("gray", "ya8", "ya16", "mono"))


def _contradicts(primaries: str | None, matrix: str | None, pixels: str) -> bool:
    # An editor that made 8 bits of an HDR film, and left one of its tags.
    narrow = primaries in _PLAIN_PRIMARIES and matrix in _PLAIN_MATRICES | {None}
    return narrow and not re.search(r"p?1[0-6](le|be)?$", pixels)


def _stored_lines(video: VideoStream) -> int:
    return video.width if video.rotation in {90, 270} else video.height


def _is_shaped_like_hd(video: VideoStream) -> bool:
    # Digital television before HD had pixels that are not square, and computers had 4:3.
    longer, shorter = max(video.width, video.height), min(video.width, video.height)
    return video.pixel_aspect == 1 and longer >= shorter * _HD_SHAPE


def _is_plain(colours: Colours) -> bool:
    return (
        colours.primaries in _PLAIN_PRIMARIES
        and colours.transfer in _PLAIN_TRANSFERS
        and colours.matrix in _PLAIN_MATRICES
    )


def _peak(video: VideoStream, colours: Colours) -> float:
    nits = video.peak_nits if colours.transfer == _PQ and video.peak_nits else _USUAL_PEAK_NITS
    return max(nits, _WHITE_NITS) / _WHITE_NITS


def _scale(words: Words) -> Filter:
    return Filter("scale", words)


def _same_range(colours: Colours) -> dict[str, str]:
    # Of RGB there is but one range.
    if colours.matrix == _GBR or colours.range is None:
        return {}
    return {"in_range": colours.range, "out_range": colours.range}


def _range(colours: Colours) -> Filter:
    return Filter("setparams", {"range": colours.range or _TV})


def _tags(colours: Colours) -> Filter:
    words = {
        "range": colours.range,
        "color_primaries": colours.primaries,
        "color_trc": colours.transfer,
        "colorspace": colours.matrix,
    }
    return Filter("setparams", {name: word for name, word in words.items() if word})


def _tone_mapped(peak: float) -> list[Filter]:
    return [
        Filter("zscale", {"t": "linear", "npl": _WHITE_NITS}),
        Filter("format", {"pix_fmts": "gbrpf32le"}),
        Filter("zscale", {"p": _BT709}),
        Filter("tonemap", {"tonemap": "mobius", "desat": 0, "peak": f"{peak:.4f}"}),
        Filter("zscale", {"t": _BT709, "m": _BT709, "p": _BT709, "r": _TV}),
    ]


def _converted(made: Colours) -> list[Filter]:
    words = {"p": made.primaries, "t": made.transfer, "m": made.matrix, "r": _TV}
    return [Filter("zscale", {name: word for name, word in words.items() if word})]

"""What ffprobe's answer means. Pure: media_runtime.media.ffmpeg asks the question."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from media_runtime.media.languages import tag_of

PROBE_ENTRIES = (
    "format=format_name,duration,start_time,nb_streams"
    ":stream=index,codec_type,codec_name,width,height,pix_fmt,avg_frame_rate,r_frame_rate,"
    "start_time,duration,nb_frames,channels,channel_layout,sample_rate,sample_aspect_ratio,"
    "field_order,color_range,color_space,color_transfer,color_primaries"
    ":stream_disposition=attached_pic,default,forced,hearing_impaired"
    ":stream_tags=rotate,duration,language,title,name:stream_side_data"
)
"""What to ask for, as ffprobe's ``-show_entries``."""

# Of a container that lets streams stay unknown, and of a frame that has no number to show.
_UNKNOWN = frozenset({"unknown", "none", "unspecified", "reserved", "N/A", ""})
_INTERLACED = frozenset({"tt", "bb", "tb", "bt"})
# Containers count time in a clock of their own, which no film is filmed with.
_CLOCK_RATES = frozenset({1000.0, 90_000.0})
_MOST_NITS = 10_000.0


@dataclass(frozen=True)
class Colours:
    """What a stream says of its colours, by ffmpeg's names; None for what it does not say."""

    primaries: str | None = None
    transfer: str | None = None
    matrix: str | None = None
    range: str | None = None


@dataclass(frozen=True)
class DolbyVision:
    """``base`` is what the base layer alone is: 0 stands for nothing that can be shown."""

    profile: int
    base: int


@dataclass(frozen=True)
class VideoStream:
    """
    The picture of a file. ``width`` and ``height`` are in pixels after rotation.

    ``rotation`` is how far players turn the stored picture: 0, 90, 180 or 270 degrees
    clockwise. ``pixel_aspect`` is the width of a shown pixel over its height. ``peak_nits`` is how
    bright an HDR film is, where it says so. ``changes_size`` is whether later pictures have
    another size; then these are the largest.
    """

    codec: str
    width: int
    height: int
    rotation: int
    frame_rate: float | None
    pixel_format: str | None
    pixel_aspect: float
    index: int = 0
    colours: Colours = Colours()
    field_order: str | None = None
    peak_nits: float | None = None
    dolby_vision: DolbyVision | None = None
    changes_size: bool = False
    start_seconds: float | None = None
    duration_seconds: float | None = None

    @property
    def is_interlaced(self) -> bool:
        """Whether the stream says that its frames are two fields each."""
        return self.field_order in _INTERLACED


@dataclass(frozen=True)
class AudioStream:
    """
    A sound of a file; ``index`` counts all streams.

    ``is_default`` is whether players play it unless they are told otherwise.
    """

    codec: str
    channels: int
    index: int = 0
    layout: str | None = None
    sample_rate: int = 0
    is_default: bool = True
    start_seconds: float | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True)
class TextStream:
    """
    Subtitles of a file, as text or as pictures of it; ``index`` counts all streams.

    ``language`` is a tag of BCP 47, ``und`` where it is unknown. ``title`` is as the file has it.
    """

    codec: str
    index: int = 0
    language: str = "und"
    title: str | None = None
    is_forced: bool = False
    is_default: bool = False
    is_for_hearing_impaired: bool = False


@dataclass(frozen=True)
class MediaInfo:
    """
    What ffprobe says of a file; its first video and audio stream, and its first cover art.

    ``duration_seconds`` is that of picture and sound, as far as they say; ``claimed_seconds`` is
    the container's word, which subtitles may stretch. ``audio_streams`` are all sounds,
    ``text_streams`` all subtitles.
    ``start_seconds`` is where the container's clock begins: places in it count from there.
    """

    format_name: str
    duration_seconds: float | None
    video: VideoStream | None
    audio: AudioStream | None
    stream_count: int
    audio_streams: tuple[AudioStream, ...] = ()
    text_streams: tuple[TextStream, ...] = ()
    video_count: int = 1
    claimed_seconds: float | None = None
    start_seconds: float = 0.0
    cover: VideoStream | None = None
    cover_count: int = 0

    @property
    def carries_more(self) -> bool:
        """Whether there are streams besides picture and sound, and the covers of these."""
        known = self.video_count + self.cover_count + len(self.audio_streams)
        return self.stream_count > known


def media_info(found: dict[str, Any]) -> MediaInfo | None:
    """Return what ffprobe's JSON says, or None where it found no stream."""
    streams: list[dict[str, Any]] = found.get("streams", [])
    about: dict[str, Any] = found.get("format", {})
    if not streams:
        return None
    shown = [stream for stream in streams if stream.get("codec_type") == "video"]
    from_zero = _counts_from_zero(about, streams)
    pictures = [_video(stream, from_zero) for stream in shown if not _is_cover(stream)]
    covers = [_video(stream, from_zero) for stream in shown if _is_cover(stream)]
    sounds = tuple(_audio(s, from_zero) for s in streams if s.get("codec_type") == "audio")
    claimed = _positive(about.get("duration"))
    info = MediaInfo(
        format_name=about.get("format_name", ""),
        duration_seconds=None,
        video=next(
            (one for one in pictures if one.codec not in _UNKNOWN), next(iter(pictures), None)
        ),
        audio=next(iter(sounds), None),
        stream_count=int(about.get("nb_streams", len(streams))),
        audio_streams=sounds,
        text_streams=tuple(_text(s) for s in streams if s.get("codec_type") == "subtitle"),
        video_count=len(pictures),
        claimed_seconds=_length(claimed, about) if from_zero else claimed,
        start_seconds=_number(about.get("start_time")) or 0.0,
        cover=next(iter(covers), None),
        cover_count=len(covers),
    )
    return replace(info, duration_seconds=_duration(info, (*pictures, *sounds)))


def _duration(info: MediaInfo, streams: Iterable[VideoStream | AudioStream]) -> float | None:
    # A container may claim less than what a stream of it has; and more, for a late subtitle.
    said = [one.duration_seconds for one in streams if one.duration_seconds]
    whole = info.claimed_seconds
    if whole and not (said and info.carries_more):
        said.append(whole)
    return max(said, default=None)


def _is_cover(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _video(stream: dict[str, Any], from_zero: bool) -> VideoStream:
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    pixel_aspect = _number(stream.get("sample_aspect_ratio", "").replace(":", "/")) or 1.0
    rotation = _rotation(stream)
    if rotation in {90, 270}:
        width, height, pixel_aspect = height, width, 1 / pixel_aspect
    return VideoStream(
        codec=stream.get("codec_name", "unknown"),
        width=width,
        height=height,
        rotation=rotation,
        frame_rate=_frame_rate(stream),
        pixel_format=stream.get("pix_fmt"),
        pixel_aspect=pixel_aspect,
        index=int(stream.get("index", 0)),
        colours=Colours(
            _known(stream.get("color_primaries")),
            _known(stream.get("color_transfer")),
            _known(stream.get("color_space")),
            _known(stream.get("color_range")),
        ),
        field_order=_known(stream.get("field_order")),
        peak_nits=_peak_nits(stream),
        dolby_vision=_dolby_vision(stream),
        start_seconds=_number(stream.get("start_time")),
        duration_seconds=_stream_seconds(stream, from_zero),
    )


def _frame_rate(stream: dict[str, Any]) -> float | None:
    average, least = (_number(stream.get(name)) for name in ("avg_frame_rate", "r_frame_rate"))
    if average:
        return average
    return least if least and least not in _CLOCK_RATES else None


def _stream_seconds(stream: dict[str, Any], from_zero: bool) -> float | None:
    if said := _positive(stream.get("duration")):
        return said
    # Matroska has the length of a stream as text, and that as hours, minutes and seconds.
    told = _clock(_tags(stream).get("duration"))
    return _length(told, stream) if from_zero else told


def _counts_from_zero(about: dict[str, Any], streams: list[dict[str, Any]]) -> bool:
    """
    Return whether what a file calls its length is when it ends, however late it begins.

    ffmpeg writes Matroska so, and mkvmerge, which leaves its statistics, does not.
    """
    is_matroska = about.get("format_name", "").startswith("matroska")
    return is_matroska and not any("_statistics_tags" in _tags(stream) for stream in streams)


def _length(end: float | None, begun: dict[str, Any]) -> float | None:
    start = _number(begun.get("start_time")) or 0.0
    return end - start if end is not None and 0 < start < end else end


def _tags(stream: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): text for name, text in stream.get("tags", {}).items()}


def _clock(text: str | None) -> float | None:
    parts = [_number(part) for part in (text or "").strip().split(":")]
    if len(parts) != 3 or None in parts:  # noqa: PLR2004 - hours, minutes, seconds
        return None
    seconds = sum(part * scale for part, scale in zip(parts, (3600, 60, 1), strict=True) if part)
    return seconds if 0 < seconds < math.inf else None


def _side_data(stream: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stream.get("side_data_list", [])
    return found


def _peak_nits(stream: dict[str, Any]) -> float | None:
    """Return the brightest light of the content, or else that of the screen it was made on."""
    for name in ("max_content", "max_luminance"):
        for side_data in _side_data(stream):
            nits = _number(str(side_data.get(name, "")))
            if nits and 0 < nits <= _MOST_NITS:
                return nits
    return None


def _dolby_vision(stream: dict[str, Any]) -> DolbyVision | None:
    for side_data in _side_data(stream):
        if "dv_profile" in side_data:
            has_base = side_data.get("bl_present_flag", 1)
            base = side_data.get("dv_bl_signal_compatibility_id", 0) if has_base else 0
            return DolbyVision(int(side_data["dv_profile"]), int(base))
    return None


def _rotation(stream: dict[str, Any]) -> int:
    # The display matrix counts anticlockwise; the older tag counts clockwise.
    for side_data in _side_data(stream):
        if "rotation" in side_data:
            return _quarter_turns(-(_number(str(side_data["rotation"])) or 0))
    return _quarter_turns(_number(stream.get("tags", {}).get("rotate")) or 0)


def _quarter_turns(degrees: float) -> int:
    return round(degrees / 90) * 90 % 360


def _audio(stream: dict[str, Any], from_zero: bool) -> AudioStream:
    return AudioStream(
        stream.get("codec_name", "unknown"),
        int(stream.get("channels", 0)),
        index=int(stream.get("index", 0)),
        layout=_known(stream.get("channel_layout")),
        sample_rate=int(_number(stream.get("sample_rate")) or 0),
        is_default=bool(stream.get("disposition", {}).get("default", 1)),
        start_seconds=_number(stream.get("start_time")),
        duration_seconds=_stream_seconds(stream, from_zero),
    )


def _text(stream: dict[str, Any]) -> TextStream:
    tags, said = _tags(stream), stream.get("disposition", {})
    return TextStream(
        stream.get("codec_name", "unknown"),
        index=int(stream.get("index", 0)),
        language=tag_of(tags.get("language")),
        title=tags.get("title") or tags.get("name"),
        is_forced=bool(said.get("forced")),
        is_default=bool(said.get("default")),
        is_for_hearing_impaired=bool(said.get("hearing_impaired")),
    )


def _known(text: str | None) -> str | None:
    return None if text is None or text in _UNKNOWN else text


def _positive(text: str | None) -> float | None:
    number = _number(text)
    return number if number and number > 0 else None


def _number(text: str | None) -> float | None:
    """Return a finite number or fraction as ffprobe writes it; None for what is not known."""
    top, _, bottom = (text or "").partition("/")
    try:
        number = float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None

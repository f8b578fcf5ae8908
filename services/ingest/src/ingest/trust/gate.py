"""
The trust gate of films and sounds: what they must be before any real work is done on them.

Each refusal has a code of its own and a sentence for the person who uploaded the file. What a
file is called and declared as is a claim; its bytes and the probe must say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ingest.trust import isobmff, sample_tables, transport
from ingest.trust.encryption import is_encrypted
from ingest.trust.endings import part_of_avi, part_of_matroska, part_of_wav_or_aiff
from ingest.trust.sample_tables import Tables
from ingest.trust.tags import behind_tags
from media_contracts.errors import ErrorCode
from media_contracts.formats import family_of_reader
from media_contracts.warnings import WarningCode
from media_records.tables import Asset
from media_runtime.media.colour import has_base
from media_runtime.media.gate import (
    HEADER_BYTES,
    Found,
    RefusedFileError,
    check_size,
    found_of,
    other_type,
    sniff,
)
from media_runtime.media.info import MediaInfo, VideoStream

_TS_PACKET = 188
# A black frame that lasts for an hour is an honest file; below this many seconds, so is any.
_SHORT_SECONDS = 60.0
# An honest film may end a little before its claim.
_WHOLE_SLACK_SECONDS, _WHOLE_SLACK_PART = 0.5, 0.02
# A camera's clock is never exactly right.
_RATE_SLACK = 1.01
_CLAIMS_LENGTH = frozenset({"matroska", "avi", "flac"})
# FLAC writes silence in so few. Hours of sound take minutes, and not hours as those of a video.
_LEAST_BITS_PER_SECOND_OF_SOUND = 100
# What may have the tags that MP3 has.
_TAGGED = frozenset({"aac", "flac"})


@dataclass(frozen=True)
class Limits:
    """
    The most that is worked on: seconds, pixels of a video's side.

    ``bits_per_second`` is the least that a long video has: a tiny file that claims to last for
    hours costs hours of encoding. ``total_pixels`` are those of all frames of a video together:
    what has to be decoded. ``bits_per_pixel`` is the least that a video of any length has: a frame
    in which nothing changes takes a few bytes, whatever its size.
    """

    duration_seconds: float
    frame_rate: float
    side: int
    bits_per_second: float
    total_pixels: float
    bits_per_pixel: float = 1e-5
    whole_part: float = 0.9


def check_file(
    path: Path, asset: Asset, *, whole_part: float = 0.9, accept_other_types: bool = True
) -> Found:
    """
    Return what the file is; raises RefusedFileError unless it is what the grant allowed.

    A file of another type than declared, but of the same kind, is taken as what it is where
    *accept_other_types*. Of a film that is cut at its end at least *whole_part* must be there.
    """
    check_size(path, asset.size)
    found = found_of(_family(path), asset.content_type, accept_other_types=accept_other_types)
    part = _part_that_is_there(path, found.family, asset.size)
    if part < whole_part:
        raise _truncated()
    cut = (WarningCode.FILE_TRUNCATED,) if part < 1 else ()
    return replace(found, warnings=(*found.warnings, *cut))


def _family(path: Path) -> str | None:
    """Return the family that the file's bytes prove, or None."""
    with path.open("rb") as file:
        header = file.read(transport.HEAD_BYTES)
        file.seek(behind_tags(file))
        tagged = sniff(file.read(HEADER_BYTES))
    family = sniff(header[:HEADER_BYTES], at_188=header[_TS_PACKET:])
    if family is None and transport.packets(header):
        return "mpeg"
    return tagged if family == "mp3" and tagged in _TAGGED else family


def _part_that_is_there(path: Path, family: str, size: int) -> float:
    """Return how much of a film or sound of its claimed length is there; or RefusedFileError."""
    if family == "isobmff":
        part = _check_boxes(path)
        _check_tables(sample_tables.read_isobmff(path), size)
        return part
    if family == "avi":
        part = part_of_avi(path)
        _check_tables(sample_tables.read_avi(path), size)
        return part
    if family in {"wav", "aiff"}:
        return part_of_wav_or_aiff(path)
    if family in {"matroska", "mpeg"} and is_encrypted(path, family):
        raise _encrypted()
    return part_of_matroska(path) if family == "matroska" else 1.0


def check_video(info: MediaInfo, asset: Asset, found: Found, limits: Limits) -> VideoStream:
    """Return the video's picture; raises RefusedFileError unless all is within *limits*."""
    if family_of_reader(info.format_name) != found.family:
        raise other_type(asset.content_type)
    if info.video is None:
        raise RefusedFileError(ErrorCode.NO_VIDEO_STREAM)
    _check_side(max(info.video.width, info.video.height), limits)
    if not has_base(info.video):
        raise RefusedFileError(ErrorCode.DOLBY_VISION_WITHOUT_BASE)
    if (info.video.frame_rate or 0) > limits.frame_rate * _RATE_SLACK:
        raise RefusedFileError(ErrorCode.FRAME_RATE_TOO_HIGH, limit=limits.frame_rate)
    seconds = info.duration_seconds or 0
    _check_duration(seconds, limits)
    _check_total(info.video, seconds, limits)
    _check_bits(info.video, seconds, asset.size * 8, limits)
    return info.video


def check_audio(info: MediaInfo, asset: Asset, found: Found, limits: Limits) -> None:
    """Raise RefusedFileError unless the sound is what was *found* and within *limits*."""
    if family_of_reader(info.format_name) != found.family:
        raise other_type(asset.content_type)
    if info.video is not None:
        raise RefusedFileError(
            ErrorCode.TYPE_MISMATCH,
            f"The file holds a video, and {asset.content_type} is of sound alone.",
        )
    if info.audio is None:
        raise RefusedFileError(ErrorCode.NO_AUDIO_STREAM)
    seconds = info.duration_seconds or 0
    _check_duration(seconds, limits)
    least = seconds * min(limits.bits_per_second, _LEAST_BITS_PER_SECOND_OF_SOUND)
    if seconds > _SHORT_SECONDS and asset.size * 8 < least:
        raise RefusedFileError(ErrorCode.BITRATE_TOO_LOW)


def whole_seconds(info: MediaInfo) -> float | None:
    """
    Return how long a film or sound must be to be whole, or None where its container does not tell.

    A box that ends too early tells at once that an MP4 was cut; a stream is made to be cut.
    """
    told = family_of_reader(info.format_name) in _CLAIMS_LENGTH and not info.carries_more
    return info.claimed_seconds if told else None


def check_made(
    seconds: float, claimed_seconds: float | None, limits: Limits
) -> tuple[WarningCode, ...]:
    """
    Return what is wrong with a video of which so many *seconds* were made.

    Raises RefusedFileError. Only now is it known how long the source lasts: until now
    *claimed_seconds* was its own claim.
    """
    said = claimed_seconds or 0
    _check_duration(seconds, limits)
    if seconds < said * limits.whole_part - _WHOLE_SLACK_SECONDS:
        raise _truncated()
    is_short = seconds < said * (1 - _WHOLE_SLACK_PART) - _WHOLE_SLACK_SECONDS
    return (WarningCode.FILE_TRUNCATED,) if is_short else ()


def _check_boxes(path: Path) -> float:
    """Return which part of the file is there."""
    layout = isobmff.read(path)
    if layout.is_encrypted:
        raise _encrypted()
    return layout.whole_part if layout.is_truncated else 1.0


def _check_tables(tables: Tables, size: int) -> None:
    if tables.is_absurd:
        raise RefusedFileError(ErrorCode.UNREADABLE_MEDIA)
    if tables.overlap(size):
        raise RefusedFileError(ErrorCode.SAMPLES_OVERLAP)
    if tables.repeats:
        raise RefusedFileError(ErrorCode.EDITS_TOO_LONG)


def _truncated() -> RefusedFileError:
    return RefusedFileError(ErrorCode.TRUNCATED_FILE)


def _check_duration(seconds: float, limits: Limits) -> None:
    if seconds > limits.duration_seconds:
        hours = limits.duration_seconds / 3600
        raise RefusedFileError(ErrorCode.DURATION_TOO_LONG, hours=hours)


def _check_bits(video: VideoStream, seconds: float, bits: int, limits: Limits) -> None:
    least = _pixels(video, seconds) * limits.bits_per_pixel
    if seconds > _SHORT_SECONDS:
        least = max(least, seconds * limits.bits_per_second)
    if bits < least:
        raise RefusedFileError(ErrorCode.BITRATE_TOO_LOW)


def _pixels(video: VideoStream, seconds: float) -> float:
    """Return how many pixels all frames of a video have together, as far as it is known."""
    return seconds * (video.frame_rate or 0) * video.width * video.height


def _check_total(video: VideoStream, seconds: float, limits: Limits) -> None:
    if _pixels(video, seconds) > limits.total_pixels:
        raise RefusedFileError(ErrorCode.TOO_MUCH_VIDEO)


def _encrypted() -> RefusedFileError:
    return RefusedFileError(ErrorCode.ENCRYPTED_MEDIA)


def _check_side(side: int, limits: Limits) -> None:
    if side > limits.side:
        raise RefusedFileError(ErrorCode.DIMENSIONS_TOO_LARGE, limit=limits.side)

"""
What ffmpeg may open of an upload: demuxers, decoders, and up to how much.

Invariant: these options stand before every input that is a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from media_contracts import MediaKind
from media_contracts.formats import readers
from media_runtime.settings import SandboxSettings

# Decoders by ffmpeg's own names: what cameras, phones, browsers and editors write, cover art and
# subtitles. A decoder for some old game's films is somebody's way in, and nobody's upload.
_DECODERS = (
    *("h264", "hevc", "vp8", "vp9", "libdav1d", "libaom-av1", "av1", "theora", "vp3"),
    *("mpeg1video", "mpeg2video", "mpeg4", "h263", "msmpeg4v2", "msmpeg4", "mjpeg"),
    *("prores", "dnxhd", "dvvideo", "rawvideo"),
    *("aac", "aac_latm", "mp3float", "mp3", "mp2float", "mp2", "mp1float", "ac3", "eac3", "dca"),
    *("opus", "libopus", "vorbis", "flac", "alac", "amrnb", "amrwb", "adpcm_ms", "adpcm_ima_wav"),
    *("adpcm_ima_qt", "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be"),
    *("pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be"),
    *("pcm_bluray", "pcm_dvd", "png", "mov_text", "subrip", "srt", "ass", "ssa", "webvtt"),
    *("text", "cc_dec", "dvdsub", "dvbsub", "pgssub"),
)


# Sound that these decode, by ffmpeg's names of codecs.
_SOUNDS = frozenset(
    {
        *("aac", "aac_latm", "mp3", "mp2", "mp1", "ac3", "eac3", "dts", "opus", "vorbis", "flac"),
        *("alac", "amr_nb", "amr_wb"),
        *(name for name in _DECODERS if name.startswith(("adpcm_", "pcm_"))),
    }
)


def is_decoded(codec: str) -> bool:
    """Return whether sound of a codec may be decoded here."""
    return codec in _SOUNDS


@dataclass(frozen=True)
class InputLimits:
    """
    The most that a file may have: pixels of a picture, and streams.

    ``streams`` are of picture and sound, each of which a decoder may be opened for; subtitles,
    attachments and data are ``carried`` past it.
    """

    pixels: int = 40_000_000
    streams: int = 16
    carried: int = 128

    @classmethod
    def of(cls, settings: SandboxSettings) -> Self:
        """Return the limits of a service."""
        return cls(
            settings.upload_max_pixels,
            settings.upload_max_streams,
            settings.upload_max_carried_streams,
        )


def input_options(limits: InputLimits) -> dict[str, str | int]:
    """
    Return the options of every input, as keywords for ffmpeg-python's ``input``.

    A playlist or concat script under another name would open further files, and a rare decoder
    is a weak one: only what is listed may run, whatever the bytes look like.
    """
    return {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(readers(MediaKind.VIDEO)),
        "codec_whitelist": ",".join(_DECODERS),
        "max_streams": limits.carried,
        "max_pixels": limits.pixels,
        "probesize": 10_000_000,
        "analyzeduration": 10_000_000,
    }


def refuse_open_inputs(arguments: Sequence[str], options: Iterable[str]) -> None:
    """Raise ValueError for an input from a file that does not have all *options* before it."""
    start = 0
    for at, word in enumerate(arguments):
        if word == "-i":
            given = arguments[start:at]
            missing = [name for name in options if f"-{name}" not in given]
            if missing and "lavfi" not in given:
                raise ValueError(f"input without {missing}: pass Ffmpeg.input_options to it")
            start = at + 2

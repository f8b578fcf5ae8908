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

# Decoders by ffmpeg's own names: what cameras, phones, browsers, recorders and editors write or
# wrote, cover art and subtitles. A decoder for some old game's films is somebody's way in, and
# nobody's upload. ffprobe gives up on a file with one that is not here, whichever stream has it.
_PICTURES = (
    *("h264", "hevc", "vp8", "vp9", "libdav1d", "libaom-av1", "av1", "theora", "vp3"),
    *("mpeg1video", "mpeg2video", "mpeg4", "h263", "msmpeg4v2", "msmpeg4", "mjpeg", "mjpegb"),
    *("prores", "dnxhd", "dvvideo", "rawvideo", "png", "gif", "bmp", "webp"),
    *("h261", "flv", "svq1", "svq3", "vc1", "wmv1", "wmv2", "wmv3"),
)
# By the name of the codec that each decodes, where it has another.
_SOUNDS = {
    **{name: name for name in (
        *("aac", "aac_latm", "mp3", "mp2", "ac3", "eac3", "truehd", "mlp", "opus", "vorbis"),
        *("flac", "alac", "wavpack", "tta", "speex", "gsm", "gsm_ms", "nellymoser"),
        *("wmav1", "wmav2", "wmapro", "qdm2", "qdmc", "qcelp", "evrc", "mace3", "mace6"),
        *("adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_swf", "adpcm_yamaha", "s302m"),
        *("pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s8_planar", "pcm_u16le", "pcm_u16be"),
        *("pcm_s16le", "pcm_s16be", "pcm_s16le_planar", "pcm_s24le", "pcm_s24be"),
        *("pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be"),
        *("pcm_bluray", "pcm_dvd", "dvaudio"),
    )},
    "mp3float": "mp3", "mp2float": "mp2", "mp1float": "mp1", "dca": "dts",
    "libopus": "opus", "libspeex": "speex", "libgsm": "gsm", "libgsm_ms": "gsm_ms",
    "amrnb": "amr_nb", "amrwb": "amr_wb", "g722": "adpcm_g722", "g726": "adpcm_g726",
}  # fmt: skip
_TEXTS = (
    *("mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"),
    *("cc_dec", "dvdsub", "dvbsub", "pgssub"),
)
_DECODERS = (*_PICTURES, *_SOUNDS, *_TEXTS)
_HEARD = frozenset(_SOUNDS.values())


def is_decoded(codec: str) -> bool:
    """Return whether sound of a codec may be decoded here."""
    return codec in _HEARD


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
        "format_whitelist": ",".join(readers(MediaKind.VIDEO, MediaKind.AUDIO)),
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

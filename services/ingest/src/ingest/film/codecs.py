"""
What films are encoded by: H.264 for every player, and what takes fewer bytes for the same picture.

Invariant: an encoder gives the same bytes each time, in closed groups of pictures that begin where
the film's grid says, and at no cut of a scene. Figures are measured, with one film of much grain
in 720p: HEVC and AV1 took 67 and 69 % of H.264's bytes at the quality that it has, by VMAF.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingest.domain import Size

H264, HEVC, AV1 = "h264", "hevc", "av1"


@dataclass(frozen=True)
class Codec:
    """
    One kind of encoder, by its name in ffmpeg.

    ``share`` is how much of H.264's rate it takes, ``times`` how much longer. It is for pictures
    of sides of ``least_side`` at least and of ``most_pixels`` at most, whose memory a sandbox has.
    ``words`` gives its own options of a group of so many pictures, a quality as libx264 counts it,
    a preset as libx264 calls it, and the most kbit/s.
    """

    encoder: str
    share: float
    times: float
    words: Callable[[int, int, str, int], Mapping[str, object]]
    least_side: int = 2
    most_pixels: int = 8192 * 8192

    def takes(self, size: Size) -> bool:
        """Return whether pictures of this *size* are made by it."""
        least = min(size.width, size.height)
        return least >= self.least_side and size.width * size.height <= self.most_pixels


def _h264(group: int, crf: int, preset: str, kbits: int) -> Mapping[str, object]:
    return {
        "c:v": "libx264",
        "preset": preset,
        "profile:v": "high",
        "crf": crf,
        # What encoding has lost; it neither takes time nor changes a byte.
        "ssim": 1,
        "maxrate": f"{kbits}k",
        "bufsize": f"{kbits}k",
        # Each chunk begins with half a buffer, or what the last one left might not be enough.
        "x264-params": "vbv-init=0.5",
        "keyint_min": group,
        "sc_threshold": 0,
        "flags:v": "+bitexact+cgop",
    }


def _hevc(group: int, crf: int, preset: str, kbits: int) -> Mapping[str, object]:
    # All in one thread, without the encoder's own message in the stream.
    words = (
        f"log-level=none:info=0:pools=none:frame-threads=1:wpp=0:open-gop=0:scenecut=0:"
        f"min-keyint={group}:vbv-init=0.5"
    )
    return {
        "c:v": "libx265",
        "preset": preset,
        "profile:v": "main",
        "crf": min(51, crf + _HEVC_CRF_MORE),
        "maxrate": f"{kbits}k",
        "bufsize": f"{kbits}k",
        "x265-params": words,
        # Apple's players take no hev1.
        "tag:v": "hvc1",
        "flags:v": "+bitexact+cgop",
    }


def _av1(group: int, crf: int, preset: str, kbits: int) -> Mapping[str, object]:
    quality = max(1, min(_MOST_AV1_CRF, round(crf * _AV1_CRF_TIMES)))
    return {
        "c:v": "libsvtav1",
        "preset": _AV1_PRESETS[preset],
        "crf": quality,
        # irefresh-type 2 is closed groups.
        "svtav1-params": f"lp=1:keyint={group}:irefresh-type=2:scd=0:mbr={kbits}",
        "flags:v": "+bitexact",
    }


# What looks as x264's 23: x265's 28, SVT-AV1's 40 of 63.
_HEVC_CRF_MORE, _AV1_CRF_TIMES, _MOST_AV1_CRF = 5, 40 / 23, 63
_AV1_PRESETS = {
    "ultrafast": 12, "superfast": 10, "veryfast": 8, "faster": 8, "fast": 7, "medium": 6,
    "slow": 5, "slower": 4, "veryslow": 4,
}  # fmt: skip
_MOST_PIXELS = 4096 * 2304

CODECS: Mapping[str, Codec] = {
    H264: Codec("libx264", 1, 1, _h264),
    HEVC: Codec("libx265", 0.65, 3, _hevc, least_side=16, most_pixels=_MOST_PIXELS),
    AV1: Codec("libsvtav1", 0.55, 6, _av1, least_side=64, most_pixels=_MOST_PIXELS),
}
"""By their names in profiles, in the order in which players are told of them."""
ENCODERS = frozenset({*(one.encoder for one in CODECS.values()), "aac", "mjpeg", "libwebp_anim"})
"""What ffmpeg needs for any task."""

"""Commands that make films of moving images, whose frames lie in an APNG. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import ffmpeg

# Milliseconds, as images tell their times.
_CLOCK = "1:1000"
_WEBP_QUALITY = 75
# It is no format of uploads: here nothing else is read.
_FRAMES = {"f": "apng", "format_whitelist": "apng", "codec_whitelist": "apng", "threads": 1}


def mp4_command(
    frames: Path,
    target: Path,
    frame_ms: Sequence[int],
    *,
    crf: int,
    input_options: Mapping[str, object],
) -> list[str]:
    """Return ffmpeg's arguments that write *frames* as an MP4, each shown for its *frame_ms*."""
    last, shown_ms = len(frame_ms) - 1, frame_ms[-1]
    arguments: list[str] = (
        ffmpeg.input(f"file:{frames}", **{**input_options, **_FRAMES})["v:0"]
        .filter("scale", out_color_matrix="bt709", out_range="tv")
        .filter("format", pix_fmts="yuv420p")
        .filter("setsar", sar=1)
        .output(
            f"file:{target}",
            **{
                "fps_mode": "passthrough",
                "enc_time_base": _CLOCK,
                "c:v": "libx264",
                "preset": "veryfast",
                "crf": crf,
                # Without it the last in the file is the last that is shown.
                "bf": 0,
                "threads": 1,
                "color_primaries": "bt709",
                "color_trc": "iec61966-2-1",
                "colorspace": "bt709",
                # The encoder says of no frame how long it is; the others last until the next.
                "bsf:v": f"setts=duration=if(eq(N\\,{last})\\,{shown_ms}\\,DURATION)",
                "video_track_timescale": 1000,
                "movflags": "+faststart",
                "map_metadata": -1,
                "f": "mp4",
            },
        )
        .get_args()
    )
    return arguments


def webp_command(
    frames: Path, target: Path, *, loops: int, input_options: Mapping[str, object]
) -> list[str]:
    """Return ffmpeg's arguments that write *frames* as a WebP; see last_for()."""
    arguments: list[str] = (
        ffmpeg.input(f"file:{frames}", **{**input_options, **_FRAMES})["v:0"]
        .output(
            f"file:{target}",
            **{
                "fps_mode": "passthrough",
                "enc_time_base": _CLOCK,
                "c:v": "libwebp_anim",
                "quality": _WEBP_QUALITY,
                "compression_level": 4,
                "loop": loops,
                "f": "webp",
            },
        )
        .get_args()
    )
    return arguments


def last_for(webp: bytearray, total_ms: int) -> None:
    """
    Have the last frame of an animated *webp* shown until *total_ms* after its beginning.

    libwebp has it last as long as the mean of the others, as nobody tells it.
    """
    at, shown_ms, last = 12, 0, None
    while at + 8 <= len(webp):
        size = int.from_bytes(webp[at + 4 : at + 8], "little")
        if webp[at : at + 4] == b"ANMF":
            if last is not None:
                shown_ms += int.from_bytes(webp[last : last + 3], "little")
            last = at + 8 + 12  # behind its place and its size
        at += 8 + size + size % 2
    if last is not None:
        webp[last : last + 3] = max(0, total_ms - shown_ms).to_bytes(3, "little")

"""
How good the sizes of a film look to people, by samples: VMAF, from 0 to 100, 100 of no difference.

It is a model of what viewers said (Li et al., "Toward a Practical Perceptual Video Quality
Metric", Netflix, 2016), of pictures as large as the largest size. So a smaller size shows less,
which SSIM as the encoder tells it does not know. Debian's ffmpeg has no libvmaf: one of PyPI's
imageio-ffmpeg compares pictures that ours has decoded, and opens nothing of the upload.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from statistics import fmean

import ffmpeg
import imageio_ffmpeg
from ingest.domain import Size
from ingest.film.chunk import ChunkPlan, pictures_of
from media_runtime.media.ffmpeg import Ffmpeg, InputLimits
from media_runtime.media.sandbox import Sandbox

REFERENCE, SEEN, REPORT = "reference.mkv", "seen.mkv", "vmaf.json"
# The mean of every fifth frame is within 0.2 of that of all, at a quarter of the time.
_EACH = 5
_RAW = {"c:v": "rawvideo", "pix_fmt": "yuv420p", "f": "matroska", "fps_mode": "passthrough"}


def measurer(sandbox: Sandbox, limits: InputLimits) -> Ffmpeg:
    """Return the ffmpeg that measures."""
    return Ffmpeg(
        sandbox, limits, program=imageio_ffmpeg.get_ffmpeg_exe(),
        version=imageio_ffmpeg.get_ffmpeg_version(),
    )  # fmt: skip


def reference_command(
    source: Path, folder: Path, plan: ChunkPlan, input_options: Mapping[str, object]
) -> list[str]:
    """Return ffmpeg's arguments that write what is encoded of a chunk to REFERENCE."""
    ends = plan.chunk.first + plan.chunk.frames
    pictures = pictures_of(source, folder, plan, input_options).filter("trim", end_pts=ends)
    arguments: list[str] = pictures.output(f"file:{folder / REFERENCE}", **_RAW).get_args()
    return ["-filter_complex_threads", "1", *arguments]


def seen_command(
    piece: Path, folder: Path, size: Size, frames: int, input_options: Mapping[str, object]
) -> list[str]:
    """Return ffmpeg's arguments that write the first *frames* of a *piece* to SEEN, as large."""
    shown = ffmpeg.input(f"file:{piece}", **input_options, threads=1)["0"]
    large = shown.filter("scale", size.width, size.height, flags="bicubic")
    target = f"file:{folder / SEEN}"
    arguments: list[str] = large.output(target, **_RAW, **{"frames:v": frames}).get_args()
    return ["-filter_complex_threads", "1", *arguments]


def vmaf_command(folder: Path, rate: Fraction, input_options: Mapping[str, object]) -> list[str]:
    """Return arguments that compare SEEN with REFERENCE, frame by frame, and write REPORT."""
    seen, reference = (
        ffmpeg.input(f"file:{folder / name}", **input_options)["0"]
        .filter("settb", str(1 / rate))
        .filter("setpts", "N")
        for name in (SEEN, REFERENCE)
    )
    report = {"n_threads": 1, "n_subsample": _EACH, "log_fmt": "json"}
    compared = ffmpeg.filter([seen, reference], "libvmaf", **report, log_path=f"{folder / REPORT}")
    arguments: list[str] = compared.output("pipe:2", f="null").get_args()
    return ["-filter_complex_threads", "1", *arguments]


def vmafs_in(folder: Path) -> list[float]:
    """Return what each compared frame has, and take REPORT away, which may not be there."""
    report = folder / REPORT
    if not report.exists():
        return []
    found = json.loads(report.read_bytes())["frames"]
    report.unlink()
    return [float(one["metrics"]["vmaf"]) for one in found]


def mean(found: list[float]) -> float:
    """Return the mean, as precise as it is."""
    return round(fmean(found), 1)

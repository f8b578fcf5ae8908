"""Settings of the thumbnailer."""

from __future__ import annotations

from pathlib import Path

from media_runtime.media.cpus import cpu_count
from media_runtime.settings import KafkaSettings, SandboxSettings, StorageSettings
from pydantic import Field


class ThumbnailerSettings(
    KafkaSettings, StorageSettings, SandboxSettings, env_prefix="THUMBNAILER_"
):
    """What the thumbnailer is told by its environment; times in seconds."""

    scratch_dir: Path
    """A folder of this process alone: it is emptied at the start."""
    thumbnailer_consumers: int = Field(default_factory=cpu_count, ge=1)
    """Requests that this process works on at once, each with a picture process of its own."""
    thumbnailer_render_timeout_seconds: float = Field(default=400, gt=0)
    """
    Of the clock, for one image: its time on the CPU is limited by its pixels.

    It is several times as long, as the clock of a busy machine is not the image's fault.
    """
    keep_bytes: float = Field(default=256 * 1024**2, ge=0)
    """Of images that were checked, and whose larger pictures may be wanted in a moment."""
    thumbnailer_frame_timeout_seconds: float = Field(default=60, gt=0)
    """Time for finding a frame in one video, all its positions together."""

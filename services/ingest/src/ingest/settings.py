"""Settings of ingest."""

from __future__ import annotations

from pathlib import Path

from ingest.gate import Limits
from media_runtime.cores import usable_cores
from media_runtime.settings import JailSettings, KafkaSettings, PostgresSettings, StorageSettings
from pydantic import Field


class IngestSettings(
    KafkaSettings, PostgresSettings, StorageSettings, JailSettings, env_prefix="INGEST_"
):
    """What ingest is told by its environment; times in seconds, sizes in pixels."""

    scratch_dir: Path
    ingest_workers: int = Field(default_factory=usable_cores, ge=0)
    """Jobs that this process works on at once."""
    ingest_image_workers: int = Field(default=1, ge=0)
    """Further ones, for images alone: none waits until a film has ended."""
    company_pictures_at_once: int = Field(default=16, ge=1)
    """A company that is owed the pictures of so many uploads waits with its next image."""
    make_way_seconds: float = Field(default=30, gt=0)
    """How long a company without any work under way waits until one with several gives way."""
    lease_seconds: float = Field(default=30, gt=0)
    heartbeat_seconds: float = Field(default=10, gt=0)
    job_poll_seconds: float = Field(default=1, gt=0)
    job_max_tries: int = Field(default=3, ge=1)
    job_retry_seconds: float = Field(default=10, gt=0)
    reopen_seconds: float = Field(default=60, gt=0)
    """A notification for a job that ended less long ago is a duplicate."""
    give_up_seconds: float = Field(default=24 * 3600, gt=0)
    """An attempt that something was away for longer than this fails."""
    upload_max_seconds: float = Field(default=4 * 3600, gt=0)
    upload_max_frame_rate: float = Field(default=240, gt=0)
    upload_max_side: int = Field(default=16_384, ge=1)
    upload_max_frames: int = Field(default=3000, ge=1)
    """Frames of an animated image."""
    upload_min_bits_per_second: float = Field(default=1000, ge=0)
    """What a video of more than a minute has at least."""
    upload_min_bits_per_pixel: float = Field(default=1e-5, ge=0)
    """Of all frames together, for a video of any length."""
    upload_max_total_pixels: float = Field(default=4e12, gt=0)
    """Of all frames of a video together; the default is 4 hours of 3840x2160 at 30 a second."""
    transcode_max_seconds: float = Field(default=6 * 3600, gt=0)
    """The longest that one transcode may take, however long the video is."""
    transcode_niceness: int = Field(default=10, ge=0, le=19)
    """What transcodes leave to all else: with them alone a machine is busy, but never deaf."""
    video_max_long_side: int = Field(default=1920, ge=2)
    video_max_short_side: int = Field(default=1080, ge=2)
    video_preset: str = "veryfast"
    video_crf: int = Field(default=23, ge=0, le=51)
    image_max_side: int = Field(default=4096, ge=1)
    thumbnail_width: int = Field(default=320, ge=1)
    thumbnail_height: int = Field(default=240, ge=1)

    @property
    def worker_count(self) -> int:
        """All workers of this process."""
        return self.ingest_workers + self.ingest_image_workers

    @property
    def limits(self) -> Limits:
        """The most that is worked on, for the trust gate."""
        return Limits(
            duration_seconds=self.upload_max_seconds,
            frame_rate=self.upload_max_frame_rate,
            side=self.upload_max_side,
            frames=self.upload_max_frames,
            bits_per_second=self.upload_min_bits_per_second,
            total_pixels=self.upload_max_total_pixels,
            bits_per_pixel=self.upload_min_bits_per_pixel,
        )

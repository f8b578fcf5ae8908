"""Settings of ingest."""

from __future__ import annotations

from pathlib import Path

from ingest.trust.gate import Limits
from media_contracts import (
    AnimationOutput,
    AudioOutput,
    FileKind,
    Fit,
    MediaKind,
    PictureOutput,
    Profile,
    ResponsiveOutput,
    VideoOutput,
)
from media_contracts.profiles import (
    DEFAULT,
    MAX_FRAME_RATE,
    MAX_PICTURE_SIDE,
    MAX_VIDEO_SIDE,
    Codec,
    Preset,
)
from media_runtime.media.cpus import cpu_count
from media_runtime.settings import KafkaSettings, PostgresSettings, SandboxSettings, StorageSettings
from pydantic import Field

# With the largest image these are no more pixels than a profile's pictures may have.
_MAX_THUMBNAIL_SIDE = 2048


class IngestSettings(
    KafkaSettings,
    PostgresSettings,
    StorageSettings,
    SandboxSettings,
    env_prefix="INGEST_",
    env_parse_none_str="null",
):
    """What ingest is told by its environment; times in seconds, sizes in pixels."""

    scratch_dir: Path
    ingest_workers: int = Field(default_factory=cpu_count, ge=0)
    """Tasks that this process works on at once."""
    ingest_short_workers: int = Field(default=1, ge=0)
    """Further ones, for short tasks alone: no small upload waits until a long film has ended."""
    slow_task_seconds: float = Field(default=2, gt=0)
    """A task that is expected to take as long is no short one."""
    company_max_inflight_pictures: int = Field(default=16, ge=1)
    """The thumbnailer is asked for the pictures of so many uploads of a company at a time."""
    slow_picture_seconds: float = Field(default=2, gt=0)
    """Pictures that are expected to take as long are slow."""
    slow_pictures_at_once: int = Field(default=1, ge=1)
    """Of all companies together; fewer than the thumbnailers work on at once."""
    pictures_lease_seconds: float = Field(default=600, gt=0)
    """Pictures that have not come by then are asked for again."""
    preempt_after_seconds: float = Field(default=30, gt=0)
    """How long a company without any work under way waits until the busiest one gives way."""
    estimate_seconds: float = Field(default=3, gt=0)
    """How often clients hear, at most, of the place of an asset and of when it will be ready."""
    most_estimates: int = Field(default=200, ge=1)
    """Of so many assets at a time, of all companies together."""
    company_most_estimates: int = Field(default=20, ge=1)
    lease_seconds: float = Field(default=30, gt=0)
    heartbeat_seconds: float = Field(default=10, gt=0)
    task_poll_seconds: float = Field(default=1, gt=0)
    task_max_tries: int = Field(default=3, ge=1)
    task_retry_seconds: float = Field(default=10, gt=0)
    give_up_seconds: float = Field(default=24 * 3600, gt=0)
    """An attempt that something was away for longer than this fails."""
    upload_max_seconds: float = Field(default=4 * 3600, gt=0)
    upload_max_frame_rate: float = Field(default=960, gt=0)
    upload_max_side: int = Field(default=16_384, ge=1)
    """Of a video."""
    upload_max_frames: int = Field(default=3000, ge=1)
    """Frames of an animated image."""
    upload_min_bits_per_second: float = Field(default=1000, ge=0)
    """What a video of more than a minute has at least."""
    upload_min_bits_per_pixel: float = Field(default=1e-5, ge=0)
    """Of all frames together, for a video of any length."""
    upload_max_total_pixels: float = Field(default=4e12, gt=0)
    """Of all frames of a video together; the default is 4 hours of 3840x2160 at 30 a second."""
    accept_other_types: bool = True
    """A file of another type than declared, but of the same kind, is taken as what it is."""
    min_whole_part: float = Field(default=0.9, ge=0, le=1)
    """Of a video that is cut at its end, how much must be left of its bytes and of its length."""
    transcode_max_seconds: float = Field(default=6 * 3600, gt=0)
    """The longest that one transcode may take, however long the video is."""
    transcode_niceness: int = Field(default=10, ge=0, le=19)
    """What transcodes leave to all else: with them alone a machine is busy, but never deaf."""
    video_max_long_side: int = Field(default=1920, ge=2, le=MAX_VIDEO_SIDE)
    video_max_short_side: int = Field(default=1080, ge=2, le=MAX_VIDEO_SIDE)
    video_preset: Preset = "veryfast"
    video_crf: int = Field(default=23, ge=0, le=51)
    video_codecs: tuple[Codec, ...] = ("h264",)
    """As JSON: ``["h264", "hevc", "av1"]``."""
    video_max_frame_rate: int = Field(default=MAX_FRAME_RATE, ge=10, le=MAX_FRAME_RATE)
    video_loudness: float | None = Field(default=-16, ge=-40, le=-5)
    """Of a whole film or sound, in LUFS; null leaves it as loud as it is."""
    audio_kbits_per_second: int = Field(default=128, ge=32, le=320)
    """Of sound alone."""
    image_max_side: int = Field(default=4096, ge=1, le=MAX_PICTURE_SIDE)
    thumbnail_width: int = Field(default=320, ge=1, le=_MAX_THUMBNAIL_SIDE)
    thumbnail_height: int = Field(default=240, ge=1, le=_MAX_THUMBNAIL_SIDE)

    @property
    def worker_count(self) -> int:
        """All workers of this process."""
        return self.ingest_workers + self.ingest_short_workers

    @property
    def profile(self) -> Profile:
        """The built-in profile, as these settings say: of uploads whose company has no other."""
        return Profile(
            name=DEFAULT.name,
            version=DEFAULT.version,
            outputs=(
                VideoOutput(
                    name="video",
                    max_long_side=self.video_max_long_side,
                    max_short_side=self.video_max_short_side,
                    codecs=self.video_codecs,
                    max_frame_rate=self.video_max_frame_rate,
                    crf=self.video_crf,
                    preset=self.video_preset,
                    loudness=self.video_loudness,
                ),
                AudioOutput(
                    name="audio",
                    kbits_per_second=self.audio_kbits_per_second,
                    loudness=self.video_loudness,
                ),
                # What is served is re-encoded: no byte and no position of the upload leaks into it.
                PictureOutput(
                    name="image",
                    kind=FileKind.IMAGE,
                    sources=frozenset({MediaKind.IMAGE}),
                    width=self.image_max_side,
                    height=self.image_max_side,
                    priority=1,
                ),
                PictureOutput(
                    name="thumbnail",
                    kind=FileKind.THUMBNAIL,
                    width=self.thumbnail_width,
                    height=self.thumbnail_height,
                    fit=Fit.COVER,
                ),
                ResponsiveOutput(name="responsive", priority=1),
                AnimationOutput(name="animation", priority=1),
            ),
        )

    @property
    def limits(self) -> Limits:
        """The most that is worked on, for the trust gate."""
        return Limits(
            duration_seconds=self.upload_max_seconds,
            frame_rate=self.upload_max_frame_rate,
            side=self.upload_max_side,
            bits_per_second=self.upload_min_bits_per_second,
            total_pixels=self.upload_max_total_pixels,
            bits_per_pixel=self.upload_min_bits_per_pixel,
            whole_part=self.min_whole_part,
        )

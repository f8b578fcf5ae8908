"""A video in one file: planned, encoded, proven and stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingest.domain import (
    Size,
    fit_video,
    most_output_bytes,
    transcode_cpu_seconds,
    transcode_limit_seconds,
)
from ingest.metrics import BYTES, ENCODE_SPEED, ENCODED_SECONDS, timed
from ingest.outputs.rendition import EncodePlan, encode_command
from ingest.outputs.source import Done, Source
from ingest.settings import IngestSettings
from ingest.trust.gate import check_made
from media_contracts import (
    MEDIA_STATUS,
    AssetProgressed,
    FileKind,
    MediaFile,
    MediaKind,
    Stage,
    VideoOutput,
)
from media_contracts.errors import ErrorCode
from media_contracts.formats import family_of
from media_records.lifecycle import asset_event
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka.producer import Producer
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegTimeoutError
from media_runtime.storage.store import ObjectStore, output_key

SERVICE = "ingest"
KIND = "encode"
CACHE_CONTROL = "public, max-age=3600"
_PROGRESS_SECONDS = 1.0
# Of decoding and libx264 at veryfast on two cores, both together; what it costs at least.
_SECONDS_A_MEGAPIXEL, _LEAST_SECONDS = 0.006, 0.5
_UNKNOWN_FRAME_RATE = 30.0


def plan(outputs: Sequence[VideoOutput], source: Source) -> Sequence[NewTask]:
    """Return one task for each video; see Planner."""
    if source.kind is not MediaKind.VIDEO:
        return ()
    return [_task(output, source) for output in outputs]


def _task(output: VideoOutput, source: Source) -> NewTask:
    size = fit_video(
        Size(max(1, round(source.width * source.pixel_aspect)), max(1, source.height)),
        max_long_side=output.max_long_side,
        max_short_side=output.max_short_side,
    )
    frames = (source.duration_seconds or 0) * (source.frame_rate or _UNKNOWN_FRAME_RATE)
    megapixels = frames * (source.megapixels + size.width * size.height / 1_000_000)
    params = {
        "width": size.width,
        "height": size.height,
        "has_sound": source.has_sound,
        "crf": output.crf,
        "preset": output.preset,
        "source": {
            "width": source.width,
            "height": source.height,
            "frame_rate": source.frame_rate,
            "duration_seconds": source.duration_seconds,
            "content_type": source.content_type,
        },
    }
    return NewTask(
        output.name,
        KIND,
        Pool.ENCODE,
        params,
        required=output.required,
        priority=output.priority,
        cost_seconds=_LEAST_SECONDS + megapixels * _SECONDS_A_MEGAPIXEL,
    )


class Encode:
    """Makes the video of one task."""

    def __init__(
        self, settings: IngestSettings, store: ObjectStore, ffmpeg: Ffmpeg, producer: Producer
    ) -> None:
        self._settings = settings
        self._store = store
        self._ffmpeg = ffmpeg
        self._producer = producer

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Encode and store; see Doer."""
        target = folder / "video.mp4"
        with timed("transcode"):
            await self._encode(task, asset, source, target)
        return Done([await self._store_video(task, asset, target)], stage=Stage.TRANSCODED)

    async def _encode(self, task: Task, asset: Asset, source: Path, target: Path) -> None:
        settings, params = self._settings, task.params
        seconds = params["source"]["duration_seconds"]
        plan = EncodePlan(
            size=Size(params["width"], params["height"]),
            has_audio=params["has_sound"],
            preset=params["preset"],
            crf=params["crf"],
            # A little more, by which it is seen that the source is too long.
            max_seconds=settings.upload_max_seconds + 1,
        )
        progress = _Progress(self._producer, asset, seconds)
        started = time.monotonic()
        limit = transcode_limit_seconds(seconds)
        try:
            await self._ffmpeg.run(
                encode_command(source, target, plan, self._ffmpeg.input_options),
                reads=source,
                writes=target.parent,
                timeout_seconds=min(limit, settings.transcode_max_seconds),
                cpu_seconds=self._cpu_seconds(params["source"]),
                max_bytes=most_output_bytes(asset.size),
                niceness=settings.transcode_niceness,
                on_progress=progress.report,
            )
        except FfmpegTimeoutError as error:
            # It has had five times the time that the film lasts: a second try takes as long.
            raise PermanentError(ErrorCode.TRANSCODE_TIMEOUT) from error
        if seconds:
            ENCODED_SECONDS.inc(seconds)
            ENCODE_SPEED.observe(seconds / (time.monotonic() - started))

    def _cpu_seconds(self, source: dict[str, Any]) -> int:
        return transcode_cpu_seconds(
            source["duration_seconds"] or self._settings.upload_max_seconds,
            source["frame_rate"],
            Size(source["width"], source["height"]),
        )

    async def _store_video(self, task: Task, asset: Asset, target: Path) -> MediaFile:
        made = await self._ffmpeg.probe(target)
        claimed = task.params["source"]["duration_seconds"]
        # A task that was planned before sources told their type has none.
        content_type = task.params["source"].get("content_type") or asset.content_type
        family = family_of(content_type) or ""
        video = check_made(made, claimed, family, self._settings.limits)
        name = f"{task.name}.mp4"
        key = output_key(asset.company_id, asset.id, asset.attempt, name, fence=task.fence)
        with timed("upload"):
            size = await self._store.upload(
                asset.bucket, key, target, content_type="video/mp4", cache_control=CACHE_CONTROL
            )
        BYTES.labels("out").inc(size)
        return MediaFile(
            name=task.name,
            kind=FileKind.VIDEO,
            key=key,
            content_type="video/mp4",
            size=size,
            width=video.width,
            height=video.height,
            duration_seconds=made.duration_seconds,
        )


class _Progress:
    """Tells clients how far a transcode is, at most once a second, as best it can."""

    def __init__(self, producer: Producer, asset: Asset, duration_seconds: float | None) -> None:
        self._producer = producer
        self._asset = asset
        self._duration = duration_seconds
        self._next = 0.0

    async def report(self, done_seconds: float) -> None:
        now = time.monotonic()
        if not self._duration or now < self._next:
            return
        self._next = now + _PROGRESS_SECONDS
        percent = min(100.0, round(100 * done_seconds / self._duration, 1))
        payload = AssetProgressed(
            attempt=self._asset.attempt, stage=Stage.TRANSCODING, percent=percent
        )
        # One a second would bury what else the trace has.
        record = asset_event(
            MEDIA_STATUS,
            self._asset,
            payload,
            service=SERVICE,
            at=datetime.now(UTC),
            traced=False,
        )
        try:
            await self._producer.send(record)
        except TransientError:
            return  # a lost percentage is followed by the next one

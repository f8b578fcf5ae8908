"""A video in one file: planned, encoded, proven and stored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from ingest.outputs.rendition import EncodePlan, encode_command, film_filters, made_rate
from ingest.outputs.sound import Sound
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
from media_contracts.warnings import WarningCode
from media_records.lifecycle import asset_event
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka.producer import Producer
from media_runtime.media.colour import Filter
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegError, FfmpegTimeoutError
from media_runtime.storage.store import ObjectStore, output_key

SERVICE = "ingest"
KIND = "encode"
CACHE_CONTROL = "public, max-age=3600"
_PROGRESS_SECONDS = 1.0
# Of decoding and libx264 at veryfast on two cores, both together; what it costs at least.
_SECONDS_A_MEGAPIXEL, _LEAST_SECONDS = 0.006, 0.5
_UNKNOWN_FRAME_RATE = 30.0
_WARNINGS = {code.value: code for code in WarningCode}


def plan(outputs: Sequence[VideoOutput], source: Source) -> Sequence[NewTask]:
    """Return one task for each video; see Planner."""
    if source.kind is not MediaKind.VIDEO:
        return ()
    return [_task(output, source) for output in outputs]


def _task(output: VideoOutput, source: Source) -> NewTask:
    size = fit_video(
        _square_size(source),
        max_long_side=output.max_long_side,
        max_short_side=output.max_short_side,
    )
    frames = (source.duration_seconds or 0) * (source.frame_rate or _UNKNOWN_FRAME_RATE)
    megapixels = frames * (source.megapixels + size.width * size.height / 1_000_000)
    params = {
        "width": size.width,
        "height": size.height,
        "has_sound": source.has_sound,
        **_streams(source, size),
        "crf": output.crf,
        "preset": output.preset,
        "source": {
            "width": source.width,
            "height": source.height,
            "frame_rate": source.frame_rate,
            "duration_seconds": source.duration_seconds,
            "claimed_seconds": source.claimed_seconds,
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


def _square_size(source: Source) -> Size:
    """Return the size in square pixels: the rows as stored stay, and are made longer or shorter."""
    lies = source.video is not None and source.video.rotation in {90, 270}
    if lies:
        return Size(max(1, source.width), max(1, round(source.height / source.pixel_aspect)))
    return Size(max(1, round(source.width * source.pixel_aspect)), max(1, source.height))


def _streams(source: Source, size: Size) -> dict[str, Any]:
    """Return which streams are made into what, as far as it is known."""
    params: dict[str, Any] = {}
    if source.video is not None:
        params["track"] = source.video.index
        filters = film_filters(source.video, size)
        params["filters"] = [[one.name, dict(one.words)] for one in filters]
        if made_rate(source.video.frame_rate):
            params["warnings"] = [WarningCode.FRAME_RATE_REDUCED.value]
    if source.sound is not None:
        params["sound"] = [list(source.sound.tracks), source.sound.filters]
    return params


def _plan(params: Mapping[str, Any], max_seconds: float) -> EncodePlan:
    sound = params.get("sound")
    return EncodePlan(
        size=Size(params["width"], params["height"]),
        has_audio=params["has_sound"],
        preset=params["preset"],
        crf=params["crf"],
        max_seconds=max_seconds,
        filters=[Filter(name, words) for name, words in params.get("filters", ())],
        track=params.get("track"),
        sound=Sound(tuple(sound[0]), sound[1]) if sound else None,
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
            warnings = await self._encode(task, asset, source, target)
        made, found = await self._store_video(task, asset, target)
        return Done([made], stage=Stage.TRANSCODED, warnings=(*warnings, *found))

    async def _encode(
        self, task: Task, asset: Asset, source: Path, target: Path
    ) -> list[WarningCode]:
        # A little more, by which it is seen that the source is too long.
        plan = _plan(task.params, self._settings.upload_max_seconds + 1)
        warnings = [_WARNINGS[code] for code in task.params.get("warnings", ())]
        try:
            await self._run(task, asset, source, target, plan)
        except FfmpegError as error:
            if not plan.has_audio or error.code != ErrorCode.TRANSCODE_FAILED:
                raise
            # Of a film whose sound cannot be decoded the picture is left.
            await self._run(task, asset, source, target, replace(plan, has_audio=False))
        return warnings

    async def _run(
        self, task: Task, asset: Asset, source: Path, target: Path, plan: EncodePlan
    ) -> None:
        settings, params = self._settings, task.params
        seconds = params["source"]["duration_seconds"]
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

    async def _store_video(
        self, task: Task, asset: Asset, target: Path
    ) -> tuple[MediaFile, Sequence[WarningCode]]:
        made = await self._ffmpeg.probe(target)
        claimed = task.params["source"].get("claimed_seconds")
        video, warnings = check_made(
            made, claimed, self._settings.limits, has_sound=task.params["has_sound"]
        )
        name = f"{task.name}.mp4"
        key = output_key(asset.company_id, asset.id, asset.attempt, name, fence=task.fence)
        with timed("upload"):
            size = await self._store.upload(
                asset.bucket, key, target, content_type="video/mp4", cache_control=CACHE_CONTROL
            )
        BYTES.labels("out").inc(size)
        stored = MediaFile(
            name=task.name,
            kind=FileKind.VIDEO,
            key=key,
            content_type="video/mp4",
            size=size,
            width=video.width,
            height=video.height,
            duration_seconds=made.duration_seconds,
        )
        return stored, warnings


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

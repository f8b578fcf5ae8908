"""
One job: fetch the upload, check it against its grant, then encode it or pass it on.

Everything slow happens outside transactions; what it leads to is written by Outcomes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ingest import jobs
from ingest.answers import DISPLAY, THUMBNAIL, picture_key
from ingest.domain import (
    Size,
    fit_video,
    most_output_bytes,
    transcode_cpu_seconds,
    transcode_limit_seconds,
)
from ingest.encode import EncodePlan, encode_command
from ingest.gate import check_file, check_image, check_made, check_video
from ingest.jobs import Job, LostLeaseError
from ingest.metrics import BYTES, ENCODE_SPEED, ENCODED_SECONDS, STAGE_SECONDS
from ingest.outcomes import SERVICE, Outcomes
from ingest.settings import IngestSettings
from media_contracts import (
    MEDIA_STATUS,
    MEDIA_THUMBNAIL,
    AssetProgressed,
    FileKind,
    Fit,
    MediaFile,
    MediaKind,
    ObjectRef,
    PictureSpec,
    Stage,
    ThumbnailRequested,
)
from media_contracts.errors import ErrorCode
from media_contracts.formats import kind_of
from media_records.files import files_of, original_of, outputs_of, pin_original, reference
from media_records.lifecycle import Lifecycle, asset_event
from media_records.tables import Asset
from media_runtime import tracing
from media_runtime.errors import PermanentError, TransientError
from media_runtime.ffmpeg import Ffmpeg, FfmpegTimeoutError, MediaInfo, VideoStream
from media_runtime.kafka import Producer
from media_runtime.outbox import Outbox
from media_runtime.picture_pool import PicturePool
from media_runtime.pictures import probe_image
from media_runtime.postgres import Connection, Database
from media_runtime.scratch import scratch_folder
from media_runtime.storage import ContentChangedError, ObjectStore, output_key

CACHE_CONTROL = "public, max-age=3600"
_PROGRESS_SECONDS = 1.0


class ProcessUpload:
    """Works on one claimed job from download to result."""

    def __init__(
        self,
        *,
        settings: IngestSettings,
        database: Database,
        store: ObjectStore,
        producer: Producer,
        outbox: Outbox,
        lifecycle: Lifecycle,
        outcomes: Outcomes,
        pool: PicturePool,
        ffmpeg: Ffmpeg,
    ) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._producer = producer
        self._outbox = outbox
        self._lifecycle = lifecycle
        self._outcomes = outcomes
        self._pool = pool
        self._ffmpeg = ffmpeg

    async def __call__(self, job: Job, asset: Asset) -> None:
        """
        Do the job's work.

        Raises PermanentError when the file is at fault, TransientError when something is away,
        LostLeaseError when another worker has taken over.
        """
        original = original_of(await files_of(self._database, asset.id))
        if original is None:
            raise LostLeaseError  # the asset was deleted between claim and now
        name = f"{job.asset_id}-{job.attempt}-{job.fence}"
        async with scratch_folder(self._settings.scratch_dir / name) as folder:
            path = folder / "source"
            source = await self._fetch(reference(asset, original), path, asset)
            BYTES.labels("in").inc(original.size)
            await asyncio.to_thread(check_file, path, asset)
            if kind_of(asset.content_type) is MediaKind.VIDEO:
                await self._video(job, asset, source, path)
            else:
                await self._image(job, asset, source, path)

    async def _fetch(self, source: ObjectRef, path: Path, asset: Asset) -> ObjectRef:
        """
        Download the original and pin its bytes, for all who read it later.

        Raises ContentChangedError where others were checked before.
        """
        with _timed("download"):
            sha256 = await self._store.download(source, path)
        if source.sha256 is None:
            pinned = await pin_original(self._database, asset.id, sha256)
            if pinned not in {sha256, None}:
                raise ContentChangedError
        return source.model_copy(update={"sha256": sha256})

    async def _image(self, job: Job, asset: Asset, source: ObjectRef, path: Path) -> None:
        with _timed("probe"):
            info = await self._pool.run(
                probe_image, path, self._settings.upload_max_frames, timeout_seconds=30
            )
        check_image(info, asset, self._settings.limits)
        request = self._request(asset, source, MediaKind.IMAGE, None)
        async with self._database.transaction() as connection:
            # Nothing is left to do here: the job ends as its request leaves.
            await jobs.ask(connection, job)
            await jobs.end(connection, job, "done")
            await self._ask_for_pictures(connection, asset, request)
        self._outbox.wake()

    async def _video(self, job: Job, asset: Asset, source: ObjectRef, path: Path) -> None:
        with _timed("probe"):
            info = await self._ffmpeg.probe(path)
        video = check_video(info, asset, self._settings.limits)
        made = outputs_of(await files_of(self._database, asset.id))
        request = self._request(asset, source, MediaKind.VIDEO, info.duration_seconds)
        async with self._database.transaction() as connection:
            await jobs.hold(connection, job)
            if THUMBNAIL not in made:
                await jobs.ask(connection, job)
                await self._ask_for_pictures(connection, asset, request)
            if FileKind.VIDEO in made:
                await jobs.end(connection, job, "done")
        self._outbox.wake()
        if FileKind.VIDEO in made:
            return  # an attempt that was started again for its pictures alone
        target = path.with_name("video.mp4")
        with _timed("transcode"):
            await self._transcode(asset, info, video, path, target)
        await self._outcomes.video_made(job, await self._store_video(job, asset, info, target))

    async def _ask_for_pictures(
        self, connection: Connection, asset: Asset, request: ThumbnailRequested
    ) -> None:
        now = datetime.now(UTC)
        await self._lifecycle.progressed(connection, asset, Stage.PROBED, at=now)
        record = asset_event(MEDIA_THUMBNAIL, asset, request, service=SERVICE, at=now)
        await self._outbox.put(connection, asset.company_id, record)

    def _request(
        self, asset: Asset, source: ObjectRef, kind: MediaKind, duration_seconds: float | None
    ) -> ThumbnailRequested:
        settings = self._settings
        pictures = [
            PictureSpec(
                name=THUMBNAIL,
                width=settings.thumbnail_width,
                height=settings.thumbnail_height,
                fit=Fit.COVER,
                key=_key_of(asset, THUMBNAIL),
            )
        ]
        if kind is MediaKind.IMAGE:
            # What is served is re-encoded: no byte and no position of the upload leaks into it.
            side = settings.image_max_side
            pictures.append(
                PictureSpec(
                    name=DISPLAY,
                    width=side,
                    height=side,
                    fit=Fit.INSIDE,
                    key=_key_of(asset, DISPLAY),
                )
            )
        return ThumbnailRequested(
            attempt=asset.attempt,
            kind=kind,
            content_type=asset.content_type,
            source=source,
            duration_seconds=duration_seconds,
            pictures=pictures,
        )

    async def _transcode(
        self, asset: Asset, info: MediaInfo, video: VideoStream, source: Path, target: Path
    ) -> None:
        settings = self._settings
        plan = EncodePlan(
            size=fit_video(
                displayed_size(video),
                max_long_side=settings.video_max_long_side,
                max_short_side=settings.video_max_short_side,
            ),
            has_audio=info.audio is not None,
            preset=settings.video_preset,
            crf=settings.video_crf,
            # A little more, by which it is seen that the source is too long.
            max_seconds=settings.upload_max_seconds + 1,
        )
        progress = _Progress(self._producer, asset, info.duration_seconds)
        started = time.monotonic()
        limit = transcode_limit_seconds(info.duration_seconds)
        cpu_seconds = transcode_cpu_seconds(
            info.duration_seconds or settings.upload_max_seconds,
            video.frame_rate,
            Size(video.width, video.height),
        )
        try:
            await self._ffmpeg.run(
                encode_command(source, target, plan, self._ffmpeg.input_options),
                reads=source,
                writes=target.parent,
                timeout_seconds=min(limit, settings.transcode_max_seconds),
                cpu_seconds=cpu_seconds,
                max_bytes=most_output_bytes(asset.size),
                niceness=settings.transcode_niceness,
                on_progress=progress.report,
            )
        except FfmpegTimeoutError as error:
            # It has had five times the time that the film lasts: a second try takes as long.
            raise PermanentError(ErrorCode.TRANSCODE_TIMEOUT) from error
        if info.duration_seconds:
            ENCODED_SECONDS.inc(info.duration_seconds)
            ENCODE_SPEED.observe(info.duration_seconds / (time.monotonic() - started))

    async def _store_video(
        self, job: Job, asset: Asset, claimed: MediaInfo, target: Path
    ) -> MediaFile:
        made = await self._ffmpeg.probe(target)
        video = check_made(made, claimed, asset, self._settings.limits)
        key = output_key(asset.company_id, asset.id, asset.attempt, "video.mp4", fence=job.fence)
        with _timed("upload"):
            size = await self._store.upload(
                asset.bucket, key, target, content_type="video/mp4", cache_control=CACHE_CONTROL
            )
        BYTES.labels("out").inc(size)
        return MediaFile(
            name=FileKind.VIDEO,
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


def displayed_size(video: VideoStream) -> Size:
    """Return the size in square pixels at which players show *video*."""
    return Size(max(1, round(video.width * video.pixel_aspect)), max(1, video.height))


def _key_of(asset: Asset, picture: str) -> str:
    return picture_key(asset.company_id, asset.id, asset.attempt, picture)


@contextmanager
def _timed(stage: str) -> Iterator[None]:
    with tracing.span(stage), STAGE_SECONDS.labels(stage).time():
        yield

"""
Joins the files of an attempt and decides its outcome, once.

Invariant: the first file of each name counts, and the outcome, its facts and its messages
are written in one transaction that holds the asset's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from ingest import jobs
from ingest.answers import PICTURES_OF, confirmed, file_of
from ingest.jobs import Job
from ingest.metrics import ANSWERS_REFUSED, OUTCOME_SECONDS, OUTCOMES, STALE_RESULTS
from ingest.wakeup import Wakeup
from media_contracts import (
    MEDIA_PROCESSED,
    AssetStatus,
    CloudEvent,
    ErrorInfo,
    FileKind,
    MediaFile,
    MediaKind,
    MediaProcessed,
    Picture,
    Rendition,
    Stage,
    ThumbnailFailed,
    ThumbnailMade,
)
from media_contracts.errors import SYSTEM_FAULTS, ErrorCode
from media_contracts.formats import kind_of
from media_records.files import (
    Files,
    add_outputs,
    files_of,
    forget_outputs,
    media_of,
    outputs_of,
    thumbnail_of,
)
from media_records.lifecycle import Lifecycle, asset_event, find_asset, sweep
from media_records.tables import Asset, AssetFile
from media_runtime.errors import PermanentError
from media_runtime.outbox import Outbox
from media_runtime.postgres import Connection, Database
from media_runtime.storage import ObjectStore

log = structlog.get_logger(__name__)

SERVICE = "ingest"

_WANTED = {
    MediaKind.VIDEO: frozenset({FileKind.VIDEO, FileKind.THUMBNAIL}),
    MediaKind.IMAGE: frozenset({FileKind.IMAGE, FileKind.THUMBNAIL}),
}
# A job that was claimed more than once may have left objects that nothing refers to.
_CLAIMS = "SELECT fence FROM ingest_jobs WHERE asset_id = $1 AND attempt = $2"
# The thumbnailer may still answer a request of the attempt that has just ended.
_SWEEP_AFTER = timedelta(minutes=1)


class GaveUpError(PermanentError):
    """What the attempt needed stayed away for too long."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.PROCESSING_TIMEOUT)


class Outcomes:
    """Takes results from jobs and from the thumbnailer."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        outbox: Outbox,
        lifecycle: Lifecycle,
        new_job: Wakeup,
    ) -> None:
        self._database = database
        self._store = store
        self._outbox = outbox
        self._lifecycle = lifecycle
        self._new_job = new_job

    async def video_made(self, job: Job, video: MediaFile) -> None:
        """End the job with its video; raises LostLeaseError when another worker has it."""
        async with self._database.transaction() as connection:
            await jobs.end(connection, job, "done")
            asset = await self._current(connection, job.asset_id, job.attempt)
            if asset is not None:
                await self._add(connection, asset, [video], Stage.TRANSCODED)
        self._outbox.wake()

    async def job_failed(self, job: Job, error: PermanentError) -> None:
        """End the job and its attempt with this error; raises LostLeaseError."""
        async with self._database.transaction() as connection:
            await jobs.end(connection, job, "failed", why=f"{error.code}: {error.message}")
            asset = await self._current(connection, job.asset_id, job.attempt)
            if asset is not None:
                await self._fail(
                    connection, asset, ErrorInfo(code=error.code, message=error.message)
                )
        self._outbox.wake()

    async def thumbnailed(self, event: CloudEvent[Any]) -> None:
        """
        Take the thumbnailer's answer; one for another attempt changes nothing.

        Nor does one that storage does not confirm: the right one may still come, and where it
        does not, the watcher lets the attempt ask again. Raises StorageUnavailableError.
        """
        answer = event.data
        if isinstance(answer, ThumbnailMade):
            answer = await confirmed(self._store, event)
        async with self._database.transaction() as connection:
            asset = await self._current(connection, event.subject, event.data.attempt)
            if asset is None or asset.company_id != event.companyid:
                STALE_RESULTS.inc()
                await self._sweep_what_is_stale(connection, event)
            elif answer is None or not _is_whole(answer, asset):
                ANSWERS_REFUSED.inc()
                log.warning("answer_refused", asset_id=str(asset.id), attempt=asset.attempt)
                return
            else:
                await self._answered(connection, asset, answer)
            await jobs.answered(connection, event.companyid, event.subject, event.data.attempt)
        self._outbox.wake()
        # The company may ask for more pictures now.
        self._new_job.set()

    async def _answered(
        self, connection: Connection, asset: Asset, answer: ThumbnailMade | ThumbnailFailed
    ) -> None:
        match answer:
            case ThumbnailMade() as made:
                files = [file_of(picture) for picture in made.pictures]
                await self._add(connection, asset, files, Stage.THUMBNAILED)
            case ThumbnailFailed(error=error):
                # A request that was delivered twice may be answered twice, differently.
                if thumbnail_of(await files_of(connection, asset.id)) is None:
                    await self._fail(connection, asset, error)

    async def give_up(self, connection: Connection, asset: Asset) -> None:
        """Fail the attempt of a locked asset; call wake() of the outbox after the commit."""
        error = GaveUpError()
        await self._fail(connection, asset, ErrorInfo(code=error.code, message=error.message))

    @staticmethod
    async def _current(connection: Connection, asset_id: Any, attempt: int) -> Asset | None:
        asset = await find_asset(connection, asset_id, lock=True)
        if asset is None or asset.attempt != attempt or asset.status != AssetStatus.PROCESSING:
            return None
        return asset

    @staticmethod
    async def _sweep_what_is_stale(connection: Connection, event: CloudEvent[Any]) -> None:
        """Let the watcher remove pictures that came for nothing; repetitions need nothing."""
        asset = await find_asset(connection, event.subject)
        if asset is None or not isinstance(event.data, ThumbnailMade):
            return
        known = {file.key for file in await files_of(connection, asset.id)}
        if not known.issuperset(picture.key for picture in event.data.pictures):
            await sweep(connection, asset.id, at=datetime.now(UTC))

    async def _add(
        self, connection: Connection, asset: Asset, made: Sequence[MediaFile], stage: Stage
    ) -> None:
        if not await add_outputs(connection, asset, made):
            return
        now = datetime.now(UTC)
        await self._lifecycle.progressed(connection, asset, stage, at=now)
        files = outputs_of(await files_of(connection, asset.id))
        if files.keys() >= _WANTED[kind_of(asset.content_type)]:
            await self._ready(connection, asset, list(files.values()), now)

    async def _ready(
        self, connection: Connection, asset: Asset, files: Files, now: datetime
    ) -> None:
        facts = {
            "processed_at": now,
            "sweep_at": await self._sweep_at(connection, asset, now),
        }
        ready = await self._lifecycle.change(
            connection, asset, AssetStatus.READY, at=now, facts=facts
        )
        if ready is not None:
            await self._publish(connection, ready, now, files=files)

    @staticmethod
    async def _sweep_at(connection: Connection, asset: Asset, now: datetime) -> datetime | None:
        claims = await connection.fetchval(_CLAIMS, asset.id, asset.attempt)
        once = asset.attempt == 1 and (claims or 0) <= 1
        # A sweep that is due already, say of a grant that was used again, stays due.
        return asset.sweep_at if once else now + _SWEEP_AFTER

    async def _fail(self, connection: Connection, asset: Asset, error: ErrorInfo) -> None:
        now = datetime.now(UTC)
        facts = {
            "error_code": error.code,
            "error_message": error.message,
            "processed_at": now,
            "sweep_at": now + _SWEEP_AFTER,
        }
        failed = await self._lifecycle.change(
            connection, asset, AssetStatus.FAILED, at=now, facts=facts
        )
        if failed is not None:
            await forget_outputs(connection, asset.id)
            await self._publish(connection, failed, now, error=error)

    async def _publish(
        self,
        connection: Connection,
        asset: Asset,
        now: datetime,
        *,
        files: Files = (),
        error: ErrorInfo | None = None,
    ) -> None:
        kind = kind_of(asset.content_type)
        outcome = MediaProcessed(
            attempt=asset.attempt,
            outcome="failed" if error else "ready",
            file_name=asset.file_name,
            content_type=asset.content_type,
            size=asset.size,
            kind=kind,
            rendition=_rendition(asset, files),
            thumbnail=_picture(asset, files),
            files=[MediaFile.model_validate(file, from_attributes=True) for file in files] or None,
            error=error,
            created_at=asset.created_at,
            processed_at=now,
        )
        record = asset_event(MEDIA_PROCESSED, asset, outcome, service=SERVICE, at=now)
        await self._outbox.put(connection, asset.company_id, record)
        _count(asset, kind, now)
        log.info("outcome", asset_id=str(asset.id), outcome=outcome.outcome, error=error)


def _is_whole(answer: ThumbnailMade | ThumbnailFailed, asset: Asset) -> bool:
    """Return whether an answer has all pictures that were asked for, and no others."""
    if isinstance(answer, ThumbnailFailed):
        return True
    names = sorted(picture.name for picture in answer.pictures)
    return names == sorted(PICTURES_OF[kind_of(asset.content_type)])


def _count(asset: Asset, kind: MediaKind, now: datetime) -> None:
    outcome = "ready" if asset.error_code is None else "refused"
    if asset.error_code in SYSTEM_FAULTS:
        outcome = "failed"
    OUTCOMES.labels(kind.value, outcome).inc()
    if asset.attempt == 1 and asset.uploaded_at is not None:
        seconds = (now - asset.uploaded_at).total_seconds()
        OUTCOME_SECONDS.labels(kind.value, outcome).observe(seconds)


def _rendition(asset: Asset, files: Files) -> Rendition | None:
    file = media_of(files)
    return Rendition(bucket=asset.bucket, **_described(file)) if file else None


def _picture(asset: Asset, files: Files) -> Picture | None:
    file = thumbnail_of(files)
    if file is None:
        return None
    facts = _described(file)
    del facts["duration_seconds"]
    return Picture(name=file.name, bucket=asset.bucket, **facts)


def _described(file: AssetFile) -> dict[str, Any]:
    return file.model_dump(
        include={"key", "content_type", "width", "height", "size", "duration_seconds"}
    )

"""
Joins the results of an attempt and decides its outcome, once.

Invariant: the first result of each part counts, and the outcome, its facts and its messages
are written in one transaction that holds the asset's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from ingest import jobs
from ingest.answers import DISPLAY, PICTURES_OF, THUMBNAIL, confirmed
from ingest.jobs import Job
from ingest.metrics import ANSWERS_REFUSED, OUTCOME_SECONDS, OUTCOMES, STALE_RESULTS
from ingest.wakeup import Wakeup
from media_contracts import (
    MEDIA_PROCESSED,
    AssetStatus,
    CloudEvent,
    ErrorInfo,
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
from media_records.lifecycle import Lifecycle, asset_event, find_asset, sweep
from media_records.tables import Asset
from media_runtime.errors import PermanentError
from media_runtime.outbox import Outbox
from media_runtime.postgres import Connection, Database
from media_runtime.storage import ObjectStore

log = structlog.get_logger(__name__)

SERVICE = "ingest"

RENDITION = "rendition"
PICTURES = "pictures"
_PARTS = {
    MediaKind.VIDEO: frozenset({RENDITION, PICTURES}),
    MediaKind.IMAGE: frozenset({PICTURES}),
}
_INSERT = """
    INSERT INTO asset_results (asset_id, attempt, part, company_id, data, job_fence)
    VALUES ($1, $2, $3, $4, $5::text::jsonb,
        (SELECT fence FROM ingest_jobs WHERE asset_id = $1 AND attempt = $2))
    ON CONFLICT DO NOTHING RETURNING 1
"""
_SELECT = "SELECT part, data::text AS data FROM asset_results WHERE asset_id = $1 AND attempt = $2"
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

    async def rendition_made(self, job: Job, rendition: Rendition) -> None:
        """End the job with its rendition; raises LostLeaseError when another worker has it."""
        async with self._database.transaction() as connection:
            await jobs.end(connection, job, "done")
            asset = await self._current(connection, job.asset_id, job.attempt)
            if asset is not None:
                await self._add(
                    connection, asset, RENDITION, rendition.model_dump_json(), Stage.TRANSCODED
                )
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
                await self._add(
                    connection, asset, PICTURES, made.model_dump_json(), Stage.THUMBNAILED
                )
            case ThumbnailFailed(error=error):
                # A request that was delivered twice may be answered twice, differently.
                if PICTURES not in await self._results(connection, asset):
                    await self._fail(connection, asset, error)

    async def give_up(self, connection: Connection, asset: Asset) -> None:
        """Fail the attempt of a locked asset; call wake() of the outbox after the commit."""
        error = GaveUpError()
        await self._fail(connection, asset, ErrorInfo(code=error.code, message=error.message))

    async def parts_in(self, asset: Asset) -> frozenset[str]:
        """Return which parts of this attempt are there: RENDITION, PICTURES."""
        rows = await self._database.fetch(
            "SELECT part FROM asset_results WHERE asset_id = $1 AND attempt = $2",
            asset.id,
            asset.attempt,
        )
        return frozenset(row["part"] for row in rows)

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
        if asset.thumbnail_key not in {picture.key for picture in event.data.pictures}:
            await sweep(connection, asset.id, at=datetime.now(UTC))

    async def _add(
        self, connection: Connection, asset: Asset, part: str, data: str, stage: Stage
    ) -> None:
        new = await connection.fetchval(
            _INSERT, asset.id, asset.attempt, part, asset.company_id, data
        )
        if not new:
            return
        now = datetime.now(UTC)
        await self._lifecycle.progressed(connection, asset, stage, at=now)
        results = await self._results(connection, asset)
        if results.keys() >= _PARTS[kind_of(asset.content_type)]:
            await self._ready(connection, asset, results, now)

    @staticmethod
    async def _results(connection: Connection, asset: Asset) -> dict[str, str]:
        rows = await connection.fetch(_SELECT, asset.id, asset.attempt)
        return {row["part"]: row["data"] for row in rows}

    async def _ready(
        self, connection: Connection, asset: Asset, results: Mapping[str, str], now: datetime
    ) -> None:
        made = ThumbnailMade.model_validate_json(results[PICTURES])
        pictures = {picture.name: picture for picture in made.pictures}
        rendition = (
            Rendition.model_validate_json(results[RENDITION])
            if RENDITION in results
            else _as_rendition(pictures[DISPLAY])
        )
        facts = {
            "processed_key": rendition.key,
            "thumbnail_key": pictures[THUMBNAIL].key,
            "duration_seconds": rendition.duration_seconds,
            "width": rendition.width,
            "height": rendition.height,
            "stored_bytes": _stored_bytes(rendition, made.pictures),
            "processed_at": now,
            "sweep_at": await self._sweep_at(connection, asset, now),
        }
        ready = await self._lifecycle.change(
            connection, asset, AssetStatus.READY, at=now, facts=facts
        )
        if ready is not None:
            await self._publish(
                connection, ready, now, rendition=rendition, thumbnail=pictures[THUMBNAIL]
            )

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
            await self._publish(connection, failed, now, error=error)

    async def _publish(
        self,
        connection: Connection,
        asset: Asset,
        now: datetime,
        *,
        rendition: Rendition | None = None,
        thumbnail: Picture | None = None,
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
            rendition=rendition,
            thumbnail=thumbnail,
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


def _stored_bytes(rendition: Rendition, pictures: Iterable[Picture]) -> int:
    # An image's rendition is one of its pictures.
    sizes = {rendition.key: rendition.size} | {picture.key: picture.size for picture in pictures}
    return sum(sizes.values())


def _as_rendition(picture: Picture) -> Rendition:
    return Rendition(**picture.model_dump(exclude={"name"}))

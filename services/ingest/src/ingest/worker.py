"""
Workers: claim a job, keep its lease alive while it runs, and settle how it ended.

Invariant: a worker whose lease is lost, or may be lost, stops its work; at a graceful stop it
gives its job back without counting the try.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog
from ingest import jobs
from ingest.domain import retry_delay_seconds
from ingest.jobs import Job, JobQueue, LostLeaseError
from ingest.metrics import JOBS, QUEUE_SECONDS, RUNNING, TRIES
from ingest.outcomes import GaveUpError, Outcomes
from ingest.process import ProcessUpload
from ingest.settings import IngestSettings
from ingest.wakeup import Wakeup
from media_contracts import AssetStatus, MediaKind
from media_contracts.errors import ErrorCode
from media_records.lifecycle import Lifecycle, asset_span, find_asset
from media_records.tables import Asset
from media_runtime import tracing
from media_runtime.errors import PermanentError, SuspectError, TransientError
from media_runtime.outbox import Outbox
from media_runtime.postgres import Database

log = structlog.get_logger(__name__)

_AWAY_SECONDS = 5.0
Lane = Collection[MediaKind]
_ALL: Lane = tuple(MediaKind)
_IMAGES: Lane = (MediaKind.IMAGE,)
_ENDS = frozenset({"done", "failed"})


class OutOfTriesError(PermanentError):
    """The job was claimed too often without an outcome: it kills or outlasts its workers."""

    def __init__(self, tries: int) -> None:
        super().__init__(ErrorCode.PROCESSING_FAILED, tries=tries)


class _MakeWayError(Exception):
    """Another company has had no worker for long, and this one's company has several."""


class Workers:
    """The workers of one process."""

    def __init__(
        self,
        *,
        settings: IngestSettings,
        database: Database,
        queue: JobQueue,
        process: ProcessUpload,
        outcomes: Outcomes,
        lifecycle: Lifecycle,
        outbox: Outbox,
        new_job: Wakeup,
    ) -> None:
        self._settings = settings
        self._database = database
        self._queue = queue
        self._process = process
        self._outcomes = outcomes
        self._lifecycle = lifecycle
        self._outbox = outbox
        self._new_job = new_job

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work in the background for the block; at its end give back what is unfinished."""
        lanes = [_ALL] * self._settings.ingest_workers
        lanes += [_IMAGES] * self._settings.ingest_image_workers
        tasks = [
            asyncio.create_task(self._work_for_ever(kinds), name=f"worker-{number}")
            for number, kinds in enumerate(lanes)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work_for_ever(self, kinds: Lane) -> None:
        while True:
            try:
                worked = await self._work_once(kinds)
            except TransientError as error:
                log.warning("worker_waits", error=str(error))
                await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            except Exception:
                log.exception("worker_failed")
                await asyncio.sleep(_AWAY_SECONDS)
            else:
                if not worked:
                    await self._new_job.wait(self._settings.job_poll_seconds)

    async def _work_once(self, kinds: Lane) -> bool:
        claimed = await self._claim(kinds)
        if claimed is None:
            return False
        job, asset = claimed
        if asset is None:
            return True
        with (
            structlog.contextvars.bound_contextvars(
                asset_id=str(job.asset_id),
                company_id=str(job.company_id),
                attempt=job.attempt,
                **tracing.trace_fields(asset.traceparent),
            ),
            RUNNING.track_inprogress(),
            asset_span("job", asset) as span,
        ):
            log.info("job_claimed", tries=job.tries, fence=job.fence)
            outcome = await self._settle(job, asset)
            span.set_attributes({"media.outcome": outcome, "media.tries": job.tries})
            JOBS.labels(outcome).inc()
            if outcome in _ENDS:
                TRIES.observe(job.tries)
            log.info("job_ended", outcome=outcome)
        return True

    async def _claim(self, kinds: Lane) -> tuple[Job, Asset | None] | None:
        """Claim a job and begin its asset; the asset is None when it no longer wants the job."""
        async with self._database.transaction() as connection:
            job = await self._queue.claim(connection, kinds)
            if job is None:
                return None
            QUEUE_SECONDS.observe(job.age_seconds)
            asset = await find_asset(connection, job.asset_id, lock=True)
            if asset is not None and asset.attempt == job.attempt:
                if asset.status in {AssetStatus.PENDING, AssetStatus.EXPIRED}:
                    asset = await self._lifecycle.change(
                        connection, asset, AssetStatus.PROCESSING, at=datetime.now(UTC)
                    )
                if asset is not None and asset.status == AssetStatus.PROCESSING:
                    self._outbox.wake()
                    return job, asset
            await jobs.end(connection, job, "cancelled")
            return job, None

    async def _settle(self, job: Job, asset: Asset) -> str:
        """Run the job to its end, whatever that is, and name it."""
        try:
            self._refuse_too_many(job)
            await self._run_leased(job, asset)
        except LostLeaseError:
            outcome = "lost_lease"
        except _MakeWayError:
            outcome = await self._give_way(job)
        except PermanentError as error:
            outcome = await self._fail(job, error)
        except TransientError as error:
            outcome = await self._wait_for(job, error)
        except asyncio.CancelledError:
            with suppress(TransientError):
                await asyncio.shield(
                    self._queue.give_back(job, why="stopped", delay_seconds=0, counted=False)
                )
            raise
        except Exception as error:  # noqa: BLE001 - logged there
            outcome = await self._try_again(job, error)
        else:
            outcome = "done"
        return outcome

    async def _give_way(self, job: Job) -> str:
        await self._queue.give_back(job, why="made way", delay_seconds=0, counted=False)
        return "made_way"

    async def _try_again(self, job: Job, error: Exception) -> str:
        """Queue the job again after an error that may be the file's, a few times."""
        if isinstance(error, SuspectError):
            log.warning("job_was_ended", error=str(error))
        else:
            log.error("job_error", exc_info=error)
        if job.tries >= self._settings.job_max_tries:
            return await self._fail(job, OutOfTriesError(job.tries))
        return await self._give_back(job, error, counted=True)

    async def _wait_for(self, job: Job, error: TransientError) -> str:
        if job.age_seconds > self._settings.give_up_seconds:
            return await self._fail(job, GaveUpError())
        return await self._give_back(job, error, counted=False)

    def _refuse_too_many(self, job: Job) -> None:
        if job.tries > self._settings.job_max_tries:
            raise OutOfTriesError(job.tries - 1)

    async def _fail(self, job: Job, error: PermanentError) -> str:
        tracing.mark_failed(error)
        try:
            await self._outcomes.job_failed(job, error)
        except LostLeaseError:
            return "lost_lease"
        return "failed"

    async def _give_back(self, job: Job, error: Exception, *, counted: bool) -> str:
        tracing.mark_failed(error)
        delay = retry_delay_seconds(
            job.tries if counted else 1,
            base_seconds=self._settings.job_retry_seconds,
            jitter=random.random(),  # noqa: S311 - jitter
        )
        await self._queue.give_back(job, why=repr(error), delay_seconds=delay, counted=counted)
        return "retried"

    async def _run_leased(self, job: Job, asset: Asset) -> None:
        """Run the job and its heartbeat; whichever fails first decides."""
        work = asyncio.create_task(self._process(job, asset))
        heart = asyncio.create_task(self._beat(job))
        try:
            await asyncio.wait({work, heart}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await heart
            await work
        finally:
            for task in (work, heart):
                task.cancel()
            # ffmpeg's process group is dead, and scratch is empty, before the job is let go.
            await asyncio.gather(work, heart, return_exceptions=True)

    async def _beat(self, job: Job) -> None:
        """Renew the lease until the job ends; raises LostLeaseError once it is, or may be, gone."""
        loop = asyncio.get_running_loop()
        valid_until = loop.time() + self._settings.lease_seconds
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            asked = loop.time()
            try:
                renewed = await self._queue.beat(job)
            except TransientError as error:
                log.warning("heartbeat_missed", error=str(error))
                if loop.time() > valid_until:
                    raise LostLeaseError from error
            else:
                if not renewed:
                    return  # all that is left to do is to tidy up
                valid_until = asked + self._settings.lease_seconds
                await self._make_way(job)

    async def _make_way(self, job: Job) -> None:
        seconds = self._settings.make_way_seconds
        with suppress(TransientError):
            if job.kind == MediaKind.VIDEO and await self._queue.is_in_the_way(
                job, seconds=seconds
            ):
                raise _MakeWayError

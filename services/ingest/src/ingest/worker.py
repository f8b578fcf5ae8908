"""
Workers: claim a task, keep its lease alive while it runs, and settle how it ended.

Invariant: a worker whose lease is lost, or may be lost, stops its work; at a graceful stop it
gives its task back without counting the try.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import structlog
from ingest.domain import GaveUpError, retry_delay_seconds
from ingest.metrics import QUEUE_SECONDS, RUNNING, TASKS, TRIES, count_outcome
from ingest.run import RunTask
from ingest.settings import IngestSettings
from media_contracts import ErrorInfo
from media_contracts.errors import ErrorCode
from media_records import tasks
from media_records.lifecycle import asset_span
from media_records.tables import Asset
from media_records.tasks import LostLeaseError, Pool, Task, Turns
from media_records.work import Work
from media_runtime import background
from media_runtime.errors import InconclusiveError, PermanentError, TransientError
from media_runtime.telemetry import tracing

log = structlog.get_logger(__name__)

_AWAY_SECONDS = 1.0
_POOLS = (Pool.INSPECT, Pool.ENCODE)
_LATER = tuple(pool.later for pool in _POOLS)
# A heartbeat looks for it: what waits by then has found no other worker.
_AT_ONCE_SECONDS = 1.0
_ENDS = frozenset({"done", "failed"})


class OutOfTriesError(PermanentError):
    """The job was claimed too often without an outcome: it kills or outlasts its workers."""

    def __init__(self, tries: int) -> None:
        super().__init__(ErrorCode.PROCESSING_FAILED, tries=tries)


class _PreemptedError(Exception):
    """Another company has had no worker for long, and this one's used far more."""


class Workers:
    """The workers of this process, of which some take short tasks alone."""

    def __init__(self, settings: IngestSettings, work: Work, run: RunTask) -> None:
        self._settings = settings
        self._work = work
        self._run = run
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._queued = work.wakeup((*_POOLS, *_LATER))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work in the background for the block; at its end give back what is unfinished."""
        slow = self._settings.slow_task_seconds
        lanes = [Turns(_POOLS, slow)] * self._settings.ingest_workers
        # Whatever the others work on, and for whom: a small upload never waits for its end.
        lanes += [Turns(_POOLS, slow, most_slow=0)] * self._settings.ingest_short_workers
        workers = {
            f"worker_{number}": background.repeat(
                partial(self._work_or_wait, turns), name="worker", retry_seconds=_AWAY_SECONDS
            )
            for number, turns in enumerate(lanes)
        }
        async with background.running(**workers):
            yield

    async def _work_or_wait(self, turns: Turns) -> None:
        seen = self._queued.count
        if not await self._work_once(turns):
            await self._queued.wait(self._settings.task_poll_seconds, since=seen)

    async def _work_once(self, turns: Turns) -> bool:
        claimed = await self._claim(turns)
        if claimed is None:
            return False
        task, asset = claimed
        if asset is None:
            return True
        with (
            structlog.contextvars.bound_contextvars(
                asset_id=str(task.asset_id),
                company_id=str(task.company_id),
                attempt=task.attempt,
                task=task.name,
                **tracing.trace_fields(asset.traceparent),
            ),
            RUNNING.labels(task.kind).track_inprogress(),
            asset_span(task.kind, asset) as span,
        ):
            log.info("task_claimed", tries=task.tries, fence=task.fence)
            outcome = await self._settle(task, asset)
            span.set_attributes({"media.outcome": outcome, "media.tries": task.tries})
            TASKS.labels(task.kind, outcome).inc()
            if outcome in _ENDS:
                TRIES.observe(task.tries)
            log.info("task_ended", outcome=outcome)
        return True

    async def _claim(self, turns: Turns) -> tuple[Task, Asset | None] | None:
        """Claim a task and begin its asset; the asset is None when it no longer wants the task."""
        lease = self._settings.lease_seconds
        async with self._work.begin() as tx:
            task = await tasks.claim(tx, turns, owner=self._owner, lease_seconds=lease)
            if task is None and turns.most_slow:
                later = replace(turns, pools=_LATER)
                task = await tasks.claim(tx, later, owner=self._owner, lease_seconds=lease)
            if task is None:
                return None
            if task.pool in _POOLS:
                QUEUE_SECONDS.observe(task.age_seconds)
            asset = await tasks.begun(tx, task)
            if asset is not None:
                return task, asset
            await tasks.drop(tx, task)
            return task, None

    async def _settle(self, task: Task, asset: Asset) -> str:
        """Run the task to its end, whatever that is, and name it."""
        try:
            self._refuse_too_many(task)
            await self._run_leased(task, asset)
        except LostLeaseError:
            outcome = "lost_lease"
        except _PreemptedError:
            outcome = await self._release_preempted(task)
        except PermanentError as error:
            outcome = await self._fail(task, error)
        except TransientError as error:
            outcome = await self._wait_for(task, error)
        except asyncio.CancelledError:
            with suppress(TransientError):
                await asyncio.shield(tasks.release(self._work.database, task, why="stopped"))
            raise
        except Exception as error:  # noqa: BLE001 - logged there
            outcome = await self._try_again(task, error)
        else:
            outcome = "done"
        return outcome

    async def _release_preempted(self, task: Task) -> str:
        await tasks.release(self._work.database, task, why="preempted", preempted=True)
        return "preempted"

    async def _try_again(self, task: Task, error: Exception) -> str:
        """Queue the task again after an error that may be the file's, a few times."""
        if isinstance(error, InconclusiveError):
            log.warning("task_was_ended", error=str(error))
        else:
            log.error("task_error", exc_info=error)
        if task.tries >= self._settings.task_max_tries:
            return await self._fail(task, OutOfTriesError(task.tries))
        return await self._release(task, error, counted=True)

    async def _wait_for(self, task: Task, error: TransientError) -> str:
        # What nobody waits for may have been queued for days: its asset is served all the same.
        if task.pool in _POOLS and task.age_seconds > self._settings.give_up_seconds:
            return await self._fail(task, GaveUpError())
        return await self._release(task, error, counted=False)

    def _refuse_too_many(self, task: Task) -> None:
        if task.tries > self._settings.task_max_tries:
            raise OutOfTriesError(task.tries - 1)

    async def _fail(self, task: Task, error: PermanentError) -> str:
        tracing.mark_failed(error)
        info = ErrorInfo(code=error.code, message=error.message)
        try:
            async with self._work.begin() as tx:
                outcome = await tasks.fail(tx, task, info)
        except LostLeaseError:
            return "lost_lease"
        count_outcome(outcome)
        return "failed"

    async def _release(self, task: Task, error: Exception, *, counted: bool) -> str:
        tracing.mark_failed(error)
        delay = retry_delay_seconds(
            task.tries if counted else 1,
            base_seconds=self._settings.task_retry_seconds,
            jitter=random.random(),  # noqa: S311 - jitter
        )
        await tasks.release(
            self._work.database, task, why=repr(error), delay_seconds=delay, counted=counted
        )
        return "retried"

    async def _run_leased(self, task: Task, asset: Asset) -> None:
        """Run the task and its heartbeat; whichever fails first decides."""
        # ffmpeg's process group is dead, and scratch is empty, before the task is let go.
        working = background.running(run=self._run(task, asset), heart=self._heartbeat(task))
        async with working as (run, heart):
            await asyncio.wait({run, heart}, return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                await heart
            await run

    async def _heartbeat(self, task: Task) -> None:
        """Renew the lease until the task ends; LostLeaseError once it is, or may be, gone."""
        loop = asyncio.get_running_loop()
        lease = self._settings.lease_seconds
        valid_until = loop.time() + lease
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            asked = loop.time()
            try:
                renewed = await tasks.heartbeat(self._work.database, task, lease_seconds=lease)
            except TransientError as error:
                log.warning("heartbeat_missed", error=str(error))
                if loop.time() > valid_until:
                    raise LostLeaseError from error
            else:
                if not renewed:
                    return  # all that is left to do is to tidy up
                valid_until = asked + lease
                await self._yield_if_asked(task)

    async def _yield_if_asked(self, task: Task) -> None:
        seconds = self._settings.preempt_after_seconds
        with suppress(TransientError):
            if task.pool in _LATER and await tasks.is_waited_for(
                self._work.database, _POOLS, seconds=_AT_ONCE_SECONDS
            ):
                raise _PreemptedError
            if task.pool == Pool.ENCODE and await tasks.should_yield(
                self._work.database, task, seconds=seconds
            ):
                raise _PreemptedError

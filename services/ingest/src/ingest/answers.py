"""The thumbnailer's answers: each ends the task that asked for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog
from ingest.metrics import ANSWERS_REFUSED, STALE_RESULTS, count_outcome
from ingest.outputs import pictures
from media_contracts import CloudEvent, ThumbnailFailed, ThumbnailMade
from media_contracts.warnings import WarningCode
from media_records import tasks
from media_records.files import all_files_of
from media_records.lifecycle import find_asset, lock_asset, sweep
from media_records.outcomes import Outcome
from media_records.tasks import Pool, Task
from media_records.work import Tx, Work
from media_runtime.storage.store import ObjectStore

log = structlog.get_logger(__name__)

Answer = CloudEvent[ThumbnailMade] | CloudEvent[ThumbnailFailed]


class OnAnswer:
    """Ends tasks of the thumbnailer's. A repetition, and what nobody asked for, changes nothing."""

    def __init__(self, work: Work, store: ObjectStore) -> None:
        self._work = work
        self._store = store

    async def __call__(self, event: CloudEvent[Any]) -> None:
        """Take an answer; raises DatabaseUnavailableError and StorageUnavailableError."""
        about = event.companyid, event.subject, event.data.attempt, _task_name(event)
        async with self._work.begin() as tx:
            task = await tasks.find_open(tx, *about)
        answer = event.data if task is None else await self._confirmed(task, event)
        async with self._work.begin() as tx:
            asset = await lock_asset(tx, event.subject)
            task = await tasks.find_open(tx, *about)
            if task is None or await tasks.wanting(tx, asset, task) is None:
                STALE_RESULTS.inc()
                await _sweep_what_is_stale(tx, event)
                return
            if answer is None:
                ANSWERS_REFUSED.inc()
                log.warning("answer_refused", asset_id=str(event.subject), attempt=task.attempt)
                return
            outcome = await self._end(tx, task, answer)
            # The company may ask for more pictures now.
            tx.queues |= {Pool.PICTURES, Pool.PICTURES_LATER}
        count_outcome(outcome)

    async def _confirmed(
        self, task: Task, event: CloudEvent[Any]
    ) -> ThumbnailMade | ThumbnailFailed | None:
        if isinstance(event.data, ThumbnailFailed):
            return event.data
        return await pictures.confirmed(self._store, task, event)

    @staticmethod
    async def _end(tx: Tx, task: Task, answer: ThumbnailMade | ThumbnailFailed) -> Outcome | None:
        match answer:
            case ThumbnailMade() as made:
                return await tasks.finish(
                    tx,
                    task,
                    pictures.files(task, made),
                    stage=pictures.stage_of(task),
                    seconds=made.seconds,
                    warnings=[code for code in WarningCode if code in (made.warnings or ())],
                    replaces=pictures.is_new_edition(task),
                )
            case ThumbnailFailed() as failed:
                return await tasks.fail(tx, task, failed.error, seconds=failed.seconds)


async def _sweep_what_is_stale(tx: Tx, event: CloudEvent[Any]) -> None:
    """Let the watcher remove pictures that came for nothing; repetitions need nothing."""
    asset = await find_asset(tx, event.subject)
    if asset is None or not isinstance(event.data, ThumbnailMade):
        return
    known = {file.key for file in await all_files_of(tx, asset.id)}
    if not known.issuperset(picture.key for picture in event.data.pictures):
        await sweep(tx, asset.id, at=datetime.now(UTC))


def _task_name(event: CloudEvent[Any]) -> str:
    return event.data.task or pictures.TASK

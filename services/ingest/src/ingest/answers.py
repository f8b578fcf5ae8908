"""The thumbnailer's answers: each ends the task that asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import structlog
from ingest import facts
from ingest.images import Images
from ingest.metrics import ANSWERS_REFUSED, STALE_RESULTS, count_outcome
from ingest.outputs import pictures
from media_contracts import (
    CloudEvent,
    ErrorInfo,
    ImageChecked,
    PictureSpec,
    Stage,
    ThumbnailFailed,
    ThumbnailMade,
)
from media_contracts.warnings import WarningCode
from media_records import tasks
from media_records.files import all_files_of, pin_original
from media_records.lifecycle import find_asset, lock_asset, sweep
from media_records.outcomes import Outcome
from media_records.tables import Asset
from media_records.tasks import Pool, Task
from media_records.work import Tx, Work
from media_runtime.errors import PermanentError
from media_runtime.storage.store import ContentChangedError, ObjectStore

log = structlog.get_logger(__name__)

Answer: TypeAlias = ImageChecked | ThumbnailMade | ThumbnailFailed


class OnAnswer:
    """Ends tasks of the thumbnailer's. A repetition, and what nobody asked for, changes nothing."""

    def __init__(self, work: Work, store: ObjectStore, images: Images) -> None:
        self._work = work
        self._store = store
        self._images = images

    async def __call__(self, event: CloudEvent[Any]) -> None:
        """Take an answer; raises DatabaseUnavailableError and StorageUnavailableError."""
        about = event.companyid, event.subject, event.data.attempt, _task_name(event)
        answer: Answer | None = event.data
        async with self._work.begin() as tx:
            task = await tasks.find_open(tx, *about)
            asset = await find_asset(tx, event.subject)
            asset = await tasks.wanting(tx, asset, task) if task else None
            asked = await self._asked(tx, task, asset, event.data) if task and asset else None
        if asked is not None:
            answer = await self._confirmed(event.companyid, asked, event.data)
        async with self._work.begin() as tx:
            locked = await lock_asset(tx, event.subject)
            task = await tasks.find_open(tx, *about)
            asset = await tasks.wanting(tx, locked, task) if task else None
            if task is None or asset is None:
                STALE_RESULTS.inc()
                await _sweep_what_is_stale(tx, event)
                return
            if answer is None or asked is None:
                ANSWERS_REFUSED.inc()
                log.warning("answer_refused", asset_id=str(event.subject), attempt=task.attempt)
                return
            outcome = await self._end(tx, task, asset, answer)
            # The company may ask for more pictures now.
            tx.queues |= {Pool.PICTURES, Pool.PICTURES_LATER}
        count_outcome(outcome)

    async def _asked(
        self, tx: Tx, task: Task, asset: Asset, answer: Answer
    ) -> list[PictureSpec] | None:
        """Return the pictures that such an answer has; None where it answers something else."""
        is_check = task.kind == tasks.INSPECT
        match answer:
            case ImageChecked():
                wanted = bool(answer.pictures)
                specs = await self._images.foreseen(tx, asset) if is_check and wanted else []
                return specs if is_check else None
            case ThumbnailMade():
                return None if is_check else pictures.asked(task, asset)
            case ThumbnailFailed():
                return []

    async def _confirmed(
        self, company_id: UUID, asked: Sequence[PictureSpec], answer: Answer
    ) -> Answer | None:
        if isinstance(answer, ThumbnailFailed):
            return answer
        found = await pictures.confirmed(self._store, company_id, asked, answer.pictures)
        return None if found is None else answer.model_copy(update={"pictures": found})

    async def _end(self, tx: Tx, task: Task, asset: Asset, answer: Answer) -> Outcome | None:
        match answer:
            case ImageChecked() as checked:
                return await self._end_check(tx, task, asset, checked)
            case ThumbnailMade() as made:
                return await tasks.finish(
                    tx,
                    task,
                    pictures.files(task, made.pictures),
                    stage=pictures.stage_of(task),
                    seconds=made.seconds,
                    warnings=_known(made.warnings),
                    replaces=pictures.is_new_edition(task),
                )
            case ThumbnailFailed() as failed:
                return await tasks.fail(tx, task, failed.error, seconds=failed.seconds)

    async def _end_check(
        self, tx: Tx, task: Task, asset: Asset, checked: ImageChecked
    ) -> Outcome | None:
        """End the check of an image, and with it the task whose pictures came along."""
        try:
            if await pin_original(tx, asset.id, checked.sha256) != checked.sha256:
                raise ContentChangedError
            planned = await self._images.planned(tx, asset, checked)
        except PermanentError as error:
            info = ErrorInfo(code=error.code, message=error.message)
            return await tasks.fail(tx, task, info, seconds=checked.seconds)
        outcome = await tasks.finish(
            tx,
            task,
            then=planned,
            stage=Stage.PROBED,
            seconds=checked.seconds,
            probe=facts.of_image(checked),
            warnings=_known(checked.warnings),
        )
        if not checked.pictures:
            return outcome
        about = asset.company_id, asset.id, task.attempt, pictures.TASK
        first = await tasks.find_open(tx, *about)
        if first is None:
            return outcome
        files = pictures.files(first, checked.pictures)
        return await tasks.finish(tx, first, files, stage=pictures.stage_of(first))


def _known(codes: Iterable[str] | None) -> list[WarningCode]:
    told = set(codes or ())
    return [code for code in WarningCode if code in told]


async def _sweep_what_is_stale(tx: Tx, event: CloudEvent[Any]) -> None:
    """Let the watcher remove pictures that came for nothing; repetitions need nothing."""
    asset = await find_asset(tx, event.subject)
    if asset is None or isinstance(event.data, ThumbnailFailed):
        return
    known = {file.key for file in await all_files_of(tx, asset.id)}
    if not known.issuperset(picture.key for picture in event.data.pictures):
        await sweep(tx, asset.id, at=datetime.now(UTC))


def _task_name(event: CloudEvent[Any]) -> str:
    return event.data.task or pictures.TASK

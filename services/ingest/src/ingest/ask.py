"""Asks the thumbnailer for checks of images and for pictures: claims its tasks, in fair turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ingest.domain import GaveUpError
from ingest.images import Images
from ingest.metrics import QUEUE_SECONDS, count_outcome
from ingest.outputs import pictures
from ingest.settings import IngestSettings
from media_contracts import (
    MEDIA_THUMBNAIL,
    ErrorInfo,
    ImageCheckRequested,
    ObjectRef,
    ThumbnailRequested,
)
from media_records import tasks
from media_records.files import files_of, original_of, reference
from media_records.lifecycle import tell
from media_records.outcomes import Outcome
from media_records.tables import Asset
from media_records.tasks import Pool, Task, Turns
from media_records.work import Tx, Work
from media_runtime import background
from media_runtime.errors import PermanentError

_AWAY_SECONDS = 1.0
_OWNER = "thumbnailer"
# One that is not answered is asked for again: after longer each time, as it may only be late.
_LEASE_GROWS = 2.0


@dataclass(frozen=True)
class Asked:
    """A task that was asked for, or that ended instead, and its attempt with it."""

    outcome: Outcome | None = None


class AskForPictures:
    """
    Sends requests, each in a unit of work that claims their task.

    Who takes them goes by companies, and not by what they cost. Hence few requests are in Kafka's
    topic at a time: of each company, and of those that take long, of all companies together.
    """

    def __init__(self, settings: IngestSettings, work: Work, images: Images) -> None:
        self._settings = settings
        self._work = work
        self._images = images
        self._queued = work.wakeup([Pool.PICTURES, Pool.PICTURES_LATER])
        self._turns = Turns(
            [Pool.PICTURES],
            settings.slow_picture_seconds,
            most_slow=settings.slow_pictures_at_once,
            most_of_company=settings.company_max_inflight_pictures,
        )
        # One of a company at a time: in the thumbnailer's topic no upload waits behind many.
        self._later = Turns([Pool.PICTURES_LATER], settings.slow_picture_seconds, most_of_company=1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask in the background for the block."""
        ask = background.repeat(self._ask_or_wait, name="asking", retry_seconds=_AWAY_SECONDS)
        async with background.running(ask_for_pictures=ask):
            yield

    async def _ask_or_wait(self) -> None:
        seen = self._queued.count
        if not await self._ask_once():
            await self._queued.wait(self._settings.task_poll_seconds, since=seen)

    async def _ask_once(self) -> bool:
        async with self._work.begin() as tx:
            asked = await self.ask(tx)
        if asked is None:
            return False
        count_outcome(asked.outcome)
        return True

    @staticmethod
    def _was_asked(task: Task) -> bool:
        # What nobody waits for may wait for days before it is asked for.
        return task.pool == Pool.PICTURES or task.tries > 1

    async def ask(self, tx: Tx) -> Asked | None:
        """Ask for what is next, whosever it is; None when there is nothing to ask for."""
        task = await self._claim(tx, self._turns) or await self._claim(tx, self._later)
        if task is None:
            return None
        if task.kind == tasks.INSPECT:
            QUEUE_SECONDS.observe(task.age_seconds)
        asset = await tasks.begun(tx, task)
        original = original_of(await files_of(tx, task.asset_id))
        if asset is None or original is None:
            await tasks.drop(tx, task)
            return Asked()
        if task.age_seconds > self._settings.give_up_seconds and self._was_asked(task):
            return Asked(await self._fail(tx, task, GaveUpError()))
        return Asked(await self._send(tx, task, asset, reference(asset, original)))

    async def _claim(self, tx: Tx, turns: Turns) -> Task | None:
        return await tasks.claim(
            tx,
            turns,
            owner=_OWNER,
            lease_seconds=self._settings.pictures_lease_seconds,
            lease_grows=_LEASE_GROWS,
        )

    async def _send(self, tx: Tx, task: Task, asset: Asset, source: ObjectRef) -> Outcome | None:
        request: ImageCheckRequested | ThumbnailRequested
        try:
            if task.kind == tasks.INSPECT:
                request = await self._images.request(tx, task, asset, source)
            else:
                request = pictures.request(task, asset, source)
        except PermanentError as error:
            return await self._fail(tx, task, error)
        await tell(tx, asset, request, at=datetime.now(UTC), topic=MEDIA_THUMBNAIL)
        return None

    @staticmethod
    async def _fail(tx: Tx, task: Task, error: PermanentError) -> Outcome | None:
        return await tasks.fail(tx, task, ErrorInfo(code=error.code, message=error.message))

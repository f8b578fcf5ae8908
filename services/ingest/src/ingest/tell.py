"""Tells clients how long their uploads have to wait: one replica for all, every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest import line
from ingest.line import Lanes
from ingest.metrics import ESTIMATE_SECONDS, ESTIMATES
from ingest.settings import IngestSettings
from media_records import waits
from media_records.work import Work
from media_runtime import background

_AWAY_SECONDS = 5.0


class TellWaits:
    """
    Foresees when what stands in line will be ready, and tells of what clients would not expect.

    However long the lines are: a few statements at a time, and so many events at most.
    """

    def __init__(self, settings: IngestSettings, work: Work) -> None:
        self._settings = settings
        self._work = work
        self._lanes = Lanes(
            settings.ingest_workers, settings.ingest_short_workers, settings.slow_task_seconds
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell in the background for the block, while no other replica does."""
        tell = background.repeat(self._lead, name="telling", retry_seconds=_AWAY_SECONDS)
        async with background.running(tell_waits=tell):
            yield

    async def _lead(self) -> None:
        async with waits.lead(self._work.database) as session:
            while session is not None:
                await waits.still_leads(session)
                await self.once()
                await asyncio.sleep(self._settings.estimate_seconds)
        await asyncio.sleep(self._settings.estimate_seconds)

    async def once(self) -> int:
        """Look at all lines once; return of how many assets clients were told."""
        with ESTIMATE_SECONDS.time():
            view = await waits.look(self._work.database)
            # Thousands of tasks take a while, in which others are to be heard.
            found = await asyncio.to_thread(line.estimates, view, self._lanes)
            news = line.news(
                view, found, most=self._settings.most_estimates,
                of_company=self._settings.company_most_estimates,
            )  # fmt: skip
            told = 0
            if news:
                async with self._work.begin() as tx:
                    told = await waits.tell_waits(tx, news)
        ESTIMATES.inc(told)
        return told

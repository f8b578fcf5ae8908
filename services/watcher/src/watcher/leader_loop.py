"""
The watcher's rounds, made by one of several replicas: the one that holds a lock of the database's.

The lock is the session's, so it is free as soon as its holder's connection is gone. Two that act
at once, while a cut connection is noticed, harm nothing: each part may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
from media_runtime import background
from media_runtime.database.postgres import Connection, Database
from media_runtime.errors import TransientError
from watcher.metrics import DATABASE_ANSWERS, LAST_SEEN, LEADS, PART_SECONDS, ROUND_SECONDS

log = structlog.get_logger(__name__)

Part = Callable[[], Awaitable[object]]

_LOCK = "SELECT pg_try_advisory_lock(hashtext('watcher'), 1)"
_LIVES = "SELECT true"
_AGAIN_SECONDS = 5.0


@asynccontextmanager
async def run_periodically(
    database: Database, parts: Sequence[Part], *, interval_seconds: float
) -> AsyncIterator[None]:
    """Make a round of *parts* now and at each interval, for the block, whenever this one leads."""
    try:
        async with background.running(rounds=_repeat(database, parts, interval_seconds)):
            yield
    finally:
        _lead_or_not(leads=False)


async def _repeat(database: Database, parts: Sequence[Part], interval_seconds: float) -> None:
    while True:
        try:
            async with database.session() as session:
                await _lead(session, parts, interval_seconds)
        except TransientError as error:
            log.warning("leadership_lost", error=str(error))
            DATABASE_ANSWERS.set(0)
        except (Exception, asyncio.CancelledError):
            if background.is_ending():
                raise
            log.exception("leadership_lost")  # the next try may do; nobody else would look
        LEADS.set(0)  # another one may lead by now: the lock will tell
        await asyncio.sleep(min(_AGAIN_SECONDS, interval_seconds))


async def _lead(session: Connection, parts: Sequence[Part], interval_seconds: float) -> None:
    leads = False
    while True:
        # Once taken, the lock lives as long as the session does.
        leads = await session.fetchval(_LIVES if leads else _LOCK)
        _lead_or_not(leads=leads)
        DATABASE_ANSWERS.set(1)
        if leads:
            with ROUND_SECONDS.time():
                for part in parts:
                    await _one(part)
        await asyncio.sleep(interval_seconds)


def _lead_or_not(*, leads: bool) -> None:
    LEADS.set(leads)
    LAST_SEEN.shown = leads


async def _one(part: Part) -> None:
    # One part that fails, say while storage is away, does not hold the others up.
    name = type(part).__name__
    try:
        with PART_SECONDS.labels(name).time():
            await part()
    except TransientError as error:
        log.warning("round_waits", part=name, error=str(error))
    except (Exception, asyncio.CancelledError):
        if background.is_ending():
            raise
        log.exception("round_failed", part=name)

"""Background work: tasks that live as long as a block, and steps that are repeated for ever."""

from __future__ import annotations

import asyncio
import random
from asyncio import Task
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
from media_runtime.errors import TransientError

log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(**work: Coroutine[Any, Any, object]) -> AsyncIterator[list[Task[Any]]]:
    """Give tasks of these names for the block; at its end all are cancelled, and have ended."""
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def is_ending() -> bool:
    """
    Return whether the task that calls was asked to end.

    What it awaits may let the cancellation of a task of its own through: that is an error like any.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def repeat(step: Callable[[], Awaitable[object]], *, name: str, retry_seconds: float) -> None:
    """
    Take *step* again and again.

    One that fails is logged, as NAME_waits or NAME_failed, and repeated after *retry_seconds*,
    jittered by half.
    """
    while True:
        try:
            await step()
        except TransientError as error:
            log.warning(f"{name}_waits", error=str(error))  # noqa: G004 - an event's name
        except (Exception, asyncio.CancelledError):
            if is_ending():
                raise
            log.exception(f"{name}_failed")  # noqa: G004
        else:
            continue
        await asyncio.sleep(retry_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

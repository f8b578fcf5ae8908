"""A hint between tasks of one process that there may be work; losing it costs one poll."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Wakeup:
    """Wakes one waiter for each set(), as far as there are waiters."""

    def __init__(self) -> None:
        self._condition = asyncio.Semaphore(0)

    def set(self) -> None:
        """Let one waiter go on."""
        self._condition.release()

    async def wait(self, timeout_seconds: float) -> None:
        """Return at the next set(), or after *timeout_seconds*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._condition.acquire()

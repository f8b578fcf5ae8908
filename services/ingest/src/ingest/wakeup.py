"""A hint between tasks of one process that there may be work; losing it costs one poll."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Wakeup:
    """Wakes all that wait, since not every worker takes every job, or the next one that waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Let them go on."""
        self._event.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Return at the next set(), or after *timeout_seconds*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        self._event.clear()

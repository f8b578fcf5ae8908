"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

from support.tiers import PATIENCE

_PAUSE_SECONDS = 0.05


async def eventually(check: Callable[[], Any], *, timeout: float = 30.0) -> Any:  # noqa: ASYNC109
    """
    Return the first true result of *check*, tried again and again until *timeout* seconds.

    With TEST_PATIENCE they are so many times as many. An AssertionError counts as "not yet"; the
    last one is raised when time is up.
    """
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    last: AssertionError | None = None
    while True:
        try:
            result = check()
            value = await result if inspect.isawaitable(result) else result
            if value:
                return value
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise last or AssertionError(f"{check} did not become true within {timeout} s")
        await asyncio.sleep(_PAUSE_SECONDS)

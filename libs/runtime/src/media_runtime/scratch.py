"""
Folders for the files of one piece of work.

Invariant: a folder does not outlive its work, however that ends; what a killed process leaves is
removed when it starts again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


def empty_folder(folder: Path) -> None:
    """Make *folder*, or remove what another process left in it; nobody else may write there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


@asynccontextmanager
async def scratch_folder(folder: Path) -> AsyncIterator[Path]:
    """Make *folder* for the block; it is gone, with all that is in it, when the block is left."""
    folder.mkdir(0o700, parents=True)  # noqa: ASYNC240 - at once, on a local disk
    try:
        yield folder
    finally:
        # Unlinking a large file takes its time, which the event loop has not. A thread that was
        # only asked for does not begin once its task is cancelled: hence a task of its own.
        removal = asyncio.create_task(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
        try:
            await asyncio.shield(removal)
        except asyncio.CancelledError:
            await asyncio.wait([removal])
            raise

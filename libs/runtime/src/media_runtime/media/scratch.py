"""
Folders for the files of one piece of work.

Invariant: a folder does not outlive its work, however that ends; what a killed process leaves is
removed when it starts again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

_MOST_FILES = 1000
_BLOCK_BYTES = 512


def empty_folder(folder: Path) -> None:
    """Make *folder*, or remove what another process left in it; nobody else may write there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


class NotRegularError(OSError):
    """What lies there is no regular file: a program may have left a link or a pipe for us."""


def open_regular(path: Path) -> BinaryIO:
    """
    Return the regular file at *path*, open for reading; raises NotRegularError.

    A link is not followed, and a pipe that nobody writes to keeps nobody waiting.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise NotRegularError(str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(str(path))
    return os.fdopen(descriptor, "rb")


def used_bytes(folder: Path) -> int:
    """Return what the files in *folder* take on the disk; of too many, more than there is."""
    with os.scandir(folder) as found:
        entries = list(islice(found, _MOST_FILES))
    if len(entries) == _MOST_FILES:
        return sys.maxsize
    return sum(entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES for entry in entries)


def holds_regular_files(folder: Path) -> bool:
    """Return whether all that lies in *folder* is a regular file or another folder."""
    with os.scandir(folder) as entries:
        return all(
            entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
            for entry in entries
        )


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

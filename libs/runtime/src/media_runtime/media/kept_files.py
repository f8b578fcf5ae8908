"""
Files that are fetched once, for all who work on them at a time, and kept for who comes next.

Invariant: what nobody works on and nobody waits for is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import uuid4

from media_runtime.media.scratch import scratch_folder


@dataclass
class KeptFile:
    """
    A file on this machine, with the ``sha256`` (hexadecimal) of its bytes.

    One that is ``wanted_next`` stays for a moment when it is let go.
    """

    folder: Path
    path: Path
    sha256: str | None = None
    wanted_next: bool = False
    has_folder: bool = False
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    timer: asyncio.TimerHandle | None = None

    @property
    def is_fetched(self) -> bool:
        """Whether its bytes are there."""
        return self.sha256 is not None


class KeptFiles:
    """
    Files in folders below *folder*, by what they are copies of.

    What is wanted next is kept for *keep_seconds*, as long as that takes *keep_bytes* at most.
    """

    def __init__(
        self, folder: Path, *, keep_seconds: float = 10, keep_bytes: float = float("inf")
    ) -> None:
        self._folder = folder
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._files: dict[Hashable, KeptFile] = {}
        self._removals = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def open(
        self, key: Hashable, fetch: Callable[[Path], Awaitable[str]]
    ) -> AsyncIterator[KeptFile]:
        """
        Give a file for the block; *fetch* writes it where it is told, and returns its SHA-256.

        Raises what *fetch* does.
        """
        file = self._files.pop(key, None)
        if file is None:
            folder = self._folder / f"source-{uuid4().hex}"
            file = KeptFile(folder, folder / "source")
        self._files[key] = file  # the last one used is the last
        file.users += 1
        if file.timer is not None:
            file.timer.cancel()
        try:
            async with file.lock:
                if not file.has_folder:  # another one may have failed to fetch it
                    await file.stack.enter_async_context(scratch_folder(file.folder))
                    file.has_folder = True
                if not file.is_fetched:
                    file.sha256 = await fetch(file.path)
            yield file
        finally:
            file.users -= 1
            if not file.users:
                await self._leave(key, file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove what is kept."""
        for key, file in list(self._files.items()):
            if not file.users:
                await self._remove(key, file)
        await asyncio.gather(*self._removals)

    async def _leave(self, key: Hashable, file: KeptFile) -> None:
        is_kept = file.wanted_next and file.is_fetched
        if not is_kept or _size(file) > self._keep_bytes:
            await self._remove(key, file)
            return
        file.wanted_next = False
        loop = asyncio.get_running_loop()
        file.timer = loop.call_later(self._keep_seconds, self._give_up, key, file)
        self._keep_few()

    def _keep_few(self) -> None:
        """Give up the files that were used the longest ago, as far as all are too large."""
        idle = [(key, one) for key, one in self._files.items() if not one.users]
        size = sum(_size(one) for _, one in idle)
        for key, one in idle:
            if size <= self._keep_bytes:
                break
            size -= _size(one)
            self._give_up(key, one)

    def _give_up(self, key: Hashable, file: KeptFile) -> None:
        removal = asyncio.create_task(self._remove(key, file))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove(self, key: Hashable, file: KeptFile) -> None:
        if self._files.get(key) is file and not file.users:
            del self._files[key]
            if file.timer is not None:
                file.timer.cancel()
            await file.stack.aclose()


def _size(file: KeptFile) -> int:
    return file.path.stat().st_size

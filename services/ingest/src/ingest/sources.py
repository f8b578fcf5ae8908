"""
Uploads on this machine: fetched once, and kept for a moment for the task that follows.

Invariant: all who read an upload read the bytes that were checked first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

from ingest.metrics import BYTES, timed
from media_records.files import files_of, original_of, pin_original, reference
from media_records.tables import Asset, AssetFile
from media_records.tasks import LostLeaseError
from media_runtime.database.postgres import Database
from media_runtime.media.scratch import scratch_folder
from media_runtime.storage.store import ContentChangedError, ObjectStore


@dataclass
class Upload:
    """An upload on this machine; one that is ``wanted_next`` stays for a moment."""

    folder: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    path: Path | None = None
    users: int = 0
    wanted_next: bool = False
    timer: asyncio.TimerHandle | None = None


class Sources:
    """Gives tasks the uploads that they work on, in folders below *folder*."""

    def __init__(
        self, database: Database, store: ObjectStore, folder: Path, *, keep_seconds: float = 10
    ) -> None:
        self._database = database
        self._store = store
        self._folder = folder
        self._keep_seconds = keep_seconds
        self._uploads: dict[tuple[UUID, int], Upload] = {}
        self._removals = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def open(self, asset: Asset) -> AsyncIterator[tuple[Path, Upload]]:
        """
        Give the path of the asset's original for the block.

        Raises LostLeaseError where it is deleted, ContentChangedError where other bytes than these
        were checked, and as ObjectStore.download() does.
        """
        key = asset.id, asset.attempt
        upload = self._uploads.get(key)
        if upload is None:
            upload = self._uploads[key] = Upload(self._folder / f"source-{uuid4().hex}")
        upload.users += 1
        if upload.timer is not None:
            upload.timer.cancel()
        try:
            async with upload.lock:
                if upload.path is None:
                    upload.path = await self._fetch(asset, upload)
            yield upload.path, upload
        finally:
            upload.users -= 1
            if not upload.users:
                await self._leave(key, upload)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove what is kept."""
        for key, upload in list(self._uploads.items()):
            if not upload.users:
                await self._remove(key, upload)
        await asyncio.gather(*self._removals)

    async def _fetch(self, asset: Asset, upload: Upload) -> Path:
        original = original_of(await files_of(self._database, asset.id))
        if original is None:
            raise LostLeaseError  # the asset was deleted between claim and now
        folder = await upload.stack.enter_async_context(scratch_folder(upload.folder))
        path = folder / "source"
        with timed("download"):
            sha256 = await self._store.download(reference(asset, original), path)
        await self._pin(asset, original, sha256)
        BYTES.labels("in").inc(original.size)
        return path

    async def _pin(self, asset: Asset, original: AssetFile, sha256: str) -> None:
        if original.sha256 is None:
            pinned = await pin_original(self._database, asset.id, sha256)
            if pinned not in {sha256, None}:
                raise ContentChangedError

    async def _leave(self, key: tuple[UUID, int], upload: Upload) -> None:
        if not upload.wanted_next or upload.path is None:
            await self._remove(key, upload)
            return
        upload.wanted_next = False
        loop = asyncio.get_running_loop()
        upload.timer = loop.call_later(self._keep_seconds, self._give_up, key, upload)

    def _give_up(self, key: tuple[UUID, int], upload: Upload) -> None:
        removal = asyncio.create_task(self._remove(key, upload))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove(self, key: tuple[UUID, int], upload: Upload) -> None:
        if self._uploads.get(key) is upload and not upload.users:
            del self._uploads[key]
            if upload.timer is not None:
                upload.timer.cancel()
            await upload.stack.aclose()

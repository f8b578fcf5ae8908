"""
Uploads on this machine: fetched once, and kept for a moment for the task that follows.

Invariant: all who read an upload read the bytes that were checked first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from ingest.metrics import BYTES, timed
from media_records.files import files_of, original_of, pin_original, reference
from media_records.tables import Asset, AssetFile
from media_records.tasks import LostLeaseError
from media_runtime.database.postgres import Database
from media_runtime.media.kept_files import KeptFile, KeptFiles
from media_runtime.storage.store import ContentChangedError, ObjectStore


class Sources:
    """Gives tasks the uploads that they work on, in folders below *folder*."""

    def __init__(
        self, database: Database, store: ObjectStore, folder: Path, *, keep_seconds: float = 10
    ) -> None:
        self._database = database
        self._store = store
        self._files = KeptFiles(folder, keep_seconds=keep_seconds)

    @asynccontextmanager
    async def open(self, asset: Asset) -> AsyncIterator[KeptFile]:
        """
        Give the asset's original for the block.

        Raises LostLeaseError where it is deleted, ContentChangedError where other bytes than these
        were checked, and as ObjectStore.download() does.
        """

        async def fetch(path: Path) -> str:
            return await self._fetch(asset, path)

        async with self._files.open((asset.id, asset.attempt), fetch) as file:
            yield file

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove what is kept."""
        await self._files.__aexit__()

    async def _fetch(self, asset: Asset, path: Path) -> str:
        original = original_of(await files_of(self._database, asset.id))
        if original is None:
            raise LostLeaseError  # the asset was deleted between claim and now
        with timed("download"):
            sha256 = await self._store.download(reference(asset, original), path)
        await self._pin(asset, original, sha256)
        BYTES.labels("in").inc(original.size)
        return sha256

    async def _pin(self, asset: Asset, original: AssetFile, sha256: str) -> None:
        if original.sha256 is None:
            pinned = await pin_original(self._database, asset.id, sha256)
            if pinned not in {sha256, None}:
                raise ContentChangedError

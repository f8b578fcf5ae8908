"""
Compares all of storage with all rows: versions that no row explains, rows whose files are gone.

It lists every bucket, so it runs when somebody asks, and holds a page of it at a time. Invariant:
what is younger than *min_age* may be on its way, and what waits to be swept is no orphan; neither
is reported. Only versions that were reported are ever removed, and only while they are orphans.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from media_contracts import ObjectRef
from media_records.companies import buckets
from media_records.files import (
    Files,
    Needed,
    all_files_of,
    all_files_of_each,
    is_garbage,
    needed_by,
    needs,
)
from media_records.lifecycle import find_assets
from media_records.tables import Asset
from media_runtime.database.postgres import Database
from media_runtime.storage.keys import output_owner
from media_runtime.storage.store import ObjectMissingError, ObjectStore, StoredObject

_CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True)
class Orphan:
    """
    One finding. ``kind`` is ``object`` (nothing refers to it) or ``file`` (it is missing).

    An object is one version of its key. ``size`` is in bytes, and 0 for what is missing; ``why``
    is a sentence for people.
    """

    kind: str
    company_id: UUID
    asset_id: UUID | None
    bucket: str
    key: str
    size: int
    why: str
    modified_at: datetime | None = None
    version_id: str | None = None


async def find_orphans(
    database: Database, store: ObjectStore, *, min_age: timedelta = timedelta(hours=1)
) -> AsyncIterator[Orphan]:
    """Yield the orphans of every company; raises TransientError."""
    for company_id, bucket in await buckets(database):
        company = _Company(database, store, company_id, bucket)
        async for orphan in company.orphans(datetime.now(UTC) - min_age):
            yield orphan


async def remove_orphans(
    database: Database, store: ObjectStore, listed: Sequence[Orphan], *, rate: float | None = None
) -> AsyncIterator[bool]:
    """
    Yield of each of the *listed* whether it was removed, at most *rate* a second.

    What has changed since it was listed stays. Raises TransientError.
    """
    for orphan in listed:
        company = _Company(database, store, orphan.company_id, orphan.bucket)
        yield orphan.kind == "object" and await company.remove(orphan)
        if rate:
            await asyncio.sleep(1 / rate)


@dataclass(frozen=True)
class _Company:
    database: Database
    store: ObjectStore
    id: UUID
    bucket: str

    async def orphans(self, began: datetime) -> AsyncIterator[Orphan]:
        """Walk once through its objects and the keys that its rows need, both in order of keys."""
        async with needed_by(self.database, self.id, before=began) as needed:
            wanted = await anext(needed, None)
            async for page in self._pages():
                for orphan in await self._unexplained(page, began):
                    yield orphan
                for stored in page:
                    while wanted is not None and _order(wanted.key) < _order(stored.key):
                        if lost := await self._lost(wanted):
                            yield lost
                        wanted = await anext(needed, None)
                    if wanted is not None and wanted.is_met_by(stored):
                        wanted = await anext(needed, None)
            while wanted is not None:
                if lost := await self._lost(wanted):
                    yield lost
                wanted = await anext(needed, None)

    async def remove(self, orphan: Orphan) -> bool:
        """Remove the version that was listed, where it is an orphan still."""
        found = await self.store.objects(self.bucket, orphan.key, all_versions=True)
        listed = orphan.key, orphan.version_id
        same = [stored for stored in found if (stored.key, stored.version_id) == listed]
        if not await self._unexplained(same, None):
            return False
        return await self.store.delete_versions(self.bucket, same) > 0

    async def _pages(self) -> AsyncIterator[list[StoredObject]]:
        try:
            async for page in self.store.pages(self.bucket):
                yield page
        except ObjectMissingError:
            return  # a bucket that is gone has no objects

    async def _unexplained(
        self, page: Sequence[StoredObject], began: datetime | None
    ) -> list[Orphan]:
        old = [stored for stored in page if not _is_young(stored, began)]
        ids = {owner[1] for stored in old if (owner := _owner(stored))}
        assets = await find_assets(self.database, self.id, ids)
        files = await all_files_of_each(self.database, ids)
        return [
            Orphan(
                kind="object",
                company_id=self.id,
                asset_id=owner[1] if (owner := _owner(stored)) else None,
                bucket=self.bucket,
                key=stored.key,
                size=stored.size,
                why=why,
                modified_at=stored.modified_at,
                version_id=stored.version_id,
            )
            for stored in old
            if (why := self._why(stored, assets, files)) is not None
        ]

    def _why(
        self, stored: StoredObject, assets: Mapping[UUID, Asset], files: Mapping[UUID, Files]
    ) -> str | None:
        owner = _owner(stored)
        asset = assets.get(owner[1]) if owner is not None and owner[0] == self.id else None
        if asset is None:
            return "No asset has this key."
        if not _waits_for_sweep(asset, stored) and is_garbage(asset, files[asset.id], stored):
            return f"Its asset is {asset.status} and refers to other objects."
        return None

    async def _lost(self, needed: Needed) -> Orphan | None:
        """Return what to say of a key that was not listed, unless all has changed meanwhile."""
        key, asset_id, version_id = needed.key, needed.asset_id, needed.version_id
        asset = (await find_assets(self.database, self.id, {asset_id})).get(asset_id)
        if asset is None or key not in needs(asset, await all_files_of(self.database, asset_id)):
            return None
        try:
            await self.store.stat(ObjectRef(bucket=self.bucket, key=key, version_id=version_id))
        except ObjectMissingError:
            why = f"The asset is {asset.status}, and its file is gone."
            return Orphan(
                "file", self.id, asset_id, self.bucket, key, 0, why, version_id=version_id
            )
        return None


def _waits_for_sweep(asset: Asset, stored: StoredObject) -> bool:
    return asset.sweep_at is not None or (stored.owner is not None and not asset.grant_swept)


def _order(key: str) -> bytes:
    return key.encode()


def _owner(stored: StoredObject) -> tuple[UUID, UUID] | None:
    return stored.owner or output_owner(stored.key)


def _is_young(stored: StoredObject, began: datetime | None) -> bool:
    at = stored.modified_at
    # Whoever stores may name the time of it: one that is still to come is made up.
    return at is not None and began is not None and began < at < datetime.now(UTC) + _CLOCKS_APART

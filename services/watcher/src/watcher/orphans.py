"""
Compares all of storage with all rows: objects that no row explains, rows whose files are gone.

It lists every bucket, so it runs when somebody asks. Invariant: what is younger than
*min_age* may be on its way, and what waits to be swept is no orphan; neither is reported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from media_contracts import AssetStatus
from media_records.tables import Asset
from media_runtime.postgres import Database
from media_runtime.storage import ObjectMissingError, ObjectStore, StoredObject, output_owner
from watcher.sweep import is_garbage


@dataclass(frozen=True)
class Orphan:
    """
    One finding. ``kind`` is ``object`` (nothing refers to it) or ``file`` (it is missing).

    ``size`` is in bytes, and 0 for what is missing; ``why`` is a sentence for people.
    """

    kind: str
    company_id: UUID
    asset_id: UUID | None
    bucket: str
    key: str
    size: int
    why: str


async def find_orphans(
    database: Database, store: ObjectStore, *, min_age: timedelta = timedelta(hours=1)
) -> AsyncIterator[Orphan]:
    """Yield the orphans of every company; raises TransientError."""
    for row in await database.fetch("SELECT company_id, bucket FROM companies ORDER BY company_id"):
        company, bucket = row["company_id"], row["bucket"]
        began = datetime.now(UTC) - min_age
        try:
            objects = await store.objects(bucket)
        except ObjectMissingError:
            objects = []
        rows = await database.fetch("SELECT * FROM media_assets WHERE company_id = $1", company)
        assets = {row["id"]: Asset(**dict(row)) for row in rows}
        for found in _unexplained(company, assets, objects, began):
            yield found
        for found in _missing(assets.values(), {stored.key for stored in objects}, began):
            yield found


async def remove_object(store: ObjectStore, orphan: Orphan) -> None:
    """Remove every version of an orphaned object."""
    await store.delete_prefix(orphan.bucket, orphan.key, lambda stored: stored.key == orphan.key)


def _unexplained(
    company: UUID, assets: Mapping[UUID, Asset], objects: Iterable[StoredObject], began: datetime
) -> Iterator[Orphan]:
    for stored in objects:
        if stored.modified_at is not None and stored.modified_at > began:
            continue
        owner = stored.owner or output_owner(stored.key)
        asset = assets.get(owner[1]) if owner is not None and owner[0] == company else None
        if asset is None:
            why = "No asset has this key."
        elif asset.sweep_at is None and is_garbage(asset, stored):
            why = f"Its asset is {asset.status} and refers to other objects."
        else:
            continue
        yield Orphan(
            kind="object",
            company_id=company,
            asset_id=owner[1] if owner else None,
            bucket=stored.bucket,
            key=stored.key,
            size=stored.size,
            why=why,
        )


def _missing(assets: Iterable[Asset], keys: set[str], began: datetime) -> Iterator[Orphan]:
    for asset in assets:
        if asset.updated_at > began:
            continue
        for key in _needed(asset):
            if key not in keys:
                yield Orphan(
                    kind="file",
                    company_id=asset.company_id,
                    asset_id=asset.id,
                    bucket=asset.bucket,
                    key=key,
                    size=0,
                    why=f"The asset is {asset.status}, and its file is gone.",
                )


def _needed(asset: Asset) -> Iterator[str]:
    """Yield the keys without which an asset is not what it says."""
    if asset.status == AssetStatus.PROCESSING:
        yield asset.upload_key
    if asset.status == AssetStatus.READY:
        yield from (key for key in (asset.processed_key, asset.thumbnail_key) if key)

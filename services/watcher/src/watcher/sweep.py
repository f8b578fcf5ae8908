"""
Removes what nobody refers to any more: objects of deleted assets and of dead attempts; and
puts originals where they belong, those that were refused into quarantine.

Invariant: what a row refers to is never removed, nor what a later attempt than the row's may
be writing. A second pass, when no grant and no lease of the time can still be in use, gets
what was written meanwhile.
"""

from __future__ import annotations

import structlog
from media_contracts import AssetStatus, ObjectRef
from media_records.faults import NO_FAULT_OF_THE_FILE
from media_records.lifecycle import asset_span
from media_records.tables import Asset
from media_runtime.errors import TransientError
from media_runtime.postgres import Database
from media_runtime.storage import (
    ObjectMissingError,
    ObjectStore,
    StoredObject,
    attempt_of,
    output_prefix,
    quarantine_key,
    upload_key,
)
from watcher.metrics import QUARANTINED, REMOVED
from watcher.settings import RetentionSettings, WatcherSettings

log = structlog.get_logger(__name__)

# A grant can be used for an hour.
_SETTLED_SECONDS = 3700.0
_DUE = "SELECT * FROM media_assets WHERE sweep_at <= now() ORDER BY sweep_at LIMIT $1"
_SWEPT = """
    UPDATE media_assets SET sweep_at =
        CASE WHEN now() < updated_at + make_interval(secs => $3)
             THEN updated_at + make_interval(secs => $3) END
    WHERE id = $1 AND sweep_at = $2
"""
_MOVED = """
    UPDATE media_assets SET upload_key = $5, upload_version_id = $6
    WHERE id = $1 AND status = $2 AND attempt = $3 AND upload_key = $4 RETURNING *
"""
_LAPSED_KEYS = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"
_LAPSED_TICKETS = "DELETE FROM event_tickets WHERE expires_at < now()"


_COUNT_DUE = """
    SELECT (SELECT count(*) FROM media_assets WHERE sweep_at <= now()) AS assets_to_sweep,
        (SELECT count(*) FROM media_assets WHERE status = 'expired'
            AND updated_at < now() - make_interval(secs => $1)) AS unused_grants,
        (SELECT count(*) FROM idempotency_keys
            WHERE created_at < now() - interval '24 hours') AS idempotency_keys,
        (SELECT count(*) FROM event_tickets WHERE expires_at < now()) AS tickets
"""


async def count_due(database: Database, settings: RetentionSettings) -> dict[str, int]:
    """Return how much the next rounds remove besides what retention deletes, by its kind."""
    (row,) = await database.fetch(_COUNT_DUE, settings.expired_keep_seconds)
    return dict(row)


def is_garbage(asset: Asset, stored: StoredObject) -> bool:
    """Return whether nothing refers to a version of an object of *asset*, and never will."""
    if asset.status in {AssetStatus.DELETED, AssetStatus.CANCELLED}:
        is_kept = asset.thumbnail_kept and stored.key == asset.thumbnail_key and stored.is_latest
        return not is_kept
    if stored.owner is not None and stored.key != asset.upload_key:
        return True  # the original has moved into quarantine, or out of it
    if stored.key == asset.upload_key:
        # A grant can be used again: the first version counts, the others only take space.
        pinned = asset.upload_version_id
        return pinned is not None and stored.version_id != pinned
    if stored.key in {asset.processed_key, asset.thumbnail_key}:
        return not stored.is_latest
    attempt = attempt_of(stored.key)
    if attempt is None or attempt > asset.attempt:
        return False
    return attempt < asset.attempt or asset.status != AssetStatus.PROCESSING


class Sweep:
    """Removes garbage of assets that are due, and rows that have lapsed."""

    def __init__(self, database: Database, store: ObjectStore, settings: WatcherSettings) -> None:
        self._database = database
        self._store = store
        self._batch = settings.cleanup_batch

    async def __call__(self) -> int:
        """Return how many objects were removed; what fails is tried again in the next round."""
        await self._database.fetch(_LAPSED_KEYS)
        await self._database.fetch(_LAPSED_TICKETS)
        removed = 0
        for row in await self._database.fetch(_DUE, self._batch):
            asset = Asset(**dict(row))
            try:
                with asset_span("sweep", asset) as span:
                    asset = await self._put_in_place(asset)
                    of_asset = [await self._remove(asset, prefix) for prefix in _prefixes(asset)]
                    span.set_attribute("media.removed", sum(of_asset))
            except TransientError as error:
                log.warning("sweep_waits", error=str(error))
                return removed
            removed += sum(of_asset)
            await self._database.fetch(_SWEPT, asset.id, asset.sweep_at, _SETTLED_SECONDS)
        return removed

    async def _put_in_place(self, asset: Asset) -> Asset:
        """Move the original to where it belongs, and return the asset as it is then."""
        key = _place(asset)
        if key is None or key == asset.upload_key:
            return asset
        original = ObjectRef(
            bucket=asset.bucket, key=asset.upload_key, version_id=asset.upload_version_id
        )
        try:
            version = await self._store.copy(original, key)
        except ObjectMissingError:
            return asset
        # Someone may have begun another attempt meanwhile, which reads the original where it
        # was: then the copy is garbage, and the next sweep's.
        moved = await self._database.fetchrow(
            _MOVED, asset.id, asset.status, asset.attempt, asset.upload_key, key, version
        )
        if moved is None:
            return asset
        QUARANTINED.labels("in" if asset.status == AssetStatus.FAILED else "out").inc()
        log.info("original_moved", asset_id=str(asset.id), key=key, why=asset.error_code)
        return Asset(**dict(moved))

    async def _remove(self, asset: Asset, prefix: str) -> int:
        try:
            removed = await self._store.delete_prefix(
                asset.bucket, prefix, lambda stored: is_garbage(asset, stored)
            )
        except ObjectMissingError:
            return 0
        REMOVED.inc(removed)
        return removed


def _place(asset: Asset) -> str | None:
    """Return the key under which the original belongs, or None while it may be in use."""
    if asset.upload_version_id is None:
        return None  # nothing was stored
    if asset.status == AssetStatus.FAILED and asset.error_code not in NO_FAULT_OF_THE_FILE:
        return quarantine_key(asset.company_id, asset.id)
    if asset.status == AssetStatus.READY:
        return upload_key(asset.company_id, asset.id)
    return None


def _prefixes(asset: Asset) -> tuple[str, ...]:
    of = asset.company_id, asset.id
    return upload_key(*of), quarantine_key(*of), output_prefix(*of)

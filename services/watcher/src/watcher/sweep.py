"""
Removes what nobody refers to any more: objects of deleted assets and of dead attempts.

Invariant: what a row refers to is never removed, nor what a later attempt than the row's may
be writing. A second pass, when no grant and no lease of the time can still be in use, gets
what was written meanwhile.
"""

from __future__ import annotations

import structlog
from media_contracts import AssetStatus
from media_records.tables import Asset
from media_runtime.errors import TransientError
from media_runtime.postgres import Database
from media_runtime.storage import (
    ObjectMissingError,
    ObjectStore,
    StoredObject,
    attempt_of,
    output_prefix,
)
from watcher.metrics import REMOVED
from watcher.settings import WatcherSettings

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
_LAPSED_KEYS = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"
_LAPSED_TICKETS = "DELETE FROM event_tickets WHERE expires_at < now()"


def is_garbage(asset: Asset, stored: StoredObject) -> bool:
    """Return whether nothing refers to a version of an object of *asset*, and never will."""
    if asset.status == AssetStatus.DELETED:
        return True
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
                removed += await self._remove(asset, asset.upload_key)
                removed += await self._remove(asset, output_prefix(asset.company_id, asset.id))
            except TransientError as error:
                log.warning("sweep_waits", error=str(error))
                return removed
            await self._database.fetch(_SWEPT, asset.id, asset.sweep_at, _SETTLED_SECONDS)
        return removed

    async def _remove(self, asset: Asset, prefix: str) -> int:
        try:
            removed = await self._store.delete_prefix(
                asset.bucket, prefix, lambda stored: is_garbage(asset, stored)
            )
        except ObjectMissingError:
            return 0
        REMOVED.inc(removed)
        return removed

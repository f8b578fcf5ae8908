"""
Removes what nobody refers to any more: objects of deleted assets and of dead attempts; puts
originals where they belong, those that were refused into quarantine, and gives them up when
their time there is over.

Invariant: what a row refers to is never removed, nor what a later attempt than the row's may
be writing. A second pass, when no grant and no lease of the time can still be in use, gets
what was written meanwhile. What somebody deleted goes before all that the system removes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from media_contracts import AssetStatus, ObjectRef
from media_contracts.errors import NO_FAULT_OF_THE_FILE
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
from watcher.metrics import CLEANED, QUARANTINED, REMOVED, SWEEPS_FAILED
from watcher.rules import Rule
from watcher.settings import CleanupSettings

log = structlog.get_logger(__name__)

# No lease, and no request of its worker's, lasts for longer.
_SETTLED_SECONDS = 3700.0
_DELETED = """
    SELECT * FROM media_assets
    WHERE sweep_at <= now() AND status IN ('deleted', 'cancelled') AND NOT retired
        AND id <> ALL($2) ORDER BY sweep_at LIMIT $1
"""
_DUE = """
    SELECT * FROM media_assets WHERE sweep_at <= now() AND id <> ALL($2) ORDER BY sweep_at LIMIT $1
"""
# Once more when no lease and no grant of the time is in use, and where it waits in quarantine, at
# its end.
_SWEPT = """
    UPDATE media_assets SET sweep_at = (
        SELECT min(moment) FROM unnest(ARRAY[
            greatest(
                updated_at + make_interval(secs => $3),
                CASE WHEN NOT grant_swept THEN grant_expires_at + make_interval(secs => $6) END),
            CASE WHEN $4 THEN updated_at + make_interval(days => $5) END
        ]) AS moments (moment) WHERE moment > now()),
        grant_swept = grant_swept OR grant_expires_at < now() - make_interval(secs => $6)
    WHERE id = $1 AND sweep_at = $2
"""
_MOVED = """
    UPDATE media_assets SET upload_key = $5, upload_version_id = $6
    WHERE id = $1 AND status = $2 AND attempt = $3 AND upload_key = $4 RETURNING *
"""
# After this no retry can begin, which would not find its file.
_GONE = """
    UPDATE media_assets SET original_gone = true
    WHERE id = $1 AND status = 'failed' AND attempt = $2 AND upload_key = $3
        AND ($4 OR updated_at <= now() - make_interval(days => $5)) RETURNING *
"""
_LAPSED = {
    Rule.KEYS: """
        WITH gone AS (
            DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM idempotency_keys
                WHERE created_at < now() - interval '24 hours' ORDER BY created_at LIMIT $1))
            RETURNING 1
        ) SELECT count(*) FROM gone
    """,
    Rule.TICKETS: """
        WITH gone AS (
            DELETE FROM event_tickets WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM event_tickets
                WHERE expires_at < now() ORDER BY expires_at LIMIT $1))
            RETURNING 1
        ) SELECT count(*) FROM gone
    """,
}
_ROWS_AT_ONCE = 1000
_PART_OF_INTERVAL = 0.5


def is_garbage(asset: Asset, stored: StoredObject) -> bool:
    """Return whether nothing refers to a version of an object of *asset*, and never will."""
    if asset.status in {AssetStatus.DELETED, AssetStatus.CANCELLED}:
        is_kept = asset.thumbnail_kept and stored.key == asset.thumbnail_key
        return not is_kept or stored.is_superseded
    if stored.owner is not None and (asset.original_gone or stored.key != asset.upload_key):
        return True  # it has moved into quarantine, or out of it, or is no longer kept
    if stored.key == asset.upload_key:
        # A grant can be used again: the first version counts, the others only take space.
        pinned = asset.upload_version_id
        is_other = pinned is not None and stored.version_id != pinned
        return is_other and not stored.is_delete_marker
    if stored.key in {asset.processed_key, asset.thumbnail_key}:
        # A delete marker hides the version that is served, and makes it no garbage.
        return stored.is_superseded
    attempt = attempt_of(stored.key)
    if attempt is None or attempt > asset.attempt:
        return False
    return attempt < asset.attempt or asset.status != AssetStatus.PROCESSING


class Sweep:
    """
    Removes garbage of assets that are due, and rows that have lapsed.

    It goes on until half of the time between two rounds is over, and at least for one asset.
    """

    def __init__(self, database: Database, store: ObjectStore, settings: CleanupSettings) -> None:
        self._database = database
        self._store = store
        self._batch = settings.cleanup_batch
        self._seconds = settings.watch_interval_seconds * _PART_OF_INTERVAL
        self._quarantine_days = settings.s3_quarantine_days
        self._late = settings.late_upload_seconds

    async def __call__(self) -> int:
        """Return how many objects were removed; what fails is tried again in the next round."""
        began = time.monotonic()
        for rule in _LAPSED:
            await self._forget(rule, until=began + self._seconds / len(_LAPSED) / 2)
        removed, failed = 0, set[UUID]()
        while batch := await self._next(failed):
            for asset in batch:
                try:
                    removed += await self._sweep(asset)
                except Exception as error:  # noqa: BLE001 - one asset must not hold up all others
                    failed.add(asset.id)
                    if await self._is_away(asset, error):
                        return removed
                if time.monotonic() >= began + self._seconds:
                    return removed
        return removed

    async def plan(self, limit: int) -> Mapping[Rule, tuple[int, int]]:
        """Return objects and bytes that sweeping the first *limit* assets would remove, by rule."""
        found: dict[Rule, tuple[int, int]] = {}
        for row in await self._database.fetch(_DUE, limit, []):
            asset = Asset(**dict(row))
            rule = self._rule_of(asset)
            if rule is Rule.QUARANTINE:
                asset.original_gone = True
            objects, size = found.get(rule, (0, 0))
            for stored in await self._garbage(asset):
                objects, size = objects + 1, size + stored.size
            found[rule] = objects, size
        return found

    async def _next(self, failed: Collection[UUID]) -> list[Asset]:
        for query in (_DELETED, _DUE):
            rows = await self._database.fetch(query, self._batch, list(failed))
            if rows:
                return [Asset(**dict(row)) for row in rows]
        return []

    async def _forget(self, rule: Rule, *, until: float) -> None:
        count = _ROWS_AT_ONCE
        while count == _ROWS_AT_ONCE:
            (row,) = await self._database.fetch(_LAPSED[rule], _ROWS_AT_ONCE)
            count = row["count"]
            CLEANED.labels(rule).inc(count)
            if time.monotonic() >= until:
                return

    async def _sweep(self, asset: Asset) -> int:
        with asset_span("sweep", asset) as span:
            rule = self._rule_of(asset)
            asset = await self._give_up(await self._put_in_place(asset))
            of_asset = [await self._remove(asset, prefix) for prefix in _prefixes(asset)]
            span.set_attribute("media.removed", sum(of_asset))
        await self._database.fetch(
            _SWEPT,
            asset.id,
            asset.sweep_at,
            _SETTLED_SECONDS,
            _in_quarantine(asset),
            self._quarantine_days,
            self._late,
        )
        CLEANED.labels(rule).inc()
        return sum(of_asset)

    async def _is_away(self, asset: Asset, error: Exception) -> bool:
        """Return whether nothing can be swept now; else it is this asset alone, and logged."""
        SWEEPS_FAILED.inc()
        try:
            await self._store.ping()
            await self._database.ping()
        except TransientError:
            log.warning("sweep_waits", error=str(error))
            return True
        if isinstance(error, TransientError):
            log.warning("sweep_failed", asset_id=str(asset.id), error=str(error))
        else:
            log.error("sweep_failed", asset_id=str(asset.id), exc_info=error)
        return False

    def _rule_of(self, asset: Asset) -> Rule:
        if asset.status in {AssetStatus.DELETED, AssetStatus.CANCELLED} and not asset.retired:
            return Rule.DELETIONS
        kept = timedelta(days=self._quarantine_days)
        if _in_quarantine(asset) and datetime.now(UTC) >= asset.updated_at + kept:
            return Rule.QUARANTINE
        return Rule.LEFTOVERS

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

    async def _give_up(self, asset: Asset) -> Asset:
        """Mark an original of a failed asset that is no longer kept, or is not there."""
        if asset.status != AssetStatus.FAILED or asset.upload_version_id is None:
            return asset
        lost = await self._is_lost(asset)
        if not (lost or _in_quarantine(asset)):
            return asset
        gone = await self._database.fetchrow(
            _GONE, asset.id, asset.attempt, asset.upload_key, lost, self._quarantine_days
        )
        if gone is None:
            return asset
        log.info("original_given_up", asset_id=str(asset.id), lost=lost)
        return Asset(**dict(gone))

    async def _is_lost(self, asset: Asset) -> bool:
        original = ObjectRef(
            bucket=asset.bucket, key=asset.upload_key, version_id=asset.upload_version_id
        )
        try:
            await self._store.stat(original)
        except ObjectMissingError:
            return True
        return False

    async def _garbage(self, asset: Asset) -> list[StoredObject]:
        found = []
        for prefix in _prefixes(asset):
            with suppress(ObjectMissingError):
                found += await self._store.objects(asset.bucket, prefix, all_versions=True)
        return [stored for stored in found if is_garbage(asset, stored)]

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
    if asset.upload_version_id is None or asset.original_gone:
        return None  # nothing was stored, or nothing is left
    if asset.status == AssetStatus.FAILED and asset.error_code not in NO_FAULT_OF_THE_FILE:
        return quarantine_key(asset.company_id, asset.id)
    if asset.status == AssetStatus.READY:
        return upload_key(asset.company_id, asset.id)
    return None


def _in_quarantine(asset: Asset) -> bool:
    quarantined = quarantine_key(asset.company_id, asset.id)
    failed = asset.status == AssetStatus.FAILED
    return failed and asset.upload_key == quarantined and not asset.original_gone


def _prefixes(asset: Asset) -> tuple[str, ...]:
    of = asset.company_id, asset.id
    return upload_key(*of), quarantine_key(*of), output_prefix(*of)

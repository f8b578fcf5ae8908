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
from media_contracts import AssetStatus
from media_contracts.errors import NO_FAULT_OF_THE_FILE
from media_records import sweeping
from media_records.files import (
    Files,
    all_files_of,
    is_garbage,
    move_original,
    original_of,
    outputs_of,
    reference,
)
from media_records.lifecycle import asset_span
from media_records.tables import Asset, AssetFile
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.storage.store import (
    ObjectMissingError,
    ObjectStore,
    StoredObject,
    output_prefix,
    quarantine_key,
    upload_key,
)
from watcher.metrics import CLEANED, QUARANTINED, REMOVED, SWEEPS_FAILED
from watcher.rules import Rule
from watcher.settings import CleanupSettings

log = structlog.get_logger(__name__)

_LAPSED = Rule.KEYS, Rule.TICKETS, Rule.DELIVERIES, Rule.BATCHES
_ROWS_AT_ONCE = 1000
_PART_OF_INTERVAL = 0.5


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
        for asset in await sweeping.assets_due(self._database, limit):
            files = await all_files_of(self._database, asset.id)
            rule = self._rule_of(asset, files)
            if rule is Rule.QUARANTINE:
                files = tuple(outputs_of(files).values())
            objects, size = found.get(rule, (0, 0))
            for stored in await self._garbage(asset, files):
                objects, size = objects + 1, size + stored.size
            found[rule] = objects, size
        return found

    async def _next(self, failed: Collection[UUID]) -> list[Asset]:
        due = self._database, self._batch
        deleted = await sweeping.assets_due(*due, but=failed, deleted=True)
        return deleted or await sweeping.assets_due(*due, but=failed)

    async def _forget(self, rule: Rule, *, until: float) -> None:
        count = _ROWS_AT_ONCE
        while count == _ROWS_AT_ONCE:
            count = await sweeping.forget_lapsed(self._database, rule, _ROWS_AT_ONCE)
            CLEANED.labels(rule).inc(count)
            if time.monotonic() >= until:
                return

    async def _sweep(self, asset: Asset) -> int:
        with asset_span("sweep", asset) as span:
            await sweeping.forget_replaced(self._database, asset)
            files = await all_files_of(self._database, asset.id)
            rule = self._rule_of(asset, files)
            if original := original_of(files):
                original = await self._put_in_place(asset, original)
                await self._give_up(asset, original)
                files = await all_files_of(self._database, asset.id)
            of_asset = [await self._remove(asset, files, prefix) for prefix in _prefixes(asset)]
            span.set_attribute("media.removed", sum(of_asset))
        days = self._quarantine_days if _in_quarantine(asset, files) else None
        await sweeping.swept(self._database, asset, quarantine_days=days, late_seconds=self._late)
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

    def _rule_of(self, asset: Asset, files: Files) -> Rule:
        if asset.status in {AssetStatus.DELETED, AssetStatus.CANCELLED} and not asset.retired:
            return Rule.DELETIONS
        kept = timedelta(days=self._quarantine_days)
        if _in_quarantine(asset, files) and datetime.now(UTC) >= asset.updated_at + kept:
            return Rule.QUARANTINE
        return Rule.LEFTOVERS

    async def _put_in_place(self, asset: Asset, original: AssetFile) -> AssetFile:
        """Move the original to where it belongs, and return it as it is then."""
        key = _place(asset)
        if key is None or key == original.key:
            return original
        try:
            version = await self._store.copy(reference(asset, original), key)
        except ObjectMissingError:
            return original
        moved = await move_original(self._database, asset, original, key=key, version_id=version)
        if moved is None:
            return original  # the copy is garbage, and the next sweep's
        QUARANTINED.labels("in" if asset.status == AssetStatus.FAILED else "out").inc()
        log.info("original_moved", asset_id=str(asset.id), key=key, why=asset.error_code)
        return moved

    async def _give_up(self, asset: Asset, original: AssetFile) -> None:
        """Forget an original of a failed asset that is no longer kept, or is not there."""
        if asset.status != AssetStatus.FAILED:
            return
        lost = await self._is_lost(asset, original)
        if not (lost or _in_quarantine(asset, [original])):
            return
        days = self._quarantine_days
        if await sweeping.give_up_original(self._database, asset, lost=lost, quarantine_days=days):
            log.info("original_given_up", asset_id=str(asset.id), lost=lost)

    async def _is_lost(self, asset: Asset, original: AssetFile) -> bool:
        try:
            await self._store.stat(reference(asset, original))
        except ObjectMissingError:
            return True
        return False

    async def _garbage(self, asset: Asset, files: Files) -> list[StoredObject]:
        found = []
        for prefix in _prefixes(asset):
            with suppress(ObjectMissingError):
                found += await self._store.objects(asset.bucket, prefix, all_versions=True)
        return [stored for stored in found if is_garbage(asset, files, stored)]

    async def _remove(self, asset: Asset, files: Files, prefix: str) -> int:
        try:
            removed = await self._store.delete_prefix(
                asset.bucket, prefix, lambda stored: is_garbage(asset, files, stored)
            )
        except ObjectMissingError:
            return 0
        REMOVED.inc(removed)
        return removed


def _place(asset: Asset) -> str | None:
    """Return the key under which the original belongs, or None while it may be in use."""
    if asset.status == AssetStatus.FAILED and asset.error_code not in NO_FAULT_OF_THE_FILE:
        return quarantine_key(asset.company_id, asset.id)
    if asset.status == AssetStatus.READY:
        return upload_key(asset.company_id, asset.id)
    return None


def _in_quarantine(asset: Asset, files: Files) -> bool:
    original = original_of(files)
    if original is None or asset.status != AssetStatus.FAILED:
        return False
    return original.key == quarantine_key(asset.company_id, asset.id)


def _prefixes(asset: Asset) -> tuple[str, ...]:
    of = asset.company_id, asset.id
    return upload_key(*of), quarantine_key(*of), output_prefix(*of)

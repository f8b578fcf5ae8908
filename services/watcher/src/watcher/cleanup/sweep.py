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
from media_contracts import AssetStatus, FileKind
from media_contracts.errors import NO_FAULT_OF_THE_FILE
from media_records.files import (
    Files,
    files_of,
    forget,
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
# After this no retry can begin, which would not find its file.
_MAY_GO = """
    SELECT 1 FROM media_assets WHERE id = $1 AND status = 'failed' AND attempt = $2
        AND ($3 OR updated_at <= now() - make_interval(days => $4)) FOR UPDATE
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
            asset = Asset.of(row)
            files = await files_of(self._database, asset.id)
            rule = self._rule_of(asset, files)
            if rule is Rule.QUARANTINE:
                files = tuple(outputs_of(files).values())
            objects, size = found.get(rule, (0, 0))
            for stored in await self._garbage(asset, files):
                objects, size = objects + 1, size + stored.size
            found[rule] = objects, size
        return found

    async def _next(self, failed: Collection[UUID]) -> list[Asset]:
        for query in (_DELETED, _DUE):
            rows = await self._database.fetch(query, self._batch, list(failed))
            if rows:
                return [Asset.of(row) for row in rows]
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
            files = await files_of(self._database, asset.id)
            rule = self._rule_of(asset, files)
            if original := original_of(files):
                original = await self._put_in_place(asset, original)
                await self._give_up(asset, original)
                files = await files_of(self._database, asset.id)
            of_asset = [await self._remove(asset, files, prefix) for prefix in _prefixes(asset)]
            span.set_attribute("media.removed", sum(of_asset))
        await self._database.fetch(
            _SWEPT,
            asset.id,
            asset.sweep_at,
            _SETTLED_SECONDS,
            _in_quarantine(asset, files),
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
        async with self._database.transaction() as connection:
            terms = asset.id, asset.attempt, lost, self._quarantine_days
            if await connection.fetchrow(_MAY_GO, *terms) is None:
                return
            await forget(connection, asset.id, [FileKind.ORIGINAL])
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

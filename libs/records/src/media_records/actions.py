"""
What clients and operators do to assets: retry, cancel, delete.

Invariant: each acts on the locked row in the caller's unit of work, and tells of what it did.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from media_contracts import MEDIA_INGEST, AssetStatus, FileKind
from media_records.files import all_files_of, files_of, forget, original_of
from media_records.lifecycle import ALLOWED, change, lock_asset, thumbnail_removed
from media_records.tables import Asset, AssetFile
from media_records.work import Tx
from media_runtime.kafka.producer import OutgoingRecord
from media_runtime.storage.store import StoredObject, build_notification


class AssetNotFoundError(Exception):
    """There is no such asset, or none that this transaction may see."""


class NotFailedError(Exception):
    """Only a failed asset can be retried."""


class RetriedTooSoonError(Exception):
    """The attempt before began only just now; ``seconds`` are what is left to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class OriginalGoneError(Exception):
    """Its file was refused, and is no longer kept: it has to be uploaded again."""


class NotUnfinishedError(Exception):
    """Only an asset that is pending or processing can be cancelled."""


_DELETED_AGAIN = "UPDATE media_assets SET retired = false, sweep_at = now() WHERE id = $1"


async def retry(tx: Tx, asset_id: UUID, *, after: timedelta = timedelta(0)) -> Asset:
    """
    Begin a new attempt for a failed asset and return it.

    Attempts begin *after* one another, since each may cost minutes of the CPU. ingest hears of
    it on media_ingest, as if the file had just been stored. Raises AssetNotFoundError,
    NotFailedError, OriginalGoneError and RetriedTooSoonError.
    """
    now = datetime.now(UTC)
    asset = await _locked(tx, asset_id)
    if asset.status == AssetStatus.DELETED:
        raise AssetNotFoundError
    if asset.status != AssetStatus.FAILED:
        raise NotFailedError
    original = original_of(await files_of(tx, asset.id))
    if original is None:
        raise OriginalGoneError
    if asset.attempt_at and now - asset.attempt_at < after:
        wait = asset.attempt_at + after - now
        raise RetriedTooSoonError(wait.total_seconds())
    again = await change(
        tx,
        asset,
        AssetStatus.PROCESSING,
        at=now,
        facts={"error_code": None, "error_message": None, "processed_at": None},
        new_attempt=True,
    )
    if again is None:
        raise NotFailedError
    await tx.send(again.company_id, _look_again(tx, again, original, now))
    return again


async def cancel(tx: Tx, asset_id: UUID) -> Asset:
    """
    Cancel an unfinished asset and return it; work under way stops, its objects go.

    Raises AssetNotFoundError and NotUnfinishedError.
    """
    asset = await _locked(tx, asset_id)
    if AssetStatus.CANCELLED not in ALLOWED[AssetStatus(asset.status)]:
        raise NotUnfinishedError
    return await _end(tx, asset, AssetStatus.CANCELLED)


async def delete(tx: Tx, asset_id: UUID) -> Asset:
    """
    Delete an asset and return it; work under way stops, and its objects are removed.

    Deleting it again removes a thumbnail that outlived it, and else changes nothing. Raises
    AssetNotFoundError.
    """
    asset = await _locked(tx, asset_id)
    if asset.status != AssetStatus.DELETED:
        return await _end(tx, asset, AssetStatus.DELETED)
    if await all_files_of(tx, asset.id):
        await forget(tx, asset.id, tuple(FileKind))
        await tx.execute(_DELETED_AGAIN, asset.id)
        await thumbnail_removed(tx, asset, at=datetime.now(UTC))
    return asset


async def _locked(tx: Tx, asset_id: UUID) -> Asset:
    asset = await lock_asset(tx, asset_id)
    if asset is None:
        raise AssetNotFoundError
    return asset


async def _end(tx: Tx, asset: Asset, status: AssetStatus) -> Asset:
    now = datetime.now(UTC)
    ended = await change(tx, asset, status, at=now, facts={"sweep_at": now})
    if ended is None:
        raise AssetNotFoundError  # a locked row cannot have moved on
    await forget(tx, asset.id, tuple(FileKind))
    return ended


def _look_again(tx: Tx, asset: Asset, original: AssetFile, at: datetime) -> OutgoingRecord:
    stored = StoredObject(
        bucket=asset.bucket,
        key=original.key,
        version_id=original.version_id,
        size=original.size,
        etag="",
    )
    value = build_notification(stored, source=f"/media/{tx.service}", at=at)
    return OutgoingRecord(MEDIA_INGEST.name, str(asset.id), value)

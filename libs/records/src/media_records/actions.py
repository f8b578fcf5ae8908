"""
What clients and operators do to assets: retry, cancel, delete.

Invariant: each acts on the locked row in the caller's transaction, and tells through the outbox.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from media_contracts import MEDIA_INGEST, AssetStatus, FileKind
from media_records.files import files_of, forget, original_of
from media_records.lifecycle import ALLOWED, Lifecycle, find_asset
from media_records.tables import Asset, AssetFile
from media_runtime.kafka import OutgoingRecord
from media_runtime.outbox import Outbox
from media_runtime.postgres import Connection
from media_runtime.storage import StoredObject, build_notification


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


class Actions:
    """
    Acts in the name of *service*; the caller wakes the outbox after its commit.

    Retries of one asset are *retry_seconds* apart: each may cost minutes of the CPU.
    """

    def __init__(self, outbox: Outbox, *, service: str, retry_seconds: float = 0) -> None:
        self._outbox = outbox
        self._retry_after = timedelta(seconds=retry_seconds)
        self._service = service
        self._lifecycle = Lifecycle(outbox, service=service)

    async def retry(self, connection: Connection, asset_id: UUID) -> Asset:
        """
        Begin a new attempt for a failed asset and return it.

        ingest hears of it on media_ingest, as if the file had just been stored. Raises
        AssetNotFoundError, NotFailedError, OriginalGoneError and RetriedTooSoonError.
        """
        now = datetime.now(UTC)
        asset = await self._locked(connection, asset_id)
        if asset.status == AssetStatus.DELETED:
            raise AssetNotFoundError
        if asset.status != AssetStatus.FAILED:
            raise NotFailedError
        original = original_of(await files_of(connection, asset.id))
        if original is None:
            raise OriginalGoneError
        if asset.attempt_at and now - asset.attempt_at < self._retry_after:
            wait = asset.attempt_at + self._retry_after - now
            raise RetriedTooSoonError(wait.total_seconds())
        again = await self._lifecycle.change(
            connection,
            asset,
            AssetStatus.PROCESSING,
            at=now,
            facts={"error_code": None, "error_message": None, "processed_at": None},
            new_attempt=True,
        )
        if again is None:
            raise NotFailedError
        await self._outbox.put(connection, again.company_id, self._look_again(again, original, now))
        return again

    async def cancel(self, connection: Connection, asset_id: UUID) -> Asset:
        """
        Cancel an unfinished asset and return it; work under way stops, its objects go.

        Raises AssetNotFoundError and NotUnfinishedError.
        """
        asset = await self._locked(connection, asset_id)
        if AssetStatus.CANCELLED not in ALLOWED[AssetStatus(asset.status)]:
            raise NotUnfinishedError
        return await self._end(connection, asset, AssetStatus.CANCELLED)

    async def delete(self, connection: Connection, asset_id: UUID) -> Asset:
        """
        Delete an asset and return it; work under way stops, and its objects are removed.

        Deleting it again removes a thumbnail that outlived it, and else changes nothing. Raises
        AssetNotFoundError.
        """
        asset = await self._locked(connection, asset_id)
        if asset.status != AssetStatus.DELETED:
            return await self._end(connection, asset, AssetStatus.DELETED)
        if await files_of(connection, asset.id):
            await forget(connection, asset.id, tuple(FileKind))
            await connection.execute(
                "UPDATE media_assets SET retired = false, sweep_at = now() WHERE id = $1", asset.id
            )
            await self._lifecycle.thumbnail_removed(connection, asset, at=datetime.now(UTC))
        return asset

    @staticmethod
    async def _locked(connection: Connection, asset_id: UUID) -> Asset:
        asset = await find_asset(connection, asset_id, lock=True)
        if asset is None:
            raise AssetNotFoundError
        return asset

    async def _end(self, connection: Connection, asset: Asset, status: AssetStatus) -> Asset:
        now = datetime.now(UTC)
        ended = await self._lifecycle.change(
            connection, asset, status, at=now, facts={"sweep_at": now}
        )
        if ended is None:
            raise AssetNotFoundError  # a locked row cannot have moved on
        await forget(connection, asset.id, tuple(FileKind))
        return ended

    def _look_again(self, asset: Asset, original: AssetFile, at: datetime) -> OutgoingRecord:
        stored = StoredObject(
            bucket=asset.bucket,
            key=original.key,
            version_id=original.version_id,
            size=original.size,
            etag="",
        )
        value = build_notification(stored, source=f"/media/{self._service}", at=at)
        return OutgoingRecord(MEDIA_INGEST.name, str(asset.id), value)

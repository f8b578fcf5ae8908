"""
Makes sure that every upload ends, whatever was lost on its way.

Bucket notifications are best effort, and a dead letter or a restored topic may hold up an
attempt. What should have gone on and did not is fed to media_ingest again, which absorbs
repetitions. Invariant: nothing here depends on a notification.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import structlog
from media_contracts import MEDIA_INGEST, AssetStatus, ObjectRef
from media_records.checks import Unfinished, assets_to_check, checked, remove_asset
from media_records.companies import alone_with_bucket, bucket_verified, buckets_to_verify
from media_records.files import files_of, original_of
from media_records.lifecycle import change, lock_asset
from media_records.tables import Asset, AssetFile
from media_records.uploads import storage_ids
from media_records.work import Work
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.kafka.producer import OutgoingRecord
from media_runtime.storage.store import (
    ObjectMissingError,
    ObjectStore,
    StoredObject,
    build_notification,
    upload_key,
)
from watcher.metrics import CLEANED, RECONCILED, REPAIRED
from watcher.rules import Rule
from watcher.settings import WatcherSettings

log = structlog.get_logger(__name__)

SERVICE = "watcher"
_LOOKS_AT_ONCE = 8
_ABORTS = 1000


class Action(StrEnum):
    """What an asset needs."""

    WAIT = "waits"
    REQUEUE = "requeued"
    EXPIRE = "expired"
    REMOVE = "removed"


def decide(
    seen: Unfinished, stored: StoredObject | None, settings: WatcherSettings, now: datetime
) -> Action:
    """Return what an asset needs, given the object that storage has under its upload's key."""
    asset = seen.asset
    if seen.wants_look:
        if stored is not None:
            return Action.REQUEUE
        if asset.status == AssetStatus.EXPIRED:
            return Action.REMOVE
        lapsed = asset.grant_expires_at + timedelta(seconds=settings.late_upload_seconds)
        return Action.EXPIRE if now > lapsed else Action.WAIT
    if seen.has_work:
        return Action.WAIT
    last_sign = max(asset.updated_at, seen.ended_at or asset.updated_at)
    stuck = now - last_sign > timedelta(seconds=settings.stuck_seconds)
    return Action.REQUEUE if stuck else Action.WAIT


class Reconciler:
    """Goes through unfinished assets and starts what stands still."""

    def __init__(
        self,
        *,
        work: Work,
        store: ObjectStore,
        settings: WatcherSettings,
    ) -> None:
        self._work = work
        self._store = store
        self._settings = settings
        self._looks = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def __call__(self) -> Counter[str]:
        """Return how many assets there were of each Action; raises TransientError."""
        settings, effects = self._settings, Counter[str]()
        for expired, age in (
            (False, settings.reconcile_after_seconds),
            (True, settings.expired_keep_seconds),
        ):
            while await self._batch(age, effects, expired=expired) == settings.reconcile_batch:
                pass
        return effects

    async def _batch(self, age: float, effects: Counter[str], *, expired: bool) -> int:
        database, limit = self._work.database, self._settings.reconcile_batch
        batch = await assets_to_check(database, limit, age_seconds=age, expired=expired)
        results = await asyncio.gather(
            *(self._settle(seen) for seen in batch), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
            effects[result] += 1
            RECONCILED.labels(result).inc()
        return len(batch)

    async def _settle(self, seen: Unfinished) -> str:
        async with self._looks:
            stored = await self._look(seen.asset) if seen.wants_look else None
            action = decide(seen, stored, self._settings, datetime.now(UTC))
            return await self._apply(action, seen.asset, stored)

    async def _look(self, asset: Asset) -> StoredObject | None:
        try:
            return await self._store.stat(
                ObjectRef(bucket=asset.bucket, key=upload_key(asset.company_id, asset.id))
            )
        except ObjectMissingError:
            return None

    async def _apply(self, action: Action, seen: Asset, stored: StoredObject | None) -> str:
        now = datetime.now(UTC)
        async with self._work.begin() as tx:
            asset = await lock_asset(tx, seen.id)
            if asset is None or _state(asset) != _state(seen):
                return "moved_on"
            if action is Action.REMOVE:
                await remove_asset(tx, asset.id)
                CLEANED.labels(Rule.GRANTS).inc()
                return action
            if action is Action.EXPIRE:
                await change(tx, asset, AssetStatus.EXPIRED, at=now)
                return action
            if action is Action.REQUEUE:
                original = original_of(await files_of(tx, asset.id))
                record = _notification(asset, stored, original, now)
                await tx.send(asset.company_id, record)
                log.warning("asset_fed_again", asset_id=str(asset.id), status=asset.status)
            at_most = self._settings.stuck_seconds
            await checked(tx, asset.id, at_most_seconds=at_most, found=stored is not None)
        return action


class VerifyBuckets:
    """
    Looks whether buckets still have their settings, the longest unseen first; repairs them.

    Uploads in parts that no row tells of are aborted, up to a limit at each look: no rule of
    the store's own lifecycle takes them, and what it forgets of them at its start it removes.
    """

    def __init__(
        self, *, database: Database, store: ObjectStore, settings: WatcherSettings
    ) -> None:
        self._database = database
        self._store = store
        self._settings = settings

    async def __call__(self) -> int:
        """Return how many buckets were repaired; raises TransientError."""
        repaired = 0
        age, limit = self._settings.bucket_verify_seconds, self._settings.bucket_batch
        for company, quota in await buckets_to_verify(self._database, limit, age_seconds=age):
            async with alone_with_bucket(self._database, company) as session:
                if session is None:  # it is being made; the next round looks at it
                    continue
                flaw = await self._store.bucket_flaw(company, quota_bytes=quota)
                if flaw is not None:
                    log.warning("ALERT bucket_repaired", company_id=str(company), flaw=flaw)
                    await self._store.ensure_bucket(company, quota_bytes=quota)
                    REPAIRED.inc()
                    repaired += 1
            await self._abort(company)
            await bucket_verified(self._database, company)
        return repaired

    async def _abort(self, company: UUID) -> None:
        bucket = self._store.bucket_of(company)
        kept = timedelta(seconds=self._settings.multipart_keep_seconds)
        before = datetime.now(UTC) - kept
        try:
            # Those that rows tell of are the clean-up's, which knows when they are over.
            known = await storage_ids(self._database, company)
            uploads = await self._store.unfinished_uploads(bucket)
            late = [one for one in uploads if one.begun_at < before and one.upload_id not in known]
            for upload in late[:_ABORTS]:
                await self._store.abort_upload(upload)
                CLEANED.labels(Rule.MULTIPART).inc()
        except TransientError as error:
            # The bucket was verified all the same: a login may not have this right yet.
            log.warning("abort_waits", bucket=bucket, error=str(error))


def _state(asset: Asset) -> tuple[object, ...]:
    return asset.status, asset.attempt, asset.uploaded_at


def _notification(
    asset: Asset, stored: StoredObject | None, original: AssetFile | None, at: datetime
) -> OutgoingRecord:
    found = stored or StoredObject(
        bucket=asset.bucket,
        key=original.key if original else upload_key(asset.company_id, asset.id),
        version_id=original.version_id if original else None,
        size=original.size if original else asset.size,
        etag="",
    )
    value = build_notification(found, source=f"/media/{SERVICE}", at=at)
    return OutgoingRecord(MEDIA_INGEST.name, str(asset.id), value)

"""
Batches: up to a thousand uploads that are asked for, looked at, cancelled and retried together.

Invariant: all grants of a batch are given, or none. Each of its assets lives as any other does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from media_contracts import AssetStatus
from media_contracts.errors import ErrorCode
from media_contracts.formats import kind_of
from media_records import actions, batches
from media_records.actions import (
    NotFailedError,
    NotUnfinishedError,
    OriginalGoneError,
    RetriedTooSoonError,
)
from media_records.batches import InBatch, Wanted
from media_records.lifecycle import lock_assets
from media_records.tables import Batch
from media_records.work import Tx, Work
from media_runtime.errors import PermanentError
from media_runtime.http.auth import Caller
from media_runtime.storage.presign import UploadGrant, UploadSigner
from media_runtime.storage.store import upload_key
from sign_api.domain import (
    MAX_IN_BATCH,
    RefusedUploadError,
    check_fingerprint,
    check_metadata,
    part_size_of,
)
from sign_api.metrics import GRANTS
from sign_api.settings import SignApiSettings
from sign_api.use_cases import Buckets, DeclaredUpload, IdempotencyKeyReusedError, refusal

# So many at a time: others' requests, and others who change assets, come in between.
_SIGNED_AT_ONCE = 50
_CHANGED_AT_ONCE = 50
_RETRIABLE = frozenset({AssetStatus.FAILED})


class BatchNotFoundError(PermanentError):
    """There is no such batch, or none that this company has."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.BATCH_NOT_FOUND)


@dataclass(frozen=True)
class DeclaredItem:
    """One file of a batch, as the client says it will upload it."""

    upload: DeclaredUpload
    in_parts: bool = False
    fingerprint: str | None = None


@dataclass(frozen=True)
class Sent:
    """An upload of a batch, with the grant to send it by; None where it goes in parts."""

    of: InBatch
    grant: UploadGrant | None


class Batches:
    """A company's batches."""

    def __init__(
        self,
        work: Work,
        signer: UploadSigner,
        buckets: Buckets,
        settings: SignApiSettings,
        *,
        retry_seconds: float = 0,
    ) -> None:
        self._work = work
        self._signer = signer
        self._buckets = buckets
        self._settings = settings
        self._retry_after = timedelta(seconds=retry_seconds)

    async def begin(
        self,
        caller: Caller,
        items: Sequence[DeclaredItem],
        *,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> tuple[Batch, Sequence[Sent]]:
        """
        Record a batch, and return it with a grant for each of its files, in their order.

        The same *idempotency_key* gives the same batch for 24 hours, with grants for what is still
        to be sent. Raises as SignUpload does; what is wrong with one file is told with its number.
        """
        settings, company_id = self._settings, caller.company_id
        check_metadata(metadata or {})
        if not 1 <= len(items) <= MAX_IN_BATCH:
            raise RefusedUploadError(ErrorCode.INVALID_BATCH, limit=MAX_IN_BATCH)
        items = [self._checked(number, item) for number, item in enumerate(items)]
        bucket = await self._buckets.of(company_id)
        # A page of a batch is in the order of its ids.
        ids = sorted(uuid4() for _ in items)
        wanted = [self._wanted(id_, item) for id_, item in zip(ids, items, strict=True)]
        batch_id = uuid4()
        request_hash = _hash(metadata, items) if idempotency_key else None
        async with self._work.begin(company_id) as tx:
            refused, hash_before, before = await batches.sign(
                tx, company_id=company_id, batch_id=batch_id, metadata=metadata, uploads=wanted,
                bucket=bucket, traceparent=traceparent, key=idempotency_key,
                expires_at=datetime.now(UTC) + timedelta(seconds=settings.upload_seconds),
                request_hash=request_hash, max_grants=settings.company_open_grants,
            )  # fmt: skip
            if refused is not None:
                # What was recorded of it goes with this transaction.
                raise refusal(refused, settings.company_open_grants)
            if before is not None and hash_before != request_hash:
                raise IdempotencyKeyReusedError
            batch = await batches.find_batch(tx, before or batch_id)
            found = await batches.uploads_of(
                tx, before or batch_id, limit=MAX_IN_BATCH, unsent=before is not None
            )
        if batch is None:
            raise BatchNotFoundError
        if before is None:
            for item in items:
                GRANTS.labels(kind_of(item.upload.content_type)).inc()
        return batch, await self._granted(found)

    async def get(self, company_id: UUID, batch_id: UUID) -> Batch:
        """Return the batch; raises BatchNotFoundError."""
        async with self._work.begin(company_id) as tx:
            return await _found(tx, batch_id)

    async def page(
        self,
        company_id: UUID,
        *,
        metadata: Mapping[str, str],
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> Sequence[Batch]:
        """Return up to *limit* batches, newest first, that come after the position *after*."""
        async with self._work.begin(company_id) as tx:
            return await batches.page_of_batches(
                tx, company_id, metadata=metadata, limit=limit, after=after
            )

    async def unsent(
        self, company_id: UUID, batch_id: UUID, *, limit: int, after: UUID | None
    ) -> Sequence[Sent]:
        """
        Return up to *limit* uploads of a batch that are still to be sent, with new grants.

        Raises BatchNotFoundError.
        """
        async with self._work.begin(company_id) as tx:
            await _found(tx, batch_id)
            found = await batches.uploads_of(tx, batch_id, limit=limit, after=after, unsent=True)
        return await self._granted(found)

    async def cancel(self, company_id: UUID, batch_id: UUID) -> Batch:
        """
        Cancel what is not decided of a batch, and return it; again it changes nothing.

        Raises BatchNotFoundError.
        """

        async def cancel(tx: Tx, asset_id: UUID) -> None:
            with suppress(NotUnfinishedError):
                await actions.cancel(tx, asset_id)

        return await self._each(company_id, batch_id, batches.OPEN, cancel)

    async def retry(self, company_id: UUID, batch_id: UUID) -> Batch:
        """
        Process what has failed of a batch again, and return it.

        Those whose file is no longer kept stay failed, and so do those that were retried only just
        now. Raises BatchNotFoundError.
        """

        async def retry(tx: Tx, asset_id: UUID) -> None:
            with suppress(NotFailedError, OriginalGoneError, RetriedTooSoonError):
                await actions.retry(tx, asset_id, after=self._retry_after)

        return await self._each(company_id, batch_id, _RETRIABLE, retry)

    async def _each(
        self,
        company_id: UUID,
        batch_id: UUID,
        statuses: frozenset[AssetStatus],
        act: Callable[[Tx, UUID], Awaitable[None]],
    ) -> Batch:
        """Act on the assets of a batch that have one of *statuses*, and return it as it is then."""
        last: UUID | None = None
        while True:
            async with self._work.begin(company_id) as tx:
                ids = await batches.ids_in_status(
                    tx, batch_id, statuses, limit=_CHANGED_AT_ONCE, after=last
                )
                # Before the batch's own row, as everybody locks them.
                await lock_assets(tx, ids)
                for asset_id in ids:
                    await act(tx, asset_id)
                batch = await _found(tx, batch_id)
            if len(ids) < _CHANGED_AT_ONCE:
                return batch
            last = ids[-1]

    def _checked(self, number: int, item: DeclaredItem) -> DeclaredItem:
        try:
            upload = item.upload.checked(max_bytes=self._settings.max_upload_bytes)
            check_fingerprint(item.fingerprint)
        except RefusedUploadError as error:
            raise RefusedUploadError(error.code, f"uploads[{number}]: {error.message}") from error
        return DeclaredItem(upload, item.in_parts, item.fingerprint)

    def _wanted(self, asset_id: UUID, item: DeclaredItem) -> Wanted:
        upload = item.upload
        return Wanted(
            id=str(asset_id),
            file_name=upload.file_name,
            content_type=upload.content_type,
            size=upload.size,
            profile=upload.profile,
            about=json.loads(upload.about_json) if upload.about_json else None,
            part_size=part_size_of(upload.size, least=self._settings.part_bytes)
            if item.in_parts
            else None,
            fingerprint=item.fingerprint if item.in_parts else None,
        )

    async def _granted(self, found: Sequence[InBatch]) -> list[Sent]:
        sent: list[Sent] = []
        for number, one in enumerate(found, start=1):
            sent.append(Sent(one, None if one.upload else self._grant(one)))
            if number % _SIGNED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return sent

    def _grant(self, one: InBatch) -> UploadGrant:
        asset = one.asset
        return self._signer.grant(
            asset.bucket,
            upload_key(asset.company_id, asset.id),
            content_type=asset.content_type,
            size=asset.size,
            lifetime=max(asset.grant_expires_at - datetime.now(UTC), timedelta(seconds=1)),
        )


async def _found(tx: Tx, batch_id: UUID) -> Batch:
    batch = await batches.find_batch(tx, batch_id)
    if batch is None:
        raise BatchNotFoundError
    return batch


def _hash(metadata: Mapping[str, str] | None, items: Sequence[DeclaredItem]) -> str:
    """Return what tells this request from another one, in hexadecimal."""
    said = [[item.upload.sha256, item.in_parts, item.fingerprint] for item in items]
    return hashlib.sha256(json.dumps([dict(metadata or {}), said]).encode()).hexdigest()

"""
Uploads in parts: begun, gone on with from any device, completed, given up.

Bytes never pass through here: each part is sent to storage by a URL that is good for exactly its
size. Invariant: one file at most comes of an upload, and it is as large as it was declared.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from media_contracts.errors import ErrorCode
from media_contracts.formats import kind_of
from media_records import actions, uploads
from media_records.grants import sign
from media_records.lifecycle import lock_asset
from media_records.uploads import InParts
from media_records.work import Work
from media_runtime.errors import PermanentError, TransientError
from media_runtime.http.auth import Caller
from media_runtime.storage.presign import UploadSigner
from media_runtime.storage.store import (
    ObjectMissingError,
    ObjectStore,
    StoredPart,
    UnfinishedUpload,
    upload_key,
)
from media_runtime.telemetry import tracing
from sign_api.domain import (
    MAX_PARTS_AT_ONCE,
    check_fingerprint,
    part_size_of,
    sizes_of_parts,
)
from sign_api.metrics import GRANTS
from sign_api.settings import SignApiSettings
from sign_api.use_cases import (
    Buckets,
    DeclaredUpload,
    IdempotencyKeyReusedError,
    refusal,
)

_TOLD = 20
_LOOKS, _LOOK_SECONDS = 50, 0.1


class UploadNotFoundError(PermanentError):
    """There is no such upload, or nothing can come of it any more."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.UPLOAD_NOT_FOUND)


class PartsMissingError(PermanentError):
    """Some parts are not there, or are not as large as they were granted."""

    def __init__(self, numbers: Sequence[int]) -> None:
        more = f" and {len(numbers) - _TOLD} more" if len(numbers) > _TOLD else ""
        told = ", ".join(map(str, numbers[:_TOLD])) + more
        super().__init__(ErrorCode.PARTS_MISSING, numbers=told)


@dataclass(frozen=True)
class Progress:
    """An upload in parts and those that storage has of it; it is complete once all were there."""

    of: InParts
    stored: Sequence[StoredPart]
    is_complete: bool


@dataclass(frozen=True)
class GrantedPart:
    """PUT *size* bytes, and no more or fewer, to *url*."""

    number: int
    size: int
    url: str


class Uploads:
    """A company's uploads in parts."""

    def __init__(
        self,
        work: Work,
        store: ObjectStore,
        signer: UploadSigner,
        buckets: Buckets,
        settings: SignApiSettings,
    ) -> None:
        self._work = work
        self._store = store
        self._signer = signer
        self._buckets = buckets
        self._settings = settings

    async def begin(
        self,
        caller: Caller,
        upload: DeclaredUpload,
        *,
        fingerprint: str | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> UUID:
        """
        Record an upload and what it reserves, and return its asset's id.

        The same *idempotency_key* gives the same upload for 24 hours. Raises as SignUpload does.
        """
        settings, company_id = self._settings, caller.company_id
        upload = upload.checked(max_bytes=settings.max_upload_bytes)
        check_fingerprint(fingerprint)
        bucket = await self._buckets.of(company_id)
        asset_id = uuid4()
        request_hash = f"parts:{upload.sha256}" if idempotency_key else None
        refused, hash_before, before = await sign(
            self._work.database, company_id=company_id, asset_id=asset_id,
            file_name=upload.file_name, content_type=upload.content_type, size=upload.size,
            bucket=bucket, traceparent=traceparent, key=idempotency_key, request_hash=request_hash,
            expires_at=datetime.now(UTC) + timedelta(seconds=settings.upload_seconds),
            response=json.dumps(str(asset_id)) if idempotency_key else None,
            max_grants=settings.company_open_grants,
            profile=upload.profile, about=upload.about_json,
            part_size=part_size_of(upload.size, least=settings.part_bytes),
            fingerprint=fingerprint,
        )  # fmt: skip
        if refused is not None:
            raise refusal(refused, settings.company_open_grants)
        if before is not None:
            if hash_before != request_hash:
                raise IdempotencyKeyReusedError
            return UUID(json.loads(before))
        tracing.annotate({"media.asset_id": str(asset_id)})
        GRANTS.labels(kind_of(upload.content_type)).inc()
        return asset_id

    async def look(self, company_id: UUID, asset_id: UUID) -> Progress:
        """Return how far an upload is; raises UploadNotFoundError for one that is over."""
        found = await self._find(company_id, asset_id)
        if found.is_stored:
            return Progress(found, (), is_complete=True)
        stored = await self._stored(found)
        return Progress(found, stored or (), is_complete=stored is None)

    async def page(
        self,
        company_id: UUID,
        *,
        fingerprint: str | None,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> Sequence[InParts]:
        """Return up to *limit* uploads that can go on, newest first, after the position *after*."""
        async with self._work.begin(company_id) as tx:
            return await uploads.open_uploads(
                tx, company_id, fingerprint=fingerprint, limit=limit, after=after
            )

    async def grant(
        self, company_id: UUID, asset_id: UUID, numbers: Collection[int]
    ) -> tuple[Sequence[GrantedPart], datetime]:
        """
        Return where to send the parts of these *numbers*, and until when that is good.

        Raises UploadNotFoundError, also for one that is complete, and PermanentError for numbers
        that the upload does not have.
        """
        found = await self._find(company_id, asset_id)
        if found.is_stored:
            raise UploadNotFoundError
        sizes = sizes_of_parts(found.asset.size, found.upload.part_size)
        wanted = sorted(set(numbers))
        if not 1 <= len(numbers) <= MAX_PARTS_AT_ONCE or len(wanted) < len(numbers):
            raise _invalid(sizes)
        if wanted[0] < 1 or wanted[-1] > len(sizes):
            raise _invalid(sizes)
        storage_id = found.upload.storage_id or await self._begin(found)
        now = datetime.now(UTC)
        ends = min(
            now + timedelta(seconds=self._settings.part_seconds), found.asset.grant_expires_at
        )
        key = upload_key(company_id, asset_id)
        parts = [
            GrantedPart(
                number, sizes[number - 1],
                self._signer.part(
                    found.asset.bucket, key, storage_id, number,
                    size=sizes[number - 1], now=now, lifetime=max(ends - now, timedelta(seconds=1)),
                ),
            )
            for number in wanted
        ]  # fmt: skip
        return parts, ends

    async def complete(self, company_id: UUID, asset_id: UUID) -> Progress:
        """
        Make one file of the parts; again it changes nothing.

        Raises UploadNotFoundError, and PartsMissingError where a part is not there in its size.
        """
        found = await self._find(company_id, asset_id)
        if found.is_stored:
            return Progress(found, (), is_complete=True)
        stored = await self._stored(found)
        if stored is None:
            return Progress(found, (), is_complete=True)
        missing = _missing(found, stored)
        if missing:
            # Storage lists fewer and fewer of an upload that it is completing.
            found = await self._find(company_id, asset_id)
            if not found.is_stored and found.upload.completing_at is None:
                raise PartsMissingError(missing)
        if missing or not await self._complete(found, stored):
            await self._completed_by_another(company_id, asset_id)
        return Progress(found, (), is_complete=True)

    async def _complete(self, found: InParts, stored: Sequence[StoredPart]) -> bool:
        """Return whether storage made one object of the parts, or had done so."""
        asset, storage_id = found.asset, found.upload.storage_id
        async with self._work.begin(asset.company_id) as tx:
            # From here on it is not given up, however long storage takes.
            locked = await lock_asset(tx, asset.id)
            if locked is None or locked.status in uploads.OVER:
                raise UploadNotFoundError
            await uploads.completing(tx, asset.id)
        key = upload_key(asset.company_id, asset.id)
        try:
            await self._store.complete_upload(asset.bucket, key, storage_id or "", stored)
        except ObjectMissingError:
            return False
        return True

    async def _completed_by_another(self, company_id: UUID, asset_id: UUID) -> None:
        """
        Wait until the request that was first has made the file.

        Raises PartsMissingError where it did not, as where a part was sent again meanwhile.
        """
        missing: Sequence[int] = ()
        for _ in range(_LOOKS):
            found = await self._find(company_id, asset_id)
            stored = None if found.is_stored else await self._stored(found)
            if stored is None:
                return
            missing = _missing(found, stored)
            await asyncio.sleep(_LOOK_SECONDS)
        raise PartsMissingError(missing)

    async def abort(self, company_id: UUID, asset_id: UUID) -> None:
        """
        Give the upload up, and what it reserves with it; again it changes nothing.

        Raises UploadNotFoundError, and AlreadyCompleteError for one whose file is there.
        """
        async with self._work.begin(company_id) as tx:
            found = await uploads.find_upload(tx, asset_id)
        is_completing = found and found.upload.completing_at and not found.is_over
        if found and is_completing and (found.is_stored or await self._stored(found) is None):
            raise PermanentError(ErrorCode.ALREADY_COMPLETE)
        async with self._work.begin(company_id) as tx:
            # Its row is locked first, that no notification comes between.
            asset = await lock_asset(tx, asset_id)
            found = await uploads.find_upload(tx, asset_id)
            if asset is None or found is None:
                raise UploadNotFoundError
            if found.is_over:
                return
            if found.is_stored:
                raise PermanentError(ErrorCode.ALREADY_COMPLETE)
            await actions.cancel(tx, asset_id)
        # Where that fails, the watcher does it.
        with suppress(TransientError):
            await self._remove(found, found.upload.storage_id)

    async def _find(self, company_id: UUID, asset_id: UUID) -> InParts:
        async with self._work.begin(company_id) as tx:
            found = await uploads.find_upload(tx, asset_id)
        if found is None or found.is_over:
            raise UploadNotFoundError
        if not found.is_stored and found.asset.grant_expires_at <= datetime.now(UTC):
            raise UploadNotFoundError
        return found

    async def _stored(self, found: InParts) -> Sequence[StoredPart] | None:
        """Return the parts that storage has; None where it has made one object of them."""
        storage_id = found.upload.storage_id
        if storage_id is None:
            return ()
        of = found.asset.bucket, upload_key(found.asset.company_id, found.asset.id)
        try:
            return await self._store.parts_of(*of, storage_id)
        except ObjectMissingError:
            # It may have been completed since its row was read. Or storage has lost it: then all
            # parts have to be sent again, to another upload of its own.
            async with self._work.begin(found.asset.company_id) as tx:
                await uploads.forget(tx, found.asset.id, storage_id)
                now = await uploads.find_upload(tx, found.asset.id)
            return None if now and now.upload.completing_at else ()

    async def _begin(self, found: InParts) -> str:
        asset = found.asset
        of = asset.bucket, upload_key(asset.company_id, asset.id)
        mine = await self._store.begin_upload(*of, content_type=asset.content_type)
        async with self._work.begin(asset.company_id) as tx:
            kept = await uploads.begin(tx, asset.id, mine)
        if kept is None:
            raise UploadNotFoundError
        if kept != mine:
            with suppress(TransientError):
                await self._remove(found, mine)
        return kept

    async def _remove(self, found: InParts, storage_id: str | None) -> None:
        if storage_id is not None:
            asset = found.asset
            key = upload_key(asset.company_id, asset.id)
            at = datetime.now(UTC)
            await self._store.abort_upload(UnfinishedUpload(asset.bucket, key, storage_id, at))


def _missing(found: InParts, stored: Sequence[StoredPart]) -> list[int]:
    """Return the numbers of the parts that are not there in their size."""
    sizes = sizes_of_parts(found.asset.size, found.upload.part_size)
    there = {part.number: part.size for part in stored}
    return [number for number, size in enumerate(sizes, start=1) if there.get(number) != size]


def _invalid(sizes: Sequence[int]) -> PermanentError:
    return PermanentError(ErrorCode.INVALID_PARTS, limit=MAX_PARTS_AT_ONCE, parts=len(sizes))

"""What clients ask for: a grant, a look at their assets, a retry, a removal."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from media_contracts import About, AssetStatus, Crop, Focus, Stream
from media_contracts.errors import ErrorCode
from media_contracts.formats import kind_of
from media_records import actions, posters
from media_records.actions import AssetNotFoundError
from media_records.companies import has_bucket, want_bucket
from media_records.files import Files, files_of_each, segments_of, streams_of
from media_records.grants import sign
from media_records.lifecycle import find_asset, page_of_assets
from media_records.tables import Asset, AssetWait
from media_records.waits import told_of_each
from media_records.work import Work
from media_runtime.database.postgres import Database
from media_runtime.errors import PermanentError
from media_runtime.http.auth import Caller
from media_runtime.storage.presign import UploadGrant, UploadSigner
from media_runtime.storage.store import ObjectStore, upload_key
from media_runtime.telemetry import tracing
from sign_api.domain import RefusedUploadError, check_about, check_profile, check_upload
from sign_api.metrics import GRANTS, REFUSED
from sign_api.settings import SignApiSettings

log = structlog.get_logger(__name__)

SERVICE = "sign_api"

_FIRST_LOOK_SECONDS = 0.05
_LAST_LOOK_SECONDS = 0.5


class BucketNotReadyError(Exception):
    """The company is new, and its bucket is still being made."""


class TooManyGrantsError(Exception):
    """The company has as many grants open as it may have, which is *limit*."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class IdempotencyKeyReusedError(PermanentError):
    """An Idempotency-Key came back with another request."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.IDEMPOTENCY_KEY_REUSED)


@dataclass(frozen=True)
class DeclaredUpload:
    """
    What the client says it will upload; ``size`` is in bytes. ``profile`` is a name, if any.

    ``about`` is what it says of the file, if anything.
    """

    file_name: str
    size: int
    content_type: str
    profile: str | None = None
    about: About | None = None

    @property
    def about_json(self) -> str | None:
        """What is said of the file as JSON, without what is not said."""
        return self.about.model_dump_json(exclude_none=True) if self.about else None

    @property
    def sha256(self) -> str:
        """What tells this request from another one, in hexadecimal."""
        declared = [self.file_name, self.size, self.content_type]
        if self.profile is not None:
            declared.append(self.profile)
        if self.about is not None:
            declared.append(self.about_json or "")
        return hashlib.sha256(json.dumps(declared).encode()).hexdigest()

    def checked(self, *, max_bytes: int) -> DeclaredUpload:
        """Return it with its plain type; raises RefusedUploadError where it breaks a rule."""
        plain = check_upload(self.file_name, self.size, self.content_type, max_bytes=max_bytes)
        check_profile(self.profile)
        if self.about:
            check_about(self.about)
        return replace(self, content_type=plain)


class Buckets:
    """
    The companies' buckets, which the watcher makes when a company asks for its first grant.

    Who is known is remembered, so that signing then needs PostgreSQL alone. Each company is
    waited for by itself: one whose bucket cannot be made holds up no other.
    """

    def __init__(self, database: Database, store: ObjectStore, *, wait_seconds: float) -> None:
        self._database = database
        self._store = store
        self._wait_seconds = wait_seconds
        self._known: set[UUID] = set()
        self._waits: dict[UUID, asyncio.Task[None]] = {}

    async def of(self, company_id: UUID) -> str:
        """Return the name of the company's bucket; raises BucketNotReadyError."""
        if company_id not in self._known:
            await asyncio.shield(self._wait(company_id))
            self._known.add(company_id)
        return self._store.bucket_of(company_id)

    def _wait(self, company_id: UUID) -> asyncio.Task[None]:
        """Return the one wait that all first requests of a company share."""
        if company_id not in self._waits:
            wait = asyncio.create_task(self._made(company_id))
            self._waits[company_id] = wait
            wait.add_done_callback(lambda done: self._forget(company_id, done))
        return self._waits[company_id]

    def _forget(self, company_id: UUID, done: asyncio.Task[None]) -> None:
        del self._waits[company_id]
        if not done.cancelled():
            done.exception()  # all who waited may be gone

    async def _made(self, company_id: UUID) -> None:
        if await self._exists(company_id):
            return
        async with self._database.company(company_id) as connection:
            await want_bucket(connection, company_id)
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._wait_seconds, _FIRST_LOOK_SECONDS
        while loop.time() < deadline:
            await asyncio.sleep(pause)
            if await self._exists(company_id):
                return
            pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
        raise BucketNotReadyError

    async def _exists(self, company_id: UUID) -> bool:
        async with self._database.company(company_id) as connection:
            return await has_bucket(connection)


class SignUpload:
    """Gives upload grants: checks, signs, and records the asset as pending."""

    def __init__(
        self,
        database: Database,
        signer: UploadSigner,
        buckets: Buckets,
        settings: SignApiSettings,
    ) -> None:
        self._database = database
        self._signer = signer
        self._buckets = buckets
        self._max_bytes = settings.max_upload_bytes
        self._max_grants = settings.company_open_grants
        self._lifetime = timedelta(seconds=settings.grant_seconds)

    async def __call__(
        self,
        caller: Caller,
        upload: DeclaredUpload,
        *,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> str:
        """
        Return the answer to the client as JSON.

        The same *idempotency_key* gives the same answer for 24 hours. Raises
        RefusedUploadError, also for a file that the company's quota does not hold and a profile
        that it does not have, TooManyGrantsError, IdempotencyKeyReusedError for another request
        under one key, and BucketNotReadyError for a new company that has no bucket in time.
        """
        upload = upload.checked(max_bytes=self._max_bytes)
        bucket = await self._buckets.of(caller.company_id)
        asset_id = uuid4()
        key = upload_key(caller.company_id, asset_id)
        grant = self._signer.grant(
            bucket,
            key,
            content_type=upload.content_type,
            size=upload.size,
            lifetime=self._lifetime,
        )
        answer = grant_json(asset_id, grant)
        request_hash = upload.sha256 if idempotency_key else None
        # No event: who asked has the answer, and nobody else can act before the file is there.
        refused, hash_before, answer_before = await sign(
            self._database, company_id=caller.company_id, asset_id=asset_id,
            file_name=upload.file_name, content_type=upload.content_type, size=upload.size,
            bucket=bucket, expires_at=grant.expires_at, traceparent=traceparent,
            key=idempotency_key, request_hash=request_hash,
            response=answer if idempotency_key else None, max_grants=self._max_grants,
            profile=upload.profile, about=upload.about_json,
        )  # fmt: skip
        if refused is not None:
            raise refusal(refused, self._max_grants)
        if answer_before is not None:
            if hash_before != request_hash:
                raise IdempotencyKeyReusedError
            return answer_before
        tracing.annotate({"media.asset_id": str(asset_id)})
        GRANTS.labels(kind_of(upload.content_type)).inc()
        return answer


@dataclass(frozen=True)
class Known:
    """
    An asset with its files, and what was told last of how long it has to wait, if it has.

    Streams are those of one asset that is ready and was asked for alone.
    """

    asset: Asset
    files: Files
    wait: AssetWait | None = None
    streams: Sequence[Stream] | None = None


class Assets:
    """A company's assets: look, list, retry, delete."""

    def __init__(self, work: Work, *, retry_seconds: float = 0) -> None:
        self._work = work
        self._retry_after = timedelta(seconds=retry_seconds)

    async def get(self, company_id: UUID, asset_id: UUID) -> Known:
        """Return the asset; raises AssetNotFoundError, for deleted ones too."""
        async with self._work.begin(company_id) as tx:
            asset = await find_asset(tx, asset_id)
            files = (await files_of_each(tx, [asset_id]))[asset_id]
            waits = await told_of_each(tx, _waiting([asset]))
            is_ready = asset is not None and asset.status == AssetStatus.READY
            streams = await streams_of(tx, asset) if asset and is_ready else None
        # Of one that its age deleted, a picture may be kept.
        if asset is None or (asset.status == AssetStatus.DELETED and not files):
            raise AssetNotFoundError
        return Known(asset, files, waits.get(asset_id), streams)

    async def segments(
        self, company_id: UUID, asset_id: UUID, attempt: int, stream: str
    ) -> tuple[Asset, Files]:
        """Return the asset with a stream's segments, as far as it can be played; see get()."""
        async with self._work.begin(company_id) as tx:
            asset = await find_asset(tx, asset_id)
            files = await segments_of(tx, asset_id, attempt, stream)
        playable = {AssetStatus.PROCESSING, AssetStatus.READY}
        if asset is None or asset.attempt != attempt or asset.status not in playable or not files:
            raise AssetNotFoundError
        return asset, files

    async def page(
        self,
        company_id: UUID,
        *,
        status: AssetStatus | None,
        limit: int,
        after: tuple[datetime, UUID] | None,
        batch_id: UUID | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Known]:
        """
        Return up to *limit* assets, newest first, that come after the position *after*.

        They are those of a batch, and those that have all of *metadata*, where these are given.
        """
        async with self._work.begin(company_id) as tx:
            assets = await page_of_assets(
                tx, company_id, status=status, limit=limit, after=after, batch_id=batch_id,
                metadata=metadata,
            )  # fmt: skip
            files = await files_of_each(tx, [asset.id for asset in assets])
            waits = await told_of_each(tx, _waiting(assets))
        return [Known(asset, files[asset.id], waits.get(asset.id)) for asset in assets]

    async def retry(self, company_id: UUID, asset_id: UUID) -> Asset:
        """
        Begin a new attempt for a failed asset and return it.

        Raises AssetNotFoundError, NotFailedError, OriginalGoneError and RetriedTooSoonError.
        """
        async with self._work.begin(company_id) as tx:
            return await actions.retry(tx, asset_id, after=self._retry_after)

    async def choose_poster(
        self, company_id: UUID, asset_id: UUID, at_seconds: float | None
    ) -> tuple[Asset, Files]:
        """
        Have the pictures of a ready video made anew; returns it as it is until then.

        Raises AssetNotFoundError, NotAVideoError, NotReadyError, OriginalGoneError,
        NoPicturesError and PosterUnderWayError.
        """
        async with self._work.begin(company_id) as tx:
            return await posters.choose(tx, asset_id, at_seconds)

    async def crop(
        self, company_id: UUID, asset_id: UUID, kept: Focus | Crop
    ) -> tuple[Asset, Files]:
        """
        Have the crops of a ready asset made anew; returns it as it is until then.

        Raises AssetNotFoundError, NotReadyError, OriginalGoneError, NoPicturesError and
        PosterUnderWayError.
        """
        async with self._work.begin(company_id) as tx:
            return await posters.crop(tx, asset_id, kept)

    async def delete(self, company_id: UUID, asset_id: UUID) -> None:
        """
        Delete the asset; work under way on it stops, and its objects are removed soon after.

        Deleting it again changes nothing. Raises AssetNotFoundError.
        """
        async with self._work.begin(company_id) as tx:
            await actions.delete(tx, asset_id)


def _waiting(assets: Iterable[Asset | None]) -> list[UUID]:
    return [one.id for one in assets if one is not None and one.status == AssetStatus.PROCESSING]


def grant_json(asset_id: UUID, grant: UploadGrant) -> str:
    """Return the body of the answer to a sign request."""
    return json.dumps(
        {
            "assetId": str(asset_id),
            "upload": {
                "method": "PUT",
                "url": grant.url,
                "headers": dict(grant.headers),
                "expiresAt": grant.expires_at.isoformat(timespec="milliseconds").replace(
                    "+00:00", "Z"
                ),
            },
        }
    )


def refusal(code: str, max_grants: int) -> Exception:
    """Return the error for what the database refused to record as a grant."""
    REFUSED.labels(code).inc()
    if code == ErrorCode.TOO_MANY_OPEN_GRANTS:
        return TooManyGrantsError(max_grants)
    if code == ErrorCode.UNKNOWN_PROFILE:
        return RefusedUploadError(ErrorCode.UNKNOWN_PROFILE)
    return RefusedUploadError(
        ErrorCode.QUOTA_EXCEEDED, "The company's storage quota does not hold this file."
    )

"""
Object storage: the one place that speaks S3, and reads the notifications of a bucket.

Invariant: the SDK blocks, so every network call runs in this adapter's own threads, with
time limits.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, TypeVar, cast
from urllib.parse import quote_plus, unquote_plus, urlsplit
from uuid import UUID
from xml.etree import ElementTree as ET

import certifi
import urllib3
from media_contracts import ObjectRef
from media_contracts.errors import ErrorCode
from media_runtime.errors import PermanentError, TransientError
from media_runtime.media.scratch import open_regular
from media_runtime.settings import ProvisionerSettings, StorageSettings
from media_runtime.storage.buckets import BucketPlan, BucketSetup, BucketSetupError, admin_client
from media_runtime.storage.keys import OUTPUTS, output_owner
from media_runtime.storage.presign import Presigner
from minio import Minio
from minio.commonconfig import CopySource
from minio.datatypes import ListMultipartUploadsResult, ListPartsResult
from minio.deleteobjects import DeleteObject
from minio.error import MinioAdminException, MinioException, S3Error
from minio.xml import Element, SubElement, findtext, getbytes

T = TypeVar("T")

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_FIRST_ERROR = 400
_THREADS = 16
_PAGE = 1000
# Larger ones are mapped and unmapped each: 500 MB cost up to a second of page faults.
_CHUNK = 64 * 1024
_NOTHING: Mapping[str, str] = {}
_MISSING = frozenset(
    {"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "NoSuchUpload", "MethodNotAllowed"}
    | {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
)
_UPLOADS = "uploads"
_QUARANTINE = "quarantine"
_FULL = frozenset({"XMinioAdminBucketQuotaExceeded", "QuotaExceeded"})
# All facts are in one header, since nginx hides headers from clients by their whole names alone.
_ABOUT = "x-amz-meta-about"


class StorageUnavailableError(TransientError):
    """The object store cannot be reached, or refused for now."""


class UnsafeLoginError(RuntimeError):
    """A service was given the object store's administrator."""


class ObjectMissingError(PermanentError):
    """The object, or this version of it, is not in storage."""

    def __init__(self, key: str) -> None:
        super().__init__(ErrorCode.OBJECT_MISSING, key=key)


class ContentChangedError(PermanentError):
    """The object has other bytes than those that were checked."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CONTENT_CHANGED)


class QuotaExceededError(PermanentError):
    """The bucket holds all that it may."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.QUOTA_EXCEEDED)


class MalformedNotificationError(PermanentError):
    """A record on media_ingest is not a bucket notification."""

    def __init__(self, why: str) -> None:
        super().__init__(ErrorCode.MALFORMED_NOTIFICATION, why=why)


@dataclass(frozen=True)
class StoredObject:
    """
    An object as a notification or a look at storage describes it.

    ``size`` is in bytes. ``sequencer`` orders the events of one key, compared as text.
    ``about`` is what stat() finds beside the bytes: what was given to upload_bytes().
    A delete marker has no bytes and hides the versions below it; ``is_superseded`` says of a
    listed version that a newer one has bytes.
    """

    bucket: str
    key: str
    version_id: str | None
    size: int
    etag: str
    sequencer: str = ""
    modified_at: datetime | None = None
    is_latest: bool = True
    is_delete_marker: bool = False
    is_superseded: bool = False
    content_type: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def owner(self) -> tuple[UUID, UUID] | None:
        """Company and asset that the key names, or None when it is not an original's key."""
        parts = self.key.split("/")
        if len(parts) != 3 or parts[1] not in {_UPLOADS, _QUARANTINE}:  # noqa: PLR2004
            return None
        try:
            return UUID(parts[0]), UUID(parts[2])
        except ValueError:
            return None


@dataclass(frozen=True)
class UnfinishedUpload:
    """An upload in parts that was begun, and neither completed nor aborted."""

    bucket: str
    key: str
    upload_id: str
    begun_at: datetime


class StoredPart(NamedTuple):
    """A part of an upload as storage has it: its number from 1 on, its size in bytes."""

    number: int
    size: int
    etag: str


class Uploaded(NamedTuple):
    """What was stored: its size in bytes, and their SHA-256 in hexadecimal."""

    size: int
    sha256: str


class _Hashed(io.RawIOBase):
    """A file that is hashed while somebody reads it, once."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def upload_key(company_id: UUID, asset_id: UUID) -> str:
    """Return the key under which the original of an asset is uploaded."""
    return f"{_uploads(company_id)}{asset_id}"


def quarantine_key(company_id: UUID, asset_id: UUID) -> str:
    """Return the key under which an original waits that was refused; its lifetime is short."""
    return f"{_quarantine(company_id)}{asset_id}"


def _uploads(company_id: UUID) -> str:
    return f"{company_id}/{_UPLOADS}/"


def _quarantine(company_id: UUID) -> str:
    return f"{company_id}/{_QUARANTINE}/"


def output_prefix(company_id: UUID, asset_id: UUID) -> str:
    """Return what the keys of all outputs of an asset begin with."""
    return f"{company_id}/{OUTPUTS}/{asset_id}/"


def attempt_of(key: str) -> int | None:
    """Return the attempt that an output's key carries, or None for another kind of key."""
    if output_owner(key) is None:
        return None
    number = key.split("/")[3].partition("-")[0]
    return int(number) if number.isdecimal() else None


class ObjectStore:
    """
    One object store, seen with one set of credentials.

    Methods raise StorageUnavailableError while it is away, ObjectMissingError for objects that
    are not there, and QuotaExceededError where a bucket is full.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._http = _http_client()
        self._client = _client(settings, self._http)
        self._presigner = Presigner(settings, settings.s3_endpoint_url)
        maker = _maker_of_buckets(settings)
        self._setup = BucketSetup(_client(maker, _http_client()), maker, http_client=_http_client())
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: StorageSettings) -> AsyncIterator[Self]:
        """
        Give the store for the block, also while it is away.

        Raises UnsafeLoginError in production when the login is an administrator's.
        """
        store = cls(settings)
        try:
            if settings.media_env == "production":
                await store.refuse_administrator()
            yield store
        finally:
            store.close()

    def close(self) -> None:
        """Let go of the threads; calls under way end on their own time limits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def bucket_of(self, company_id: UUID) -> str:
        """Return the name of a company's own bucket."""
        return f"{self._settings.s3_bucket_prefix}{company_id}"

    async def download(self, ref: ObjectRef, path: Path) -> str:
        """
        Write the object to *path* and return the SHA-256 of its bytes, in hexadecimal.

        Raises ContentChangedError where *ref* names another one.
        """
        found = await self._run(lambda: self._fetch(ref, path), ref.key)
        if ref.sha256 not in {None, found}:
            raise ContentChangedError
        return found

    def _fetch(self, ref: ObjectRef, path: Path) -> str:
        digest = hashlib.sha256()
        answer = self._client.get_object(ref.bucket, ref.key, version_id=ref.version_id)
        try:
            with path.open("wb") as file:
                for chunk in answer.stream(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
        finally:
            answer.close()
            answer.release_conn()
        return digest.hexdigest()

    async def upload(
        self, bucket: str, key: str, path: Path, *, content_type: str, cache_control: str
    ) -> Uploaded:
        """Store the regular file at *path*, which is read once, and return what was stored."""

        def store() -> Uploaded:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                hashed = _Hashed(file)
                self._client.put_object(
                    bucket,
                    key,
                    cast("BinaryIO", hashed),
                    size,
                    content_type=content_type,
                    metadata={"Cache-Control": cache_control},
                )
            return Uploaded(size, hashed.sha256)

        return await self._run(store, key)

    async def upload_bytes(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str,
        cache_control: str,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Store *data* under *key*, with the facts *about* it, which stat() gives back."""
        facts = {_ABOUT: json.dumps(dict(about))} if about else {}
        await self._run(
            lambda: self._client.put_object(
                bucket,
                key,
                io.BytesIO(data),
                len(data),
                content_type=content_type,
                metadata={"Cache-Control": cache_control, **facts},
            ),
            key,
        )

    async def copy(self, source: ObjectRef, key: str) -> str | None:
        """Copy an object to another key of its bucket and return the copy's version."""
        done = await self._run(
            lambda: self._client.copy_object(
                source.bucket,
                key,
                CopySource(source.bucket, source.key, version_id=source.version_id),
            ),
            source.key,
        )
        return done.version_id

    async def stat(self, ref: ObjectRef) -> StoredObject:
        """Return what storage knows of the object."""
        found = await self._run(
            lambda: self._client.stat_object(ref.bucket, ref.key, version_id=ref.version_id),
            ref.key,
        )
        return StoredObject(
            bucket=ref.bucket,
            key=ref.key,
            version_id=found.version_id,
            size=found.size or 0,
            etag=found.etag or "",
            modified_at=found.last_modified,
            content_type=found.content_type or "",
            about=_about(found.metadata or {}),
        )

    async def objects(
        self, bucket: str, prefix: str = "", *, all_versions: bool = False
    ) -> list[StoredObject]:
        """Return the newest version of every object under *prefix*, or all versions."""
        return await self._run(
            lambda: list(self._list(bucket, prefix, all_versions=all_versions)), prefix
        )

    async def pages(self, bucket: str) -> AsyncIterator[list[StoredObject]]:
        """
        Yield every version of all objects of a bucket, by pages.

        Keys come in order, and of each the newest version first; delete markers come anywhere.
        """
        listing = self._list(bucket, "", all_versions=True)
        while page := await self._run(lambda: list(islice(listing, _PAGE)), bucket):
            yield page

    def _list(
        self, bucket: str, prefix: str, *, all_versions: bool = False
    ) -> Iterator[StoredObject]:
        before = None
        for found in self._client.list_objects(
            bucket, prefix=prefix, recursive=True, include_version=all_versions
        ):
            key = found.object_name or ""
            yield StoredObject(
                bucket=bucket,
                key=key,
                version_id=found.version_id,
                size=found.size or 0,
                etag=found.etag or "",
                modified_at=found.last_modified,
                is_latest=found.is_latest != "false",
                is_delete_marker=found.is_delete_marker,
                is_superseded=not found.is_delete_marker and key == before,
            )
            if not found.is_delete_marker:
                before = key

    async def delete_versions(self, bucket: str, versions: Sequence[StoredObject]) -> int:
        """Delete exactly these versions for good; return how many."""
        return await self._run(lambda: self._delete(bucket, versions), bucket)

    async def delete_prefix(
        self, bucket: str, prefix: str, doomed: Callable[[StoredObject], bool] | None = None
    ) -> int:
        """Delete every version under *prefix* that *doomed* picks, or all; return how many."""

        def delete() -> int:
            found = self._list(bucket, prefix, all_versions=True)
            return self._delete(bucket, [one for one in found if doomed is None or doomed(one)])

        return await self._run(delete, prefix)

    def _delete(self, bucket: str, versions: Sequence[StoredObject]) -> int:
        objects = [DeleteObject(one.key, one.version_id) for one in versions]
        problems = list(self._client.remove_objects(bucket, objects)) if objects else []
        if problems:
            raise StorageUnavailableError(f"cannot delete {problems[0].name}: {problems[0].code}")
        return len(objects)

    async def begin_upload(self, bucket: str, key: str, *, content_type: str) -> str:
        """Begin an upload in parts, and return what storage knows it by."""
        headers = {"content-type": content_type}
        answer = await self._run(
            lambda: self._ask("POST", f"/{bucket}/{key}", {"uploads": ""}, headers), key
        )
        root = ET.fromstring(answer.data)  # noqa: S314
        return cast("str", findtext(root, "UploadId", True))

    async def parts_of(self, bucket: str, key: str, upload_id: str) -> list[StoredPart]:
        """
        Return the parts of an upload that are there, as they were sent last, in order.

        There are up to 1,000. Raises ObjectMissingError for one that is over.
        """
        query = {"uploadId": upload_id, "max-parts": str(_PAGE)}
        answer = await self._run(lambda: self._ask("GET", f"/{bucket}/{key}", query), key)
        found = ListPartsResult(answer).parts
        return [StoredPart(one.part_number, one.size or 0, one.etag) for one in found]

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[StoredPart]
    ) -> None:
        """
        Make one object of the parts, unless there is one under this key.

        Raises ObjectMissingError where the upload is over, or has other parts than these.
        """
        root = Element("CompleteMultipartUpload")
        for part in parts:
            one = SubElement(root, "Part")
            SubElement(one, "PartNumber", str(part.number))
            SubElement(one, "ETag", f'"{part.etag}"')
        body, query = getbytes(root), {"uploadId": upload_id}
        headers = {"if-none-match": "*"}

        def complete() -> None:
            try:
                answer = self._ask("POST", f"/{bucket}/{key}", query, headers, body)
            except S3Error as error:
                if error.code != "PreconditionFailed":
                    raise
                return
            # It answers before it is done, and what becomes of it is in the body.
            if b"<Error>" in answer.data:
                raise S3Error.fromxml(answer)

        await self._run(complete, key)

    async def unfinished_uploads(self, bucket: str) -> list[UnfinishedUpload]:
        """
        Return the uploads in parts that are open in *bucket*, as far as the store tells of them.

        MinIO tells of those that were begun since it was started.
        """
        query = {"uploads": "", "encoding-type": "url"}
        answer = await self._run(lambda: self._ask("GET", f"/{bucket}", query), bucket)
        return [
            UnfinishedUpload(bucket, one.object_name, one.upload_id, one.initiated_time)
            for one in ListMultipartUploadsResult(answer).uploads
            if one.upload_id and one.initiated_time
        ]

    async def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Remove the parts of an upload; one that is over by now needs nothing."""
        path, query = f"/{upload.bucket}/{upload.key}", {"uploadId": upload.upload_id}
        with suppress(ObjectMissingError):
            await self._run(lambda: self._ask("DELETE", path, query), upload.key)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str] = _NOTHING,
        body: bytes | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request for which the SDK has no method; raises S3Error."""
        lifetime, now = timedelta(seconds=_READ_SECONDS), datetime.now(UTC)
        url = self._presigner.url(
            method, path, query=query, headers=headers, lifetime=lifetime, now=now
        )
        answer = self._http.request(method, url, body=body, headers=dict(headers))
        if answer.status >= _FIRST_ERROR:
            if "xml" not in answer.headers.get("Content-Type", ""):  # from a proxy before it
                raise StorageUnavailableError(f"object store: {answer.status} {answer.reason}")
            raise S3Error.fromxml(answer)
        return answer

    async def ensure_bucket(self, company_id: UUID, *, quota_bytes: int) -> str:
        """
        Make a company's bucket with versions, notification and quota, and return its name.

        Every setting is read back; raises BucketSetupError when one did not take.
        """
        bucket = self.bucket_of(company_id)
        await self._run(lambda: self._setup.ensure(self._plan(company_id, quota_bytes)), bucket)
        return bucket

    async def bucket_flaw(self, company_id: UUID, *, quota_bytes: int) -> str | None:
        """Return what is wrong with a company's bucket, or None; ensure_bucket repairs it."""
        bucket = self.bucket_of(company_id)
        try:
            await self._run(lambda: self._setup.verify(self._plan(company_id, quota_bytes)), bucket)
        except BucketSetupError as error:
            return str(error)
        except ObjectMissingError:
            return f"{bucket}: there is no such bucket"
        return None

    def _plan(self, company_id: UUID, quota_bytes: int) -> BucketPlan:
        return BucketPlan(
            bucket=self.bucket_of(company_id),
            uploads=_uploads(company_id),
            quarantine=_quarantine(company_id),
            quota_bytes=quota_bytes,
        )

    async def ping(self) -> None:
        """Raise StorageUnavailableError unless the store answers and knows the login."""
        await self._run(self._knows_us, "ping")

    def _knows_us(self) -> None:
        try:
            self._client.bucket_exists("readiness-probe")
        except S3Error as error:
            if error.code != "AccessDenied":  # a login that is good, and may not look
                raise

    async def refuse_administrator(self) -> None:
        """
        Raise UnsafeLoginError when the login is an administrator's.

        A store that is away tells nothing, and is not waited for.
        """
        admin = admin_client(self._settings, _http_client())
        try:
            await self._run(admin.info, "info")
        except StorageUnavailableError:
            return
        raise UnsafeLoginError(
            f"{self._settings.s3_access_key!r} is an administrator of the object store; start the "
            "service with its own user: python -m media_runtime.storage.users makes them"
        )

    async def _run(self, call: Callable[[], T], key: str) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except S3Error as error:
            if error.code in _MISSING:
                raise ObjectMissingError(key) from error
            if error.code in _FULL:
                raise QuotaExceededError from error
            raise StorageUnavailableError(f"object store: {error.code} {error.message}") from error
        except (
            MinioException,
            MinioAdminException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise StorageUnavailableError(f"object store: {error!r}") from error


def _maker_of_buckets(settings: StorageSettings) -> StorageSettings:
    if not isinstance(settings, ProvisionerSettings):
        return settings
    return settings.model_copy(
        update={
            "s3_access_key": settings.s3_provisioner_access_key,
            "s3_secret_key": settings.s3_provisioner_secret_key,
        }
    )


def _client(settings: StorageSettings, http_client: urllib3.PoolManager) -> Minio:
    url = urlsplit(settings.s3_endpoint_url)
    return Minio(
        url.netloc,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        secure=url.scheme == "https",
        region=settings.s3_region,  # without it, every first call asks the store for it
        http_client=http_client,
    )


def _http_client() -> urllib3.PoolManager:
    return urllib3.PoolManager(
        maxsize=_THREADS,
        timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        retries=urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[502, 503, 504]),
        cert_reqs="CERT_REQUIRED",
        ca_certs=certifi.where(),
    )


def parse_notification(value: bytes) -> list[StoredObject]:
    """
    Return the objects that a bucket notification tells of; removals are left out.

    Keys are decoded: the store sends them query-escaped. Raises MalformedNotificationError.
    """
    try:
        return list(_created_objects(json.loads(value)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedNotificationError(repr(error)) from error


def _about(metadata: Mapping[str, str]) -> Mapping[str, str]:
    said = next((value for name, value in metadata.items() if name.lower() == _ABOUT), "{}")
    return cast("Mapping[str, str]", json.loads(said))


def _created_objects(notification: Any) -> Iterator[StoredObject]:
    for record in notification["Records"]:
        if not record["eventName"].startswith("s3:ObjectCreated:"):
            continue
        found = record["s3"]["object"]
        yield StoredObject(
            bucket=str(record["s3"]["bucket"]["name"]),
            key=unquote_plus(found["key"]),
            version_id=found.get("versionId") or None,
            size=int(found.get("size", 0)),
            etag=str(found.get("eTag", "")),
            sequencer=str(found.get("sequencer", "")),
        )


def build_notification(stored: StoredObject, *, source: str, at: datetime) -> bytes:
    """Return the notification of *stored*, as the store itself would have sent it."""
    record = {
        "eventVersion": "2.0",
        "eventSource": source,
        "eventTime": at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "eventName": "s3:ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": stored.bucket},
            "object": {
                "key": quote_plus(stored.key),
                "size": stored.size,
                "eTag": stored.etag,
                "versionId": stored.version_id or "",
                "sequencer": stored.sequencer,
            },
        },
    }
    return json.dumps(
        {
            "EventName": record["eventName"],
            "Key": f"{stored.bucket}/{stored.key}",
            "Records": [record],
        }
    ).encode()

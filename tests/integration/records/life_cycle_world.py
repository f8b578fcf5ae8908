"""
The code under test on a real PostgreSQL, without what is slow: files, Kafka, storage.

Workers are real up to the steps that touch a file; there they wait until the test lets them go
on, or tells them what went wrong. Records are taken from the outbox as its relay would take
them. Time passes when the test moves all moments in the database into the past.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from ingest.intake import Intake
from ingest.jobs import Job, JobQueue, LostLeaseError
from ingest.outcomes import Outcomes
from ingest.process import ProcessUpload
from ingest.settings import IngestSettings
from ingest.wakeup import Wakeup
from ingest.worker import Workers
from media_contracts import (
    MEDIA_INGEST,
    MEDIA_PROCESSED,
    MEDIA_STATUS,
    MEDIA_THUMBNAIL,
    AssetStatus,
    AssetStatusChanged,
    CloudEvent,
    ErrorInfo,
    MediaFile,
    MediaKind,
    ObjectRef,
    Picture,
    ThumbnailFailed,
    ThumbnailMade,
    ThumbnailRequested,
    new_event,
)
from media_records.files import files_of, original_of, reference
from media_records.lifecycle import Lifecycle
from media_records.tables import Asset
from media_runtime.auth import Caller
from media_runtime.kafka import Producer
from media_runtime.media_info import MediaInfo, VideoStream
from media_runtime.outbox import Outbox
from media_runtime.pictures import ImageInfo
from media_runtime.postgres import Database
from media_runtime.presign import UploadSigner
from media_runtime.settings import KafkaSettings
from media_runtime.storage import (
    ObjectMissingError,
    ObjectStore,
    StoredObject,
    output_key,
    upload_key,
)
from sign_api.settings import SignApiSettings
from sign_api.use_cases import Assets, Buckets, DeclaredUpload, SignUpload
from watcher.reconcile import Reconciler
from watcher.settings import WatcherSettings

from integration.records import life_cycle_model as limits
from support.databases import admin_url, service_url

SIZE = 1000
_NOWHERE = Path("/nowhere")
_ADDRESSES = {
    "kafka_bootstrap_servers": "127.0.0.1:9",
    "s3_endpoint_url": "http://127.0.0.1:9",
    "s3_access_key": "k",
    "s3_secret_key": "s" * 8,
    "s3_provisioner_access_key": "k",
    "s3_provisioner_secret_key": "s" * 8,
}
_TYPES = {limits.VIDEO: ("clip.mp4", "video/mp4"), limits.IMAGE: ("photo.jpg", "image/jpeg")}
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_VIDEO = MediaInfo(_MP4, 2.0, VideoStream("h264", 64, 48, 0, 25.0, "yuv420p", 1.0), None, 1)
_MOMENTS = {
    "media_assets": (
        "grant_expires_at", "created_at", "updated_at", "uploaded_at", "processed_at",
        "sweep_at", "check_at",
    ),
    "ingest_jobs": ("not_before", "lease_until", "created_at", "finished_at", "asked_at"),
}  # fmt: skip
_ASSETS = """
    SELECT a.*, files.* FROM media_assets a, LATERAL (
        SELECT max(version_id) FILTER (WHERE kind = 'original') AS original_version,
            max(key) FILTER (WHERE kind IN ('video', 'image') AND a.status = 'ready')
                AS processed_key,
            max(key) FILTER (WHERE kind = 'thumbnail' AND a.status = 'ready') AS thumbnail_key,
            coalesce(array_agg(attempt) FILTER (WHERE kind <> 'original'), '{}') AS made_in
        FROM asset_files WHERE asset_id = a.id
    ) files
"""
_CHANGES = """
    SELECT asset_id, company_id, attempt, from_status, to_status, service FROM asset_transitions
    ORDER BY id
"""
_JOBS = """
    SELECT asset_id, company_id, attempt, state, fence, tries FROM ingest_jobs
"""
_COUNTED = ("pending", "processing", "ready", "failed")
_NOTHING = f"array_fill(0::numeric, ARRAY[{len(_COUNTED) + 1}])"
_MISCOUNTED = f"""
    SELECT company_id FROM (
        SELECT company_id,
            ARRAY[sum(bytes), {", ".join(f"sum({status})" for status in _COUNTED)}] AS sums
        FROM company_usage GROUP BY company_id
    ) counted FULL JOIN (
        SELECT company_id, ARRAY[
            coalesce(sum(size) FILTER (WHERE status = 'pending' AND uploaded_at IS NULL), 0)
                + coalesce((SELECT sum(size) FROM asset_files f
                            WHERE f.company_id = media_assets.company_id), 0),
            {", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in _COUNTED)}
        ] AS sums
        FROM media_assets GROUP BY company_id
    ) there USING (company_id)
    WHERE array_replace(coalesce(counted.sums, {_NOTHING}), NULL, 0)
        <> array_replace(coalesce(there.sums, {_NOTHING}), NULL, 0)
"""
_RELAY = """
    WITH sent AS (DELETE FROM outbox RETURNING id, topic, value) SELECT * FROM sent ORDER BY id
"""


@dataclass
class Rows:
    """All rows of a moment, and the records that were written since the last one."""

    assets: dict[UUID, Any]
    changes: dict[UUID, list[Any]]
    jobs: dict[tuple[UUID, int], Any]
    notifications: list[bytes] = field(default_factory=list)
    requests: list[CloudEvent[ThumbnailRequested]] = field(default_factory=list)
    outcomes: list[CloudEvent[Any]] = field(default_factory=list)
    statuses: list[CloudEvent[AssetStatusChanged]] = field(default_factory=list)


class Storage(ObjectStore):
    """An object store that knows which uploads are there."""

    def __init__(self, settings: WatcherSettings) -> None:
        super().__init__(settings)
        self.uploads: dict[str, StoredObject] = {}

    async def stat(self, ref: ObjectRef) -> StoredObject:
        if "/outputs/" in ref.key:  # those that are told of are there
            return StoredObject(ref.bucket, ref.key, "v1", 9, "e")
        if ref.key not in self.uploads:
            raise ObjectMissingError(ref.key)
        return self.uploads[ref.key]


class Turns:
    """Where a worker's work waits to be told how it goes on."""

    def __init__(self) -> None:
        self.orders: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.waiting = asyncio.Event()

    async def take(self) -> None:
        """Wait for the test; raises what it says went wrong."""
        self.waiting.set()
        order = await self.orders.get()
        if order is not None:
            raise order


class Processing(ProcessUpload):
    """The real work on a job, but for the file."""

    turns: dict[tuple[int, int], Turns]

    async def __call__(self, job: Job, asset: Asset) -> None:
        await self.turns[job.id, job.fence].take()
        original = original_of(await files_of(self._database, asset.id))
        if original is None:
            raise LostLeaseError
        source = reference(asset, original)
        if asset.content_type.startswith("video/"):
            await self._video(job, asset, source, _NOWHERE)
        else:
            await self._image(job, asset, source, _NOWHERE)

    async def _transcode(
        self, asset: Asset, info: MediaInfo, video: VideoStream, source: Path, target: Path
    ) -> None:
        """Nothing is encoded."""

    async def _store_video(
        self, job: Job, asset: Asset, claimed: MediaInfo, target: Path
    ) -> MediaFile:
        await self.turns[job.id, job.fence].take()
        key = output_key(asset.company_id, asset.id, asset.attempt, "video.mp4", fence=job.fence)
        return MediaFile(
            name="video", kind="video", key=key, content_type="video/mp4", width=64, height=48,
            size=9,
        )  # fmt: skip


class NoPool:
    """A picture pool that finds every picture good."""

    async def run(self, *_: object, **__: object) -> ImageInfo:
        """Say that it is a small photo."""
        return ImageInfo("JPEG", 8, 8, 1)


class NoFfmpeg:
    """An ffmpeg that finds every video good."""

    async def probe(self, _: Path) -> MediaInfo:
        """Say that it is a short clip."""
        return _VIDEO


@dataclass(eq=False)
class Working:
    """A worker that holds a job, or believes so, and waits at a turn."""

    job: Job
    turns: Turns
    task: asyncio.Task[str]

    async def settles(self) -> str | None:
        """Return how the job ended for this worker, or None when it waits again."""
        waits = asyncio.create_task(self.turns.waiting.wait())
        await asyncio.wait({self.task, waits}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        waits.cancel()
        return self.task.result() if self.task.done() else None


class World:
    """The services' use cases on one database."""

    def __init__(
        self,
        admin: asyncpg.Connection,
        databases: dict[str, Database],
        url: str,
    ) -> None:
        self.admin = admin
        watcher = WatcherSettings(
            **_ADDRESSES,
            database_url=url,
            reconcile_after_seconds=limits.RECONCILE_AFTER,
            stuck_seconds=limits.STUCK,
            late_upload_seconds=limits.LATE_UPLOAD,
            expired_keep_seconds=limits.EXPIRED_KEEP,
        )
        self.storage = Storage(watcher)
        producer = Producer(KafkaSettings(**_ADDRESSES), name="t")
        outboxes = {
            name: Outbox(database, producer, service=name) for name, database in databases.items()
        }
        self._sign_api(databases["sign_api"], outboxes["sign_api"], url)
        self._ingest(databases["ingest"], outboxes["ingest"], producer, url)
        self.reconcile = Reconciler(
            database=databases["watcher"],
            store=self.storage,
            outbox=outboxes["watcher"],
            lifecycle=Lifecycle(outboxes["watcher"], service="watcher"),
            settings=watcher,
        )

    def _sign_api(self, database: Database, outbox: Outbox, url: str) -> None:
        settings = SignApiSettings(
            **_ADDRESSES,
            database_url=url,
            grant_seconds=limits.GRANT,
            media_public_url="http://127.0.0.1:9",
            edge_keys=f"k1:{'s' * 32}",
        )
        buckets = Buckets(database, self.storage, wait_seconds=settings.bucket_wait_seconds)
        signer = UploadSigner(settings, settings.media_public_url)
        self._sign = SignUpload(database, signer, buckets, settings)
        self.clients = Assets(database, outbox)

    def _ingest(self, database: Database, outbox: Outbox, producer: Producer, url: str) -> None:
        settings = IngestSettings(
            **_ADDRESSES,
            database_url=url,
            scratch_dir=_NOWHERE,
            lease_seconds=limits.LEASE,
            heartbeat_seconds=10**6,
            job_max_tries=limits.MAX_TRIES,
            job_retry_seconds=limits.RETRY,
            give_up_seconds=limits.GIVE_UP,
        )
        self._database = database
        self._lifecycle = lifecycle = Lifecycle(outbox, service="ingest")
        self.outcomes = Outcomes(database, self.storage, outbox, lifecycle, Wakeup())
        self.intake = Intake(
            reopen_seconds=limits.REOPEN,
            give_up_seconds=limits.GIVE_UP,
            database=database,
            outbox=outbox,
            lifecycle=lifecycle,
            outcomes=self.outcomes,
            new_job=Wakeup(),
        )
        self._processing = Processing(
            settings=settings,
            database=database,
            store=self.storage,
            producer=producer,
            outbox=outbox,
            lifecycle=lifecycle,
            outcomes=self.outcomes,
            pool=NoPool(),  # type: ignore[arg-type]
            ffmpeg=NoFfmpeg(),  # type: ignore[arg-type]
        )
        self._processing.turns = {}
        self._queue = JobQueue(database, owner="t", lease_seconds=limits.LEASE)
        self._workers = Workers(
            settings=settings,
            database=database,
            queue=self._queue,
            process=self._processing,
            outcomes=self.outcomes,
            lifecycle=lifecycle,
            outbox=outbox,
            new_job=Wakeup(),
        )

    async def begin(self) -> list[UUID]:
        """Forget all assets, and return the companies of a new example."""
        await self.admin.execute("DELETE FROM media_assets; DELETE FROM outbox")
        self.storage.uploads.clear()
        companies = sorted([uuid4(), uuid4()])  # claims that nothing else decides go by it
        await self.admin.executemany(
            "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, 1000000)",
            [(one, self.storage.bucket_of(one)) for one in companies],
        )
        return companies

    async def end(self, workers: list[Working]) -> None:
        """Let go of workers that never came back."""
        for worker in workers:
            worker.task.cancel()
        await asyncio.gather(*(worker.task for worker in workers), return_exceptions=True)
        self._processing.turns.clear()

    async def sign(self, company: UUID, kind: str) -> UUID:
        """Return the asset of a new grant."""
        name, content_type = _TYPES[kind]
        caller = Caller("t", company, frozenset(), 0.0)
        answer = await self._sign(caller, DeclaredUpload(name, SIZE, content_type))
        return UUID(json.loads(answer)["assetId"])

    def upload(self, company: UUID, asset_id: UUID, version: str) -> StoredObject:
        """Store a version of the asset's file."""
        key = upload_key(company, asset_id)
        bucket = self.storage.bucket_of(company)
        found = StoredObject(bucket=bucket, key=key, version_id=version, size=SIZE, etag="e")
        self.storage.uploads[key] = found
        return found

    async def claim(self) -> Working | None:
        """Let a worker claim a job; None when there is none, or nobody wants it."""
        claimed = await self._workers._claim(tuple(MediaKind))
        if claimed is None or claimed[1] is None:
            return None
        job, asset = claimed
        turns = self._processing.turns[job.id, job.fence] = Turns()
        working = Working(job, turns, asyncio.create_task(self._workers._settle(job, asset)))
        await working.settles()
        return working

    @staticmethod
    async def go_on(worker: Working, order: Exception | None = None) -> str | None:
        """Let a worker go on to its next turn, or its end, which is returned."""
        worker.turns.waiting.clear()
        worker.turns.orders.put_nowait(order)
        return await worker.settles()

    @staticmethod
    async def stop(worker: Working) -> None:
        """Stop a worker gracefully."""
        worker.task.cancel()
        await asyncio.gather(worker.task, return_exceptions=True)

    async def beat(self, worker: Working) -> bool:
        """Return whether the worker could renew its lease."""
        try:
            return await self._queue.beat(worker.job)
        except LostLeaseError:
            return False

    async def delete_as_it_was_read(self, asset: Asset) -> Asset | None:
        """Change an asset that was read some time ago, without a look at what it is now."""
        async with self._database.transaction() as connection:
            return await self._lifecycle.change(
                connection, asset, AssetStatus.DELETED, at=datetime.now(UTC)
            )

    async def lease_lapses(self, worker: Working) -> None:
        """Let the lease of a job, if this worker still holds it, end now."""
        await self.admin.execute(
            "UPDATE ingest_jobs SET lease_until = now() - interval '1 second'"
            " WHERE id = $1 AND fence = $2 AND state = 'running'",
            worker.job.id,
            worker.job.fence,
        )

    async def time_passes(self, seconds: int) -> None:
        """Move everything that happened into the past."""
        for table, columns in _MOMENTS.items():
            changes = ", ".join(f"{one} = {one} - make_interval(secs => $1)" for one in columns)
            await self.admin.execute(f"UPDATE {table} SET {changes}", float(seconds))

    async def look(self) -> Rows:
        """Return all rows, and relay the outbox."""
        rows = Rows({row["id"]: row for row in await self.admin.fetch(_ASSETS)}, {}, {})
        rows.changes = {asset_id: [] for asset_id in rows.assets}
        for row in await self.admin.fetch(_CHANGES):
            rows.changes[row["asset_id"]].append(row)
        for row in await self.admin.fetch(_JOBS):
            rows.jobs[row["asset_id"], row["attempt"]] = row
        for row in await self.admin.fetch(_RELAY):
            _sort(rows, row["topic"], row["value"].encode())
        assert not await self.admin.fetch(_MISCOUNTED), "a company's usage is not what it has"
        return rows


def answer(
    asked: CloudEvent[ThumbnailRequested], number: int, *, error: str | None, company: UUID
) -> CloudEvent[Any]:
    """Return the thumbnailer's answer; *number* tells it from others."""
    data: ThumbnailMade | ThumbnailFailed
    if error:
        data = ThumbnailFailed(
            attempt=asked.data.attempt, error=ErrorInfo(code=error, message="No picture.")
        )
    else:
        pictures = [
            Picture(
                name=spec.name, bucket=asked.data.source.bucket, key=spec.key,
                content_type="image/jpeg", width=number, height=8, size=10**15,
            )
            for spec in asked.data.pictures
        ]  # fmt: skip
        data = ThumbnailMade(attempt=asked.data.attempt, pictures=pictures)
    return new_event(
        data, source="/media/thumbnailer", asset_id=asked.subject, company_id=company,
        time=datetime.now(UTC),
    )  # fmt: skip


@asynccontextmanager
async def open_world(database: str) -> AsyncIterator[World]:
    """Give a world on this database, for an event loop of its own."""
    async with AsyncExitStack() as stack:
        admin = await asyncpg.connect(admin_url(database))
        stack.push_async_callback(admin.close)
        # Nothing here asks what a crash of the server would lose.
        await admin.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
        databases = {
            name: await stack.enter_async_context(
                Database.connect(service_url(database, name), name="t", size=5)
            )
            for name in ("sign_api", "ingest", "watcher")
        }
        world = World(admin, databases, service_url(database, "ingest"))
        stack.callback(world.storage.close)
        yield world


def _sort(rows: Rows, topic: str, value: bytes) -> None:
    if topic == MEDIA_INGEST.name:
        rows.notifications.append(value)
    elif topic == MEDIA_THUMBNAIL.name:
        rows.requests.append(MEDIA_THUMBNAIL.parse(value))
    elif topic == MEDIA_PROCESSED.name:
        rows.outcomes.append(MEDIA_PROCESSED.parse(value))
    else:
        event = MEDIA_STATUS.parse(value)
        if isinstance(event.data, AssetStatusChanged):
            rows.statuses.append(event)

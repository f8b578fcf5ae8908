"""
The code under test on a real PostgreSQL, without what is slow: files, Kafka, storage.

Workers are real up to the steps that touch a file; there they wait until the test lets them go
on, or tells them what went wrong. Records are taken from the outbox as its relay would take
them. Time passes when the test moves all moments in the database into the past.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
from ingest import inspect
from ingest.answers import OnAnswer
from ingest.ask import AskForPictures
from ingest.images import Images
from ingest.inspect import Inspect
from ingest.intake import Intake
from ingest.outputs.source import Doer, Done
from ingest.plan import plan
from ingest.run import RunTask
from ingest.settings import IngestSettings
from ingest.sources import Sources
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
    FileKind,
    ImageChecked,
    ImageCheckRequested,
    MediaFile,
    ObjectRef,
    Picture,
    Profile,
    Stage,
    ThumbnailFailed,
    ThumbnailMade,
    ThumbnailRequested,
    new_event,
)
from media_contracts.formats import family_of
from media_records import tasks
from media_records.files import files_of, original_of
from media_records.lifecycle import change
from media_records.tables import Asset
from media_records.tasks import LostLeaseError, NewTask, Pool, Task, Turns
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.http.auth import Caller
from media_runtime.kafka.producer import Producer
from media_runtime.media.gate import Found
from media_runtime.media.info import MediaInfo, VideoStream
from media_runtime.media.kept_files import KeptFile
from media_runtime.settings import KafkaSettings
from media_runtime.storage.keys import output_key
from media_runtime.storage.presign import UploadSigner
from media_runtime.storage.store import (
    ObjectMissingError,
    ObjectStore,
    StoredObject,
    upload_key,
)
from sign_api.settings import SignApiSettings
from sign_api.use_cases import Assets, Buckets, DeclaredUpload, SignUpload
from watcher.reconcile.assets import Reconciler
from watcher.settings import WatcherSettings

from integration.records import life_cycle_model as limits
from support.assets import PLAIN
from support.databases import admin_url, service_url

SIZE = 1000
# Whatever is there: nobody reads it.
_ANY_FILE = Path(__file__)
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
    "tasks": ("not_before", "lease_until", "created_at", "claimed_at", "finished_at"),
}  # fmt: skip
_ASSETS = """
    SELECT a.*, files.* FROM media_assets a, LATERAL (
        SELECT max(version_id) FILTER (WHERE kind = 'original') AS original_version,
            coalesce(json_object_agg(name, key) FILTER (WHERE kind <> 'original'), '{}') AS files,
            coalesce(array_agg(attempt) FILTER (WHERE kind <> 'original'), '{}') AS made_in
        FROM asset_files WHERE asset_id = a.id
    ) files
"""
_CHANGES = """
    SELECT asset_id, company_id, attempt, from_status, to_status, service FROM asset_transitions
    ORDER BY id
"""
_TASKS = """
    SELECT asset_id, company_id, attempt, name, required, state, fence, tries FROM tasks
"""
# Each line has used so much more than the one before that what tasks really take decides nothing.
_PIN = """
    INSERT INTO company_work (pool, company_id, seconds, at)
    SELECT pool, company_id, $3 * (number - 1), now()
    FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS lines (pool, company_id, number)
    ON CONFLICT (company_id, pool) DO UPDATE SET seconds = excluded.seconds, at = now()
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


Asked: TypeAlias = ImageCheckRequested | ThumbnailRequested
"""What the thumbnailer is asked for."""
TaskKey = tuple[UUID, int, str]
"""A task, by its asset, its attempt and its name."""


@dataclass
class Rows:
    """All rows of a moment, and the records that were written since the last one."""

    assets: dict[UUID, Any]
    changes: dict[UUID, list[Any]]
    tasks: dict[TaskKey, Any]
    notifications: list[bytes] = field(default_factory=list)
    requests: list[CloudEvent[Asked]] = field(default_factory=list)
    outcomes: list[CloudEvent[Any]] = field(default_factory=list)
    statuses: list[CloudEvent[AssetStatusChanged]] = field(default_factory=list)


_STORED: ContextVar[dict[str, int]] = ContextVar("stored")
"""The widths of the pictures that an answer tells of, by their keys."""


class Storage(ObjectStore):
    """An object store that knows which uploads are there."""

    def __init__(self, settings: WatcherSettings) -> None:
        super().__init__(settings)
        self.uploads: dict[str, StoredObject] = {}

    async def stat(self, ref: ObjectRef) -> StoredObject:
        if "/outputs/" in ref.key:  # those that are told of are there
            said = {"width": str(_STORED.get()[ref.key]), "height": "8"}
            return StoredObject(
                ref.bucket, ref.key, "v1", 9, "e", content_type="image/jpeg", about=said
            )
        if ref.key not in self.uploads:
            raise ObjectMissingError(ref.key)
        return self.uploads[ref.key]


class Stops:
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


_STOPS: ContextVar[Stops] = ContextVar("stops")
"""Those of the worker whose task this is."""


class NoSources(Sources):
    """Uploads without bytes, which a worker waits for."""

    @asynccontextmanager
    async def open(self, asset: Asset) -> AsyncIterator[KeptFile]:
        await _STOPS.get().take()
        if original_of(await files_of(self._database, asset.id)) is None:
            raise LostLeaseError
        yield KeptFile(_ANY_FILE, _ANY_FILE)


class Inspecting(Inspect):
    """The real look at a video, but for its bytes; a preview is wanted as well."""

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        del task
        declared = Found(family_of(asset.content_type), asset.content_type)
        found = await self._probe(asset, source, declared, folder)
        await _STOPS.get().take()
        pictures = [task for task in plan(PLAIN, found) if task.pool == Pool.PICTURES]
        wanted = (_FILM, *pictures, _PREVIEW)
        return Done(then=wanted, stage=Stage.PROBED, probe=found.probe, warnings=found.warnings)


class Make:
    """Makes one file of a task, but for its bytes; see Doer."""

    reads_upload = True

    def __init__(self, kind: FileKind, suffix: str) -> None:
        self._made = kind, suffix

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Do a task."""
        del source, folder
        await _STOPS.get().take()
        return Done([_made(task, asset, *self._made)])


# As one task: of how a film becomes many there are tests of their own.
_FILM = NewTask(limits.VIDEO, limits.ENCODE, Pool.ENCODE)
_PREVIEW = NewTask(
    limits.PREVIEW, limits.PREVIEW, Pool.ENCODE, needs=(limits.VIDEO,), required=False
)


def _made(task: Task, asset: Asset, kind: FileKind, suffix: str) -> MediaFile:
    name = f"{task.name}.{suffix}"
    return MediaFile(
        name=task.name, kind=kind, content_type="x/y", width=64, height=48, size=9,
        key=output_key(asset.company_id, asset.id, asset.attempt, name, fence=task.fence),
    )  # fmt: skip


class PlainImages(Images):
    """Images of which what is wanted is made at once."""

    async def _profile(self, *_: object) -> Profile:
        return PLAIN


class NoFfmpeg:
    """An ffmpeg that finds every video good."""

    async def probe(self, _: Path) -> MediaInfo:
        """Say that it is a short clip."""
        return _VIDEO

    async def read_lines(self, *_: object, **__: object) -> bool:
        """Say nothing of its packets."""
        return False


@dataclass(eq=False)
class Working:
    """A worker that holds a task, or believes so, and waits at a stop."""

    task: Task
    stops: Stops
    work: asyncio.Task[str]

    @property
    def key(self) -> TaskKey:
        """Which task it is."""
        return self.task.asset_id, self.task.attempt, self.task.name

    async def settles(self) -> str | None:
        """Return how the task ended for this worker, or None when it waits again."""
        waits = asyncio.create_task(self.stops.waiting.wait())
        await asyncio.wait({self.work, waits}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        waits.cancel()
        return self.work.result() if self.work.done() else None


class World:
    """The services' use cases on one database."""

    def __init__(
        self,
        admin: asyncpg.Connection,
        databases: dict[str, Database],
        url: str,
        scratch: Path,
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
        work = {
            name: Work(database, Outbox(database, producer, service=name))
            for name, database in databases.items()
        }
        self._sign_api(work["sign_api"], url)
        self._ingest(work["ingest"], producer, url, scratch)
        self.reconcile = Reconciler(work=work["watcher"], store=self.storage, settings=watcher)

    def _sign_api(self, work: Work, url: str) -> None:
        settings = SignApiSettings(
            **_ADDRESSES,
            database_url=url,
            grant_seconds=limits.GRANT,
            media_public_url="http://127.0.0.1:9",
            edge_keys=f"k1:{'s' * 32}",
        )
        buckets = Buckets(work.database, self.storage, wait_seconds=settings.bucket_wait_seconds)
        signer = UploadSigner(settings, settings.media_public_url)
        self._sign = SignUpload(work.database, signer, buckets, settings)
        self.clients = Assets(work)

    def _ingest(self, work: Work, producer: Producer, url: str, scratch: Path) -> None:
        settings = IngestSettings(
            **_ADDRESSES,
            database_url=url,
            scratch_dir=scratch,
            lease_seconds=limits.LEASE,
            heartbeat_seconds=10**6,
            task_max_tries=limits.MAX_TRIES,
            task_retry_seconds=limits.RETRY,
            give_up_seconds=limits.GIVE_UP,
            pictures_lease_seconds=limits.PICTURES_LEASE,
            company_max_inflight_pictures=limits.MOST_PICTURES,
        )
        self._work = work
        self.intake = Intake(work)
        images = PlainImages(settings)
        self._answered = OnAnswer(work, self.storage, images)
        self.ask = AskForPictures(settings, work, images)._ask_once
        doers: dict[str, Doer] = {
            inspect.KIND: Inspecting(
                settings=settings,
                ffmpeg=NoFfmpeg(),  # type: ignore[arg-type]
                profiles=work.database,
            ),
            limits.ENCODE: Make(FileKind.VIDEO, "mp4"),
            limits.PREVIEW: Make(FileKind.PICTURE, "jpg"),
        }
        sources = NoSources(work.database, self.storage, scratch)
        run = RunTask(work, sources, doers, scratch)
        self._workers = Workers(settings=settings, work=work, run=run)

    async def begin(self) -> list[UUID]:
        """Forget all assets, and return the companies of a new example."""
        await self.admin.execute(
            "DELETE FROM media_assets; DELETE FROM outbox; DELETE FROM company_work"
        )
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
            worker.work.cancel()
        await asyncio.gather(*(worker.work for worker in workers), return_exceptions=True)

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

    async def pin(self, lines: Sequence[limits.Line]) -> None:
        """Let these have used a little more each, in their order."""
        pools, companies = zip(*lines, strict=True)
        await self.admin.execute(_PIN, pools, companies, float(limits.TURN))

    async def claim(self) -> Working | None:
        """Let a worker claim a task; None when there is none, or nobody wants it."""
        claimed = await self._workers._claim(Turns([Pool.INSPECT, Pool.ENCODE], 10))
        if claimed is None or claimed[1] is None:
            return None
        task, asset = claimed
        stops = Stops()
        set_before = _STOPS.set(stops)
        working = Working(task, stops, asyncio.create_task(self._workers._settle(task, asset)))
        _STOPS.reset(set_before)
        await working.settles()
        return working

    @staticmethod
    async def go_on(worker: Working, order: Exception | None = None) -> str | None:
        """Let a worker go on to its next stop, or its end, which is returned."""
        worker.stops.waiting.clear()
        worker.stops.orders.put_nowait(order)
        return await worker.settles()

    @staticmethod
    async def stop(worker: Working) -> None:
        """Stop a worker gracefully."""
        worker.work.cancel()
        await asyncio.gather(worker.work, return_exceptions=True)

    async def heartbeat(self, worker: Working) -> bool:
        """Return whether the worker could renew its lease."""
        try:
            return await tasks.heartbeat(
                self._work.database, worker.task, lease_seconds=limits.LEASE
            )
        except LostLeaseError:
            return False

    async def delete_as_it_was_read(self, asset: Asset) -> Asset | None:
        """Change an asset that was read some time ago, without a look at what it is now."""
        async with self._work.begin() as tx:
            return await change(tx, asset, AssetStatus.DELETED, at=datetime.now(UTC))

    async def answered(self, event: CloudEvent[Any]) -> None:
        """Let the thumbnailer's answer come in, whose pictures were stored just before."""
        pictures = () if isinstance(event.data, ThumbnailFailed) else event.data.pictures
        _STORED.set({one.key: one.width for one in pictures})
        await self._answered(event)

    async def lease_lapses(self, key: TaskKey, fence: int) -> None:
        """Let the lease of a task, if it is still that of this claim, end now."""
        await self.admin.execute(
            "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE asset_id = $1"
            " AND attempt = $2 AND name = $3 AND fence = $4 AND state = 'running'",
            *key, fence,
        )  # fmt: skip

    async def time_passes(self, seconds: int) -> None:
        """Move everything that happened into the past."""
        for table, columns in _MOMENTS.items():
            changes = ", ".join(f"{one} = {one} - make_interval(secs => $1)" for one in columns)
            await self.admin.execute(f"UPDATE {table} SET {changes}", float(seconds))

    async def look(self) -> Rows:
        """Return all rows, and relay the outbox."""
        assets = [dict(row) for row in await self.admin.fetch(_ASSETS)]
        for asset in assets:
            asset["files"] = json.loads(asset["files"])
        rows = Rows({asset["id"]: asset for asset in assets}, {}, {})
        rows.changes = {asset_id: [] for asset_id in rows.assets}
        for row in await self.admin.fetch(_CHANGES):
            rows.changes[row["asset_id"]].append(row)
        for row in await self.admin.fetch(_TASKS):
            rows.tasks[row["asset_id"], row["attempt"], row["name"]] = row
        for row in await self.admin.fetch(_RELAY):
            _sort(rows, row["topic"], row["value"])
        assert not await self.admin.fetch(_MISCOUNTED), "a company's usage is not what it has"
        return rows


def answer(
    asked: CloudEvent[Asked], number: int, *, error: str | None, company: UUID
) -> CloudEvent[Any]:
    """Return the thumbnailer's answer; *number* tells it from others."""
    data: ImageChecked | ThumbnailMade | ThumbnailFailed
    if error:
        data = ThumbnailFailed(
            attempt=asked.data.attempt, error=ErrorInfo(code=error, message="No picture."),
            task=asked.data.task,
        )  # fmt: skip
    else:
        pictures = [
            Picture(
                name=spec.name, bucket=asked.data.source.bucket, key=spec.key,
                content_type="image/jpeg", width=number, height=8, size=10**15,
            )
            for spec in asked.data.pictures
        ]  # fmt: skip
        if isinstance(asked.data, ImageCheckRequested):
            data = ImageChecked(
                attempt=asked.data.attempt, task=asked.data.task, sha256="0" * 64,
                content_type="image/jpeg", format="JPEG", width=8, height=8, frames=1, scans=1,
                hdr=False, pictures=pictures, seconds=1,
            )  # fmt: skip
        else:
            data = ThumbnailMade(
                attempt=asked.data.attempt, pictures=pictures, task=asked.data.task, seconds=1
            )
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
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = World(admin, databases, service_url(database, "ingest"), scratch)
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

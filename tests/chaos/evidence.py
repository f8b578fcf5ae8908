"""
What a run left behind: journal, rows, objects, messages, processes and files.

Invariant: nothing is judged here and nothing is changed; what could not be read is an error.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import urllib3
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from ingest.film import cmaf
from media_contracts import TOPICS
from media_runtime.storage.store import upload_key
from minio import Minio
from minio.error import S3Error
from PIL import Image

from chaos.journal import Entry, Journal, companies, read_lines, uploads
from chaos.load import Heard
from chaos.target import Target
from support.tiers import PATIENCE

T = TypeVar("T")

_PAUSE_SECONDS = 0.25
_TIDY_SECONDS = 10.0
_WORKERS = 4
_PROGRAMS = ("ffmpeg", "ffprobe", "bwrap")
_LOOK_SECONDS = 30.0
# A client that was told that its upload is stored does not lose it to the end of its grant.
_UNFINISHED = """
    SELECT id, company_id, status, bucket FROM media_assets
    WHERE company_id = ANY($1) AND status IN ('pending', 'processing', 'expired')
"""
_OPEN_TASKS = """
    SELECT count(*) FROM tasks
    WHERE company_id = ANY($1) AND state IN ('blocked', 'queued', 'running')
"""
_WAITING = "SELECT count(*) FROM outbox WHERE company_id = ANY($1)"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One key of a bucket. ``versions`` counts stored versions; ``deleted``: none is current."""

    bucket: str
    key: str
    size: int
    etag: str
    versions: int = 1
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Message:
    """A record of a topic, named without the stack's prefix; ``event`` is empty for no JSON."""

    topic: str
    partition: int
    offset: int
    at: float
    key: str
    event: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> tuple[str, ...]:
        """Where a dead letter comes from, and who could not handle it; else its own place."""
        names = ("dlq-topic", "dlq-partition", "dlq-offset", "dlq-service")
        found = tuple(self.headers.get(name, "") for name in names)
        return found if all(found) else (self.topic, str(self.partition), str(self.offset))


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a decoder made of an object; ``problem`` when it refused. ``seconds`` for videos."""

    width: int = 0
    height: int = 0
    size: int = 0
    seconds: float | None = None
    problem: str = ""


@dataclass
class Evidence:
    """
    All that the judge looks at. Rows are as the tables have them, UUIDs as text.

    ``processes`` are command lines, ``scratch`` files left in scratch directories, ``lag`` the
    records that a group has not committed, by ``group/topic``.
    """

    journal: list[Entry] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    objects: list[Found] = field(default_factory=list)
    decoded: dict[str, Decoded] = field(default_factory=dict)
    assets: list[dict[str, Any]] = field(default_factory=list)
    transitions: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    dead_letters: list[Message] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    scratch: list[str] = field(default_factory=list)
    lag: dict[str, int] = field(default_factory=dict)
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC))


async def gather(target: Target, journal: Journal) -> Evidence:
    """Return the evidence on the journal's companies; call it after ``quiesce``."""
    entries = journal.entries()
    ours = companies(entries)
    evidence = Evidence(journal=entries, heard=_heard(journal))
    connection = await asyncpg.connect(target.database_url)
    try:
        await _rows(connection, ours, evidence)
    finally:
        await connection.close()
    with ThreadPoolExecutor(_WORKERS) as pool:
        storage = _Storage(target, pool)
        listing = storage.listing(ours)
        dump, evidence.lag, evidence.objects = await asyncio.gather(
            _patiently(lambda: _dump(target)), _patiently(lambda: _lasting_lag(target)), listing
        )
        evidence.decoded = await storage.decoded(evidence.assets, evidence.files)
    _sort_messages(dump, ours, entries, evidence)
    evidence.processes, evidence.scratch = processes_left(target), files_left(target)
    return evidence


def _heard(journal: Journal) -> list[Heard]:
    path = journal.events_path
    return [Heard(**line) for line in read_lines(path)] if path.exists() else []


async def _rows(connection: Any, ours: Sequence[str], evidence: Evidence) -> None:
    ids = [UUID(company) for company in ours]
    signed = [
        UUID(entry.asset_id) for entry in evidence.journal if entry.asset_id and entry.op == "sign"
    ]
    # An asset that went to a stranger is found by its id.
    evidence.assets = _plain(
        await connection.fetch(
            "SELECT * FROM media_assets WHERE company_id = ANY($1) OR id = ANY($2)", ids, signed
        )
    )
    about = [UUID(asset["id"]) for asset in evidence.assets]
    for name, table, order in (
        ("transitions", "asset_transitions", "id"),
        ("tasks", "tasks", "id"),
        ("files", "asset_files", "created_at, attempt, name"),
    ):
        found = await connection.fetch(
            f"SELECT * FROM {table} WHERE company_id = ANY($1) OR asset_id = ANY($2)"
            f" ORDER BY {order}",
            ids,
            about,
        )
        setattr(evidence, name, _plain(found))
    evidence.outbox = _plain(
        await connection.fetch("SELECT * FROM outbox WHERE company_id = ANY($1) ORDER BY id", ids)
    )
    evidence.taken_at = await connection.fetchval("SELECT now()")


def _plain(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [
        {
            name: str(value)
            if isinstance(value, UUID)
            else value.decode(errors="replace")
            if isinstance(value, bytes)
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


class _Storage:
    """The object store as its administrator sees it, in threads."""

    def __init__(self, target: Target, pool: ThreadPoolExecutor) -> None:
        secure, address = target.s3_url.startswith("https"), target.s3_url.split("//")[1]
        self._client = Minio(
            address.rstrip("/"),
            access_key=target.s3_access_key,
            secret_key=target.s3_secret_key,
            secure=secure,
            region="us-east-1",
            http_client=urllib3.PoolManager(
                maxsize=_WORKERS,
                timeout=urllib3.Timeout(connect=5, read=20),
                retries=urllib3.Retry(total=2, backoff_factor=0.2),
            ),
        )
        self._target = target
        self._pool = pool

    async def listing(self, ours: Sequence[str]) -> list[Found]:
        buckets = [self._target.bucket(company) for company in ours]
        return [found for bucket in await self._in_threads(self._list, buckets) for found in bucket]

    def _list(self, bucket: str) -> list[Found]:
        versions: dict[str, list[Any]] = {}
        try:
            for one in self._client.list_objects(bucket, recursive=True, include_version=True):
                versions.setdefault(one.object_name or "", []).append(one)
        except S3Error as error:
            if error.code == "NoSuchBucket":
                return []
            raise
        return [_found(bucket, key, of_key) for key, of_key in sorted(versions.items())]

    async def decoded(
        self, assets: Sequence[Mapping[str, Any]], files: Sequence[Mapping[str, Any]]
    ) -> dict[str, Decoded]:
        """Return what decoders make of the outputs of all ready assets, by key."""
        ready = {asset["id"]: asset["bucket"] for asset in assets if asset["status"] == "ready"}
        wanted = [
            (ready[file["asset_id"]], file["key"], file["kind"])
            for file in files
            if file["asset_id"] in ready and file["kind"] != "original"
        ]
        found = await self._in_threads(self._decode, wanted)
        return dict(zip((key for _, key, _ in wanted), found, strict=True))

    def _decode(self, wanted: tuple[str, str, str]) -> Decoded:
        bucket, key, kind = wanted
        try:
            with self._client.get_object(bucket, key) as answer:
                data = answer.read()
        except S3Error as error:
            return Decoded(problem=error.code or "S3Error")
        if kind == "segment" and key.endswith(".mp4"):
            return decode_segment(data)
        return decode_video(data) if key.endswith(".mp4") else decode_picture(data)

    async def exists(self, keys: Sequence[tuple[str, str]]) -> list[bool]:
        return await self._in_threads(self._exists, keys)

    def _exists(self, wanted: tuple[str, str]) -> bool:
        try:
            self._client.stat_object(*wanted)
        except S3Error:
            return False
        return True

    async def _in_threads(self, call: Any, items: Sequence[Any]) -> list[Any]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(self._pool, call, item) for item in items)
        )


def _found(bucket: str, key: str, versions: Sequence[Any]) -> Found:
    stored = [one for one in versions if not one.is_delete_marker]
    # is_latest is text in the listing.
    latest = next((one for one in versions if str(one.is_latest).lower() == "true"), versions[0])
    shown = stored[0] if latest.is_delete_marker and stored else latest
    return Found(
        bucket=bucket,
        key=key,
        size=shown.size or 0,
        etag=(shown.etag or "").strip('"'),
        versions=len(stored),
        deleted=bool(latest.is_delete_marker),
    )


def decode_picture(data: bytes) -> Decoded:
    """Return what Pillow makes of a picture, read to its last line."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return Decoded(width=image.width, height=image.height, size=len(data))
    except Exception as error:  # noqa: BLE001 - whatever Pillow raises is the finding
        return Decoded(size=len(data), problem=repr(error))


def decode_video(data: bytes) -> Decoded:
    """Return what ffprobe makes of a video, decoding its first five seconds."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        command = ["ffprobe", "-v", "error", "-select_streams", "V:0", "-count_frames"]
        command += ["-read_intervals", "%+5", "-show_streams", "-show_format", "-of", "json"]
        done = subprocess.run([*command, file.name], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout or "{}")
    streams = found.get("streams", [])
    if done.returncode or done.stderr or not streams:
        return Decoded(size=len(data), problem=done.stderr[:300] or "no video stream")
    if not int(streams[0].get("nb_read_frames", 0)):
        return Decoded(size=len(data), problem="no frame can be decoded")
    seconds = found.get("format", {}).get("duration")
    return Decoded(
        width=streams[0]["width"],
        height=streams[0]["height"],
        size=len(data),
        seconds=float(seconds) if seconds else None,
    )


def decode_segment(data: bytes) -> Decoded:
    """Return what a part of a stream is; its length is what its fragments say."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    streams = json.loads(done.stdout or "{}").get("streams", [])
    try:
        track = cmaf.read(data)
    except cmaf.CmafError as error:
        return Decoded(size=len(data), problem=str(error))
    if done.returncode or done.stderr or len(streams) != 1 or not track.samples:
        return Decoded(size=len(data), problem=done.stderr[:300] or "no stream")
    return Decoded(
        width=streams[0].get("width"),
        height=streams[0].get("height"),
        size=len(data),
        seconds=track.ticks / track.timescale,
    )


async def _patiently(look: Callable[[], Awaitable[T]]) -> T:
    """Return what *look* finds; a broker that has just been started is given time."""
    deadline = time.monotonic() + _LOOK_SECONDS
    while True:
        try:
            return await look()
        except KafkaError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def _dump(target: Target) -> list[Message]:
    """Return every record of every topic and its dead letters, as far as they reach now."""
    names = [name for topic in TOPICS for name in (topic.name, topic.dlq)]
    consumer = AIOKafkaConsumer(
        **target.kafka.client_arguments(),
        enable_auto_commit=False,
        # What is compressed or transactional is read as other teams read it.
        isolation_level="read_committed",
        fetch_max_bytes=64 * 1024 * 1024,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    try:
        await consumer.start()
        parts = await _partitions(consumer, [target.topic_prefix + name for name in names])
        consumer.assign(parts)
        begins = await consumer.beginning_offsets(parts)
        ends = await consumer.end_offsets(parts)
        for part in parts:
            consumer.seek(part, begins[part])
        found: list[Message] = []
        left = {part for part in parts if begins[part] < ends[part]}
        while left:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [_message(target.topic_prefix, record) for record in records]
            left = {part for part in left if await consumer.position(part) < ends[part]}
    finally:
        await consumer.stop()
    return found


async def _partitions(consumer: Any, topics: Sequence[str]) -> list[TopicPartition]:
    cluster = await consumer._client.fetch_all_metadata()  # no public call knows all topics
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(cluster.partitions_for_topic(topic) or ())
    ]


def _message(prefix: str, record: Any) -> Message:
    try:
        event = json.loads(record.value or b"")
    except (ValueError, RecursionError):
        event = None
    is_event = isinstance(event, dict)
    return Message(
        topic=record.topic.removeprefix(prefix),
        partition=record.partition,
        offset=record.offset,
        at=record.timestamp / 1000,
        key=(record.key or b"").decode(errors="replace"),
        event=event if is_event else {},
        headers={
            name: (value or b"").decode(errors="replace")[:200] for name, value in record.headers
        },
    )


def _sort_messages(
    dump: Sequence[Message], ours: Sequence[str], entries: Sequence[Entry], evidence: Evidence
) -> None:
    """
    Keep the messages that name our companies or assets, and the run's dead letters.

    Poison names nobody, hence dead letters are told apart by their moment. What was one
    before the run, and came again because a group began anew, is none of this run's.
    """
    names = {*ours, *(entry.asset_id for entry in entries if entry.asset_id)}
    began = min((entry.at for entry in entries), default=0.0)
    letters = []
    for message in dump:
        if message.topic.endswith("_dlq"):
            letters.append(message)
        elif names & _names(message):
            evidence.messages.append(message)
    before = {letter.origin for letter in letters if letter.at < began}
    evidence.dead_letters = [
        letter for letter in letters if letter.at >= began and letter.origin not in before
    ]


def _names(message: Message) -> set[str]:
    event = message.event
    found = {message.key, str(event.get("subject")), str(event.get("companyid"))}
    if message.topic == "media_ingest":
        found |= set(message.key.split("/"))
    return found


async def _lasting_lag(target: Target) -> dict[str, int]:
    # What the watcher fed, or storage told again, in the last moment is not forgotten yet.
    deadline = time.monotonic() + _TIDY_SECONDS
    while True:
        lag = await consumer_lag(target)
        if not any(lag.values()) or time.monotonic() > deadline:
            return lag
        await asyncio.sleep(_PAUSE_SECONDS)


async def consumer_lag(target: Target) -> dict[str, int]:
    """Return how many records each group of this stack still has before it, by group/topic."""
    admin = AIOKafkaAdminClient(**target.kafka.client_arguments())
    consumer = AIOKafkaConsumer(**target.kafka.client_arguments())
    try:
        await admin.start()
        await consumer.start()
        ours = {target.topic_prefix + topic.name for topic in TOPICS}
        # Other teams read when they like.
        groups = {target.topic_prefix + topic.group for topic in TOPICS if topic.group}
        lag: dict[str, int] = {}
        for group in sorted(groups & {name for name, *_ in await admin.list_consumer_groups()}):
            committed = await admin.list_consumer_group_offsets(group)
            topics = {part.topic for part in committed} & ours
            parts = await _partitions(consumer, sorted(topics))
            begins = await consumer.beginning_offsets(parts)
            ends = await consumer.end_offsets(parts)
            for part in parts:
                known = committed.get(part)
                reached = known.offset if known and known.offset >= 0 else begins[part]
                name = f"{group}/{part.topic.removeprefix(target.topic_prefix)}"
                lag[name] = lag.get(name, 0) + max(0, ends[part] - reached)
        return lag
    finally:
        await consumer.stop()
        await admin.close()


def processes_left(target: Target) -> list[str]:
    """Return the command lines of media programs that work in the scratch directories."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
            line = " ".join(words)
            is_media = any(program in line for program in _PROGRAMS)
            if is_media and any(str(folder) in line for folder in target.scratch):
                found.append(line.strip())
    return found


def files_left(target: Target) -> list[str]:
    """Return the files and directories that tasks left in the scratch directories."""
    # The services' own directories, one level down, are there to stay.
    return [
        str(path.relative_to(folder))
        for folder in target.scratch
        for path in sorted(folder.glob("*/*"))
    ]


async def quiesce(target: Target, journal: Journal, timeout: float = 120) -> float:  # noqa: ASYNC109
    """
    Wait until the stack has nothing left to do for the journal's companies; return the seconds.

    When time is up it returns as well; what is unfinished is noted in the journal, and the
    judge reports it. A stack whose database or broker is away has not come to rest.
    """
    timeout *= PATIENCE
    started = time.monotonic()
    work_done: float | None = None
    with ThreadPoolExecutor(_WORKERS) as pool:
        storage = _Storage(target, pool)
        while True:
            left = timeout - (time.monotonic() - started)
            unfinished = await _unfinished(target, storage, journal, max(5.0, left))
            elapsed = time.monotonic() - started
            if not unfinished:
                work_done = elapsed if work_done is None else work_done
                untidy = processes_left(target) + files_left(target)
                # What is still there by then was forgotten: the judge will see it itself.
                if not untidy or elapsed - work_done > _TIDY_SECONDS:
                    journal.add("quiesce", "ok", detail=f"{work_done:.2f} s")
                    return work_done
            else:
                work_done = None
            if elapsed > timeout:
                journal.add("quiesce", "fail", detail=f"after {elapsed:.0f} s: {unfinished}")
                return elapsed
            await asyncio.sleep(_PAUSE_SECONDS)


async def _unfinished(target: Target, storage: _Storage, journal: Journal, seconds: float) -> str:
    try:
        async with asyncio.timeout(min(seconds, _LOOK_SECONDS)):
            waiting = await _unfinished_rows(target, storage, journal)
            if waiting:
                return waiting
            lag = await consumer_lag(target)
    except Exception as error:  # noqa: BLE001 - anything may be away, and come back
        return f"cannot look: {error!r}"
    if uploads(journal.entries()) and not lag:
        return "the broker does not know its groups yet"
    behind = {name: count for name, count in lag.items() if count}
    return f"lag {behind}" if behind else ""


async def _unfinished_rows(target: Target, storage: _Storage, journal: Journal) -> str:
    entries = journal.entries()
    ours = [UUID(company) for company in companies(entries)]
    told = {asset_id for asset_id, entry in uploads(entries).items() if entry.outcome == "ok"}
    connection = await asyncpg.connect(target.database_url, timeout=5)
    try:
        rows = await connection.fetch(_UNFINISHED, ours)
        tasks = await connection.fetchval(_OPEN_TASKS, ours)
        outbox = await connection.fetchval(_WAITING, ours)
    finally:
        await connection.close(timeout=5)
    found = [row for row in rows if row["status"] == "processing" or str(row["id"]) in told]
    # Nobody was told whether these are stored; those that are will be processed.
    doubtful = [row for row in rows if row not in found and row["status"] == "pending"]
    stored = await storage.exists(
        [(row["bucket"], upload_key(row["company_id"], row["id"])) for row in doubtful]
    )
    found += [row for row, there in zip(doubtful, stored, strict=True) if there]
    if not (found or tasks or outbox):
        return ""
    shown = [f"{row['id']} {row['status']}" for row in found[:5]]
    return f"{len(found)} assets {shown}, {tasks} tasks, {outbox} outbox records"

"""
One round of the watcher, whole, at ten thousand finished assets and at ten million.

Both sizes have a database of their own on the stack's PostgreSQL, filled as a year leaves it, and
the same work at hand in each round: by turns, so that whatever else the machine does meets both.
Kafka and object storage are the stack's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from media_records.migrate import migrate
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from media_runtime.storage.store import ObjectStore
from watcher.main import parts_of_a_round
from watcher.reconcile.assets import SERVICE
from watcher.settings import WatcherSettings

from bench.report import Row
from support.databases import admin_url

_FEW = 10_000
_MANY = int(os.environ.get("BENCH_WATCHER_ASSETS", "10000000"))
_COMPANIES = 1000
_WITH_BUCKETS = 20
_BATCH = 500_000

_COMPANY = "('00000000-0000-4000-8000-' || lpad((n % 1000)::text, 12, '0'))::uuid"
# From 0 to 99, another one for each asset of a company.
_CHANCE = "((n * 7 + n / 1000) % 100)"
_MAKE_COMPANIES = f"""
    INSERT INTO companies (company_id, bucket, quota_bytes)
    SELECT {_COMPANY}, $1 || {_COMPANY}::text, 1000000000000000 FROM generate_series(0, 999) n
"""
# Of a hundred assets 5 failed, 3 were deleted, 2 cancelled; one had a second attempt. The newest
# is two hours old, the oldest 360 days.
_ASSETS = f"""
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, status, attempt,
        bucket, uploaded_at, error_code, error_message, traceparent, grant_expires_at, created_at,
        updated_at, processed_at, check_at, grant_swept)
    SELECT id, company::uuid, 'holiday-' || n || '.mp4', CASE WHEN n % 3 = 0 THEN 'image/jpeg'
            ELSE 'video/mp4' END, 4000000, status, 1 + ({_CHANCE} = 50)::int, $3 || company,
        at, CASE WHEN status = 'failed' THEN 'unreadable_media' END,
        CASE WHEN status = 'failed' THEN 'The file cannot be read.' END,
        '00-' || md5(n::text) || '-' || left(md5(n::text), 16) || '-01', at + interval '1 hour',
        at, at + interval '40 seconds', at + interval '40 seconds', at, true
    FROM (
        SELECT n, id, company,
            now() - interval '2 hours' - ($4 - n) * (interval '360 days' / $4) AS at,
            CASE WHEN {_CHANCE} < 5 THEN 'failed' WHEN {_CHANCE} < 8 THEN 'deleted'
                WHEN {_CHANCE} < 10 THEN 'cancelled' ELSE 'ready' END AS status
        FROM (
            SELECT n, md5('asset ' || n)::uuid AS id, {_COMPANY}::text AS company
            FROM generate_series($1::bigint, $2::bigint) n ORDER BY id
        ) sorted
    ) made
"""
# Photos have two tasks, videos three; of those that failed, the first one failed.
_TASKS = f"""
    INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool, params, state, tries,
        fence, owner, last_error, not_before, created_at, claimed_at, finished_at)
    SELECT {_COMPANY}, md5('asset ' || n)::uuid, attempt, name, kind, pool, params,
        CASE WHEN {_CHANCE} < 5 THEN 'failed' ELSE 'done' END, 1, 1, 'ingest-1',
        CASE WHEN {_CHANCE} < 5 THEN 'unreadable_media: The file cannot be read.' END,
        at, at, at + interval '1 second', at + interval '39 seconds'
    FROM (
        SELECT n, now() - interval '2 hours' - ($3 - n) * (interval '360 days' / $3) AS at
        FROM generate_series($1::bigint, $2::bigint) n ORDER BY md5('asset ' || n)::uuid
    ) made, generate_series(1, 1 + ({_CHANCE} = 50)::int) attempt, (VALUES
        (1, 'inspect', 'inspect', 'inspect', '{{}}'),
        (2, 'pictures', 'pictures', 'pictures', repeat('x', 300)),
        (3, 'video', 'encode', 'encode', repeat('x', 200))
    ) AS planned (number, name, kind, pool, params)
    WHERE number <= CASE WHEN {_CHANCE} < 5 THEN 1 WHEN n % 3 = 0 THEN 2 ELSE 3 END
"""
_TRANSITIONS = f"""
    INSERT INTO asset_transitions (company_id, asset_id, attempt, from_status, to_status, service,
        at)
    SELECT {_COMPANY}, md5('asset ' || n)::uuid, 1,
        (ARRAY[NULL, 'pending', 'processing'])[step],
        (ARRAY['pending', 'processing', 'ready'])[step], 'ingest', now() - interval '2 hours'
    FROM generate_series($1::bigint, $2::bigint) n, generate_series(1, 2 + n % 2) step
"""
_FILES = f"""
    INSERT INTO asset_files (asset_id, attempt, name, company_id, kind, key, version_id,
        content_type, size, sha256, width, height, duration_seconds, fence, created_at)
    SELECT id, attempt, name, company, kind, company || folder || name, md5(n::text), type, size,
        repeat(md5(n::text), 2), width, height, seconds, attempt, now() - interval '3 hours'
    FROM (
        SELECT n, md5('asset ' || n)::uuid AS id, {_COMPANY} AS company
        FROM generate_series($1::bigint, $2::bigint) n WHERE {_CHANCE} >= 10 ORDER BY 2
    ) made, LATERAL (VALUES
        (0, 'original', 'original', '/uploads/', 'video/mp4', 4000000, NULL, NULL, NULL),
        (1, 'video', 'video', '/outputs/' || id || '/1-1/', 'video/mp4', 1990000, 1280, 720, 9.5),
        (1, 'thumbnail', 'thumbnail', '/outputs/' || id || '/1-1/', 'image/jpeg', 10000, 320, 240,
            NULL)
    ) AS files (attempt, name, kind, folder, type, size, width, height, seconds)
"""
_USAGE = (
    """
    INSERT INTO company_usage (company_id, slot, bytes, pending, processing, ready, failed,
        expired, cancelled, deleted)
    SELECT company_id, 0, 6000000 * count(*) FILTER (WHERE status IN ('processing', 'ready')),
        count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'processing'),
        count(*) FILTER (WHERE status = 'ready'), count(*) FILTER (WHERE status = 'failed'),
        count(*) FILTER (WHERE status = 'expired'), count(*) FILTER (WHERE status = 'cancelled'),
        count(*) FILTER (WHERE status = 'deleted')
    FROM media_assets GROUP BY company_id
    """,
    """
    INSERT INTO company_usage (company_id, slot, bytes, pending)
    SELECT company_id, slot, 0, 0 FROM companies, generate_series(1, 15) slot
    """,
)
# At hand in each round: 190 that are worked on or wait, 10 grants in use, 500 that lapsed unused
# this week, and 50 outcomes of the last quarter of an hour.
_LIVE = (
    f"""
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket,
        grant_expires_at, status, uploaded_at)
    SELECT md5('live ' || n)::uuid, {_COMPANY}, 'n', 'video/mp4', 1000, $1 || {_COMPANY},
        now() + interval '10 hours',
        CASE WHEN n > 190 THEN 'pending' ELSE 'processing' END,
        CASE WHEN n <= 190 THEN now() - n * interval '1 second' END
    FROM generate_series(1, 200) n
    """,
    """
    INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool, state, claimed_at,
        finished_at, lease_until)
    SELECT company_id, id, 1, pool, pool, pool,
        (ARRAY['running', 'running', 'running', 'queued', 'done'])[1 + abs(hashtext(id::text)) % 5],
        now(), now(), now() + interval '1 day'
    FROM media_assets, (VALUES ('encode'), ('pictures')) AS pools (pool)
    WHERE status = 'processing'
    """,
    f"""
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket,
        grant_expires_at, status, updated_at)
    SELECT md5('lapsed ' || n)::uuid, {_COMPANY}, 'n', 'image/png', 1000, $1,
        now() - n * interval '10 minutes', 'expired', now() - n * interval '10 minutes'
    FROM generate_series(1, 500) n
    """,
    f"""
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket,
        grant_expires_at, status, uploaded_at, processed_at)
    SELECT md5('new ' || n)::uuid, {_COMPANY}, 'n', 'image/png', 1000, $1, now(), 'ready',
        now(), now() + interval '5 hours' FROM generate_series(1, 50) n
    """,
)
# What a round finds to do, anew before each: all that is unfinished is looked at, 20 buckets are
# verified, 20 assets are too old and their files are removed, keys and tickets have lapsed.
_ANEW = (
    "DELETE FROM outbox",
    """
    UPDATE media_assets SET check_at = now() - interval '1 day', updated_at = now()
    WHERE status IN ('pending', 'processing')
    """,
    f"""
    UPDATE companies SET verified_at = 'epoch'
    WHERE company_id IN (SELECT {_COMPANY} FROM generate_series(0, {_WITH_BUCKETS - 1}) n)
    """,
    f"""
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket,
        grant_expires_at, status, created_at)
    SELECT id, company, 'n', 'image/png', 1000, $1 || company, now(), 'ready',
        now() - interval '400 days'
    FROM (SELECT gen_random_uuid() AS id, {_COMPANY} AS company
          FROM generate_series(0, {_WITH_BUCKETS - 1}) n) made
    """,
    """
    INSERT INTO event_tickets
    SELECT md5(clock_timestamp()::text || n), gen_random_uuid(), 's', now(),
        now() - interval '1 second' FROM generate_series(1, 100) n
    """,
    """
    INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response, created_at)
    SELECT company_id, md5(id::text), 'h', id, '{}', now() - interval '25 hours'
    FROM media_assets WHERE status = 'processing' ON CONFLICT DO NOTHING
    """,
)
# No trigger counts, no foreign key is looked up, and nobody waits for the disk.
_AS_A_FILL = (
    "SET session_replication_role = replica",
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '512MB'",
    "SET work_mem = '128MB'",
)
_TABLES = ("media_assets", "tasks", "asset_transitions", "asset_files", "companies",
           "company_usage", "outbox", "idempotency_keys", "event_tickets")  # fmt: skip
_PLAIN_INDEXES = """
    SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = ANY($1::text[]::regclass[]) AND NOT i.indisunique
"""
BIG = ["media_assets", "tasks", "asset_transitions"]


def run(rounds: int) -> list[Row]:
    """Return the time of whole rounds at both sizes, and of each of their parts."""
    return asyncio.run(_run(rounds))


async def _run(rounds: int) -> list[Row]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    async with _world(_FEW) as few, _world(_MANY) as many:
        pairs = [(await few(), await many()) for _ in range(rounds + 1)][1:]
    _say(f"{rounds} rounds at each size")
    rows = []
    for name in pairs[0][0]:
        ours = [many[name] for _, many in pairs]
        others = [few[name] for few, _ in pairs]
        rows.append(
            Row(
                name=name,
                ours=_times(ours),
                other=f"{_times(others)} at {_FEW:,}",
                ratios=[one / other for one, other in zip(ours, others, strict=True)],
                target="under 1.5" if name == _WHOLE else "",
            )
        )
    return rows


_WHOLE = f"watcher: a round at {_MANY:,} finished assets"
Times = dict[str, float]


@asynccontextmanager
async def _world(assets: int) -> AsyncIterator[Callable[[], Any]]:
    """Give a callable that makes one round over so many finished assets and says what took it."""
    prefix = f"bench{assets}-"
    name = f"bench_{assets}"
    admin = await asyncpg.connect(admin_url())
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {name}")
    try:
        await migrate(admin_url(name), {})
        inside = await asyncpg.connect(admin_url(name), command_timeout=7200)
        await fill(inside, name, assets, prefix)
        settings = _settings(name, prefix)
        async with AsyncExitStack() as stack:
            url = settings.database_url.get_secret_value()
            database = await stack.enter_async_context(Database.connect(url, name=SERVICE, size=8))
            store = await stack.enter_async_context(ObjectStore.connect(settings))
            producer = await stack.enter_async_context(Producer.connect(settings, name=SERVICE))
            await make_buckets(store)
            work = Work(database, Outbox(database, producer, service=SERVICE))
            parts = parts_of_a_round(work, store, settings)
            clock = _Clock(parts)

            async def one_round() -> Times:
                await plant_work(inside, prefix)
                return await clock.one_round()

            yield one_round
        await inside.close()
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


class _Clock:
    """Times a round, its parts, and the looks of the first of them."""

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts
        watch = parts[0]
        watch._looks = [_TimedLook(look, self) for look in watch._looks]
        self.taken: dict[str, float] = defaultdict(float)

    async def one_round(self) -> Times:
        self.taken.clear()
        began = time.perf_counter()
        parts = {}
        for part in self._parts:
            parts[f"  {type(part).__name__}"] = await self._timed(part)
        whole = time.perf_counter() - began
        looks = {f"    {name}": seconds for name, seconds in self.taken.items()}
        (first, looking), *others = parts.items()
        return {_WHOLE: whole, first: looking, **looks, **dict(others)}

    @staticmethod
    async def _timed(part: Any) -> float:
        began = time.perf_counter()
        await part()
        return time.perf_counter() - began


class _TimedLook:
    def __init__(self, look: Any, clock: _Clock) -> None:
        self._look = look
        self._clock = clock
        self.kinds = look.kinds

    async def __call__(self) -> Any:
        began = time.perf_counter()
        try:
            return await self._look()
        finally:
            self._clock.taken[type(self._look).__name__] += time.perf_counter() - began


async def fill(admin: asyncpg.Connection, database: str, assets: int, prefix: str) -> None:
    """Fill a migrated database; indexes are made at the end, and sums by one statement."""
    began = time.perf_counter()
    await _each(admin, _AS_A_FILL, prefix)
    await admin.execute(_MAKE_COMPANIES, prefix)
    indexes = await admin.fetch(_PLAIN_INDEXES, BIG)
    for index in indexes:
        await admin.execute(f"DROP INDEX {index['name']}")
    async with asyncio.TaskGroup() as group:
        group.create_task(_fill_part(database, assets, _ASSETS, prefix, float(assets)))
        group.create_task(_fill_part(database, assets, _TASKS, float(assets)))
        group.create_task(_fill_part(database, assets, _TRANSITIONS))
        group.create_task(_fill_part(database, assets, _FILES))
    _say(f"{assets:,} assets filled in {time.perf_counter() - began:.0f} s")
    await _each(admin, _LIVE, prefix)
    for index in indexes:
        await admin.execute(index["definition"])
    await _each(admin, _USAGE, prefix)
    await admin.execute("SET session_replication_role = origin")
    for table in _TABLES:
        await admin.execute(f"VACUUM ANALYZE {table}")
    await admin.execute("CHECKPOINT")
    counts = {
        table: await admin.fetchval(f"SELECT count(*) FROM {table}")
        for table in (*BIG, "asset_files", "company_usage")
    }
    size = await admin.fetchval("SELECT pg_database_size(current_database())")
    told = ", ".join(f"{count:,} {table}" for table, count in counts.items())
    _say(f"filled in {time.perf_counter() - began:.0f} s: {told}; {size / 1e9:.2f} GB")


async def plant_work(admin: asyncpg.Connection, prefix: str) -> None:
    """Give the next round as much to do as the one before had."""
    await _each(admin, _ANEW, prefix)


async def make_buckets(store: ObjectStore) -> None:
    """Make the buckets that each round verifies."""
    for number in range(_WITH_BUCKETS):
        company = UUID(f"00000000-0000-4000-8000-{number:012}")
        await store.ensure_bucket(company, quota_bytes=10**15)


async def _fill_part(database: str, assets: int, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(admin_url(database), command_timeout=7200)
    await _each(connection, _AS_A_FILL, "")
    for first in range(1, assets + 1, _BATCH):
        last = min(first + _BATCH - 1, assets)
        await connection.execute(statement, first, last, *arguments)
        _say(f"{last:,} of {assets:,}: {statement.split()[2]}")
    await connection.close()


async def _each(admin: asyncpg.Connection, statements: tuple[str, ...], prefix: str) -> None:
    for statement in statements:
        await admin.execute(statement, *([prefix] if "$1" in statement else []))


def _settings(database: str, prefix: str) -> WatcherSettings:
    address = admin_url(database).rpartition("@")[2]
    password = os.environ["WATCHER_DB_PASSWORD"]
    key, secret = os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"]
    return WatcherSettings(
        database_url=f"postgresql://media_watcher:{password}@{address}",
        media_env="development",
        s3_bucket_prefix=prefix,
        s3_access_key=key,
        s3_secret_key=secret,
        s3_provisioner_access_key=key,
        s3_provisioner_secret_key=secret,
    )


def _times(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f} ms (min {min(seconds) * 1000:.1f})"


def _say(line: str) -> None:
    now = datetime.now(UTC).strftime("%H:%M:%S")
    sys.stderr.write(f"{now} {line}\n")
    sys.stderr.flush()

"""A round takes the same time however many assets are finished."""

from __future__ import annotations

import os
import sys
import time
from contextlib import asynccontextmanager
from statistics import median

import asyncpg
import pytest
from media_runtime.postgres import Database
from watcher.backlog import LookAtBacklog, LookAtOutcomes
from watcher.pressure import LookAtPressure
from watcher.quotas import LookAtQuotas
from watcher.retention import plan_retention
from watcher.watch import Watch

from support.databases import admin_url, clone_of, service_url

FEW = 10_000
MANY = int(os.environ.get("WATCHER_FLAT_ASSETS", "100000"))
_ROUNDS = 30

# A hundred companies; every thousandth attempt failed, all of them over the last half year.
_FINISHED = """
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket, upload_key,
        grant_expires_at, status, error_code, uploaded_at, created_at, processed_at, stored_bytes)
    SELECT gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad((n % 100)::text, 12, '0'))::uuid,
        'n', 'image/png', 1000, 'b', 'k', at, CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'ready' END,
        CASE WHEN n % 1000 = 0 THEN 'processing_failed' END, at, at, at, 500
    FROM (SELECT n, now() - interval '1 hour' - n % 180 * interval '1 day' AS at
          FROM generate_series($1::bigint, $2::bigint) n) made
"""
_UNFINISHED = """
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket, upload_key,
        grant_expires_at, status, uploaded_at)
    SELECT gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad((n % 100)::text, 12, '0'))::uuid,
        'n', 'image/png', 1000, 'b', 'k', now(), 'processing', now() - n * interval '1 second'
    FROM generate_series(1, 200) n
"""
_COMPANIES = """
    INSERT INTO companies (company_id, bucket, quota_bytes)
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'b', 1000000000000
    FROM generate_series(0, 99) n
"""
_BATCH = 500_000


_COUNTED = """
    INSERT INTO company_usage (company_id, slot, bytes, pending, processing, ready, failed)
    SELECT company_id, 0, sum(size + stored_bytes), 0,
        count(*) FILTER (WHERE status = 'processing'), count(*) FILTER (WHERE status = 'ready'),
        count(*) FILTER (WHERE status = 'failed') FROM media_assets GROUP BY company_id
"""


async def fill(admin, first, last):
    # Row by row, in one transaction, the trigger would update a hundred rows millions of times.
    await admin.execute("SET session_replication_role = replica")
    for begin in range(first, last + 1, _BATCH):
        await admin.execute(_FINISHED, begin, min(begin + _BATCH - 1, last), timeout=3000)
    await admin.execute("DELETE FROM company_usage")
    await admin.execute(_COUNTED, timeout=3000)
    await admin.execute("SET session_replication_role = origin")
    # As autovacuum does after so many changes.
    for table in ("media_assets", "company_usage"):
        await admin.execute(f"VACUUM ANALYZE {table}", timeout=3000)


@asynccontextmanager
async def filled(template, settings, finished):
    """Give a watch over a database of its own with so many finished assets, as a callable."""
    async with clone_of(template) as name:
        connection = await asyncpg.connect(admin_url(name))
        await connection.execute(_COMPANIES)
        await connection.execute(_UNFINISHED)
        await fill(connection, 1, finished)
        await connection.close()
        async with Database.connect(service_url(name, "watcher"), name="t", size=1) as database:
            looks = LookAtBacklog, LookAtOutcomes, LookAtQuotas, LookAtPressure
            watch = Watch(*(look(database, settings) for look in looks))

            async def look() -> float:
                started = time.perf_counter()
                await watch()
                await plan_retention(database, settings)
                return time.perf_counter() - started

            yield look


@pytest.mark.timeout(7200)
async def test_a_round_takes_as_long_at_many_finished_assets_as_at_few(
    template_database, settings, capsys
):
    """With WATCHER_FLAT_ASSETS=10000000 it is ten million; by default a hundred thousand."""
    async with (
        filled(template_database, settings, FEW) as look_at_few,
        filled(template_database, settings, MANY) as look_at_many,
    ):
        # By turns, so that whatever else the machine does concerns both.
        pairs = [(await look_at_few(), await look_at_many()) for _ in range(_ROUNDS)][1:]
    few, many = (median(times) for times in zip(*pairs, strict=True))
    with capsys.disabled():
        sys.stdout.write(
            f"\na round at {FEW:,} finished assets {few * 1000:.1f} ms, at {MANY:,}"
            f" {many * 1000:.1f} ms: {many / few:.2f} times\n"
        )
    # Generous: this is no timed test, and a scan of all rows takes over ten times as long.
    assert many < few * 4

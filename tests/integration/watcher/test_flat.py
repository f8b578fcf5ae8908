"""
A round touches as much of the database however many assets are finished.

``./mediactl bench watcher`` times it at ten million; here nothing is timed, so that a slow machine
is no failure: PostgreSQL counts what a whole round reads.
"""

from __future__ import annotations

from contextlib import asynccontextmanager

import asyncpg
import pytest
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from watcher.main import parts_of_a_round

from bench.watcher_round import BIG, fill, make_buckets, plant_work
from support.databases import admin_url, clone_of, service_url
from support.eventually import eventually

FEW, MANY = 5_000, 50_000
_READ = """
    SELECT (SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))
            FROM pg_statio_user_tables)::bigint AS blocks,
        (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = ANY($1))::bigint
            AS rows_scanned
"""
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
        AND pid <> pg_backend_pid()
"""


@asynccontextmanager
async def alone(name):
    """Give a connection to a database when it is the only one, so that all others are counted."""
    connection = await asyncpg.connect(admin_url(name), command_timeout=600)
    try:

        async def is_alone():
            return await connection.fetchval(_OTHERS) == 0

        await eventually(is_alone)
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def filled(template, finished, prefix):
    """Give the name of a database with so many finished assets, and nothing that vacuums it."""
    async with clone_of(template) as name:
        async with alone(name) as admin:
            for table in await admin.fetch("SELECT relname FROM pg_stat_user_tables"):
                await admin.execute(f"ALTER TABLE {table[0]} SET (autovacuum_enabled = false)")
            await fill(admin, name, finished, prefix)
        yield name


async def one_round(name, store, settings):
    """Return the blocks that a round touched, and the rows it read by scanning big tables."""
    async with alone(name) as admin:
        await plant_work(admin, settings.s3_bucket_prefix)
    async with alone(name) as admin:
        before = await admin.fetchrow(_READ, [*BIG, "asset_files"])
    async with Database.connect(service_url(name, "watcher"), name="t", size=1) as database:
        outbox = Outbox(database, Producer(settings, name="t"), service="watcher")
        for part in parts_of_a_round(Work(database, outbox), store, settings):
            await part()
    async with alone(name) as admin:
        after = await admin.fetchrow(_READ, [*BIG, "asset_files"])
    return tuple(late - early for late, early in zip(after, before, strict=True))


@pytest.mark.timeout(900)
async def test_a_round_reads_as_much_at_many_finished_assets_as_at_few(
    template_database, settings, kafka_settings, store
):
    servers = kafka_settings.model_dump(include={"kafka_bootstrap_servers", "kafka_topic_prefix"})
    settings = settings.model_copy(update=servers)
    await make_buckets(store)
    blocks = {}
    for finished in (FEW, MANY):
        async with filled(template_database, finished, settings.s3_bucket_prefix) as name:
            await one_round(name, store, settings)
            blocks[finished], scanned = await one_round(name, store, settings)
            assert finished == FEW or scanned == 0, "a big table was scanned"
    assert blocks[MANY] < blocks[FEW] * 1.5, blocks

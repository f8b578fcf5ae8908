"""Strange records and members that do no work: nothing changes, and nothing is lost."""

from __future__ import annotations

import random
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from media_contracts import MEDIA_INGEST, MEDIA_THUMBNAILED

from chaos.broker_faults import HEADERS, Known, ghosts, send_strangers
from chaos.checker import judge
from chaos.evidence import consumer_lag, gather, quiesce
from chaos.journal import Journal
from chaos.load import Watchers, run_load
from chaos.target import Target
from support.eventually import eventually
from support.surroundings import Parts
from support.wire import open_rows

_IMAGES = {"image": 1.0}


@dataclass
class Effects:
    """All that a record could have changed of some assets."""

    assets: list[dict]
    transitions: int
    files: int
    dead_letters: dict[str, int]


async def effects(target: Target, companies: list[UUID]) -> Effects:
    async with open_rows() as rows:
        connection = rows.connection

        async def count(table: str) -> int:
            return await connection.fetchval(
                f"SELECT count(*) FROM {table} WHERE company_id = ANY($1::uuid[])", companies
            )

        assets = await connection.fetch(
            # check_at and sweep_at only say when the watcher looks next.
            "SELECT a.id, a.company_id, a.status, a.attempt, a.uploaded_at, a.error_code,"
            " ARRAY(SELECT t.name || ' ' || t.state FROM tasks t WHERE t.asset_id = a.id"
            " ORDER BY t.id) AS tasks, ARRAY(SELECT f.key || coalesce(f.version_id, '')"
            " FROM asset_files f WHERE f.asset_id = a.id ORDER BY f.key) AS files"
            " FROM media_assets a WHERE a.company_id = ANY($1::uuid[]) ORDER BY a.id",
            companies,
        )
        return Effects(
            assets=[dict(row) for row in assets],
            transitions=await count("asset_transitions"),
            files=await count("asset_files"),
            dead_letters=await dead_letters(target),
        )


async def dead_letters(target: Target) -> dict[str, int]:
    """Return the end of each dead-letter topic of ingest's."""
    consumer = AIOKafkaConsumer(**target.kafka.client_arguments())
    await consumer.start()
    try:
        places = [
            TopicPartition(target.topic_prefix + topic.dlq, 0)
            for topic in (MEDIA_INGEST, MEDIA_THUMBNAILED)
        ]
        ends = await consumer.end_offsets(places)
        return {place.topic: end for place, end in ends.items()}
    finally:
        await consumer.stop()


async def is_through(target: Target) -> bool:
    """Return whether ingest has read all that there is for it."""
    lag = await consumer_lag(target)
    ours = [count for place, count in lag.items() if place.startswith("ingest")]
    assert len(ours) == 2
    return not any(ours)


def known_assets(target: Target, before: Effects) -> list[Known]:
    return [
        Known(row["company_id"], row["id"], row["attempt"], target.bucket(row["company_id"]))
        for row in before.assets
    ]


@pytest.mark.parametrize("across", [False, True])
async def test_strange_records_change_nothing(target, tmp_path, across):
    """Of attempts to come, of another company, of no asset, about assets that wait for news."""
    companies, parts = [uuid4(), uuid4()], Parts()
    with Journal(tmp_path / "journal.jsonl") as journal:
        parts.stop("thumbnailer")
        try:
            await run_load(
                target, count=4, seed=1, journal=journal, companies=companies,
                concurrency=4, mix=_IMAGES,
            )  # fmt: skip
            await eventually(lambda: all_wait(target, companies), timeout=30)
            before = await effects(target, companies)
            known = known_assets(target, before)

            sent = await send_strangers(target, known, uuid4(), across=across)
            assert sent == 4 * len(HEADERS) * (6 + (5 if across else 3))
            await eventually(lambda: is_through(target), timeout=30)
            assert await effects(target, companies) == before
        finally:
            parts.start("thumbnailer")
        await quiesce(target, journal, timeout=60)
        after = await effects(target, companies)
        assert [row["status"] for row in after.assets] == ["ready"] * 4
        assert not any("strange" in file for row in after.assets for file in row["files"])


async def all_wait(target: Target, companies: list[UUID]) -> bool:
    """Return whether the thumbnailer has been asked to check all assets."""
    assets = (await effects(target, companies)).assets
    found = [(row["status"], row["tasks"]) for row in assets]
    return found == [("processing", ["inspect running"])] * 4


async def test_members_that_read_nothing_lose_nothing(target, tmp_path):
    companies = [uuid4(), uuid4()]
    with Journal(tmp_path / "journal.jsonl") as journal:
        async with Watchers(target, companies, journal) as watchers:
            async with ghosts(target, "ingest", random.Random(1), seconds=1.0) as counts:
                await run_load(
                    target, count=12, seed=1, journal=journal, companies=companies,
                    concurrency=4, rate=2.0, mix=_IMAGES,
                )  # fmt: skip
                await eventually(lambda: counts[0] >= 2, timeout=30)
            assert counts[1] > 0, "they held partitions"
            await quiesce(target, journal, timeout=90)
            await watchers.caught_up()
        verdict = judge(await gather(target, journal))
    assert verdict.ok, str(verdict)
    assert verdict.counters["assets_ready"] == 12

"""
Waits: what stands in line, how fast such work went lately, and what companies were told of it.

Invariant: a look at all lines is as many statements as ever, and reads no more than so many tasks
of them. A company is told of its own assets alone.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from media_contracts import MEDIA_STATUS, AssetEstimated
from media_records.lifecycle import asset_event
from media_records.tables import Asset, AssetWait
from media_records.tasks import IS_OPEN, IS_RUNNING, LINES, Pool
from media_records.work import Reader, Tx
from media_runtime.database.postgres import Connection, Database

# For what is in the others nobody waits.
_POOLS = [pool for pool in Pool if not pool.is_later]
_LOCK = "SELECT pg_try_advisory_lock(hashtext('waits'), 1)"
_LIVES = "SELECT true"
# Who has many tasks has a long line, of which the beginning is looked at.
_IN_LINE = f"""
    WITH RECURSIVE {LINES}
    SELECT l.pool, l.company_id, l.seconds AS used, task.*
    FROM used l, LATERAL (
        SELECT t.id, t.asset_id, t.attempt, t.kind, t.required, t.cost_seconds AS cost,
            CASE WHEN {IS_RUNNING} THEN t.owner END AS owner,
            CASE WHEN {IS_RUNNING} THEN
                extract(epoch FROM clock_timestamp() - t.claimed_at)::float8 END AS runs,
            greatest(0, extract(epoch FROM t.not_before - now()))::float8 AS delay
        FROM tasks t WHERE t.pool = l.pool AND t.company_id = l.company_id AND t.{IS_OPEN}
        ORDER BY t.priority, t.id LIMIT greatest($4, $3 / (SELECT count(*) FROM lines))
    ) task
"""  # noqa: S608 - our own words
_ASSETS = f"""
    SELECT a.id, a.company_id, a.attempt, of_attempt.*,
        w.attempt = a.attempt AS is_told, w.place,
        extract(epoch FROM w.ready_at - now())::float8 AS ready_in,
        extract(epoch FROM now() - w.told_at)::float8 AS told_ago
    FROM media_assets a LEFT JOIN asset_waits w ON w.asset_id = a.id, LATERAL (
        SELECT count(*) FILTER (WHERE {IS_OPEN}) AS open,
            json_agg(json_build_array(t.kind, t.pool, t.cost_seconds) ORDER BY t.id)
                FILTER (WHERE state = 'blocked') AS blocked
        FROM tasks t WHERE t.asset_id = a.id AND t.attempt = a.attempt AND t.required
    ) of_attempt
    WHERE a.id = ANY($1::uuid[]) AND a.status = 'processing'
"""  # noqa: S608 - our own words
# The mean, and what three of four did not exceed: whichever is longer.
_SPEEDS = """
    SELECT wanted.kind, count(*) AS tasks, greatest(
            sum(done.seconds) / sum(done.cost),
            percentile_cont(0.75) WITHIN GROUP (ORDER BY done.seconds / done.cost)
        )::float8 AS ratio,
        coalesce(array_agg(DISTINCT done.owner) FILTER (WHERE done.ago < $4), '{}') AS owners
    FROM unnest($1::text[]) wanted (kind), LATERAL (
        SELECT t.owner, greatest(t.cost_seconds, 0.05) AS cost,
            extract(epoch FROM t.finished_at - t.claimed_at)::float8 AS seconds,
            extract(epoch FROM now() - t.finished_at)::float8 AS ago
        FROM tasks t WHERE t.kind = wanted.kind AND t.state = 'done'
            AND t.finished_at > now() - make_interval(secs => $3) AND t.claimed_at IS NOT NULL
        ORDER BY t.finished_at DESC LIMIT $2
    ) done GROUP BY wanted.kind
"""
# Nothing is told of what has ended meanwhile, and nothing ends while it is told.
_STILL = """
    SELECT * FROM media_assets WHERE id = ANY($1::uuid[]) AND status = 'processing'
    FOR SHARE SKIP LOCKED
"""
_TELL = """
    INSERT INTO asset_waits AS w (asset_id, company_id, attempt, place, ready_at, told_at)
    VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5::float8), now())
    ON CONFLICT (asset_id) DO UPDATE SET attempt = excluded.attempt, place = excluded.place,
        ready_at = excluded.ready_at, told_at = excluded.told_at
"""
_TOLD = "SELECT * FROM asset_waits WHERE asset_id = ANY($1::uuid[])"

LEAST_COST = 0.05
"""What a task costs at least, in seconds, where speeds are measured, as in _SPEEDS."""
_MOST_IN_LINE, _LEAST_OF_EACH = 5000, 10
_EVIDENCE, _EVIDENCE_SECONDS = 50, 86_400.0
# A worker that works has ended a task by then, or holds one.
_ALIVE_SECONDS = 10.0


@dataclass(frozen=True)
class InLine:
    """
    A task that waits or runs, in the line of its company and pool.

    ``used`` is what its company used of the pool lately. ``runs`` is for how long its ``owner``
    has worked on it, None for one that waits; it does so for ``delay`` at least. All in seconds.
    """

    id: int
    pool: Pool
    company_id: UUID
    used: float
    asset_id: UUID
    attempt: int
    kind: str
    required: bool
    cost: float
    owner: str | None = None
    runs: float | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Blocked:
    """A task that waits for others of its attempt."""

    kind: str
    pool: Pool
    cost: float


@dataclass(frozen=True)
class Told:
    """What a company was told of an asset, ``ago``; ``ready_in`` is from now on, in seconds."""

    place: int
    ready_in: float | None
    ago: float


@dataclass(frozen=True)
class Waiting:
    """An asset that is not ready: how many of its required tasks are ``open``, and which follow."""

    id: UUID
    company_id: UUID
    attempt: int
    open: int
    blocked: Sequence[Blocked] = ()
    told: Told | None = None


@dataclass(frozen=True)
class Speed:
    """
    How fast tasks of one kind went: seconds for each second of cost, seen of so many ``tasks``.

    ``owners`` are the processes that ended one a moment ago.
    """

    tasks: int
    ratio: float
    owners: frozenset[str] = frozenset()


@dataclass(frozen=True)
class View:
    """All lines, in their order, as far as they were looked at; assets and speeds by their keys."""

    lines: Sequence[InLine]
    assets: Mapping[UUID, Waiting]
    speeds: Mapping[str, Speed]


@dataclass(frozen=True)
class Estimate:
    """The place of an asset among its company's, and in how many seconds it is ready, if known."""

    asset_id: UUID
    attempt: int
    place: int
    ready_in: int | None


@asynccontextmanager
async def lead(database: Database) -> AsyncIterator[Connection | None]:
    """
    Give the session of the one replica that tells of waits, for the block; None to all others.

    It leads for as long as still_leads() says so. Two that tell at once harm nothing.
    """
    async with database.session() as session:
        yield session if await session.fetchval(_LOCK) else None


async def still_leads(session: Connection) -> None:
    """Raise where the session, and its lead with it, is gone."""
    await session.fetchval(_LIVES)


async def look(reader: Reader) -> View:
    """Return what stands in all lines, and how fast such tasks were done lately."""
    pools = [pool.value for pool in _POOLS]
    rows = await reader.fetch(_IN_LINE, pools, 0.0, _MOST_IN_LINE, _LEAST_OF_EACH)
    lines = [InLine(**{**row, "pool": Pool(row["pool"])}) for row in rows]
    if not lines:
        return View((), {}, {})
    found = await reader.fetch(_ASSETS, list({one.asset_id for one in lines}))
    assets = {row["id"]: _waiting(row) for row in found}
    kinds = {one.kind for one in lines}
    kinds |= {one.kind for asset in assets.values() for one in asset.blocked}
    rows = await reader.fetch(_SPEEDS, sorted(kinds), _EVIDENCE, _EVIDENCE_SECONDS, _ALIVE_SECONDS)
    speeds = {
        row["kind"]: Speed(row["tasks"], row["ratio"], frozenset(row["owners"]) - {None})
        for row in rows
    }
    return View(lines, assets, speeds)


async def tell_waits(tx: Tx, estimates: Collection[Estimate]) -> int:
    """Record what is estimated of assets, and tell clients; return of how many it was."""
    rows = await tx.fetch(_STILL, [one.asset_id for one in estimates])
    assets = {row["id"]: Asset.of(row) for row in rows}
    told = [
        (assets[one.asset_id], one)
        for one in estimates
        if one.asset_id in assets and assets[one.asset_id].attempt == one.attempt
    ]
    now = datetime.now(UTC)
    if told:
        await tx.executemany(
            _TELL,
            [
                (asset.id, asset.company_id, one.attempt, one.place, one.ready_in)
                for asset, one in told
            ],
        )
    for asset, one in told:
        payload = AssetEstimated(
            attempt=one.attempt, place=one.place, ready_in_seconds=one.ready_in
        )
        # So many would bury what else the trace has.
        record = asset_event(MEDIA_STATUS, asset, payload, service=tx.service, at=now, traced=False)
        await tx.send(asset.company_id, record)
    # A worker that passed these assets by, as they were held, looks again.
    tx.queues.update(pool.value for pool in _POOLS)
    return len(told)


async def told_of_each(reader: Reader, asset_ids: Collection[UUID]) -> Mapping[UUID, AssetWait]:
    """Return what was told last of each of these assets, if anything."""
    rows = await reader.fetch(_TOLD, list(asset_ids)) if asset_ids else []
    return {row["asset_id"]: AssetWait.of(row) for row in rows}


def _waiting(row: Mapping[str, object]) -> Waiting:
    facts = {name: row[name] for name in ("id", "company_id", "attempt", "open")}
    blocked = json.loads(str(row["blocked"])) if row["blocked"] else []
    told = {"place": row["place"], "ready_in": row["ready_in"], "ago": row["told_ago"]}
    return Waiting(
        **facts,  # type: ignore[arg-type]
        blocked=[Blocked(kind, Pool(pool), cost) for kind, pool, cost in blocked],
        told=Told(**told) if row["is_told"] else None,  # type: ignore[arg-type]
    )

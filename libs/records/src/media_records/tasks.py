"""
Tasks: the leased pieces of work of an attempt, by pool.

Invariants: tries and fence rise at claim, so a file that kills its worker runs out of tries; only
the newest fence can end a task, and only ``_end_each`` here ends one. Whoever changes several rows
takes the asset first, then its tasks. Time is the database's alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from media_contracts import AssetStatus, ErrorInfo, MediaFile, MediaKind, Payload, Probe, Stage
from media_contracts.formats import kind_of
from media_contracts.warnings import WarningCode
from media_records import attempts, editions, outcomes
from media_records.editions import Edition
from media_records.files import add_outputs, forget_named, forget_stream
from media_records.lifecycle import (
    change,
    describe,
    find_asset,
    lock_asset,
    progressed,
    sweep,
    tell,
)
from media_records.outcomes import SWEEP_AFTER, Outcome
from media_records.tables import Asset
from media_records.work import Reader, Tx
from media_runtime.database.postgres import Record
from media_runtime.media.meter import Run
from prometheus_client import Counter

LEASES_EXPIRED = Counter("tasks_leases_expired_total", "Tasks taken over from a silent worker.")
FENCE_REJECTIONS = Counter(
    "tasks_fence_rejections_total", "Writes refused because the lease was lost.", ["operation"]
)

_OPEN_STATES = "('blocked', 'queued', 'running')"
IS_OPEN = "state IN ('queued', 'running')"
IS_RUNNING = "(state = 'running' AND lease_until >= now())"
_IS_DUE = """(
    (t.state = 'queued' AND t.not_before <= now())
    OR (t.state = 'running' AND t.lease_until < now()))
"""
# What was used lately halves each minute.
_DECAYED = "w.seconds * power(0.5, extract(epoch FROM now() - w.at) / 60)"
# Companies with open tasks are found by steps through the index: no queue's length costs time.
LINES = f"""
    lines AS (
        (SELECT pool, company_id FROM tasks WHERE {IS_OPEN} AND pool = ANY($1)
         ORDER BY pool, company_id LIMIT 1)
        UNION ALL
        SELECT following.* FROM lines l, LATERAL (
            SELECT t.pool, t.company_id FROM tasks t
            WHERE {IS_OPEN} AND t.pool = ANY($1)
                AND (t.pool, t.company_id) > (l.pool, l.company_id)
            ORDER BY t.pool, t.company_id LIMIT 1
        ) following
    ), load AS (
        SELECT pool, company_id, count(*) AS running,
            count(*) FILTER (WHERE cost_seconds >= $2) AS slow,
            sum(greatest(
                cost_seconds, extract(epoch FROM clock_timestamp() - claimed_at))) AS seconds
        FROM tasks WHERE {IS_RUNNING} AND pool = ANY($1) GROUP BY pool, company_id
    ), used AS (
        SELECT l.pool, l.company_id, coalesce(load.running, 0) AS running, w.at,
            coalesce({_DECAYED}, 0) + coalesce(load.seconds, 0) AS seconds
        FROM lines l LEFT JOIN load USING (pool, company_id)
            LEFT JOIN company_work w USING (pool, company_id)
    )
"""  # noqa: S608 - our own words
# The company that used the fewest seconds of the pool comes first, those of its running tasks
# included: nobody's queue, and nobody's slow file, holds another company up. The asset is locked
# before the task, as everywhere. Another claim may have come first: then candidate is set alone.
_CLAIM = f"""
    WITH RECURSIVE {LINES}, next AS (
        SELECT task.* FROM (
            SELECT * FROM used WHERE running < $5
            ORDER BY seconds, running, at NULLS FIRST, company_id
        ) line, LATERAL (
            SELECT t.id, t.state = 'running' AS expired
            FROM tasks t JOIN media_assets a ON a.id = t.asset_id
            WHERE t.pool = line.pool AND t.company_id = line.company_id AND t.{IS_OPEN}
                AND {_IS_DUE}
                AND (t.cost_seconds < $2 OR (SELECT coalesce(sum(slow), 0) FROM load) < $6)
            ORDER BY t.priority, t.id FOR NO KEY UPDATE OF a SKIP LOCKED LIMIT 1
        ) task LIMIT 1
    ), claimed AS (
        UPDATE tasks t SET state = 'running', tries = tries + 1, fence = fence + 1, owner = $3,
            lease_until = now() + make_interval(secs => $4 * power($7::float8, least(tries, 3))),
            claimed_at = clock_timestamp()
        FROM next WHERE t.id = next.id AND {_IS_DUE} RETURNING t.*
    )
    SELECT next.id AS candidate, next.expired, claimed.*,
        extract(epoch FROM now() - greatest(claimed.created_at, (
            SELECT max(over.finished_at) FROM task_needs n JOIN tasks over ON over.id = n.needs_id
            WHERE n.task_id = claimed.id
        )))::float8 AS age_seconds
    FROM next LEFT JOIN claimed ON claimed.id = next.id
"""  # noqa: S608 - our own words
# A task whose asset was deleted, or went on to another attempt, has lost its reason as well.
_HEARTBEAT = """
    UPDATE tasks t SET lease_until = now() + make_interval(secs => $3)
    FROM media_assets a WHERE t.id = $1 AND t.fence = $2 AND t.state = 'running'
        AND a.id = t.asset_id AND CASE
            WHEN a.attempt = t.attempt
                THEN a.status = 'processing' OR (a.status = 'ready' AND NOT t.required)
            ELSE a.status = 'ready' AND EXISTS (
                SELECT 1 FROM reruns r WHERE r.asset_id = a.id AND r.attempt = t.attempt
                    AND r.ended_at IS NULL)
        END
    RETURNING 1
"""
_IS_WAITED_FOR = """
    SELECT EXISTS (SELECT 1 FROM tasks WHERE pool = ANY($1) AND state = 'queued'
        AND not_before < now() - make_interval(secs => $2))
"""
_IS_DONE = "SELECT 1 FROM tasks WHERE id = $1 AND fence = $2 AND state = 'done'"
# Whether another company's task has waited for $5 seconds while it has none under way, and this
# one is the newest of the company that used the most. Each time that a task made way it may run
# twice as long before it does so again: what is begun anew each time must come to its end.
_SHOULD_YIELD = f"""
    WITH RECURSIVE {LINES}, mine AS (
        SELECT t.*, used.seconds AS used FROM tasks t JOIN used USING (pool, company_id)
        WHERE t.id = $3 AND t.fence = $4 AND t.state = 'running'
            AND t.claimed_at < now() - make_interval(secs => $5 * power(2, t.preemptions))
    )
    SELECT EXISTS (
        SELECT 1 FROM mine WHERE company_id = (
                SELECT company_id FROM used WHERE running > 0
                ORDER BY seconds DESC, company_id LIMIT 1)
            AND NOT EXISTS (
                SELECT 1 FROM tasks newer WHERE newer.pool = mine.pool AND newer.state = 'running'
                    AND newer.company_id = mine.company_id AND newer.claimed_at > mine.claimed_at)
            AND EXISTS (
                SELECT 1 FROM used waiting WHERE waiting.running = 0
                    AND waiting.seconds < mine.used / 2
                    AND (SELECT t.not_before < now() - make_interval(secs => $5) FROM tasks t
                         WHERE t.pool = waiting.pool AND t.company_id = waiting.company_id
                             AND t.{IS_OPEN} ORDER BY t.priority, t.id LIMIT 1))
    )
"""  # noqa: S608 - our own words
# What is over at the claim of $2, and what it took. Nobody else ends it meanwhile.
_OVER = f"""
    WITH old AS (
        SELECT id, claimed_at FROM tasks
        WHERE id = $1 AND fence = $2 AND state IN {_OPEN_STATES} FOR UPDATE
    ), over AS (
        UPDATE tasks t SET {{}} FROM old WHERE t.id = old.id
        RETURNING t.company_id, t.pool,
            coalesce(extract(epoch FROM clock_timestamp() - old.claimed_at), 0)::float8 AS spent
    ), accounted AS (
        INSERT INTO company_work AS w (company_id, pool, seconds, at)
        SELECT company_id, pool, least($3::float8, spent), now() FROM over WHERE spent > 0
        ON CONFLICT (company_id, pool)
            DO UPDATE SET seconds = {_DECAYED} + excluded.seconds, at = now()
    )
    SELECT 1 FROM over
"""  # noqa: S608 - our own words
_END = _OVER.format("""
    state = $4, last_error = coalesce($5, last_error), finished_at = now(), lease_until = NULL,
    result = $6, cpu_seconds = $7, commands = $8
""")
_RELEASE = _OVER.format("""
    state = 'queued', lease_until = NULL, claimed_at = NULL, last_error = $4,
    not_before = now() + make_interval(secs => $5),
    tries = CASE WHEN $6 THEN tries ELSE greatest(tries - 1, 0) END,
    preemptions = preemptions + $7::int
""")
_ADD = """
    INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool, params, required,
        priority, cost_seconds, state, waits_for)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
        CASE WHEN needs = 0 THEN 'queued' ELSE 'blocked' END, needs
    FROM (SELECT count(*) FILTER (WHERE state <> 'done') AS needs FROM tasks
          WHERE asset_id = $2 AND attempt = $3 AND name = ANY($11)) waiting
    ON CONFLICT (asset_id, attempt, name) DO NOTHING
    RETURNING id, asset_id, attempt, name, pool, state
"""
_ADD_NEEDS = """
    INSERT INTO task_needs (task_id, needs_id, company_id)
    SELECT $1, id, company_id FROM tasks
    WHERE asset_id = $2 AND attempt = $3 AND name = ANY($4) AND state <> 'done'
"""
# A task's time counts from when it could begin: one that waited for others is given up, or made way
# for, no sooner than one that did not.
_FREE = f"""
    WITH freed AS (
        UPDATE tasks t SET waits_for = t.waits_for - over.needs,
            state = CASE WHEN t.waits_for = over.needs THEN 'queued' ELSE t.state END,
            not_before = CASE WHEN t.waits_for = over.needs THEN now() ELSE t.not_before END
        FROM (SELECT task_id, count(*) AS needs FROM task_needs
              WHERE needs_id = ANY($1) GROUP BY task_id) over
        WHERE t.id = over.task_id AND t.state = 'blocked'
        RETURNING t.pool, t.state
    )
    SELECT ARRAY(SELECT pool FROM freed WHERE state = 'queued') AS freed, NOT EXISTS (
        SELECT 1 FROM tasks
        WHERE asset_id = $2 AND attempt = $3 AND required AND state IN {_OPEN_STATES}
    ) AS complete
"""  # noqa: S608 - our own words
_OPEN_OF_ATTEMPT = f"""
    SELECT * FROM tasks WHERE asset_id = $1 AND attempt = $2 AND state IN {_OPEN_STATES}
    ORDER BY id
"""  # noqa: S608 - our own words
_WAITING_FOR = f"""
    WITH RECURSIVE waiting AS (
        SELECT task_id FROM task_needs WHERE needs_id = $1
        UNION
        SELECT n.task_id FROM waiting JOIN task_needs n ON n.needs_id = waiting.task_id
    )
    SELECT t.* FROM tasks t JOIN waiting ON waiting.task_id = t.id
    WHERE t.state IN {_OPEN_STATES} ORDER BY t.id
"""  # noqa: S608 - our own words
_RESULTS = """
    SELECT result FROM tasks
    WHERE asset_id = $1 AND attempt = $2 AND kind = ANY($3) AND state = 'done'
        AND result IS NOT NULL ORDER BY id
"""
_NAMED = f"""
    SELECT *, 0.0::float8 AS age_seconds FROM tasks
    WHERE company_id = $1 AND asset_id = $2 AND attempt = $3 AND name = $4 AND {IS_OPEN}
"""  # noqa: S608 - our own words
_CLAIM_AGAIN = 5
_LATER = "_later"
# What fetching and hashing takes; probing is bounded by the sandbox.
_BYTES_A_SECOND, _LEAST_SECONDS = 100e6, 0.05
INSPECT = "inspect"
"""The kind, and the name, of the task that every attempt begins with."""


class Pool(StrEnum):
    """Who works on a task."""

    INSPECT = "inspect"
    ENCODE = "encode"
    PICTURES = "pictures"
    # What nobody waits for: done where none of the others has anything to do.
    INSPECT_LATER = "inspect_later"
    ENCODE_LATER = "encode_later"
    PICTURES_LATER = "pictures_later"

    @property
    def is_later(self) -> bool:
        """Whether its work waits for all other work."""
        return self.value.endswith(_LATER)

    @property
    def later(self) -> Pool:
        """The pool of the same work that waits for all other work."""
        return self if self.is_later else Pool(self.value + _LATER)


class LostLeaseError(Exception):
    """Another worker holds this task now, or its asset no longer wants it."""


@dataclass(frozen=True)
class NewTask:
    """
    A task that is wanted; its name is unique within an attempt.

    It begins when all that it *needs*, by name, are done. One that is not *required* ends alone
    when it fails. Of a company's tasks the lowest *priority* comes first. ``cost_seconds`` is
    what it will take, as far as that is known.
    """

    name: str
    kind: str
    pool: Pool
    params: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    required: bool = True
    priority: int = 0
    cost_seconds: float = 0.0


def of_edition(edition: Edition, pool: Pool) -> NewTask:
    """Return the task that makes an edition of pictures: what is served is there without it."""
    return NewTask(pool=pool, required=False, **vars(edition))


@dataclass(frozen=True)
class Task:
    """A claimed task. ``age_seconds`` is for how long it could have begun when it was claimed."""

    id: int
    company_id: UUID
    asset_id: UUID
    attempt: int
    name: str
    kind: str
    pool: str
    params: Mapping[str, Any]
    required: bool
    tries: int
    fence: int
    cost_seconds: float
    age_seconds: float


async def add(tx: Tx, asset: Asset, wanted: Sequence[NewTask], *, later: bool = False) -> int:
    """
    Add tasks to a locked asset's attempt; returns how many were not there already.

    *later* ones wait for all tasks of all companies that are not.
    """
    if later:
        wanted = [replace(task, pool=task.pool.later) for task in wanted]
    return len(await add_each(tx, [(asset, task) for task in wanted]))


async def add_each(tx: Tx, wanted: Sequence[tuple[Asset, NewTask]]) -> Sequence[UUID]:
    """Add tasks to attempts of locked assets; returns the asset of each that was not there."""
    rows = [
        (
            asset.company_id,
            asset.id,
            asset.attempt,
            task.name,
            task.kind,
            task.pool,
            json.dumps(task.params),
            task.required,
            task.priority,
            task.cost_seconds,
            task.needs,
        )
        for asset, task in wanted
    ]
    added = await tx.fetchmany(_ADD, rows) if rows else []
    needs = {(asset.id, task.name): task.needs for asset, task in wanted}
    blocked = [row for row in added if row["state"] == "blocked"]
    if blocked:
        await tx.executemany(
            _ADD_NEEDS,
            [
                (row["id"], row["asset_id"], row["attempt"], needs[row["asset_id"], row["name"]])
                for row in blocked
            ],
        )
    tx.queues.update(row["pool"] for row in added if row["state"] == "queued")
    return [row["asset_id"] for row in added]


@dataclass(frozen=True)
class Turns:
    """
    Who may claim how much, for one kind of worker.

    A task that costs *slow_seconds* or more is slow. Of these, *most_slow* run in the pools
    at a time, and of one company's tasks *most_of_company* run, slow or not.
    """

    pools: Collection[Pool]
    slow_seconds: float
    most_slow: int = 1_000_000
    most_of_company: int = 1_000_000


async def claim(
    tx: Tx, turns: Turns, *, owner: str, lease_seconds: float, lease_grows: float = 1
) -> Task | None:
    """
    Return the next task of these pools, leased to *owner*; None when there is none.

    With each of the first tries its lease is *lease_grows* times as long.
    Its asset is locked until this unit of work ends.
    """
    pools = [pool.value for pool in turns.pools]
    for _ in range(_CLAIM_AGAIN):
        row = await tx.fetchrow(
            _CLAIM,
            pools,
            turns.slow_seconds,
            owner,
            lease_seconds,
            turns.most_of_company,
            turns.most_slow,
            lease_grows,
        )
        if row is None:
            return None
        tx.hides = True
        if row["id"] is not None:
            if row["expired"]:
                LEASES_EXPIRED.inc()
            return _task(row)
    return None


def first_task(asset: Asset, params: Mapping[str, Any] | None = None) -> NewTask:
    """Return the task that every attempt begins with: images are checked where they are opened."""
    seconds = _LEAST_SECONDS + asset.size / _BYTES_A_SECOND
    is_image = kind_of(asset.content_type) is MediaKind.IMAGE
    pool = Pool.PICTURES if is_image else Pool.INSPECT
    return NewTask(INSPECT, INSPECT, pool, params or {}, cost_seconds=seconds)


def wants(asset: Asset | None, task: Task) -> bool:
    """Return whether *asset* still has a use for *task*."""
    if asset is None or asset.attempt != task.attempt:
        return False
    if asset.status == AssetStatus.READY:
        return not task.required
    return asset.status == AssetStatus.PROCESSING


async def wanting(reader: Reader, asset: Asset | None, task: Task) -> Asset | None:
    """
    Return *asset* as *task* is to see it, or None where it has no use for the task any more.

    A task of an attempt beside that of a ready asset sees the asset as it would be with that.
    """
    if asset is not None and asset.attempt != task.attempt:
        beside = await attempts.beside(reader, asset, task.attempt)
        if beside is not None:
            return beside
    return asset if wants(asset, task) else None


async def begun(tx: Tx, task: Task) -> Asset | None:
    """Begin the asset of a task that was just claimed; returns what wanting() does."""
    asset = await find_asset(tx, task.asset_id)
    if asset and asset.status in {AssetStatus.PENDING, AssetStatus.EXPIRED}:
        asset = await change(tx, asset, AssetStatus.PROCESSING, at=datetime.now(UTC))
    return await wanting(tx, asset, task)


async def drop(tx: Tx, task: Task) -> None:
    """Cancel what is left of an attempt that its asset no longer wants."""
    await _end_each(tx, [_cancelled(row) for row in await _open_of_attempt(tx, task)])


async def heartbeat(reader: Reader, task: Task, *, lease_seconds: float) -> bool:
    """Renew the lease; False when this claim has ended the task. Raises LostLeaseError."""
    if await reader.fetchrow(_HEARTBEAT, task.id, task.fence, lease_seconds) is not None:
        return True
    if await reader.fetchrow(_IS_DONE, task.id, task.fence) is not None:
        return False
    FENCE_REJECTIONS.labels("heartbeat").inc()
    raise LostLeaseError


async def is_waited_for(reader: Reader, pools: Collection[Pool], *, seconds: float) -> bool:
    """Return whether a task of these pools has waited for a worker for so many seconds."""
    row = await reader.fetchrow(_IS_WAITED_FOR, [pool.value for pool in pools], seconds)
    return row is not None and bool(row[0])


async def should_yield(reader: Reader, task: Task, *, seconds: float) -> bool:
    """
    Return whether *task* should make way for a company that has none under way in its pool.

    That one has waited for so many seconds and used less than half as much lately; *task* is
    the newest of the company that used the most, and has run for as long at least.
    """
    row = await reader.fetchrow(_SHOULD_YIELD, [task.pool], 0.0, task.id, task.fence, seconds)
    return row is not None and bool(row[0])


async def release(
    reader: Reader,
    task: Task,
    *,
    why: str,
    delay_seconds: float = 0,
    counted: bool = False,
    preempted: bool = False,
) -> None:
    """Queue the task again; *counted* says whether this try was one of its own fault."""
    row = await reader.fetchrow(
        _RELEASE, task.id, task.fence, None, why[:1000], delay_seconds, counted, preempted
    )
    if row is None:
        FENCE_REJECTIONS.labels("release").inc()


async def finish(
    tx: Tx,
    task: Task,
    files: Iterable[MediaFile] = (),
    *,
    then: Sequence[NewTask] = (),
    stage: Stage | None = None,
    seconds: float | None = None,
    probe: Probe | None = None,
    warnings: Collection[WarningCode] = (),
    result: Mapping[str, Any] | None = None,
    tells: Collection[Payload] = (),
    instead_of: str | None = None,
    replaces: bool = False,
    cpu_seconds: float | None = None,
    commands: Iterable[Run] = (),
) -> Outcome | None:
    """
    End *task* as done with its *files*, add what follows, and settle the attempt if it is complete.

    The asset keeps what was found of the upload, *probe* and *warnings*; *result* is for
    results_of(), and *tells* are events about the asset. What follows may come *instead_of* what
    was planned of a stream: its open tasks are cancelled, its segments forgotten, and what needs
    them waits no longer. Where it *replaces* files, those that had the names of its own become
    garbage.

    Returns the attempt's outcome where this task was the last of the required ones. Clients are
    told of *stage*. *seconds* are those of the work where that is less than the lease lasted,
    *cpu_seconds* what its *commands* took on the CPU. Raises LostLeaseError, having changed
    nothing.
    """
    locked = await lock_asset(tx, task.asset_id)
    asset = await wanting(tx, locked, task)
    told = json.dumps(result) if result else None
    ran = json.dumps([asdict(one) for one in commands])
    end = _End(task.pool, task.id, task.fence, "done", None, seconds, told, cpu_seconds, ran)
    if locked is None or asset is None:
        # Nobody would ever claim what waits for this one.
        await _end_each(tx, [end, *map(_cancelled, await _open_of_attempt(tx, task))])
        return None
    replaced = await _open_of_attempt(tx, task) if instead_of else []
    others = [row for row in replaced if json.loads(row["params"]).get("stream") == instead_of]
    # This task comes first, and of two ends of one task the first counts.
    await _end_each(tx, [end, *map(_cancelled, others)])
    if instead_of:
        await forget_stream(tx, asset.id, asset.attempt, instead_of)
    files, now = list(files), datetime.now(UTC)
    if replaces:
        await forget_named(tx, asset, [file.name for file in files])
        await sweep(tx, asset.id, at=now + SWEEP_AFTER)
    await add_outputs(tx, asset, files, fence=task.fence)
    is_beside = asset.attempt != locked.attempt
    if is_beside:
        # Nobody waits for it: until it is complete there is nothing to tell.
        asset = await attempts.found(tx, asset, probe, warnings)
        await add(tx, asset, then, later=True)
    else:
        if probe is not None or warnings:
            await describe(tx, asset.id, probe, warnings)
        await _tell_all(tx, asset, stage, tells, files, at=now)
        await add(tx, asset, then)
    # What is made in another way is waited for no longer.
    over = [task.id, *(row["id"] for row in others)]
    row = await tx.fetchrow(_FREE, over, asset.id, asset.attempt)
    if row is None:  # a SELECT without FROM has a row
        return None
    tx.queues.update(row["freed"])
    if row["complete"] and is_beside:
        if edition := await editions.caught_up(tx, locked, asset):
            await add(tx, asset, [of_edition(edition, Pool.PICTURES)])
        await outcomes.replaced(tx, locked, asset)
    elif row["complete"] and asset.status == AssetStatus.PROCESSING:
        return await outcomes.ready(tx, asset)
    return None


async def _tell_all(
    tx: Tx,
    asset: Asset,
    stage: Stage | None,
    tells: Collection[Payload],
    files: Sequence[MediaFile],
    *,
    at: datetime,
) -> None:
    if stage is not None:
        stands_in = next((file.placeholder for file in files if file.placeholder), None)
        await progressed(tx, asset, stage, stands_in, at=at)
    for payload in tells:
        await tell(tx, asset, payload, at=at)


async def fail(
    tx: Tx, task: Task, error: ErrorInfo, *, seconds: float | None = None
) -> Outcome | None:
    """
    End *task* as failed; returns the attempt's outcome if it ends with it.

    One that is required ends the attempt and cancels its siblings; another one ends alone,
    with those that need it. Raises LostLeaseError, having changed nothing.
    """
    locked = await lock_asset(tx, task.asset_id)
    asset = await wanting(tx, locked, task)
    why = f"{error.code}: {error.message}"
    end = _End(task.pool, task.id, task.fence, "failed", why, seconds)
    if task.required:
        others = await _open_of_attempt(tx, task)
    else:
        others = await tx.fetch(_WAITING_FOR, task.id)
    await _end_each(tx, [end, *map(_cancelled, others)])
    if not task.required or locked is None or asset is None:
        return None
    if asset.attempt != locked.attempt:
        await outcomes.not_replaced(tx, locked, asset, error)
        return None
    return await outcomes.failed(tx, asset, error)


async def results_of(reader: Reader, task: Task, kinds: Collection[str]) -> list[Mapping[str, Any]]:
    """Return what the done tasks of these kinds said, of the attempt that *task* is of."""
    rows = await reader.fetch(_RESULTS, task.asset_id, task.attempt, list(kinds))
    return [json.loads(row["result"]) for row in rows]


async def find_open(
    tx: Tx, company_id: UUID, asset_id: UUID, attempt: int, name: str
) -> Task | None:
    """Return a task of an attempt that has not ended; None too where it is another company's."""
    row = await tx.fetchrow(_NAMED, company_id, asset_id, attempt, name)
    return _task(row) if row else None


async def _open_of_attempt(tx: Tx, task: Task) -> list[Record]:
    return await tx.fetch(_OPEN_OF_ATTEMPT, task.asset_id, task.attempt)


class _End(NamedTuple):
    """How one task ends; in the order in which they are written."""

    pool: str
    task_id: int
    fence: int
    state: str
    why: str | None = None
    seconds: float | None = None
    result: str | None = None
    cpu_seconds: float | None = None
    commands: str | None = None


def _cancelled(row: Record) -> _End:
    return _End(row["pool"], row["id"], row["fence"], "cancelled")


async def _end_each(tx: Tx, ends: Iterable[_End]) -> None:
    """
    Write the ends of tasks, here and nowhere else; raises LostLeaseError.

    Of two ends of one task the first counts. Each locks what its company used of its pool: by
    pool, so that two attempts of one company that end at once do not wait for each other.
    """
    first = {end.task_id: end for end in reversed(list(ends))}
    for end in sorted(first.values(), key=lambda one: (one.pool, one.task_id)):
        _, task_id, fence, state, why, seconds, *rest = end
        if await tx.fetchrow(_END, task_id, fence, seconds, state, why, *rest) is None:
            FENCE_REJECTIONS.labels("end").inc()
            raise LostLeaseError


def _task(row: Record) -> Task:
    facts = {name: row[name] for name in Task.__dataclass_fields__}
    return Task(**{**facts, "params": json.loads(row["params"])})

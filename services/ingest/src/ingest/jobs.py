"""
The job queue of ingest: rows, leased by workers, fenced against those that lost their lease.

Invariants: tries and fence rise at claim, so a file that kills its worker runs out of tries;
only the holder of the newest fence can end a job; time is the database's alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from ingest.metrics import FENCE_REJECTIONS, LEASES_EXPIRED
from media_contracts import MediaKind
from media_contracts.formats import kind_of
from media_records.tables import Asset
from media_runtime.postgres import Connection, Database, Record

# A worker that fell silent has no work under way, and nobody waits for ever for an answer.
_IS_RUNNING = "(state = 'running' AND lease_until >= now())"
_IS_ASKED = "(asked_at > now() - interval '10 minutes')"
_IS_DUE = """
    j.state IN ('queued', 'running') AND (
        (j.state = 'queued' AND j.not_before <= now())
        OR (j.state = 'running' AND j.lease_until < now()))
"""
_LINES = """
    lines AS (
        (SELECT company_id, kind FROM ingest_jobs WHERE state IN ('queued', 'running')
         ORDER BY company_id, kind LIMIT 1)
        UNION ALL
        SELECT following.* FROM lines l, LATERAL (
            SELECT j.company_id, j.kind FROM ingest_jobs j
            WHERE j.state IN ('queued', 'running')
                AND (j.company_id, j.kind) > (l.company_id, l.kind)
            ORDER BY j.company_id, j.kind LIMIT 1
        ) following
    )
"""
# Workers lock a job, then its asset. Who holds the asset must not wait for a job, but an INSERT
# that runs into a row which a worker is changing waits for it: hence the look before.
_ENQUEUE = """
    INSERT INTO ingest_jobs (company_id, asset_id, attempt, kind)
    SELECT $1, $2, $3, $4
    WHERE NOT EXISTS (SELECT 1 FROM ingest_jobs WHERE asset_id = $2 AND attempt = $3)
    ON CONFLICT (asset_id, attempt) DO NOTHING RETURNING id
"""
# What a finished job asked of the thumbnailer may be lost; the retries of a queued one are its own.
_REOPEN = """
    UPDATE ingest_jobs SET state = 'queued', tries = 0, not_before = now(), finished_at = NULL
    WHERE asset_id = $1 AND attempt = $2 AND state IN ('done', 'cancelled')
        AND finished_at < now() - make_interval(secs => $3) RETURNING 1
"""
# The company with the least work under way comes first, and of equals the one that has waited the
# longest: nobody's queue holds another company up. Images of a company that is owed $4 answers by
# the thumbnailer stay here: its topic has no turns. Claims at the very same time may not see one
# another. Companies are found by steps through the index, so no queue's length costs time.
_CLAIM = f"""
    WITH RECURSIVE {_LINES}, load AS (
        SELECT company_id, count(*) AS jobs,
            count(*) FILTER (WHERE {_IS_ASKED}) AS asked
        FROM ingest_jobs WHERE (state = 'running' OR asked_at IS NOT NULL)
            AND ({_IS_RUNNING} OR {_IS_ASKED}) GROUP BY company_id
    ), next AS (
        SELECT job.* FROM (
            SELECT l.company_id, l.kind FROM lines l LEFT JOIN load USING (company_id)
            WHERE l.kind = ANY($3) AND (l.kind <> 'image' OR coalesce(load.asked, 0) < $4)
            ORDER BY coalesce(load.jobs, 0),
                (SELECT max(claimed_at) FROM ingest_jobs j WHERE j.company_id = l.company_id)
                NULLS FIRST, l.company_id,
                (SELECT (j.priority, j.id) FROM ingest_jobs j
                 WHERE j.company_id = l.company_id AND j.kind = l.kind AND {_IS_DUE}
                 ORDER BY j.priority, j.id LIMIT 1)
        ) line, LATERAL (
            SELECT j.id, j.state = 'running' AS expired FROM ingest_jobs j
            WHERE j.company_id = line.company_id AND j.kind = line.kind AND {_IS_DUE}
            ORDER BY j.priority, j.id FOR UPDATE SKIP LOCKED LIMIT 1
        ) job LIMIT 1
    )
    UPDATE ingest_jobs SET state = 'running', tries = tries + 1, fence = fence + 1,
        owner = $1, lease_until = now() + make_interval(secs => $2), claimed_at = clock_timestamp()
    FROM next WHERE ingest_jobs.id = next.id
    RETURNING ingest_jobs.*, next.expired,
        extract(epoch FROM now() - ingest_jobs.created_at)::float8 AS age_seconds
"""  # noqa: S608 - our own words
# Whether another company has a video that has waited for $3 seconds, and no job under way, while
# this job is the one that its own company began last, of several. No order of claims helps where
# long films of one company have all workers.
_IN_THE_WAY = f"""
    WITH RECURSIVE {_LINES}
    SELECT EXISTS (
        SELECT 1 FROM ingest_jobs mine, ingest_jobs other
        WHERE mine.id = $1 AND mine.fence = $2 AND other.company_id = mine.company_id
            AND other.state = 'running' AND other.lease_until >= now() AND other.id <> mine.id
            AND NOT EXISTS (
                SELECT 1 FROM ingest_jobs newer WHERE newer.company_id = mine.company_id
                    AND newer.state = 'running' AND newer.claimed_at > mine.claimed_at)
    ) AND EXISTS (
        SELECT 1 FROM lines l
        WHERE l.kind = 'video' AND NOT EXISTS (
            SELECT 1 FROM ingest_jobs j WHERE j.company_id = l.company_id
                AND j.state = 'running' AND {_IS_RUNNING})
        AND (SELECT j.not_before < now() - make_interval(secs => $3) FROM ingest_jobs j
             WHERE j.company_id = l.company_id AND j.kind = l.kind
                AND j.state IN ('queued', 'running')
             ORDER BY j.priority, j.id LIMIT 1)
    )
"""  # noqa: S608 - our own words
_ASK = """
    UPDATE ingest_jobs SET asked_at = now()
    WHERE id = $1 AND fence = $2 AND state = 'running' RETURNING 1
"""
# It waits for nobody, since who answers holds the asset; what is missed here lapses by itself.
_ANSWERED = """
    UPDATE ingest_jobs SET asked_at = NULL WHERE id = (
        SELECT id FROM ingest_jobs WHERE company_id = $1 AND asset_id = $2 AND attempt = $3
            AND asked_at IS NOT NULL FOR UPDATE SKIP LOCKED)
"""
# A job whose asset was deleted, or went on to another attempt, has lost its reason as well.
_BEAT = """
    UPDATE ingest_jobs SET lease_until = now() + make_interval(secs => $3)
    FROM media_assets WHERE ingest_jobs.id = $1 AND ingest_jobs.fence = $2
        AND ingest_jobs.state = 'running' AND media_assets.id = ingest_jobs.asset_id
        AND media_assets.attempt = ingest_jobs.attempt AND media_assets.status = 'processing'
    RETURNING 1
"""
_IS_DONE = "SELECT 1 FROM ingest_jobs WHERE id = $1 AND fence = $2 AND state = 'done'"
_END = """
    UPDATE ingest_jobs SET state = $3, last_error = $4, finished_at = now(), lease_until = NULL
    WHERE id = $1 AND fence = $2 AND state = 'running' RETURNING 1
"""
_HOLDS = """
    SELECT 1 FROM ingest_jobs WHERE id = $1 AND fence = $2 AND state = 'running' FOR UPDATE
"""
_GIVE_BACK = """
    UPDATE ingest_jobs SET state = 'queued', lease_until = NULL, last_error = $3,
        not_before = now() + make_interval(secs => $4),
        tries = CASE WHEN $5 THEN tries ELSE greatest(tries - 1, 0) END
    WHERE id = $1 AND fence = $2 AND state = 'running' RETURNING 1
"""


class LostLeaseError(Exception):
    """Another worker holds this job now, or its asset no longer wants it."""


@dataclass(frozen=True)
class Job:
    """A claimed job. ``age_seconds`` is how old the job was when it was claimed."""

    id: int
    company_id: UUID
    asset_id: UUID
    attempt: int
    kind: str
    tries: int
    fence: int
    age_seconds: float


async def enqueue(connection: Connection, asset: Asset) -> bool:
    """Add the job of a locked asset's attempt; returns False when it is there already."""
    row = await connection.fetchrow(
        _ENQUEUE,
        asset.company_id,
        asset.id,
        asset.attempt,
        kind_of(asset.content_type).value,
    )
    return row is not None


async def reopen(connection: Connection, asset: Asset, *, ended_seconds_ago: float) -> bool:
    """Queue the attempt's job again if it ended at least so long ago; returns whether it did."""
    row = await connection.fetchrow(_REOPEN, asset.id, asset.attempt, ended_seconds_ago)
    return row is not None


class JobQueue:
    """
    Claims and ends jobs in the name of *owner*.

    A company is owed at most about *most_asked* answers of the thumbnailer.
    """

    def __init__(
        self, database: Database, *, owner: str, lease_seconds: float, most_asked: int = 16
    ) -> None:
        self._database = database
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._most_asked = most_asked

    async def claim(
        self, connection: Connection, kinds: Collection[MediaKind] = tuple(MediaKind)
    ) -> Job | None:
        """Return the next job of these kinds, leased; None when there is none."""
        wanted = [kind.value for kind in kinds]
        row = await connection.fetchrow(
            _CLAIM, self._owner, self._lease_seconds, wanted, self._most_asked
        )
        if row is None:
            return None
        if row["expired"]:
            LEASES_EXPIRED.inc()
        return _job(row)

    async def beat(self, job: Job) -> bool:
        """Renew the lease; False when this claim has ended the job. Raises LostLeaseError."""
        row = await self._database.fetchrow(_BEAT, job.id, job.fence, self._lease_seconds)
        if row is not None:
            return True
        if await self._database.fetchrow(_IS_DONE, job.id, job.fence) is not None:
            return False
        FENCE_REJECTIONS.labels("beat").inc()
        raise LostLeaseError

    async def is_in_the_way(self, job: Job, *, seconds: float) -> bool:
        """
        Return whether *job* should make way: its company has others under way, and one has none.

        That one has waited for at least so many seconds. Of all jobs of a company, only the one
        that was claimed last is in the way.
        """
        answer = await self._database.fetchrow(_IN_THE_WAY, job.id, job.fence, seconds)
        return answer is not None and bool(answer[0])

    async def give_back(self, job: Job, *, why: str, delay_seconds: float, counted: bool) -> None:
        """Queue the job again; *counted* says whether this try was one of its own fault."""
        row = await self._database.fetchrow(
            _GIVE_BACK, job.id, job.fence, why[:1000], delay_seconds, counted
        )
        if row is None:
            FENCE_REJECTIONS.labels("give_back").inc()


async def hold(connection: Connection, job: Job) -> None:
    """Lock the job's row for this transaction; raises LostLeaseError unless the fence is ours."""
    if await connection.fetchrow(_HOLDS, job.id, job.fence) is None:
        FENCE_REJECTIONS.labels("hold").inc()
        raise LostLeaseError


async def ask(connection: Connection, job: Job) -> None:
    """Note that the thumbnailer owes an answer; raises LostLeaseError unless the fence is ours."""
    if await connection.fetchrow(_ASK, job.id, job.fence) is None:
        FENCE_REJECTIONS.labels("ask").inc()
        raise LostLeaseError


async def answered(connection: Connection, company_id: UUID, asset_id: UUID, attempt: int) -> None:
    """Note that the thumbnailer's answer is here; one in another company's name is none."""
    await connection.fetchrow(_ANSWERED, company_id, asset_id, attempt)


async def end(connection: Connection, job: Job, state: str, *, why: str | None = None) -> None:
    """End the job as done, failed or cancelled; raises LostLeaseError unless the fence is ours."""
    if await connection.fetchrow(_END, job.id, job.fence, state, why) is None:
        FENCE_REJECTIONS.labels("end").inc()
        raise LostLeaseError


def _job(row: Record) -> Job:
    return Job(**{name: row[name] for name in Job.__dataclass_fields__})

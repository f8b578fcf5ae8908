"""
Assets that are older than their company keeps them.

Invariant: a company's own policy wins over the default. What a plan names is due by both of
them, the plan and the policy, and has not changed since the plan was made. What a profile names
that is offered is never due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from media_records.companies import Policy
from media_records.work import Reader
from media_runtime.database.postgres import Database

# What a profile that is offered names, say as its watermark, would be missed by each upload.
_NAMED = """
    SELECT (regexp_matches(p.body, '"assetId":"([0-9a-f-]+)"', 'g'))[1]::uuid FROM profiles p
    WHERE NOT EXISTS (SELECT 1 FROM profiles newer WHERE newer.company_id = p.company_id
        AND newer.name = p.name AND newer.version > p.version)
"""
_OF_COMPANY = f"""
    m.company_id = c.company_id AND m.status IN ('ready', 'failed', 'cancelled')
    AND m.id NOT IN ({_NAMED})
"""
_KEPT = "make_interval(days => coalesce(c.retention_days, $1))"
_RETIRING = """
    SELECT a.id AS asset_id, c.company_id, a.status,
        {keeps} AND a.status = 'ready' AND EXISTS (
            SELECT 1 FROM asset_files f WHERE f.asset_id = a.id AND f.kind = 'thumbnail'
        ) AS keeps_thumbnail
    FROM {companies}, LATERAL (
        SELECT * FROM media_assets m WHERE {of_company} AND {is_old}
        ORDER BY m.created_at LIMIT $3
    ) a ORDER BY a.created_at LIMIT $3
"""
_DUE = _RETIRING.format(
    keeps="coalesce(c.retention_keeps_thumbnails, $2)",
    companies="companies c",
    of_company=_OF_COMPANY,
    is_old=f"m.created_at < now() - {_KEPT}",
)
# What has changed since the plan was made was not in it, or not as it is now.
_DUE_AS_PLANNED = _RETIRING.format(
    keeps="(p.keeps_thumbnails OR coalesce(c.retention_keeps_thumbnails, $2))",
    companies="""
        unnest($4::uuid[], $5::timestamptz[], $6::bool[])
            AS p (company_id, before, keeps_thumbnails)
        JOIN companies c USING (company_id)
    """,
    of_company=_OF_COMPANY,
    is_old=f"m.updated_at <= $7 AND m.created_at < least(p.before, now() - {_KEPT})",
)
_PLAN = f"""
    WITH policies AS (
        SELECT company_id, coalesce($4, retention_days, $1) AS days,
            coalesce($5, retention_keeps_thumbnails, $2) AS keeps_thumbnails
        FROM companies WHERE $3::uuid IS NULL OR company_id = $3
    ), c AS (
        SELECT *, now() - make_interval(days => days) AS before FROM policies
    )
    SELECT c.*, a.assets, a.bytes, a.oldest,
        CASE WHEN c.keeps_thumbnails THEN a.thumbnails ELSE 0 END AS kept_thumbnails
    FROM c, LATERAL (
        SELECT count(*) AS assets, min(m.created_at) AS oldest,
            coalesce(sum(f.bytes), 0)::bigint AS bytes,
            count(*) FILTER (WHERE m.status = 'ready' AND f.has_thumbnail) AS thumbnails
        FROM media_assets m, LATERAL (
            SELECT sum(size) AS bytes, coalesce(bool_or(kind = 'thumbnail'), false) AS has_thumbnail
            FROM asset_files WHERE asset_id = m.id
        ) f
        WHERE {_OF_COMPANY} AND m.created_at < c.before
    ) a
    WHERE a.assets > 0 ORDER BY a.oldest
"""  # noqa: S608 - our own words
_COUNT = f"""
    SELECT count(*) AS due, max(late)::float8 AS oldest_seconds FROM (
        SELECT a.late FROM companies c, LATERAL (
            SELECT extract(epoch FROM now() - m.created_at - {_KEPT}) AS late
            FROM media_assets m WHERE {_OF_COMPANY} AND m.created_at < now() - {_KEPT}
            ORDER BY m.created_at LIMIT $2
        ) a LIMIT $2
    ) AS found
"""  # noqa: S608 - our own words
_PLAN_SECONDS = 600.0


@dataclass(frozen=True)
class Retiring:
    """An asset that is older than its company keeps it."""

    asset_id: UUID
    company_id: UUID
    status: str
    keeps_thumbnail: bool


@dataclass(frozen=True)
class Share:
    """What a plan deletes of one company: all that was made *before* then; bytes of its files."""

    company_id: UUID
    days: int
    keeps_thumbnails: bool
    before: datetime
    assets: int
    bytes: int
    oldest: datetime
    kept_thumbnails: int


@dataclass(frozen=True)
class Plan:
    """All that was due *at* that time, by company, whoever had the oldest asset first."""

    at: datetime
    companies: Sequence[Share]


async def assets_to_retire(
    reader: Reader, default: Policy, limit: int, *, plan: Plan | None = None
) -> list[Retiring]:
    """Return up to *limit* assets that are due, and that *plan* names if any; the oldest first."""
    query, of_plan = _DUE, list[object]()
    if plan is not None:
        columns = "company_id", "before", "keeps_thumbnails"
        shares = [[getattr(one, column) for one in plan.companies] for column in columns]
        query, of_plan = _DUE_AS_PLANNED, [*shares, plan.at]
    rows = await reader.fetch(query, default.days, default.keeps_thumbnails, limit, *of_plan)
    return [Retiring(**row) for row in rows]


async def plan_all(
    database: Database,
    default: Policy,
    *,
    company: UUID | None = None,
    instead: Policy = Policy(),  # noqa: B008 - it is frozen
) -> Plan:
    """
    Return all that is due now, of one company or of every one; raises TransientError.

    What *instead* says stands in for policies, to see what others would do.
    """
    async with database.transaction() as connection:
        at = await connection.fetchval("SELECT now()")
        rows = await connection.fetch(
            _PLAN, default.days, default.keeps_thumbnails, company, instead.days,
            instead.keeps_thumbnails, timeout=_PLAN_SECONDS,
        )  # fmt: skip
    return Plan(at, [Share(**row) for row in rows])


async def count_to_retire(reader: Reader, default: Policy, *, at_most: int) -> tuple[int, float]:
    """Return how many assets are due, *at_most* so many, and the oldest for how many seconds."""
    (row,) = await reader.fetch(_COUNT, default.days, at_most)
    return row["due"], row["oldest_seconds"] or 0.0

"""
Making ready assets again by another version of their profile, while they are served as they are.

Invariant: live uploads come first, those of any company. What an asset has is replaced at once,
when all of its new attempt is there; one that fails changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from media_contracts import AssetStatus
from media_records import attempts, tasks
from media_records.editions import Made
from media_records.files import files_of, original_of
from media_records.lifecycle import lock_assets
from media_records.tables import Asset
from media_records.work import Reader, Tx

# Of an asset that was made by the profile of that name, in another version.
_CANDIDATES = """
    SELECT a.id, a.created_at, split_part(a.content_type, '/', 1) AS kind,
        EXISTS (SELECT 1 FROM reruns r WHERE r.asset_id = a.id AND r.state = 'running') AS runs,
        f.is_kept, f.seconds
    FROM media_assets a, LATERAL (
        SELECT coalesce(bool_or(kind = 'original'), false) AS is_kept,
            max(duration_seconds) FILTER (WHERE kind IN ('video', 'audio')) AS seconds
        FROM asset_files WHERE asset_id = a.id AND attempt IN (0, a.attempt)
    ) f
    WHERE a.company_id = $1 AND a.status = 'ready' AND a.profile = $2
        AND (a.profile_version, a.own_profile) <> ($3, $4)
        AND ($5::timestamptz IS NULL OR a.created_at >= $5)
"""
_PLAN = f"""
    WITH found AS ({_CANDIDATES}), chosen AS (
        SELECT * FROM found WHERE is_kept AND NOT runs ORDER BY created_at DESC, id DESC LIMIT $6
    )
    SELECT kind, count(*) AS assets, coalesce(sum(seconds), 0)::float8 AS seconds,
        (SELECT count(*) FROM found WHERE NOT is_kept AND NOT runs) AS originals_gone,
        (SELECT count(*) FROM found WHERE runs) AS under_way
    FROM chosen GROUP BY kind
    UNION ALL SELECT NULL, 0, 0, (SELECT count(*) FROM found WHERE NOT is_kept AND NOT runs),
        (SELECT count(*) FROM found WHERE runs)
"""  # noqa: S608 - our own words
_CHOSEN = f"""
    SELECT id FROM ({_CANDIDATES}) found WHERE is_kept AND NOT runs
    ORDER BY created_at DESC, id DESC LIMIT $6
"""  # noqa: S608 - our own words
# Of each asset its last one counts.
_STANDING = """
    SELECT r.company_id, r.profile, r.profile_version, r.state, count(*) AS assets
    FROM (
        SELECT DISTINCT ON (asset_id) * FROM reruns
        WHERE $1::uuid IS NULL OR company_id = $1 ORDER BY asset_id, attempt DESC
    ) r JOIN media_assets a ON a.id = r.asset_id AND a.status = 'ready'
    WHERE $2::text IS NULL OR r.profile = $2
    GROUP BY r.company_id, r.profile, r.profile_version, r.state
    ORDER BY r.company_id, r.profile, r.profile_version, r.state
"""
_FAILED = """
    SELECT * FROM (
        SELECT DISTINCT ON (asset_id) asset_id, company_id, attempt, profile, profile_version,
            state, error_code, error_message, ended_at
        FROM reruns WHERE $1::uuid IS NULL OR company_id = $1 ORDER BY asset_id, attempt DESC
    ) r WHERE state = 'failed' AND ($2::text IS NULL OR profile = $2)
    ORDER BY ended_at DESC LIMIT $3
"""
_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Target:
    """What assets are to be made by: a version of a company's profile, or of the built-in one."""

    company_id: UUID
    profile: str
    version: int
    is_own: bool
    since: datetime | None = None
    """Only of uploads that were signed from then on."""

    @property
    def terms(self) -> tuple[Any, ...]:
        """It as arguments of a statement."""
        return self.company_id, self.profile, self.version, self.is_own, self.since


@dataclass(frozen=True)
class Plan:
    """
    What is made again: how many assets of each kind, and how many seconds they last together.

    Passed over are those whose original is gone, and those that are under way.
    """

    assets: Mapping[str, int]
    seconds: Mapping[str, float]
    originals_gone: int
    under_way: int


async def plan(reader: Reader, target: Target, *, limit: int | None = None) -> Plan:
    """Return what would be made again, *limit* assets at most, the newest."""
    rows = await reader.fetch(_PLAN, *target.terms, limit or _NO_LIMIT)
    kinds = [row for row in rows if row["kind"] is not None]
    return Plan(
        {row["kind"]: row["assets"] for row in kinds},
        {row["kind"]: row["seconds"] for row in kinds},
        rows[0]["originals_gone"],
        rows[0]["under_way"],
    )


async def chosen(reader: Reader, target: Target, *, limit: int | None = None) -> Sequence[UUID]:
    """Return the assets that plan() counts."""
    rows = await reader.fetch(_CHOSEN, *target.terms, limit or _NO_LIMIT)
    return [row["id"] for row in rows]


async def begin(tx: Tx, target: Target, asset_ids: Collection[UUID]) -> int:
    """
    Begin an attempt for each of these assets, beside what it has; return of how many.

    What has changed since it was chosen, or is under way, is passed over.
    """
    begun = 0
    for asset in (await lock_assets(tx, asset_ids)).values():
        if not _is_old(asset, target) or original_of(await files_of(tx, asset.id)) is None:
            continue
        beside = await attempts.begin(
            tx, asset, target.profile, target.version, is_own=target.is_own
        )
        if beside is not None:
            made = await Made.of(tx, asset)
            first = tasks.first_task(asset, made.chosen if made else {})
            begun += await tasks.add(tx, beside, [first], later=True)
    return begun


async def standing(
    reader: Reader, company_id: UUID | None = None, profile: str | None = None
) -> Sequence[Mapping[str, Any]]:
    """Return how many assets are being made again, were, or failed to be, by profile."""
    return [dict(row) for row in await reader.fetch(_STANDING, company_id, profile)]


async def failed(
    reader: Reader, company_id: UUID | None, profile: str | None, *, limit: int
) -> Sequence[Mapping[str, Any]]:
    """Return assets that could not be made again, and why; the last ones first."""
    return [dict(row) for row in await reader.fetch(_FAILED, company_id, profile, limit)]


def _is_old(asset: Asset, target: Target) -> bool:
    made_by = asset.company_id, asset.profile
    return (
        asset.status == AssetStatus.READY
        and made_by == (target.company_id, target.profile)
        and (asset.profile_version, asset.own_profile) != (target.version, target.is_own)
    )

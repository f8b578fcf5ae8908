"""What operators ask and do, as data: each function answers one command of mediactl."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from media_records import actions
from media_records.actions import (
    AssetNotFoundError,
    NotFailedError,
    NotUnfinishedError,
    OriginalGoneError,
)
from media_records.tables import Asset
from media_records.work import Tx, Work
from media_runtime.database.postgres import Database
from media_runtime.telemetry.terminal import CommandError
from watcher.monitoring.quotas import read_usage

_BACKLOG_OF = """
    SELECT c.company_id, count(*) AS waiting,
        extract(epoch FROM now() - min(coalesce(c.attempt_at, c.uploaded_at, c.found_at)))::float8
            AS oldest_seconds
    FROM media_assets c
    WHERE c.status IN ('pending', 'processing')
        AND coalesce(c.uploaded_at, c.found_at) IS NOT NULL
    GROUP BY c.company_id ORDER BY waiting DESC, c.company_id
"""
_FAILED = """
    SELECT id AS asset_id, company_id, file_name, content_type, size, attempt, error_code,
        error_message, processed_at
    FROM media_assets
    WHERE processed_at >= $1 AND status = 'failed' AND (processed_at, id) < ($4, $5)
        AND ($2::uuid IS NULL OR company_id = $2) AND ($3::text IS NULL OR error_code = $3)
    ORDER BY processed_at DESC, id DESC LIMIT $6
"""
_COUNT_FAILED = """
    SELECT error_code, count(*) FROM media_assets
    WHERE processed_at >= $1 AND status = 'failed'
        AND ($2::uuid IS NULL OR company_id = $2) AND ($3::text IS NULL OR error_code = $3)
    GROUP BY error_code
"""
_AFTER_ALL = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)
_PAGE = 1000
_POLICY = """
    SELECT retention_days AS days, retention_keeps_thumbnails AS keeps_thumbnails
    FROM companies WHERE company_id = $1
"""
_SET_POLICY = """
    UPDATE companies SET
        retention_days = CASE WHEN $4 THEN NULL ELSE coalesce($2, retention_days) END,
        retention_keeps_thumbnails =
            CASE WHEN $4 THEN NULL ELSE coalesce($3, retention_keeps_thumbnails) END
    WHERE company_id = $1 RETURNING 1
"""
_SET_QUOTA = "UPDATE companies SET quota_bytes = $2 WHERE company_id = $1 RETURNING bucket"
_PERCENT = 100

Action = Callable[[Tx, UUID], Awaitable[Asset]]
Row = Mapping[str, Any]


class CompanyNotFoundError(CommandError):
    """No company of this id has a bucket."""

    def __init__(self, company: UUID) -> None:
        super().__init__(f"No company {company} has a bucket.")


@dataclass(frozen=True)
class Failures:
    """Which failed assets are asked for: since when, of which company, with which code."""

    since: datetime
    company: UUID | None = None
    code: str | None = None


@dataclass(frozen=True)
class PolicyChange:
    """A change of a company's policy: None leaves a column; *default* clears both."""

    days: int | None = None
    keeps_thumbnails: bool | None = None
    default: bool = False

    def __bool__(self) -> bool:
        """Return whether it changes anything."""
        return self != PolicyChange()


async def backlog_by_company(database: Database) -> list[Row]:
    """Return how much waits for its outcome, by company; raises TransientError."""
    return [dict(row) for row in await database.fetch(_BACKLOG_OF)]


async def failed_assets(database: Database, wanted: Failures) -> AsyncIterator[Row]:
    """Yield assets whose last attempt failed, the newest first, page by page."""
    last = _AFTER_ALL
    while True:
        rows = await database.fetch(
            _FAILED, wanted.since, wanted.company, wanted.code, *last, _PAGE
        )
        for row in rows:
            yield dict(row)
        if len(rows) < _PAGE:
            return
        last = rows[-1]["processed_at"], rows[-1]["asset_id"]


async def count_failed(database: Database, wanted: Failures) -> Mapping[str, int]:
    """Return how many assets failed, all of them, by error code."""
    rows = await database.fetch(_COUNT_FAILED, wanted.since, wanted.company, wanted.code)
    return Counter({row["error_code"]: row["count"] for row in rows})


async def quotas(database: Database) -> list[Row]:
    """Return what each company uses of its quota, the fullest first."""
    usages = sorted(await read_usage(database), key=lambda usage: -usage.used_ratio)
    return [
        {**asdict(usage), "used_percent": round(usage.used_ratio * _PERCENT, 1)} for usage in usages
    ]


async def set_quota(database: Database, company: UUID, quota_bytes: int) -> str:
    """
    Set a company's quota and return its bucket.

    Signing heeds it at once, the bucket's own limit when the watcher next verifies it. Raises
    CompanyNotFoundError.
    """
    row = await database.fetchrow(_SET_QUOTA, company, quota_bytes)
    if row is None:
        raise CompanyNotFoundError(company)
    return str(row["bucket"])


async def read_policy(database: Database, company: UUID) -> Row:
    """Return a company's own policy, None for what the settings say; CompanyNotFoundError."""
    row = await database.fetchrow(_POLICY, company)
    if row is None:
        raise CompanyNotFoundError(company)
    return dict(row)


async def set_policy(database: Database, company: UUID, change: PolicyChange) -> None:
    """Change how long a company keeps assets; raises CompanyNotFoundError."""
    arguments = change.days, change.keeps_thumbnails, change.default
    if await database.fetchrow(_SET_POLICY, company, *arguments) is None:
        raise CompanyNotFoundError(company)


class Operator:
    """Acts on assets, each in a unit of work of its own."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def retry(self, asset_id: UUID) -> Row:
        """Begin a new attempt for a failed asset."""
        return await self._act(asset_id, actions.retry, "only a failed asset can be retried")

    async def cancel(self, asset_id: UUID) -> Row:
        """Cancel an unfinished asset."""
        return await self._act(
            asset_id, actions.cancel, "only an unfinished asset can be cancelled"
        )

    async def delete(self, asset_id: UUID) -> Row:
        """Delete an asset."""
        return await self._act(asset_id, actions.delete, "")

    async def _act(self, asset_id: UUID, action: Action, rule: str) -> Row:
        try:
            async with self._work.begin() as tx:
                asset = await action(tx, asset_id)
        except AssetNotFoundError:
            return {"asset_id": asset_id, "error": "there is no such asset"}
        except OriginalGoneError:
            return {"asset_id": asset_id, "error": "its file is no longer kept"}
        except (NotFailedError, NotUnfinishedError):
            return {"asset_id": asset_id, "error": rule}
        return {"asset_id": asset_id, "status": asset.status, "attempt": asset.attempt}

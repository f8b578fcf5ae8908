"""
Companies: their buckets, what they use of their quotas, and how long they keep assets.

Invariant: a company has a row once its bucket has all its settings; what a company wants is
forgotten in the transaction that adds it. What it uses are sums that a trigger keeps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from media_records.work import Reader
from media_runtime.database.postgres import Connection, Database

STATUSES = ("pending", "processing", "ready", "failed", "expired", "cancelled", "deleted")
BY_STATUS = ", ".join(f"coalesce(sum({one}), 0)::bigint AS {one}" for one in STATUSES)
_USAGE = f"""
    SELECT c.company_id, c.bucket, c.quota_bytes, c.retention_days, c.retention_keeps_thumbnails,
        coalesce(sum(u.bytes), 0)::bigint AS used_bytes, {BY_STATUS}
    FROM companies c LEFT JOIN company_usage u USING (company_id)
    GROUP BY c.company_id
    ORDER BY coalesce(sum(u.processing + u.pending), 0) DESC, used_bytes DESC, c.company_id
"""  # noqa: S608 - our own words
_WANT_BUCKET = "INSERT INTO bucket_requests (company_id) VALUES ($1) ON CONFLICT DO NOTHING"
_WANTED = """
    SELECT company_id FROM bucket_requests WHERE company_id <> ALL($1::uuid[])
    ORDER BY requested_at LIMIT $2
"""
_IS_WANTED = "SELECT 1 FROM bucket_requests WHERE company_id = $1"
# The session ends, and its lock with it, when its process is frozen in the midst of a bucket.
_LOCK_BUCKET = """
    SELECT set_config('idle_session_timeout', '60s', false),
        pg_try_advisory_lock(hashtext('bucket'), hashtext($1::uuid::text)) AS is_alone
"""
_FORGET_WANTED = "DELETE FROM bucket_requests WHERE company_id = $1"
_ADD = """
    INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
"""
_BUCKETS = "SELECT company_id, bucket FROM companies ORDER BY company_id"
_TO_VERIFY = """
    SELECT company_id, quota_bytes FROM companies
    WHERE verified_at < now() - make_interval(secs => $1) ORDER BY verified_at LIMIT $2
"""
_VERIFIED = "UPDATE companies SET verified_at = now() WHERE company_id = $1"
_QUOTA = "SELECT quota_bytes FROM companies WHERE company_id = $1"
_SET_QUOTA = "UPDATE companies SET quota_bytes = $2 WHERE company_id = $1 RETURNING 1"
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


@dataclass(frozen=True)
class Policy:
    """How long assets are kept, and whether their thumbnails stay; None says nothing of it."""

    days: int | None = None
    keeps_thumbnails: bool | None = None


@dataclass(frozen=True)
class PolicyChange(Policy):
    """A change of a company's policy: None leaves a column; *default* clears both."""

    default: bool = False

    def __bool__(self) -> bool:
        """Return whether it changes anything."""
        return self != PolicyChange()


@dataclass(frozen=True)
class Usage:
    """What one company has: bytes, and assets by status. ``quota_bytes`` is what it may have."""

    company_id: UUID
    bucket: str
    quota_bytes: int
    retention_days: int | None
    retention_keeps_thumbnails: bool | None
    used_bytes: int
    pending: int
    processing: int
    ready: int
    failed: int
    expired: int
    cancelled: int
    deleted: int

    @property
    def assets(self) -> Mapping[str, int]:
        """Its assets by status."""
        return {status: getattr(self, status) for status in STATUSES}

    @property
    def used_ratio(self) -> float:
        """The part of its quota that it uses."""
        return self.used_bytes / self.quota_bytes if self.quota_bytes else float("inf")


class CompanyNotFoundError(Exception):
    """No company of this id has a bucket."""

    def __init__(self, company_id: UUID) -> None:
        super().__init__(f"No company {company_id} has a bucket.")


async def has_bucket(reader: Reader) -> bool:
    """Return whether the company of this transaction has its bucket."""
    return await reader.fetchrow("SELECT 1 FROM companies") is not None


async def want_bucket(reader: Reader, company_id: UUID) -> None:
    """Ask for the bucket of a new company, which the watcher makes."""
    await reader.fetch(_WANT_BUCKET, company_id)


async def bucket_requests(reader: Reader, limit: int, *, but: Collection[UUID]) -> list[UUID]:
    """Return up to *limit* companies that want a bucket, all *but* those, the longest first."""
    return [row["company_id"] for row in await reader.fetch(_WANTED, list(but), limit)]


@asynccontextmanager
async def alone_with_bucket(
    database: Database, company_id: UUID
) -> AsyncIterator[Connection | None]:
    """
    Give a session that no other replica makes or repairs this company's bucket beside, or None.

    MinIO keeps a bucket's settings in one document, which each change of one of them reads and
    writes as a whole: of two that set them at once, one undoes what the other has verified.
    """
    async with database.session() as session:
        row = await session.fetchrow(_LOCK_BUCKET, company_id)
        yield session if row["is_alone"] else None


async def is_bucket_wanted(reader: Reader, company_id: UUID) -> bool:
    """Return whether a company still waits for its bucket."""
    return await reader.fetchrow(_IS_WANTED, company_id) is not None


async def add_company(
    session: Connection, company_id: UUID, *, bucket: str, quota_bytes: int
) -> None:
    """Record that a company has its bucket; one that is there already keeps its quota."""
    async with session.transaction():
        await session.execute(_ADD, company_id, bucket, quota_bytes)
        await session.execute(_FORGET_WANTED, company_id)


async def buckets(reader: Reader) -> list[tuple[UUID, str]]:
    """Return every company with its bucket."""
    return [(row["company_id"], row["bucket"]) for row in await reader.fetch(_BUCKETS)]


async def buckets_to_verify(
    reader: Reader, limit: int, *, age_seconds: float
) -> list[tuple[UUID, int]]:
    """Return companies whose bucket nobody verified for so long, with the quotas they have."""
    rows = await reader.fetch(_TO_VERIFY, age_seconds, limit)
    return [(row["company_id"], row["quota_bytes"]) for row in rows]


async def bucket_verified(reader: Reader, company_id: UUID) -> None:
    """Record that a company's bucket has its settings now."""
    await reader.fetch(_VERIFIED, company_id)


async def quota_of(reader: Reader, company_id: UUID) -> int | None:
    """Return a company's quota in bytes, None for one without a bucket."""
    row = await reader.fetchrow(_QUOTA, company_id)
    return row["quota_bytes"] if row else None


async def set_quota(reader: Reader, company_id: UUID, quota_bytes: int) -> None:
    """
    Set a company's quota; raises CompanyNotFoundError.

    Signing heeds it at once, the bucket's own limit when the watcher next verifies it.
    """
    if await reader.fetchrow(_SET_QUOTA, company_id, quota_bytes) is None:
        raise CompanyNotFoundError(company_id)


async def usage_of_each(reader: Reader) -> list[Usage]:
    """Return the usage of every company, the busiest first."""
    return [Usage(**row) for row in await reader.fetch(_USAGE)]


async def policy_of(reader: Reader, company_id: UUID) -> Policy:
    """Return a company's own policy; raises CompanyNotFoundError."""
    row = await reader.fetchrow(_POLICY, company_id)
    if row is None:
        raise CompanyNotFoundError(company_id)
    return Policy(**row)


async def set_policy(reader: Reader, company_id: UUID, change: PolicyChange) -> None:
    """Change how long a company keeps assets; raises CompanyNotFoundError."""
    arguments = change.days, change.keeps_thumbnails, change.default
    if await reader.fetchrow(_SET_POLICY, company_id, *arguments) is None:
        raise CompanyNotFoundError(company_id)

"""
What is unfinished or waits, for how long, and how attempts ended lately.

Invariant: it reads through partial indexes and sums that a trigger keeps, so its time does not
grow with the number of finished assets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from media_records.companies import BY_STATUS
from media_records.work import Reader

# An upload is as old as its attempt: a retry after weeks begins anew.
_SINCE = "coalesce(a.attempt_at, a.uploaded_at, a.found_at)"
_AGE = "extract(epoch FROM now() - {})::float8"
_WAITS = """
    a.status IN ('pending', 'processing') AND coalesce(a.uploaded_at, a.found_at) IS NOT NULL
"""
_OLDEST = f"""
    SELECT a.id AS asset_id, a.company_id, a.status, a.uploaded_at IS NOT NULL AS announced,
        t.kind, t.state AS task, t.tries, t.last_error,
        coalesce(t.lease_until < now(), false) AS silent, {_AGE.format(_SINCE)} AS age_seconds
    FROM media_assets a LEFT JOIN LATERAL (
        SELECT * FROM tasks WHERE asset_id = a.id AND attempt = a.attempt
        ORDER BY state IN ('running', 'queued', 'blocked') DESC, pool = 'pictures',
            state = 'running' DESC, id DESC LIMIT 1
    ) t ON true
    WHERE {_WAITS} ORDER BY {_SINCE} LIMIT $1
"""  # noqa: S608 - our own words
_LASTS = f"""
    SELECT {_AGE.format(_SINCE)} AS seconds FROM media_assets a
    WHERE {_WAITS} ORDER BY {_SINCE} OFFSET $1 LIMIT 1
"""  # noqa: S608 - our own words
_OF_EACH = f"""
    SELECT a.company_id, count(*) AS waiting, {_AGE.format(f"min({_SINCE})")} AS oldest_seconds
    FROM media_assets a
    WHERE {_WAITS} GROUP BY a.company_id ORDER BY waiting DESC, a.company_id
"""  # noqa: S608 - our own words
_COUNTS = f"""
    SELECT {BY_STATUS},
        (SELECT count(*) FROM media_assets
         WHERE status IN ('pending', 'processing')
             AND (status = 'processing' OR coalesce(uploaded_at, found_at) IS NOT NULL)) AS backlog
    FROM company_usage
"""  # noqa: S608 - our own words
_BUSIEST = """
    SELECT company_id, sum(pending)::bigint AS pending, sum(processing)::bigint AS processing,
        sum(ready)::bigint AS ready, sum(failed)::bigint AS failed
    FROM company_usage GROUP BY company_id HAVING sum(pending + processing) > 0
    ORDER BY sum(processing) DESC, sum(pending) DESC, company_id LIMIT $1
"""
_OUTCOMES = """
    SELECT status, error_code, count(*) AS attempts FROM media_assets
    WHERE processed_at > now() - make_interval(secs => $1) AND status IN ('ready', 'failed')
    GROUP BY status, error_code
"""
_FAILED = """
    processed_at >= $1 AND status = 'failed'
    AND ($2::uuid IS NULL OR company_id = $2) AND ($3::text IS NULL OR error_code = $3)
"""
_PAGE_OF_FAILED = f"""
    SELECT id AS asset_id, company_id, file_name, content_type, size, attempt, error_code,
        error_message, processed_at
    FROM media_assets WHERE {_FAILED} AND (processed_at, id) < ($4, $5)
    ORDER BY processed_at DESC, id DESC LIMIT $6
"""  # noqa: S608 - our own words
_COUNT_FAILED = f"""
    SELECT error_code, count(*) FROM media_assets WHERE {_FAILED} GROUP BY error_code
"""  # noqa: S608 - our own words
# The watcher waits a while after a grant lapsed before it is expired: a slow upload may come in.
_COUNT_UNUSED = """
    SELECT count(*) + (SELECT coalesce(sum(expired), 0) FROM company_usage)::bigint AS grants
    FROM media_assets
    WHERE status = 'pending' AND coalesce(uploaded_at, found_at) IS NULL
        AND grant_expires_at < now()
"""
_TASKS = """
    SELECT count(*) FILTER (WHERE waits) AS queued,
        count(*) FILTER (WHERE is_worked_on) AS running,
        count(*) FILTER (WHERE is_worked_on AND lease_until < now()) AS expired,
        coalesce(extract(epoch FROM now() - min(lease_until) FILTER (
            WHERE is_worked_on AND lease_until < now())), 0)::float8 AS silent,
        coalesce(extract(epoch FROM now() - min(not_before) FILTER (
            WHERE waits AND not_before <= now())), 0)::float8 AS oldest
    FROM (
        SELECT *, state = 'running' AND NOT is_asked AS is_worked_on,
            state = 'queued' AND right(pool, 6) <> '_later'
                AND (kind = 'inspect' OR NOT is_asked) AS waits
        FROM (SELECT *, pool IN ('pictures', 'pictures_later') AS is_asked FROM tasks) asked
        WHERE state IN ('queued', 'running')
    ) tasks
"""
_OUTBOX = """
    SELECT producer, count(*) AS records,
        extract(epoch FROM now() - min(created_at))::float8 AS oldest
    FROM outbox GROUP BY producer
"""
_AFTER_ALL = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)
_PAGE = 1000
_OPEN = frozenset({"blocked", "queued", "running"})


@dataclass(frozen=True)
class OldItem:
    """
    One item of the backlog, and its ``stage``: what it waits for.

    ``age_seconds`` counts from when its upload was known, or from when a retry began.
    """

    asset_id: UUID
    company_id: UUID
    status: str
    stage: str
    age_seconds: float
    task: str | None
    tries: int | None
    last_error: str | None


@dataclass(frozen=True)
class Failures:
    """Which failed assets are asked for: since when, of which company, with which code."""

    since: datetime
    company: UUID | None = None
    code: str | None = None


async def count_assets(reader: Reader) -> Mapping[str, int]:
    """Return how many assets there are by status, and as ``backlog`` how many wait for an end."""
    (row,) = await reader.fetch(_COUNTS)
    return dict(row)


async def busiest(reader: Reader, limit: int) -> list[dict[str, Any]]:
    """Return assets by status of the companies with the most that is unfinished."""
    return [dict(row) for row in await reader.fetch(_BUSIEST, limit)]


async def oldest_items(reader: Reader, limit: int) -> list[OldItem]:
    """Return up to *limit* items of the backlog, the oldest first."""
    return [_item(**row) for row in await reader.fetch(_OLDEST, limit)]


async def exceeded_for(reader: Reader, limit: int) -> float:
    """Return for how many seconds the backlog has had more than *limit* items."""
    row = await reader.fetchrow(_LASTS, limit)
    return row["seconds"] if row else 0


async def backlog_of_each(reader: Reader) -> list[dict[str, Any]]:
    """Return how much waits for its outcome, by company, and how old the oldest of it is."""
    return [dict(row) for row in await reader.fetch(_OF_EACH)]


async def outcomes_lately(reader: Reader, seconds: float) -> list[tuple[str, str | None, int]]:
    """Return how many attempts ended within so many *seconds*, by status and error code."""
    rows = await reader.fetch(_OUTCOMES, seconds)
    return [(row["status"], row["error_code"], row["attempts"]) for row in rows]


async def failed_assets(reader: Reader, wanted: Failures) -> AsyncIterator[dict[str, Any]]:
    """Yield assets whose last attempt failed, the newest first, page by page."""
    last = _AFTER_ALL
    while True:
        rows = await reader.fetch(
            _PAGE_OF_FAILED, wanted.since, wanted.company, wanted.code, *last, _PAGE
        )
        for row in rows:
            yield dict(row)
        if len(rows) < _PAGE:
            return
        last = rows[-1]["processed_at"], rows[-1]["asset_id"]


async def count_failed(reader: Reader, wanted: Failures) -> Mapping[str, int]:
    """Return how many assets failed, all of them, by error code."""
    rows = await reader.fetch(_COUNT_FAILED, wanted.since, wanted.company, wanted.code)
    return {row["error_code"]: row["count"] for row in rows}


async def count_unused_grants(reader: Reader) -> int:
    """Return how many grants lapsed without an upload, as long as their rows are kept."""
    (row,) = await reader.fetch(_COUNT_UNUSED)
    return int(row["grants"])


async def measure_tasks(reader: Reader) -> dict[str, Any]:
    """
    Return how many tasks are ``queued``, ``running``, and on an ``expired`` lease.

    Its worker has been ``silent`` for so many seconds, and the ``oldest`` task was due so long
    ago. Pictures are left out, but for the checks of images that wait to be asked for.
    """
    (row,) = await reader.fetch(_TASKS)
    return dict(row)


async def measure_outbox(reader: Reader) -> Mapping[str, tuple[int, float]]:
    """Return how many records wait for Kafka, the oldest for how many seconds, by service."""
    rows = await reader.fetch(_OUTBOX)
    return {row["producer"]: (row["records"], row["oldest"]) for row in rows}


def stage_of(task: str | None, kind: str | None, *, announced: bool, silent: bool) -> str:
    """Return what an unfinished upload waits for: its first task's state and *kind* say it."""
    if task is None:
        return "uploaded" if announced else "unannounced"
    if task not in _OPEN:
        return "stopped"
    if kind == "pictures":
        return "waiting_for_pictures"
    if task == "running":
        if silent:
            return "worker_silent"
        return "checking" if kind == "inspect" else "transcoding"
    return "queued"


def _item(*, announced: bool, silent: bool, kind: str, **known: Any) -> OldItem:
    stage = stage_of(known["task"], kind, announced=announced, silent=silent)
    return OldItem(**known, stage=stage)

"""
What may be removed: objects that nothing refers to any more, and rows that have lapsed.

Invariant: rows say what is due, and counting it reads through the indexes that removing it uses.
A sweep of an asset that somebody made due again meanwhile stays due.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from media_contracts import FileKind
from media_records.files import forget
from media_records.lifecycle import REPLACED_IS_KEPT
from media_records.tables import Asset
from media_records.work import Reader
from media_runtime.database.postgres import Database

_DUE = "SELECT * FROM media_assets WHERE {} AND id <> ALL($2) ORDER BY {} LIMIT $1"
_DELETED_DUE = _DUE.format(
    "sweep_at <= now() AND status IN ('deleted', 'cancelled') AND NOT retired", "sweep_at"
)
_ALL_DUE = _DUE.format("sweep_at <= now()", "sweep_at")
_GRANT_LAPSED = """
    NOT grant_swept AND uploaded_at IS NOT NULL AND sweep_at IS NULL
    AND grant_expires_at < now() - make_interval(secs => {})
"""
_GRANTS_DUE = _DUE.format(_GRANT_LAPSED.format("$3"), "grant_expires_at")
# Once more when no lease and no grant of the time is in use, and where it waits in quarantine, at
# its end.
_SWEPT = """
    UPDATE media_assets SET sweep_at = (
        SELECT min(moment) FROM unnest(ARRAY[
            greatest(
                updated_at + make_interval(secs => $3),
                CASE WHEN NOT grant_swept THEN grant_expires_at + make_interval(secs => $5) END),
            updated_at + make_interval(days => $4)
        ]) AS moments (moment) WHERE moment > now()),
        grant_swept = grant_swept OR grant_expires_at < now() - make_interval(secs => $5)
    WHERE id = $1 AND sweep_at = $2
"""
_GRANTS_SWEPT = "UPDATE media_assets SET grant_swept = true WHERE id = ANY($1::uuid[])"
# After this no retry can begin, which would not find its file.
_MAY_GO = """
    SELECT 1 FROM media_assets WHERE id = $1 AND status = 'failed' AND attempt = $2
        AND ($3 OR updated_at <= now() - make_interval(days => $4)) FOR UPDATE
"""
# A sweep may be due for another reason, while links to what a rerun has replaced still last.
_FORGET_REPLACED = """
    SELECT forget_attempts($1, 1, $2) WHERE NOT EXISTS (
        SELECT 1 FROM reruns
        WHERE asset_id = $1 AND state = 'done' AND ended_at > now() - $3::interval
    )
"""
_FORGET = """
    WITH gone AS (
        DELETE FROM {0} WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {0} WHERE {1} ORDER BY {2} LIMIT $1))
        RETURNING 1
    ) SELECT count(*) FROM gone
"""
_KEY_LAPSED = "created_at < now() - interval '24 hours'"
_TICKET_LAPSED = "expires_at < now()"
# What still waits is sent for a day, or waits for somebody to enable its endpoint again.
_DELIVERY_LAPSED = "created_at < now() - interval '30 days'"
_BATCH_LAPSED = """
    decided_at < now() - interval '30 days'
    AND NOT EXISTS (SELECT 1 FROM media_assets a WHERE a.batch_id = batches.id)
"""
_FORGET_LAPSED = {
    "keys": _FORGET.format("idempotency_keys", _KEY_LAPSED, "created_at"),
    "tickets": _FORGET.format("event_tickets", _TICKET_LAPSED, "expires_at"),
    "deliveries": _FORGET.format("webhook_deliveries", _DELIVERY_LAPSED, "created_at"),
    "batches": _FORGET.format("batches", _BATCH_LAPSED, "decided_at"),
}
_COUNT_OBJECTS = """
    SELECT rule, count(*) AS due,
        extract(epoch FROM now() - min(sweep_at))::float8 AS oldest_seconds
    FROM (
        SELECT sweep_at, CASE
            WHEN status IN ('deleted', 'cancelled') AND NOT retired THEN 'deletions'
            WHEN status = 'failed' AND updated_at <= now() - make_interval(days => $1)
                AND EXISTS (SELECT 1 FROM asset_files f WHERE f.asset_id = media_assets.id
                    AND f.kind = 'original' AND f.key LIKE '%/quarantine/%') THEN 'quarantine'
            ELSE 'leftovers' END AS rule
        FROM media_assets WHERE sweep_at <= now()
    ) AS due GROUP BY rule
"""
_COUNT_GRANTS = f"""
    SELECT 'versions' AS rule, count(*) AS due,
        extract(epoch FROM now() - min(grant_expires_at))::float8 - $1 AS oldest_seconds
    FROM (
        SELECT grant_expires_at FROM media_assets WHERE {_GRANT_LAPSED.format("$1")}
        ORDER BY grant_expires_at LIMIT $2
    ) AS found
"""  # noqa: S608 - our own words
_COUNT_ROWS = f"""
    SELECT 'grants' AS rule, count(*) AS due,
        extract(epoch FROM now() - min(updated_at))::float8 - $1 AS oldest_seconds
    FROM media_assets
    WHERE status = 'expired' AND updated_at < now() - make_interval(secs => $1)
    UNION ALL SELECT 'keys', count(*),
        extract(epoch FROM now() - min(created_at) - interval '24 hours')::float8
    FROM idempotency_keys WHERE {_KEY_LAPSED}
    UNION ALL SELECT 'tickets', count(*),
        extract(epoch FROM now() - min(expires_at))::float8
    FROM event_tickets WHERE {_TICKET_LAPSED}
    UNION ALL SELECT 'deliveries', count(*),
        extract(epoch FROM now() - min(created_at) - interval '30 days')::float8
    FROM webhook_deliveries WHERE {_DELIVERY_LAPSED}
    UNION ALL SELECT 'batches', count(*),
        extract(epoch FROM now() - min(decided_at) - interval '30 days')::float8
    FROM batches WHERE {_BATCH_LAPSED}
"""  # noqa: S608 - our own words
# No lease, and no request of its worker's, lasts for longer.
_SETTLED_SECONDS = REPLACED_IS_KEPT.total_seconds()


async def assets_due(
    reader: Reader, limit: int, *, but: Collection[UUID] = (), deleted: bool = False
) -> list[Asset]:
    """Return what is due, all *but* those, or of it alone what somebody *deleted* or cancelled."""
    query = _DELETED_DUE if deleted else _ALL_DUE
    return [Asset.of(row) for row in await reader.fetch(query, limit, list(but))]


async def swept(
    reader: Reader, asset: Asset, *, quarantine_days: int | None, late_seconds: float
) -> None:
    """
    Record a sweep, and when the next one is due.

    That is at the end of *quarantine_days* too, None for an asset that has nothing there. Uploads
    come in so long after their grants lapsed.
    """
    next_one = _SETTLED_SECONDS, quarantine_days, late_seconds
    await reader.fetch(_SWEPT, asset.id, asset.sweep_at, *next_one)


async def forget_replaced(reader: Reader, asset: Asset) -> None:
    """Forget what attempts before the asset's own have made, once nobody is served it any more."""
    await reader.fetch(_FORGET_REPLACED, asset.id, asset.attempt - 1, REPLACED_IS_KEPT)


async def give_up_original(
    database: Database, asset: Asset, *, lost: bool, quarantine_days: int
) -> bool:
    """
    Forget the original of a failed asset: one that is *lost*, or so long in quarantine.

    Returns False, having changed nothing, where its time is not over or a retry came first.
    """
    async with database.transaction() as connection:
        terms = asset.id, asset.attempt, lost, quarantine_days
        if await connection.fetchrow(_MAY_GO, *terms) is None:
            return False
        await forget(connection, asset.id, [FileKind.ORIGINAL])
    return True


async def grants_due(
    reader: Reader, limit: int, *, but: Collection[UUID], late_seconds: float
) -> list[Asset]:
    """Return uploaded assets whose grant lapsed so long ago that nothing uses it, *but* those."""
    rows = await reader.fetch(_GRANTS_DUE, limit, list(but), late_seconds)
    return [Asset.of(row) for row in rows]


async def grants_swept(reader: Reader, asset_ids: Collection[UUID]) -> None:
    """Record that what these assets' grants stored besides is removed."""
    await reader.fetch(_GRANTS_SWEPT, list(asset_ids))


async def forget_lapsed(reader: Reader, what: str, limit: int) -> int:
    """Remove up to *limit* rows of *what*, as ``keys``, whose time is over; return how many."""
    (row,) = await reader.fetch(_FORGET_LAPSED[what], limit)
    return int(row["count"])


async def count_due(
    reader: Reader,
    *,
    late_seconds: float,
    quarantine_days: int,
    expired_seconds: float,
    at_most: int,
) -> Mapping[str, tuple[int, float]]:
    """
    Return how much is due, and the oldest for how many seconds, by the rule's name.

    Of grants to sweep *at_most* so many are counted, as many may be due at once.
    """
    rows = [
        *await reader.fetch(_COUNT_GRANTS, late_seconds, at_most),
        *await reader.fetch(_COUNT_OBJECTS, quarantine_days),
        *await reader.fetch(_COUNT_ROWS, expired_seconds),
    ]
    return {row["rule"]: (row["due"], row["oldest_seconds"] or 0.0) for row in rows}

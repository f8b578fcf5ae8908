"""
Webhooks: where companies hear of their events by HTTP, and what waits to be sent.

Invariant: an event is queued for each endpoint in the transaction that it tells of, by the
database itself. One worker at a time has a delivery, and it is done once an endpoint took it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from media_records.tables import WebhookDelivery, WebhookEndpoint
from media_records.work import Reader

_TOLD_OF_ENDPOINTS = (
    "id, company_id, url, types, old_until, enabled, failing_since, disabled_at, created_at"
)
# Two that are added at once would not count each other.
_ALONE = "SELECT pg_advisory_xact_lock(hashtext('webhook_endpoints'), hashtext($1))"
_ADD = f"""
    INSERT INTO webhook_endpoints (id, company_id, url, types, secret)
    SELECT $1, $2, $3, $4, $5
    WHERE (SELECT count(*) FROM webhook_endpoints WHERE company_id = $2) < $6
    RETURNING {_TOLD_OF_ENDPOINTS}
"""  # noqa: S608 - our own words
_ENDPOINTS = f"""
    SELECT {_TOLD_OF_ENDPOINTS} FROM webhook_endpoints WHERE company_id = $1 ORDER BY created_at, id
"""  # noqa: S608
_ENDPOINT = f"SELECT {_TOLD_OF_ENDPOINTS} FROM webhook_endpoints WHERE id = $1"  # noqa: S608
_CHANGE = f"""
    UPDATE webhook_endpoints SET url = coalesce($2, url), types = coalesce($3, types),
        enabled = coalesce($4, enabled),
        failing_since = CASE WHEN $4 THEN NULL ELSE failing_since END,
        disabled_at = CASE WHEN $4 THEN NULL ELSE disabled_at END
    WHERE id = $1 RETURNING {_TOLD_OF_ENDPOINTS}
"""  # noqa: S608
_ROTATE = "SELECT rotate_secret($1, $2, $3)"
_FORGET = "SELECT forget_endpoint($1)"
_QUEUE = """
    INSERT INTO webhook_deliveries (company_id, endpoint_id, event_id, event_type, body)
    SELECT company_id, id, $2, $3, $4 FROM webhook_endpoints WHERE id = $1
    ON CONFLICT DO NOTHING RETURNING event_id
"""
_AGAIN = """
    WITH again AS (
        UPDATE webhook_deliveries
        SET state = 'waiting', tries = 0, not_before = now(), lease_until = NULL
        WHERE endpoint_id = $1 AND state <> 'waiting'
            AND ($2::uuid IS NULL OR event_id = $2)
            AND ($3::timestamptz IS NULL OR created_at >= $3)
        RETURNING 1
    ) SELECT count(*) AS count FROM again
"""
_LOG = """
    SELECT id, company_id, endpoint_id, event_id, event_type, state, tries, not_before, answer,
        created_at, tried_at
    FROM webhook_deliveries
    WHERE endpoint_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR id < $3)
    ORDER BY id DESC LIMIT $4
"""
# From one endpoint that something waits for to the next, by the index, whatever waits for each.
_CLAIM = """
    WITH RECURSIVE due (endpoint_id) AS (
        (SELECT endpoint_id FROM webhook_deliveries WHERE state = 'waiting'
            ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.endpoint_id FROM webhook_deliveries d
            WHERE d.state = 'waiting' AND d.endpoint_id > due.endpoint_id
            ORDER BY d.endpoint_id LIMIT 1)
        FROM due WHERE due.endpoint_id IS NOT NULL
    ),
    wanted AS (
        SELECT one.id FROM due
        JOIN webhook_endpoints e ON e.id = due.endpoint_id AND e.enabled
        CROSS JOIN LATERAL (
            SELECT count(*) AS running FROM webhook_deliveries d
            WHERE d.endpoint_id = e.id AND d.state = 'waiting' AND d.lease_until > now()
        ) busy
        CROSS JOIN LATERAL (
            SELECT d.id FROM webhook_deliveries d
            WHERE d.endpoint_id = e.id AND d.state = 'waiting' AND d.not_before <= now()
                AND (d.lease_until IS NULL OR d.lease_until <= now())
            ORDER BY d.not_before, d.id
            LIMIT greatest(0, CASE WHEN e.failing_since IS NULL THEN $2 ELSE 1 END - busy.running)
            FOR UPDATE SKIP LOCKED
        ) one
        ORDER BY e.failing_since IS NOT NULL, one.id LIMIT $1
    )
    UPDATE webhook_deliveries d
    SET lease_until = now() + $3::interval, fence = d.fence + 1, tries = d.tries + 1,
        tried_at = now()
    FROM wanted, webhook_endpoints e
    WHERE d.id = wanted.id AND e.id = d.endpoint_id
    RETURNING d.*, e.url, e.secret,
        CASE WHEN e.old_until > now() THEN e.old_secret END AS old_secret
"""
_DONE = """
    WITH done AS (
        UPDATE webhook_deliveries SET state = 'done', lease_until = NULL, answer = $3
        WHERE id = $1 AND fence = $2 AND state = 'waiting' RETURNING endpoint_id
    )
    UPDATE webhook_endpoints e SET failing_since = NULL FROM done
    WHERE e.id = done.endpoint_id AND e.failing_since IS NOT NULL
"""
_GIVES_UP = "($5 OR coalesce(e.failing_since < now() - $6::interval, false))"
_FAILED = f"""
    WITH failed AS (
        UPDATE webhook_deliveries SET lease_until = NULL, answer = $3,
            state = CASE WHEN $4::float8 IS NULL THEN 'failed' ELSE state END,
            not_before = now() + make_interval(secs => coalesce($4, 0))
        WHERE id = $1 AND fence = $2 AND state = 'waiting' RETURNING endpoint_id
    )
    UPDATE webhook_endpoints e SET
        failing_since = coalesce(e.failing_since, now()),
        enabled = e.enabled AND NOT {_GIVES_UP},
        disabled_at = CASE WHEN e.enabled AND {_GIVES_UP} THEN now() ELSE e.disabled_at END,
        told = e.told AND NOT (e.enabled AND {_GIVES_UP})
    FROM failed
    WHERE e.id = failed.endpoint_id AND (e.failing_since IS NULL OR {_GIVES_UP})
"""  # noqa: S608
_UNTOLD = f"""
    SELECT {_TOLD_OF_ENDPOINTS} FROM webhook_endpoints WHERE NOT told ORDER BY disabled_at LIMIT 100
"""  # noqa: S608
_TOLD = "UPDATE webhook_endpoints SET told = true WHERE id = $1"


@dataclass(frozen=True)
class Delivery:
    """A claimed delivery: POST ``body`` to ``url``, signed with each of the ``secrets``."""

    id: int
    fence: int
    company_id: UUID
    endpoint_id: UUID
    event_id: UUID
    body: str
    tries: int
    url: str
    secrets: tuple[str, ...]


async def add_endpoint(
    reader: Reader, company_id: UUID, url: str, types: Sequence[str], secret: str, *, at_most: int
) -> WebhookEndpoint | None:
    """
    Record an endpoint and return it, or None where its company has *at_most* so many.

    Of a company one is added at a time, until the transaction of *reader* ends.
    """
    await reader.fetchrow(_ALONE, str(company_id))
    row = await reader.fetchrow(_ADD, uuid4(), company_id, url, list(types), secret, at_most)
    return WebhookEndpoint.of(row) if row else None


async def endpoints_of(reader: Reader, company_id: UUID) -> Sequence[WebhookEndpoint]:
    """Return a company's endpoints, without their secrets, the oldest first."""
    return [WebhookEndpoint.of(row) for row in await reader.fetch(_ENDPOINTS, company_id)]


async def find_endpoint(reader: Reader, endpoint_id: UUID) -> WebhookEndpoint | None:
    """Return an endpoint, without its secrets, or None when there is none that *reader* may see."""
    row = await reader.fetchrow(_ENDPOINT, endpoint_id)
    return WebhookEndpoint.of(row) if row else None


async def change_endpoint(
    reader: Reader,
    endpoint_id: UUID,
    *,
    url: str | None,
    types: Sequence[str] | None,
    enabled: bool | None,
) -> WebhookEndpoint | None:
    """Change what is not None and return the endpoint; one that is enabled begins anew."""
    wanted = None if types is None else list(types)
    row = await reader.fetchrow(_CHANGE, endpoint_id, url, wanted, enabled)
    return WebhookEndpoint.of(row) if row else None


async def rotate_secret(
    reader: Reader, endpoint_id: UUID, secret: str, *, both_for: timedelta
) -> bool:
    """Let *secret* sign, and the one before it for so long; return whether there is an endpoint."""
    return bool(await reader.fetch(_ROTATE, endpoint_id, secret, both_for))


async def forget_endpoint(reader: Reader, endpoint_id: UUID) -> bool:
    """Remove an endpoint with all its deliveries; return whether there was one."""
    return bool(await reader.fetch(_FORGET, endpoint_id))


async def queue_event(
    reader: Reader, endpoint_id: UUID, event_id: UUID, event_type: str, body: str
) -> None:
    """Queue one event for one endpoint, whatever types it wants."""
    await reader.fetch(_QUEUE, endpoint_id, event_id, event_type, body)


async def send_again(
    reader: Reader, endpoint_id: UUID, *, event_id: UUID | None, since: datetime | None
) -> int:
    """Queue again what was sent or given up: one event, or all *since* then; return how many."""
    row = await reader.fetchrow(_AGAIN, endpoint_id, event_id, since)
    return int(row["count"]) if row else 0


async def deliveries_of(
    reader: Reader, endpoint_id: UUID, *, state: str | None, before: int | None, limit: int
) -> Sequence[WebhookDelivery]:
    """Return up to *limit* deliveries of an endpoint, without their bodies, newest first."""
    rows = await reader.fetch(_LOG, endpoint_id, state, before, limit)
    return [WebhookDelivery.of(row) for row in rows]


async def claim_deliveries(
    reader: Reader, limit: int, *, at_once: int, lease: timedelta
) -> Sequence[Delivery]:
    """
    Lease up to *limit* deliveries that are due, and return them.

    Of one endpoint *at_once* so many are sent, by all workers together, and one of an endpoint
    that fails: one that hangs keeps no other waiting.
    """
    rows = await reader.fetch(_CLAIM, limit, at_once, lease)
    return [
        Delivery(
            row["id"], row["fence"], row["company_id"], row["endpoint_id"], row["event_id"],
            row["body"], row["tries"], row["url"],
            tuple(one for one in (row["secret"], row["old_secret"]) if one),
        )
        for row in rows
    ]  # fmt: skip


async def delivered(reader: Reader, delivery: Delivery, answer: str) -> None:
    """Record that the endpoint took it."""
    await reader.fetch(_DONE, delivery.id, delivery.fence, answer)


async def not_delivered(
    reader: Reader,
    delivery: Delivery,
    answer: str,
    *,
    again_in: float | None,
    is_gone: bool,
    give_up_after: timedelta,
) -> None:
    """
    Record why the endpoint did not take it, and when it is tried again: None for never.

    An endpoint that *is_gone*, or has taken nothing for so long, is disabled.
    """
    await reader.fetch(
        _FAILED, delivery.id, delivery.fence, answer, again_in, is_gone, give_up_after
    )


async def disabled_untold(reader: Reader) -> Sequence[WebhookEndpoint]:
    """Return endpoints that were given up and whose companies have not heard of it."""
    return [WebhookEndpoint.of(row) for row in await reader.fetch(_UNTOLD)]


async def told(reader: Reader, endpoint_id: UUID) -> None:
    """Record that the company has heard that its endpoint was given up."""
    await reader.fetch(_TOLD, endpoint_id)

"""
One-use tickets for browsers, whose EventSource cannot send an Authorization header.

Invariant: redeeming deletes the row, so of two uses, on whatever replicas, one succeeds; the
secret itself is stored nowhere, and the database's clock alone decides.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from media_runtime.database.postgres import Database, DatabaseUnavailableError

_INSERT = """
    INSERT INTO event_tickets (ticket_hash, company_id, subject, stream_until, expires_at)
    VALUES ($1, $2, $3, $4, now() + $5::interval)
    RETURNING expires_at
"""
_REDEEM = "SELECT company_id, stream_until, valid FROM redeem_ticket($1)"


class InvalidTicketError(Exception):
    """The ticket was used, has lapsed, or was never given."""


@dataclass(frozen=True)
class Subscriber:
    """Who may listen: a company, until a moment."""

    company_id: UUID
    until: datetime


class Tickets:
    """Gives tickets and takes them back."""

    def __init__(self, database: Database, *, lifetime_seconds: int) -> None:
        self._database = database
        self._lifetime = timedelta(seconds=lifetime_seconds)

    async def give(
        self, company_id: UUID, subject: str, *, until: datetime
    ) -> tuple[str, datetime]:
        """Return a ticket for a stream that ends at *until*, and when it lapses."""
        ticket = secrets.token_urlsafe(32)
        row = await self._database.fetchrow(
            _INSERT, _hash(ticket), company_id, subject, until, self._lifetime
        )
        if row is None:
            raise DatabaseUnavailableError("PostgreSQL kept no ticket")
        return ticket, row["expires_at"]

    async def redeem(self, ticket: str) -> Subscriber:
        """Use the ticket up and return who may listen; raises InvalidTicketError."""
        row = await self._database.fetchrow(_REDEEM, _hash(ticket))
        if row is None or not row["valid"]:
            raise InvalidTicketError
        return Subscriber(row["company_id"], row["stream_until"])


def _hash(ticket: str) -> str:
    return hashlib.sha256(ticket.encode(errors="replace")).hexdigest()

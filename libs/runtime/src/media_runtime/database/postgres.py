"""
PostgreSQL: short transactions, each with its company set, and refusal of unsafe roles.

Invariant: the company is set with ``set_config(..., true)`` inside the transaction. A session
level setting survives ROLLBACK and would show one company's rows to the next user of the
pooled connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias
from uuid import UUID

import asyncpg
from media_runtime.errors import TransientError

Connection: TypeAlias = asyncpg.Connection
Record: TypeAlias = asyncpg.Record

_COMMAND_SECONDS = 30.0
_ACQUIRE_SECONDS = 10.0
_SESSION = {
    # A process that is frozen, or whose host is gone, in mid-transaction would keep its locks
    # from every other worker. Nothing slow is ever done inside a transaction.
    "idle_in_transaction_session_timeout": "5s",
    # Our statements take milliseconds, and compiling one that looks dear takes as long again.
    "jit": "off",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

_END_STUCK = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user AND datname = current_database() AND xact_start IS NOT NULL
        AND state = 'active' AND wait_event_type = 'Client' AND wait_event = 'ClientRead'
        AND state_change < now() - make_interval(secs => $1)
"""

# Failures of the server or the network, and conflicts that a repetition resolves.
_TRANSIENT = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


class DatabaseUnavailableError(TransientError):
    """PostgreSQL cannot be reached, or gave up on this transaction."""


class UnsafeRoleError(RuntimeError):
    """The login role could see every company's rows."""


class Database:
    """A pool of connections; every method raises DatabaseUnavailableError when it is away."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, *, name: str, size: int = 10) -> AsyncIterator[Self]:
        """
        Open a pool under application name *name*, closed at the end of the block.

        Raises UnsafeRoleError for a role that row-level security does not bind.
        """
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            command_timeout=_COMMAND_SECONDS,
            reset=_leave_as_it_is,
            server_settings={"application_name": name, **_SESSION},
        )
        try:
            await _refuse_unsafe_role(pool)
            yield cls(pool)
        finally:
            try:
                await asyncio.wait_for(pool.close(), timeout=5)
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Run the block in one transaction that no company is set for."""
        async with (
            _translated(),
            self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection,
            connection.transaction(),
        ):
            yield connection

    @asynccontextmanager
    async def company(self, company_id: UUID) -> AsyncIterator[Connection]:
        """Run the block in one transaction that sees the rows of *company_id* alone."""
        async with self.transaction() as connection:
            await connection.execute(
                "SELECT set_config('app.company_id', $1, true)", str(company_id)
            )
            yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """
        Hold one connection for the block, outside of transactions, for what a session keeps.

        Its locks and settings end with the block.
        """
        async with (
            _translated(),
            self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection,
        ):
            try:
                yield connection
            finally:
                await connection.reset()

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        """Run one statement in a transaction of its own and return its first row."""
        async with _translated():
            row: Record | None = await self._pool.fetchrow(query, *args)
            return row

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        """Run one statement in a transaction of its own and return its rows."""
        async with _translated():
            rows: list[Record] = await self._pool.fetch(query, *args)
            return rows

    async def end_stuck_sessions(self, *, after_seconds: float) -> int:
        """
        End sessions of this role whose client stopped in mid-question; return how many.

        PostgreSQL times neither a client that has had a statement prepared and does not go on, nor
        its transaction: one that is frozen just then would keep its locks for as long.
        """
        return len(await self.fetch(_END_STUCK, after_seconds))

    async def ping(self) -> None:
        """Raise DatabaseUnavailableError unless the server answers."""
        await self.fetchrow("SELECT 1")


async def _leave_as_it_is(connection: Connection) -> None:
    """
    Give a connection back without asyncpg's reset, which is one more round trip for each use.

    Transactions leave nothing behind, and one that was cut off is rolled back before this.
    """


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except _TRANSIENT as error:
        raise DatabaseUnavailableError(f"PostgreSQL: {error!r}") from error


async def _refuse_unsafe_role(pool: asyncpg.Pool) -> None:
    row = await pool.fetchrow(
        "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
    if row["rolsuper"] or row["rolbypassrls"]:
        raise UnsafeRoleError(
            f"role {row['rolname']!r} bypasses row-level security; "
            "start the service with its own login role"
        )

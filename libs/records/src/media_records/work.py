"""
Units of work: one transaction each, with all that it changes and all that it tells.

Invariant: what a unit sends, and the tasks that it queues, are looked for right after its
commit and never before. A hint that gets lost costs one poll.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import UUID

from media_records.schema import connected
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Connection, Database, Record
from media_runtime.kafka.producer import OutgoingRecord, Producer
from media_runtime.settings import PostgresSettings


class Reader(Protocol):
    """Whatever runs a query: a database, one transaction, or a unit of work."""

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        """Return the rows of a statement."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        """Return the first row of a statement."""
        ...


class Tx:
    """A unit of work that is under way: it reads, writes and sends, all of it or nothing."""

    def __init__(self, connection: Connection, outbox: Outbox) -> None:
        self._connection = connection
        self._outbox = outbox
        self.sends = False
        self.queues = set[str]()
        """The pools whose workers may find something to do after the commit."""
        self.hides = False
        """Whether it has locked an asset: who looks for a task passes over those of that one."""

    @property
    def service(self) -> str:
        """In whose name this is done."""
        return self._outbox.service

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        """Return the rows of a statement."""
        rows: list[Record] = await self._connection.fetch(query, *args)
        return rows

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        """Return the first row of a statement."""
        row: Record | None = await self._connection.fetchrow(query, *args)
        return row

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Return the first column of the first row of a statement."""
        return await self._connection.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> None:
        """Run a statement for what it does."""
        await self._connection.execute(query, *args)

    async def fetchmany(self, query: str, rows: list[tuple[Any, ...]]) -> list[Record]:
        """Run a statement for each of *rows*, in one round trip, and return all their rows."""
        found: list[Record] = await self._connection.fetchmany(query, rows)
        return found

    async def executemany(self, query: str, rows: list[tuple[Any, ...]]) -> None:
        """Run a statement for each of *rows*, in one round trip."""
        await self._connection.executemany(query, rows)

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """Undo what the block did, and nothing else of this unit, where it raises."""
        async with self._connection.transaction():  # a savepoint
            yield

    async def send(self, company_id: UUID, *records: OutgoingRecord) -> None:
        """Let *records* leave for Kafka if this unit commits."""
        await self._outbox.put(self._connection, company_id, *records)
        self.sends = True


class Wakeup:
    """
    A hint between the parts of one process that there may be work.

    It wakes all that wait, since not every worker takes every task, or the next one that waits.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._waited_at = -math.inf
        self.count = 0
        """How often there was reason to look, for wait()."""

    def set(self) -> None:
        """Let them go on."""
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    def look_again(self, *, since: float) -> None:
        """
        Let those go on who found nothing after *since*, a time of time.monotonic().

        Who found nothing before has missed nothing, and sleeps on: a look costs a query.
        """
        if self._waited_at >= since:
            self.set()
        else:
            self.count += 1  # somebody may be looking just now

    async def wait(self, timeout_seconds: float, *, since: int) -> None:
        """
        Return at the next set(), or after *timeout_seconds*.

        At once where it was set *since* there was nothing to do: the count before one looked.
        """
        if self.count == since:
            self._waited_at = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._event.wait()


class Work:
    """Begins units of work in the name of a service."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.database = database
        """For reading outside of any unit."""
        self._outbox = outbox
        self._wakeups: list[tuple[frozenset[str], Wakeup]] = []

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, settings: PostgresSettings, producer: Producer, *, service: str
    ) -> AsyncIterator[Work]:
        """Connect for the block, as connected() does, and relay what units of work send."""
        async with connected(settings, name=service) as database:
            outbox = Outbox(database, producer, service=service)
            async with outbox.relaying():
                yield cls(database, outbox)

    def wakeup(self, pools: Iterable[str]) -> Wakeup:
        """
        Return what is told of each commit of this process that queues tasks of these pools, or
        that may have hidden some from who looked for them.
        """
        wakeup = Wakeup()
        self._wakeups.append((frozenset(pools), wakeup))
        return wakeup

    async def flush(self) -> None:
        """Return once Kafka has what was sent, unless another relay is at it; TransientError."""
        await self._outbox.flush()

    @asynccontextmanager
    async def begin(self, company_id: UUID | None = None) -> AsyncIterator[Tx]:
        """
        Run the block in one transaction: of *company_id* alone, or of no company.

        Raises DatabaseUnavailableError.
        """
        began = time.monotonic()
        opened = (
            self.database.transaction() if company_id is None else self.database.company(company_id)
        )
        async with opened as connection:
            tx = Tx(connection, self._outbox)
            yield tx
        if tx.sends:
            self._outbox.wake()
        for pools, wakeup in self._wakeups:
            if not pools.isdisjoint(tx.queues):
                wakeup.set()
            elif tx.hides:
                wakeup.look_again(since=began)

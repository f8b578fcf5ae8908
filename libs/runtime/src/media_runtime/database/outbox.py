"""
The outbox: messages that leave in the same transaction as the change they tell of.

Invariant: a row is deleted only after Kafka confirmed its record, and one relay at a time
works for each service, so records of one asset leave in the order of their commits. A crash
between the two sends a record twice, under the same event id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from media_runtime import background
from media_runtime.database.postgres import Connection, Database
from media_runtime.errors import TransientError
from media_runtime.kafka.producer import Headers, OutgoingRecord, Producer
from prometheus_client import Counter, Histogram

RELAYED = Counter("outbox_relayed_total", "Outbox records that Kafka confirmed.", ["topic"])
DELAY = Histogram(
    "outbox_delay_seconds",
    "Time from the change's transaction to Kafka's confirmation.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)

_BATCH = 500
# What this process queues is relayed at once; this is for what others left.
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 1.0
# A frozen relay keeps its lock until the server ends its transaction; others then take over.
_IDLE_LIMIT = "45s"

# SET LOCAL and the lock in one question, as clients wait for its answer several times an upload.
_BEGIN = """
    SELECT set_config('role', 'media_relay', true),
        set_config('idle_in_transaction_session_timeout', $2, true),
        pg_try_advisory_xact_lock(hashtext('outbox'), hashtext($1)) AS is_alone
"""
_INSERT = """
    INSERT INTO outbox (producer, company_id, topic, key, value, headers)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
_SELECT = """
    SELECT id, topic, key, value, headers,
           extract(epoch FROM clock_timestamp() - created_at)::float8 AS age
    FROM outbox WHERE producer = $1 ORDER BY id LIMIT $2
"""


class Outbox:
    """Writes records into the caller's transaction and relays them to Kafka afterwards."""

    def __init__(self, database: Database, producer: Producer, *, service: str) -> None:
        self._database = database
        self._producer = producer
        self.service = service
        self._wake = asyncio.Event()

    async def put(
        self, connection: Connection, company_id: object, *records: OutgoingRecord
    ) -> None:
        """Add *records* to the transaction of *connection*; wake() is for after its commit."""
        rows = [
            (
                self.service,
                company_id,
                record.topic,
                record.key.encode() if isinstance(record.key, str) else record.key,
                record.value,
                encode_headers(record.headers),
            )
            for record in records
        ]
        await connection.executemany(_INSERT, rows)

    def wake(self) -> None:
        """Let the relay look now instead of at its next poll."""
        self._wake.set()

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """Relay in the background for the block; rows left at its end wait for the next relay."""
        relay = background.repeat(self._relay, name="outbox_relay", retry_seconds=_RETRY_SECONDS)
        async with background.running(outbox_relay=relay):
            try:
                yield
            finally:
                with suppress(TransientError, TimeoutError):
                    async with asyncio.timeout(_RETRY_SECONDS * 5):
                        await self.flush()

    async def flush(self) -> None:
        """Relay until no row of this service is left, or another relay holds the lock."""
        while await self._relay_batch() == _BATCH:
            pass

    async def _relay(self) -> None:
        self._wake.clear()
        if await self._relay_batch() < _BATCH:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _POLL_SECONDS)

    async def _relay_batch(self) -> int:
        async with self._database.transaction() as connection:
            begun = await connection.fetchrow(_BEGIN, self.service, _IDLE_LIMIT)
            if begun is None or not begun["is_alone"]:
                return 0
            rows = await connection.fetch(_SELECT, self.service, _BATCH)
            if not rows:
                return 0
            await self._producer.send_all(
                [
                    OutgoingRecord(
                        row["topic"],
                        row["key"],
                        row["value"],
                        decode_headers(row["headers"]),
                    )
                    for row in rows
                ]
            )
            await connection.execute(
                "SELECT forget_relayed($1::bigint[])", [row["id"] for row in rows]
            )
        for row in rows:
            RELAYED.labels(topic=row["topic"]).inc()
            DELAY.observe(row["age"])
        return len(rows)


def encode_headers(headers: Headers) -> str:
    """Return a record's headers as the JSON that a row keeps; bytes that are no text survive."""
    return json.dumps(
        [
            [name, None if value is None else value.decode(errors="surrogateescape")]
            for name, value in headers
        ]
    )


def decode_headers(stored: str) -> list[tuple[str, bytes | None]]:
    """Return the headers that a row keeps."""
    return [
        (name, None if value is None else value.encode(errors="surrogateescape"))
        for name, value in json.loads(stored)
    ]

"""
Dead letters as rows: records that a consumer could not take, to look at and to send again.

Invariant: a letter is settled once. One that is sent again is settled in the transaction of its
outbox record, byte for byte. Nothing in a letter is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from media_contracts import DLQ_RETENTION_MS
from media_records.work import Tx
from media_runtime.database.outbox import decode_headers, encode_headers
from media_runtime.database.postgres import Database
from media_runtime.kafka.dead_letters import DLQ_REDRIVES
from media_runtime.kafka.producer import OutgoingRecord

_PREFIX = "dlq-"
_COUNT_DIGITS = 9
_NO_COMPANY = UUID(int=0)

# By its time, as the offsets of a log that begins again are small.
_NEXT = """
    SELECT p.topic, p.partition, last.kafka_offset + 1 AS next
    FROM unnest($1::text[], $2::int[]) AS p (topic, partition), LATERAL (
        SELECT kafka_offset FROM dead_letters d
        WHERE (d.topic, d.partition) = (p.topic, p.partition)
        ORDER BY filed_at DESC, kafka_offset DESC LIMIT 1
    ) last
"""
_ADD = """
    INSERT INTO dead_letters
        (topic, partition, kafka_offset, company_id, filed_at, key, value, headers)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8
    WHERE $5 > now() - make_interval(secs => $9)
    ON CONFLICT DO NOTHING
"""
_FORGET = "DELETE FROM dead_letters WHERE filed_at <= now() - make_interval(secs => $1)"
_COUNT_OPEN = "SELECT topic, count(*) FROM dead_letters WHERE state = 'open' GROUP BY topic"
_READ = """
    SELECT topic, partition, kafka_offset AS offset, filed_at AS at, key, value, headers,
        state <> 'open' AS resolved
    FROM dead_letters WHERE $1 OR state = 'open' ORDER BY filed_at, kafka_offset
"""
_SETTLE = """
    UPDATE dead_letters SET state = $5, settled_at = now()
    WHERE (topic, partition, filed_at, kafka_offset) = ($1, $2, $3, $4) AND state = 'open'
    RETURNING company_id
"""
_KEPT_SECONDS = DLQ_RETENTION_MS / 1000


@dataclass(frozen=True)
class Letter:
    """
    One dead letter. ``topic`` is the one it came from, without the stack's prefix.

    ``partition`` and ``offset`` are its own, in the dead-letter topic.
    """

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    resolved: bool = False

    @property
    def id(self) -> str:
        """How people name it: topic, partition and offset."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @cached_property
    def about(self) -> dict[str, str]:
        """What the consumer noted, by name without ``dlq-``."""
        return {
            name.removeprefix(_PREFIX): _text(value)
            for name, value in self.headers
            if name.startswith(_PREFIX)
        }

    @property
    def redrives(self) -> int:
        """How often it was sent again before."""
        text = self.about.get("redrives", "0")
        return int(text) if text.isdecimal() and len(text) <= _COUNT_DIGITS else 0

    @cached_property
    def event(self) -> dict[str, Any]:
        """Its value, where that is a JSON object."""
        try:
            found = json.loads(self.value or b"")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def company_id(self) -> UUID:
        """The company that its event names; nil for none."""
        try:
            return UUID(self.event["companyid"])
        except (KeyError, ValueError, AttributeError, TypeError):
            return _NO_COMPANY

    def field(self, name: str) -> str:
        """Return what people look for by this name, as text."""
        match name:
            case "topic":
                return self.topic
            case "id":
                return self.id
            case "company":
                return str(self.event.get("companyid", ""))
            case "asset":
                return str(self.event.get("subject") or _text(self.key))
            case "any":
                texts = (text for pair in self.headers for text in (pair[0], _text(pair[1])))
                return "\n".join([self.id, _text(self.key), _text(self.value), *texts])
            case _:
                return self.about.get(name, "")

    def again(self) -> OutgoingRecord:
        """Return the record as it is sent again: its own bytes, and how often that was."""
        own = [(name, value) for name, value in self.headers if not name.startswith(_PREFIX)]
        # aiokafka refuses to send neither key nor value.
        value = (self.value or b"") if self.key is None else self.value
        count = (DLQ_REDRIVES, str(self.redrives + 1).encode())
        return OutgoingRecord(self.topic, self.key, value, [*own, count])


async def next_offsets(
    database: Database, partitions: Iterable[tuple[str, int]]
) -> Mapping[tuple[str, int], int]:
    """Return the offset after the last letter of each topic and partition that has any."""
    topics, numbers = zip(*partitions, strict=True)
    rows = await database.fetch(_NEXT, topics, numbers)
    return {(row["topic"], row["partition"]): row["next"] for row in rows}


async def file_letters(database: Database, letters: Iterable[Letter]) -> None:
    """Add letters, once each, but for those that Kafka no longer keeps."""
    async with database.transaction() as connection:
        for one in letters:
            headers = encode_headers(one.headers)
            await connection.execute(
                _ADD, one.topic, one.partition, one.offset, one.company_id, one.at, one.key,
                one.value, headers, _KEPT_SECONDS,
            )  # fmt: skip


async def forget_letters(database: Database) -> None:
    """Remove letters when Kafka does."""
    await database.fetch(_FORGET, _KEPT_SECONDS)


async def count_open(database: Database) -> Mapping[str, int]:
    """Return how many letters nobody has dealt with, by topic."""
    rows = await database.fetch(_COUNT_OPEN)
    return {row["topic"]: row["count"] for row in rows}


async def read_letters(database: Database, *, settled_too: bool = False) -> list[Letter]:
    """Return the open letters, or all, the oldest first."""
    return [
        Letter(**{**row, "headers": decode_headers(row["headers"])})
        for row in await database.fetch(_READ, settled_too)
    ]


async def redrive(tx: Tx, letter: Letter) -> bool:
    """Send a letter again with the unit; False where somebody has settled it already."""
    company_id = await _settle(tx, letter, "redriven")
    if company_id is None:
        return False
    await tx.send(company_id, letter.again())
    return True


async def discard(tx: Tx, letter: Letter) -> bool:
    """Count a letter as done with; False where somebody has settled it already."""
    return await _settle(tx, letter, "discarded") is not None


async def _settle(tx: Tx, letter: Letter, state: str) -> UUID | None:
    place = letter.topic, letter.partition, letter.at, letter.offset
    found: UUID | None = await tx.fetchval(_SETTLE, *place, state)
    return found


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")

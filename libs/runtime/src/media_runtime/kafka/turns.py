"""
Reads ahead in a topic and hands records out in turns: nobody waits for the end of a flood.

Invariant: a partition is committed up to the first of its records that was not taken in, whatever
was handed out before it. A rebalance forgets what was read ahead; whoever has the partition then
reads it again.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord, TopicPartition
from media_runtime.kafka.commits import CommitsTogether

# Parsing more at once would hold the loop up.
_READ_AT_ONCE = 2000
_WAIT_MS = 1000

Record: TypeAlias = ConsumerRecord[Any, Any]


@dataclass(frozen=True)
class Turns:
    """
    In whose line a record waits, and how many of a line are handed out in its turn.

    No more than *ahead* records are held at a time. Those of one line keep their order, as far as
    Kafka gives them one.
    """

    line_of: Callable[[Record], Hashable]
    ahead: int
    at_once: int = 1


def company_of(record: Record) -> str:
    """Return the company of the event in a record, or nothing where it has none."""
    try:
        return str(json.loads(record.value)["companyid"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


BY_COMPANY = Turns(company_of, ahead=1000)
"""Of each company one event: whoever comes behind 1,000 of another's waits for one of them."""


class Lines:
    """Records that were read and not taken in yet, in the lines in which they wait."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waiting: OrderedDict[Hashable, deque[Record]] = OrderedDict()
        self._handed_out: list[Record] = []
        self._open: defaultdict[TopicPartition, set[int]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    @property
    def room(self) -> int:
        """How many records may be added."""
        return self._turns.ahead - len(self)

    def add(self, records: Iterable[Record]) -> None:
        """Let records wait, each behind those of its line."""
        for record in records:
            self._open[_partition(record)].add(record.offset)
            line = self._turns.line_of(record)
            self._waiting.setdefault(line, deque()).append(record)

    def hand_out(self, most: int) -> list[Record]:
        """Return the next records; those that were handed out, until they are done or forgotten."""
        if not self._handed_out:
            self._handed_out = self._next(most)
        return self._handed_out

    def done(self) -> None:
        """Take what was handed out as taken in."""
        for record in self._handed_out:
            self._open[_partition(record)].discard(record.offset)
        self._handed_out = []

    def first_open(self) -> dict[TopicPartition, int]:
        """Return the offset of the first record of each partition that is not taken in."""
        return {partition: min(offsets) for partition, offsets in self._open.items() if offsets}

    def forget(self, partition: TopicPartition) -> None:
        """Forget the records of a partition: they are going to be read again."""
        self._open.pop(partition, None)
        self._handed_out = [one for one in self._handed_out if _partition(one) != partition]
        for line, records in list(self._waiting.items()):
            left = deque(one for one in records if _partition(one) != partition)
            if left:
                self._waiting[line] = left
            else:
                del self._waiting[line]

    def _next(self, most: int) -> list[Record]:
        records: list[Record] = []
        while self._waiting and len(records) < most:
            line, waiting = self._waiting.popitem(last=False)
            count = min(len(waiting), self._turns.at_once, most - len(records))
            records += [waiting.popleft() for _ in range(count)]
            if waiting:
                self._waiting[line] = waiting
        return records


class ConsumerInTurns(CommitsTogether):
    """A consumer that hands records out in *turns*, and whose commit() takes them as taken in."""

    def __init__(self, turns: Turns, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._turns = turns
        self._lines = Lines(turns)
        self._read_of: object = None

    async def getmany(
        self,
        *,
        timeout_ms: int = 0,  # noqa: ARG002 - FastStream's own
        max_records: int = 1,
    ) -> dict[TopicPartition, list[Record]]:
        """
        Return the next records, as soon as there is one, however long that takes.

        After an answer without any, FastStream would sleep, whatever comes meanwhile.
        """
        while not (records := await self._next(max_records)):
            pass
        found: dict[TopicPartition, list[Record]] = {}
        for record in records:
            found.setdefault(_partition(record), []).append(record)
        return found

    async def _next(self, most: int) -> list[Record]:
        if self._lines.room > 0:
            read = await super().getmany(
                timeout_ms=0 if self._lines else _WAIT_MS,
                max_records=min(self._lines.room, _READ_AT_ONCE),
            )
            self._forget_others()
            self._lines.add(chain(*read.values()))
        return self._lines.hand_out(most)

    async def getone(self) -> Record:
        """Return the next record, as soon as there is one."""
        ((record,),) = (await self.getmany()).values()
        return record

    async def commit(self, offsets: Mapping[TopicPartition, Any] | None = None) -> None:
        """Have each partition committed soon, up to its first record that was not taken in."""
        self._forget_others()
        self._lines.done()
        if offsets is None and (assignment := self._assignment()) is not None:
            offsets = {**assignment.all_consumed_offsets(), **self._lines.first_open()}
        await super().commit(offsets)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read again from *offset*, or from an earlier record that was not taken in."""
        first = self._lines.first_open().get(partition, offset)
        self._lines.forget(partition)
        super().seek(partition, min(offset, first))

    def _forget_others(self) -> None:
        # What an assignment begins with is what was committed before it.
        if self._read_of is not self._assignment():
            self._read_of = self._assignment()
            self._lines = Lines(self._turns)


def _partition(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)

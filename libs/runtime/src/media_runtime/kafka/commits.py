"""
Commits that leave together: a broker's work for one is that for a record, and nobody waits for it.

Invariant: nothing is committed before it was acknowledged. What was acknowledged is committed soon
after, and before its partition is given up; only a crash has it read again, as crashes do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

log = structlog.get_logger(__name__)

TOGETHER_SECONDS = 0.25
"""After that long what was acknowledged is committed: the most that a crash has done again."""

_LAST_SECONDS = 5.0


class CommitsTogether(AIOKafkaConsumer):  # type: ignore[misc]  # it has no types
    """A consumer whose commit() returns at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._acknowledged: dict[TopicPartition, Any] = {}
        self._acknowledged_of: object = None
        self._committing: asyncio.Task[None] | None = None

    def subscribe(self, topics: Any = (), pattern: str | None = None, listener: Any = None) -> None:
        """Subscribe as AIOKafkaConsumer does."""
        first = _CommitFirst(self._commit_last, listener)
        super().subscribe(topics, pattern, listener=first)

    async def commit(self, offsets: Mapping[TopicPartition, Any] | None = None) -> None:
        """Have what was consumed so far, or *offsets*, committed soon."""
        assignment = self._assignment()
        if assignment is None:
            return  # whoever has the partitions now reads again
        if self._acknowledged_of is not assignment:
            self._acknowledged, self._acknowledged_of = {}, assignment
        self._acknowledged |= assignment.all_consumed_offsets() if offsets is None else offsets
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_soon())

    async def stop(self) -> None:
        """Commit what was acknowledged, if Kafka is there, and stop."""
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.wait([self._committing])
        await self._commit_last()
        await super().stop()

    def _assignment(self) -> Any:
        subscription = self._subscription.subscription
        return None if subscription is None else subscription.assignment

    async def _commit_soon(self) -> None:
        while self._acknowledged:
            await asyncio.sleep(TOGETHER_SECONDS)
            await self._commit_now()

    async def _commit_last(self) -> None:
        # Kafka may be away, and a lost commit costs no more than a crash does.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._commit_now()

    async def _commit_now(self) -> None:
        offsets, self._acknowledged = self._acknowledged, {}
        if not offsets or self._acknowledged_of is not self._assignment():
            return
        try:
            await super().commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            # Others have the partitions now, and read again from what was committed before.
            log.warning("commit_came_late", error=repr(error))
        except asyncio.CancelledError:
            self._acknowledged = {**offsets, **self._acknowledged}
            raise
        except KafkaError as error:
            log.warning("commit_waits", error=repr(error))
            self._acknowledged = {**offsets, **self._acknowledged}


class _CommitFirst(ConsumerRebalanceListener):  # type: ignore[misc]  # it has no types
    """Commits before partitions are given up; then *others* hear of it."""

    def __init__(self, commit: Callable[[], Awaitable[None]], others: Any) -> None:
        self._commit = commit
        self._others = others

    async def on_partitions_revoked(self, revoked: AbstractSet[TopicPartition]) -> None:
        await self._commit()
        await self._tell("on_partitions_revoked", revoked)

    async def on_partitions_assigned(self, assigned: AbstractSet[TopicPartition]) -> None:
        await self._tell("on_partitions_assigned", assigned)

    async def _tell(self, what: str, partitions: AbstractSet[TopicPartition]) -> None:
        if self._others is not None:
            told = getattr(self._others, what)(partitions)
            if told is not None:
                await told

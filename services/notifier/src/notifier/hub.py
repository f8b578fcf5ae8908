"""
Fans events out to the streams of their company, and keeps the last ones for those who resume.

Invariant: registering a stream, taking the position it starts from and copying what it missed
happen without giving way to the reader, so nothing falls between history and live events. An
event is encoded once, whoever hears it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from media_runtime.errors import TransientError

from notifier.metrics import CLIENTS, DELIVERED, SLOW_CLIENTS
from notifier.positions import PositionCodec, Positions


@dataclass(frozen=True)
class Entry:
    """One event as all its listeners get it. ``slot`` and ``offset`` are its place in the log."""

    slot: int
    offset: int
    company_id: UUID
    asset_id: UUID
    kind: str
    data: bytes
    position: str

    def encoded(self, position: str | None = None) -> bytes:
        """Return the event as a part of a stream; *position* is what a client resumes from."""
        identifier = (position or self.position).encode()
        return b"event: %b\nid: %b\ndata: %b\n\n" % (self.kind.encode(), identifier, self.data)


@dataclass(eq=False)
class Stream:
    """
    One client. ``queue`` holds what it has yet to read; None ends the stream.

    Events before ``seen``, which it had from another replica, are left out.
    """

    company_id: UUID
    asset_id: UUID | None
    seen: Positions
    queue: asyncio.Queue[Entry | None]
    missed: list[Entry] = field(default_factory=list)
    closed: bool = False

    def wants(self, entry: Entry) -> bool:
        """Tell whether this client is to hear of *entry*."""
        return (
            entry.company_id == self.company_id
            and (self.asset_id is None or entry.asset_id == self.asset_id)
            and entry.offset >= self.seen[entry.slot]
        )


class TooManyStreamsError(Exception):
    """The company has as many streams as it may have."""


class NotStartedError(TransientError):
    """The replica does not know yet where the log stands."""


class Hub:
    """The streams of one replica and the recent events of all companies."""

    def __init__(
        self,
        codec: PositionCodec,
        *,
        history_events: int,
        queue_events: int,
        streams_per_company: int,
    ) -> None:
        self._codec = codec
        self._history: deque[Entry] = deque()
        self._history_events = history_events
        self._queue_events = queue_events
        self._streams_per_company = streams_per_company
        self._streams: defaultdict[UUID, set[Stream]] = defaultdict(set)
        self._floor: list[int] = []
        self.positions: list[int] = []

    def start_at(self, positions: Positions) -> None:
        """Begin with an empty history at *positions*."""
        self._floor = list(positions)
        self.positions = list(positions)

    def skip(self, slot: int, offset: int) -> None:
        """Pass over a record that is no event."""
        self.positions[slot] = offset + 1

    def publish(  # noqa: PLR0917 - the parts of one event
        self, slot: int, offset: int, company_id: UUID, asset_id: UUID, kind: str, data: bytes
    ) -> None:
        """Add an event to the history and to the streams of its company."""
        if offset < self.positions[slot]:
            return
        self.positions[slot] = offset + 1
        position = self._codec.encode(self.positions)
        entry = Entry(slot, offset, company_id, asset_id, kind, data, position)
        self._remember(entry)
        for stream in list(self._streams.get(company_id, ())):
            if stream.wants(entry):
                self._deliver(stream, entry)

    def open(
        self, company_id: UUID, asset_id: UUID | None, resume: Positions | None
    ) -> tuple[Stream, Positions]:
        """
        Register a stream and return it with the position at which its live events begin.

        ``missed`` holds what it has to hear first, when the history reaches back to *resume*;
        see covers(). Raises TooManyStreamsError, and NotStartedError before start_at().
        """
        if not self.positions:
            raise NotStartedError("the event log has not been reached yet")
        if len(self._streams[company_id]) >= self._streams_per_company:
            raise TooManyStreamsError
        now = tuple(self.positions)
        stream = Stream(company_id, asset_id, resume or now, asyncio.Queue(self._queue_events + 1))
        if resume and self.covers(resume):
            stream.missed = [entry for entry in self._history if stream.wants(entry)]
        self._streams[company_id].add(stream)
        CLIENTS.inc()
        return stream, now

    def covers(self, positions: Positions) -> bool:
        """Tell whether the history holds all that came after *positions*."""
        return all(wanted >= kept for wanted, kept in zip(positions, self._floor, strict=True))

    def close(self, stream: Stream) -> None:
        """Forget a stream; doing it again changes nothing."""
        streams = self._streams.get(stream.company_id, set())
        if stream in streams:
            streams.remove(stream)
            CLIENTS.dec()
        if not streams:
            self._streams.pop(stream.company_id, None)

    def end_all(self) -> None:
        """End every stream; its client resumes elsewhere."""
        for stream in list(self._all()):
            self._end(stream)

    def _all(self) -> Iterator[Stream]:
        for streams in list(self._streams.values()):
            yield from list(streams)

    def _remember(self, entry: Entry) -> None:
        self._history.append(entry)
        while len(self._history) > self._history_events:
            oldest = self._history.popleft()
            self._floor[oldest.slot] = oldest.offset + 1

    def _deliver(self, stream: Stream, entry: Entry) -> None:
        if stream.queue.qsize() >= self._queue_events:
            SLOW_CLIENTS.inc()
            self._end(stream)
            return
        stream.queue.put_nowait(entry)
        DELIVERED.labels(entry.kind).inc()

    def _end(self, stream: Stream) -> None:
        # The last place of the queue is kept for this.
        if not stream.closed:
            stream.closed = True
            stream.queue.put_nowait(None)
        self.close(stream)

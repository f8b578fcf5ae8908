"""
Fans events out to the streams of their company, and keeps the last ones for those who resume.

Invariant: registering a stream, taking the position it starts from and copying what it missed
happen without giving way to the reader, so nothing falls between history and live events. An
event is encoded once, whoever hears it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from uuid import UUID

from media_runtime.errors import TransientError
from notifier.metrics import CLIENTS, DELIVERED, SLOW_CLIENTS
from notifier.positions import PositionCodec, Positions
from notifier.settings import NotifierSettings

_NEWLINES = bytes.maketrans(b"\r\n", b"  ")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as all its subscribers get it. ``slot`` and ``offset`` are its place in the log."""

    slot: int
    offset: int
    company_id: UUID
    asset_id: UUID
    kind: str
    position: str
    frame: bytes

    def at(self, position: str) -> bytes:
        """Return the frame with another *position* to resume from."""
        _, _, data = self.frame.split(b"\n", 2)
        return b"event: %b\nid: %b\n%b" % (self.kind.encode(), position.encode(), data)


def frame(kind: str, position: str, data: bytes) -> bytes:
    """Return an event as a part of a stream; *position* is what a client resumes from."""
    # JSON has newlines between tokens alone; in a stream they would begin another field.
    line = data.translate(_NEWLINES)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (kind.encode(), position.encode(), line)


@dataclass(eq=False, slots=True)
class Stream:
    """
    One client. ``queue`` holds what it has yet to read; None ends the stream.

    Events before ``seen``, which it had from another replica, are left out. ``ahead`` is set
    while this replica may be behind what the client has seen.
    """

    company_id: UUID
    asset_id: UUID | None
    seen: Positions
    queue: asyncio.Queue[Entry | None]
    ahead: Positions | None = None
    missed: deque[Entry] | None = None

    def wants(self, entry: Entry) -> bool:
        """Tell whether this client is to hear of *entry*."""
        return self.wants_of(entry.slot, entry.offset, entry.company_id, entry.asset_id)

    def wants_of(self, slot: int, offset: int, company_id: UUID, asset_id: UUID) -> bool:
        """Tell whether this client is to hear of an event at this place in the log."""
        return (
            company_id == self.company_id
            and (self.asset_id is None or asset_id == self.asset_id)
            and offset >= self.seen[slot]
        )


class TooManyStreamsError(Exception):
    """The company has as many streams as it may have, which is *limit*."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class NotListeningError(TransientError):
    """The replica has yet to reach the end of the log, or is about to stop."""


class Hub:
    """The streams of one replica and the recent events of all companies."""

    def __init__(self, codec: PositionCodec, settings: NotifierSettings) -> None:
        self._codec = codec
        self._history: deque[Entry] = deque()
        self._history_events = settings.history_events
        self._queue_events = settings.client_queue_events
        self._streams_per_company = settings.streams_per_company
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening: defaultdict[UUID, set[Stream]] = defaultdict(set)
        self._open: Counter[UUID] = Counter()
        self._floor: list[int] = []
        self.positions: list[int] = []
        self.stopping = False

    def position_of(self, company_id: UUID) -> str:
        """Return what a client of a company that heard all up to now resumes from."""
        return self._codec.encode(self.positions, company_id)

    def start_at(self, positions: Positions) -> None:
        """Begin with an empty history at *positions*; open streams end and resume."""
        self._history.clear()
        self._floor = list(positions)
        self.positions = list(positions)
        self._end_all()

    def skip(self, slot: int, offset: int) -> None:
        """Pass over a record that is no event."""
        self.positions[slot] = offset + 1

    def publish(
        self, slot: int, offset: int, *, company_id: UUID, asset_id: UUID, kind: str, data: bytes
    ) -> None:
        """Add an event to the history and to the streams of its company."""
        if offset < self.positions[slot]:
            return
        self.skip(slot, offset)
        position = self.position_of(company_id)
        entry = Entry(
            slot, offset, company_id, asset_id, kind, position, frame(kind, position, data)
        )
        self._remember(entry)
        for stream in list(self._listening.get(company_id, ())):
            if stream.wants(entry):
                self._deliver(stream, entry)

    def open(
        self, company_id: UUID, asset_id: UUID | None, resume: Positions | None
    ) -> tuple[Stream, Positions]:
        """
        Register a stream and return it with the position at which its live events begin.

        ``missed`` holds what it has to hear first, if the history has all that came after
        *resume*. Every stream is to be closed. Raises TooManyStreamsError, and
        NotListeningError before start_at() and after stop().
        """
        if not self.positions or self.stopping:
            raise NotListeningError("the event log is not being followed")
        if self._open[company_id] >= self._streams_per_company:
            raise TooManyStreamsError(self._streams_per_company)
        now = tuple(self.positions)
        queue: asyncio.Queue[Entry | None] = asyncio.Queue(self._queue_events + 1)
        stream = Stream(company_id, asset_id, resume or now, queue, ahead=resume)
        if resume and self._covers(resume):
            stream.missed = deque(entry for entry in self._history if stream.wants(entry))
        self._listening[company_id].add(stream)
        self._open[company_id] += 1
        CLIENTS.inc()
        return stream, now

    def close(self, stream: Stream) -> None:
        """Forget a stream whose client is gone, once; its place is free for another."""
        self._unlisten(stream)
        self._open[stream.company_id] -= 1
        if not self._open[stream.company_id]:
            del self._open[stream.company_id]
        CLIENTS.dec()

    def runs_here(self) -> None:
        """Remember the loop on which streams run."""
        self._loop = asyncio.get_running_loop()

    def stop_soon(self) -> None:
        """Do as stop(), from anywhere and at any time: in a signal handler, too."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """End every stream, now and from now on; its client resumes elsewhere."""
        self.stopping = True
        self._end_all()

    def _covers(self, positions: Positions) -> bool:
        # A position beyond our end is that of a replica ahead of us, or of another log.
        return all(
            kept <= wanted <= end
            for kept, wanted, end in zip(self._floor, positions, self.positions, strict=True)
        )

    def _end_all(self) -> None:
        for streams in list(self._listening.values()):
            for stream in list(streams):
                self._end(stream)

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
        # The last place of the queue is kept for this; who listens no more gets no second one.
        self._unlisten(stream)
        stream.queue.put_nowait(None)

    def _unlisten(self, stream: Stream) -> None:
        streams = self._listening.get(stream.company_id, set())
        streams.discard(stream)
        if not streams:
            self._listening.pop(stream.company_id, None)

"""One client's stream from its first byte to its last."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from aiokafka.errors import KafkaError
from media_records.tickets import Subscriber
from notifier.event_log import EventLog
from notifier.hub import Entry, Hub, Stream
from notifier.log_reader import EventsLostError, LogReader
from notifier.metrics import DELIVERED, STREAMS
from notifier.positions import PositionCodec, Positions
from notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

_RETRY_MS = 2000
_CATCH_UP_SECONDS = 5.0
_LOOK_SECONDS = 1.0


class Streams:
    """Opens streams of events."""

    def __init__(
        self,
        hub: Hub,
        event_log: EventLog,
        reader: LogReader,
        codec: PositionCodec,
        settings: NotifierSettings,
    ) -> None:
        self._hub = hub
        self._event_log = event_log
        self._reader = reader
        self._codec = codec
        self._heartbeat_seconds = settings.heartbeat_seconds
        self._backfills_per_company = settings.backfills_per_company
        self._turns: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def open(
        self, subscriber: Subscriber, asset_id: UUID | None, resume: Positions | None
    ) -> tuple[AsyncGenerator[bytes, None], Callable[[], None]]:
        """
        Return the bytes of a stream, which ends when its subscriber's time is up, and its close.

        Raises TooManyStreamsError, NotListeningError or NotCaughtUpError.
        """
        # Before, what is history to the client would look new.
        await self._event_log.caught_up(within_seconds=_CATCH_UP_SECONDS)
        stream, live_from = self._hub.open(subscriber.company_id, asset_id, resume)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (subscriber.until - datetime.now(UTC)).total_seconds()
        return (
            self._bytes(stream, live_from, resume, deadline),
            lambda: self._hub.close(stream),
        )

    async def _bytes(
        self, stream: Stream, live_from: Positions, resume: Positions | None, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        yield _hello(self._codec.encode(resume or live_from, stream.company_id))
        try:
            if resume is None:
                STREAMS.labels("live").inc()
            elif stream.missed is not None:
                STREAMS.labels("memory").inc()
                while stream.missed:
                    yield self._heard(stream, stream.missed.popleft())
            else:
                async with aclosing(self._from_log(stream, live_from, resume, deadline)) as parts:
                    async for part in parts:
                        yield part
        except KafkaError as error:
            # What the client got is in its position: it comes back for the rest.
            log.warning("resume_failed", error=repr(error))
            return
        async for part in self._live(stream, deadline):
            yield part

    async def _from_log(
        self, stream: Stream, live_from: Positions, resume: Positions, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        missed: asyncio.Future[deque[Entry]] = asyncio.get_running_loop().create_future()
        reading = asyncio.create_task(self._read_in_turn(stream, resume, live_from, missed))
        try:
            async with aclosing(self._until(missed, deadline)) as heartbeats:
                async for heartbeat in heartbeats:
                    yield heartbeat
            entries = missed.result() if missed.done() else deque()
            while entries and not self._is_over(deadline):
                yield self._heard(stream, entries.popleft())
            STREAMS.labels("log").inc()
        except EventsLostError as error:
            log.info("resync", reason=str(error))
            STREAMS.labels("resync").inc()
            stream.seen = (0,) * len(resume)
            stream.ahead = None
            yield _resync(self._codec.encode(live_from, stream.company_id))
        finally:
            reading.cancel()
            missed.cancel()
            await asyncio.gather(reading, missed, return_exceptions=True)

    async def _read_in_turn(
        self,
        stream: Stream,
        start: Positions,
        end: Positions,
        missed: asyncio.Future[deque[Entry]],
    ) -> None:
        """Read what a stream missed; until this is cancelled its company's turn is taken."""
        # What was read waits in memory for a client that may be slow: few of a company at once.
        turn = self._turns.setdefault(
            stream.company_id, asyncio.Semaphore(self._backfills_per_company)
        )
        async with turn:
            try:
                missed.set_result(await self._reader.missed(start, end, stream))
            except Exception as error:  # noqa: BLE001 - it is the stream's to tell
                missed.set_exception(error)
            await asyncio.Event().wait()

    async def _until(
        self, done: asyncio.Future[deque[Entry]], deadline: float
    ) -> AsyncGenerator[bytes, None]:
        """Yield heartbeats until something is *done*, or the stream is over."""
        loop = asyncio.get_running_loop()
        quiet_since = loop.time()
        while not done.done() and not self._is_over(deadline):
            await asyncio.wait({done}, timeout=min(_LOOK_SECONDS, self._heartbeat_seconds))
            if loop.time() - quiet_since > self._heartbeat_seconds:
                quiet_since = loop.time()
                yield b": heartbeat\n\n"

    def _is_over(self, deadline: float) -> bool:
        return self._hub.stopping or asyncio.get_running_loop().time() > deadline

    async def _live(self, stream: Stream, deadline: float) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        while (left := deadline - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(self._heartbeat_seconds, left)):
                    entry = await stream.queue.get()
            except TimeoutError:
                if stream.queue.empty():
                    yield self._heartbeat(stream)
                continue
            parts = []
            while entry is not None:
                parts.append(self._frame(stream, entry))
                if stream.queue.empty():
                    break
                entry = stream.queue.get_nowait()
            if parts:
                yield b"".join(parts)
            if entry is None:
                return

    def _heard(self, stream: Stream, entry: Entry) -> bytes:
        DELIVERED.labels(entry.kind).inc()
        return self._frame(stream, entry)

    def _frame(self, stream: Stream, entry: Entry) -> bytes:
        if stream.ahead is None:
            return entry.frame
        position = self._position_for(stream, entry.position)
        return entry.frame if position == entry.position else entry.at(position)

    def _heartbeat(self, stream: Stream) -> bytes:
        # A quiet client's position moves on, so that coming back stays cheap. Its text is another
        # one whether or not anything happened.
        position = self._position_for(stream, self._hub.position_of(stream.company_id))
        return b": heartbeat\nid: %b\n\n" % position.encode()

    def _position_for(self, stream: Stream, position: str) -> str:
        """Return *position*, but nothing before what the client had from another replica."""
        if stream.ahead is None:
            return position
        later = self._codec.no_earlier(position, stream.ahead, stream.company_id)
        if later == position:
            stream.ahead = None
        return later


def _hello(position: str) -> bytes:
    return f"retry: {_RETRY_MS}\nevent: media_hello\nid: {position}\ndata: {{}}\n\n".encode()


def _resync(position: str) -> bytes:
    advice = '{"reason":"events_lost","advice":"read the assets again from the API"}'
    return f"event: media_resync\nid: {position}\ndata: {advice}\n\n".encode()

"""One client's stream from its first byte to its last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from notifier.event_log import EventLog
from notifier.hub import Hub, Stream
from notifier.metrics import RESYNCS, STREAMS
from notifier.positions import PositionCodec, Positions
from notifier.tickets import Listener

_RETRY_MS = 2000


class Streams:
    """Opens streams of events."""

    def __init__(
        self, hub: Hub, event_log: EventLog, codec: PositionCodec, *, heartbeat_seconds: float
    ) -> None:
        self._hub = hub
        self._log = event_log
        self._codec = codec
        self._heartbeat = heartbeat_seconds

    def open(
        self, listener: Listener, asset_id: UUID | None, resume: Positions | None
    ) -> AsyncIterator[bytes]:
        """
        Return the bytes of a stream, which ends when its listener's time is up.

        Raises TooManyStreamsError.
        """
        stream, live_from = self._hub.open(listener.company_id, asset_id, resume)
        return self._bytes(stream, live_from, resume, listener.until)

    async def _bytes(
        self, stream: Stream, live_from: Positions, resume: Positions | None, until: datetime
    ) -> AsyncIterator[bytes]:
        try:
            yield _hello(self._codec.encode(resume or live_from))
            if resume is None:
                STREAMS.labels("live").inc()
            else:
                async for part in self._missed(stream, live_from, resume):
                    yield part
            async for part in self._live(stream, until):
                yield part
        finally:
            self._hub.close(stream)

    async def _missed(
        self, stream: Stream, live_from: Positions, resume: Positions
    ) -> AsyncIterator[bytes]:
        if self._hub.covers(resume) and not _ahead(resume, live_from):
            STREAMS.labels("memory").inc()
            for entry in stream.missed:
                yield entry.encoded()
        elif await self._log.still_kept(resume):
            STREAMS.labels("log").inc()
            entries = self._log.between(resume, live_from, stream.company_id, stream.asset_id)
            async for entry in entries:
                yield entry.encoded()
        else:
            # Retention has passed over what was missed, or the topics were made anew.
            STREAMS.labels("resync").inc()
            RESYNCS.inc()
            stream.seen = (0,) * len(resume)
            yield _resync(self._codec.encode(live_from))

    async def _live(self, stream: Stream, until: datetime) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (until - datetime.now(UTC)).total_seconds()
        while (left := deadline - loop.time()) > 0:
            try:
                entry = await asyncio.wait_for(stream.queue.get(), min(self._heartbeat, left))
            except TimeoutError:
                yield b": heartbeat\n\n"
                continue
            if entry is None:
                return
            yield entry.encoded()


def _ahead(resume: Positions, live_from: Positions) -> bool:
    # Another replica was ahead of this one, or the log was made anew and is shorter.
    return any(theirs > ours for theirs, ours in zip(resume, live_from, strict=True))


def _hello(position: str) -> bytes:
    return f"retry: {_RETRY_MS}\nevent: media_hello\nid: {position}\ndata: {{}}\n\n".encode()


def _resync(position: str) -> bytes:
    advice = '{"reason":"events_lost","advice":"read the assets again from the API"}'
    return f"event: media_resync\nid: {position}\ndata: {advice}\n\n".encode()

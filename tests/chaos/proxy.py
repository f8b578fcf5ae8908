"""A TCP proxy whose line can be made slow, thin, mute or cut, for a stack on one machine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Line:
    """
    How the line is now. ``delay`` and ``jitter`` are in seconds for each piece that passes.

    ``bytes_per_second`` limits each direction; 0 is no limit. ``mute`` lets nothing through.
    """

    delay: float = 0.0
    jitter: float = 0.0
    bytes_per_second: int = 0
    mute: bool = False


class Proxy:
    """Stands before one server; ``port`` is where it listens."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self.upstream = (host, port)
        self.line = Line()
        self.port = 0
        self._chance = random.Random(seed)
        self._open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Proxy]:
        """Pass on connections for the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> int:
        """Reset every open connection and return how many there were."""
        for writer in self._open:
            writer.transport.abort()
        return len(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self.upstream)
        except OSError:
            writer.transport.abort()
            return
        ours = {writer, back}
        self._open |= ours
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open -= ours
            for end in ours:
                end.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(16384):
            pause = self.line.delay + self._chance.uniform(-1, 1) * self.line.jitter
            if self.line.bytes_per_second:
                pause += len(data) / self.line.bytes_per_second
            if pause > 0:
                await asyncio.sleep(pause)
            while self.line.mute:  # noqa: ASYNC110 - a line is changed by plain assignment
                await asyncio.sleep(0.05)
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()

"""
A proxy that breaks connections as networks do: by a reset, at once or in mid-message.

Invariant: who is cut off gets a reset, never the orderly end that a server gives; clients
take the two for different things.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from chaos.proxy import Proxy

_LINGER_NOT = struct.pack("ii", 1, 0)


class BreakingProxy(Proxy):
    """
    A proxy whose connections can be reset and refused.

    ``reset_after`` resets a connection once so many bytes have come from its client, 0 never;
    ``refusing`` resets new ones before anything is read. ``broken`` counts both, not cut().
    """

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        super().__init__(host, port, seed=seed)
        self.reset_after = 0
        self.refusing = False
        self.broken = 0

    def cut(self) -> int:
        """Reset every open connection and return how many ends there were."""
        for writer in self._open:
            reset(writer)
        return len(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.broken += 1
            reset(writer)
            return
        counted: Any = _Counted(reader, writer, self)
        await super()._serve(counted, writer)


class _Counted:
    """What a client says, until it has said too much."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: BreakingProxy
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._proxy = proxy
        self._said = 0

    async def read(self, most: int) -> bytes:
        data = await self._reader.read(most)
        self._said += len(data)
        limit = self._proxy.reset_after
        if limit and self._said > limit:
            self._proxy.broken += 1
            reset(self._writer)
            raise ConnectionResetError
        return data


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST; a transport's own abort() ends it in good order."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()

"""Connections break by a reset: all at once, in mid-message, or before they began."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chaos.breaking import BreakingProxy
from support.eventually import eventually


class Listener:
    """A server that answers each piece by a point; ``heard`` ends with how the line ended."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.heard.append(data)
                writer.write(b".")
            self.heard.append(b"<end>")
        except ConnectionResetError:
            self.heard.append(b"<reset>")
        finally:
            writer.close()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def proxy(listener) -> AsyncIterator[BreakingProxy]:
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with BreakingProxy("127.0.0.1", port).listening() as proxy:
        yield proxy
    server.close()


async def say(proxy: BreakingProxy, data: bytes) -> bytes:
    """Return the answer to *data*; raises ConnectionResetError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        async with asyncio.timeout(10):
            writer.write(data)
            await writer.drain()
            return await reader.readexactly(1)
    finally:
        writer.transport.abort()


async def test_a_whole_line_breaks_nothing(proxy):
    assert await say(proxy, b"word") == b"."
    assert proxy.broken == 0


async def test_both_ends_of_a_cut_line_are_reset(proxy, listener):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"word")
    assert await reader.readexactly(1) == b"."
    assert proxy.cut() == 2
    with pytest.raises(ConnectionResetError):
        await reader.read()
    await eventually(lambda: listener.heard[1:] == [b"<reset>"])
    writer.transport.abort()


async def test_a_long_message_breaks_off(proxy, listener):
    proxy.reset_after = 100_000
    with pytest.raises((ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError)):
        assert await say(proxy, bytes(5_000_000)) == b""
    await eventually(lambda: proxy.broken == 1)
    assert sum(map(len, listener.heard)) <= 100_000
    assert await say(proxy, b"short") == b"."


async def test_a_refused_client_is_reset_and_the_server_hears_nothing(proxy, listener):
    proxy.refusing = True
    with pytest.raises(ConnectionResetError):
        await say(proxy, b"word")
    assert (proxy.broken, listener.heard) == (1, [])

    proxy.refusing = False
    assert await say(proxy, b"word") == b"."

"""A line through the proxy is what it is set to be, and can be cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from chaos.proxy import Line, Proxy
from support.eventually import eventually

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that says again what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.heard += data
                writer.write(data)
                await writer.drain()
            writer.write(b".")
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def proxy(echo) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", echo.port, seed=1).listening() as proxy:
        yield proxy


@pytest.fixture
async def ends(proxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.transport.abort()


async def told(ends: Ends, data: bytes) -> float:
    """Send *data*, check that it comes back whole, and return the seconds that took."""
    reader, writer = ends
    started = time.monotonic()
    writer.write(data)
    async with asyncio.timeout(20):
        assert await reader.readexactly(len(data)) == data
    return time.monotonic() - started


async def has_ended(reader: asyncio.StreamReader) -> bool:
    """Return whether the line ends, in good order or by a reset, with nothing more said."""
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


async def test_a_plain_line_passes_everything_on(ends):
    data = bytes(range(256)) * 4096
    assert await told(ends, data) < 5


async def test_who_has_finished_speaking_still_hears(ends):
    reader, writer = ends
    await told(ends, b"word")
    writer.write_eof()
    async with asyncio.timeout(5):
        assert await reader.read() == b"."


async def test_a_slow_line_delays_each_piece_both_ways(proxy, ends):
    proxy.line = Line(delay=0.2, jitter=0.05)
    assert 0.3 <= await told(ends, b"word") < 5


async def test_a_thin_line_takes_its_time(proxy, ends):
    proxy.line = Line(bytes_per_second=100_000)
    assert 0.3 <= await told(ends, bytes(30_000)) < 10


async def test_a_line_may_be_changed_under_a_connection(proxy, ends):
    proxy.line = Line(delay=0.5)
    assert await told(ends, b"slow") > 0.9
    proxy.line = Line()
    assert await told(ends, b"fast") < 0.9


async def test_a_mute_line_keeps_what_it_is_told(proxy, ends, echo):
    reader, writer = ends
    proxy.line = Line(mute=True)
    writer.write(b"word")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await reader.read(1)
    assert echo.heard == b""
    proxy.line = Line()
    async with asyncio.timeout(5):
        assert await reader.readexactly(4) == b"word"


async def test_a_mute_line_accepts_connections(proxy):
    """As a network does that loses every packet: nobody is refused."""
    proxy.line = Line(mute=True)
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert not writer.is_closing()
    writer.transport.abort()


async def test_a_cut_line_ends_and_a_new_one_works(proxy, ends):
    await told(ends, b"word")
    assert proxy.cut() == 2, "a connection has two ends"
    assert await has_ended(ends[0])
    assert await eventually(lambda: not proxy._open)

    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    await told(again, b"again")
    again[1].transport.abort()


async def test_a_line_to_a_server_that_is_away_ends(echo):
    nobody = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = nobody.sockets[0].getsockname()[1]
    nobody.close()
    await nobody.wait_closed()
    async with Proxy("127.0.0.1", port).listening() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await has_ended(reader)
        writer.transport.abort()


async def test_the_end_of_a_client_is_the_end_at_the_server(proxy, ends):
    await told(ends, b"word")
    ends[1].transport.abort()
    assert await eventually(lambda: not proxy._open)


async def test_after_the_block_nobody_listens(echo):
    async with Proxy("127.0.0.1", echo.port).listening() as proxy:
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        await told(ends, b"word")
    assert await has_ended(ends[0])
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    ends[1].transport.abort()

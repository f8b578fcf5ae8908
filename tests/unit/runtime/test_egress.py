"""Requests to what clients chose: nothing inside is reached, by whatever name."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress

import pytest
from media_runtime.http.egress import (
    Egress,
    ExchangeError,
    ForbiddenAddressError,
    check_url,
    networks_of,
)

INSIDE = networks_of("127.0.0.1/32")
PUBLIC = "93.184.215.14"
_HOSTS = [
    # Loopback, private, link-local with clouds' metadata, shared, reserved, and this host.
    *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "169.254.170.2", "100.64.0.1", "0.0.0.0", "255.255.255.255"),
    *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"),
    *("224.0.0.1", "239.255.255.250", "100.100.100.200", "168.63.129.16.0x0"),
    # As the C library reads them.
    *("2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1"),
    *("0x7f.0x0.0x0.0x1", "0", "0.0", "3232235777", "2852039166", "0xa9fea9fe", "10.1"),
    # IPv6, and IPv4 in it.
    *("[::1]", "[::]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fd00:ec2::254]"),
    *("[ff02::1]", "[2001:db8::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]"),
    *("[::ffff:a9fe:a9fe]", "[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b::7f00:1]"),
    *("[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]"),
    *("[2001:0:7f00:1::]", "[::127.0.0.1]", "[::7f00:1]", "[100::1]", "[fec0::1]"),
]
_URLS = [
    *(f"https://{host}/" for host in _HOSTS if not host.endswith("0x0")),
    *(f"https://{host}:8443/" for host in ("127.0.0.1", "[::1]", "169.254.169.254")),
    # Ports that speak something else, and none at all.
    *(f"https://example.com:{port}/" for port in (1, 22, 25, 80, 6379, 9092, 5432, 65535)),
    *("https://example.com:0/", "https://example.com:65536/", "https://example.com:x/"),
    # Other ways.
    *("http://example.com/", "file:///etc/passwd", "gopher://example.com/", "ftp://example.com/"),
    *("//example.com/", "example.com", "", "https://", "https:///x", "https://:443/"),
    *("https://me:secret@example.com/", "https://127.0.0.1@example.com/"),
    *("https://example.com\\@127.0.0.1/", "https://exa mple.com/", "https://example.com/\r\nX: y"),
    *("https://ex\u0430mple.com/", "https://\u2460\u2461\u2466.0.0.1/"),
    f"https://e.com/{'x' * 2048}",
    *("https://[::1", "https://[fe80::1%eth0]/", "HTTPS://127.0.0.1/", "https://127.0.0.1./"),
]  # fmt: skip


def test_there_are_many_ways_to_try():
    assert len(set(_URLS)) >= 80


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever its other end has done."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.fixture
async def listening():
    """Give what reached a port of this machine."""
    reached: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(1))
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await closed(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], reached


@asynccontextmanager
async def egress(inside=()):
    found = Egress(inside=inside, connections=4)
    try:
        yield found
    finally:
        await found.close()


@pytest.mark.parametrize("url", _URLS)
async def test_what_is_not_public_is_refused_before_anything_is_sent(url, monkeypatch):
    async def never(*_: object, **__: object) -> None:
        raise AssertionError(f"{url} was connected to")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never, raising=False)
    async with egress() as out:
        with pytest.raises((ForbiddenAddressError, ExchangeError)):
            await out.post(url, b"{}", [], seconds=3)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/", "https://example.com:8443/a?b=c", f"https://{PUBLIC}/",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", "https://xn--mple-5na.com/",
    ],
)  # fmt: skip
def test_public_addresses_are_good(url):
    check_url(url)


def resolves_to(monkeypatch, *answers):
    """Let names resolve to each of *answers* in turn, and count."""
    asked = []

    async def getaddrinfo(host, port, **_):
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, 0, 0, "", (one, port))
            for one in found
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    return asked


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        ["::1"],
        ["::ffff:169.254.169.254"],
    ],
)
async def test_a_name_is_as_good_as_its_worst_address(monkeypatch, addresses):
    resolves_to(monkeypatch, addresses)
    async with egress() as out:
        with pytest.raises(ForbiddenAddressError):
            await out.post("https://rebind.example.com/", b"{}", [], seconds=3)


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch):
    """A name server that answers otherwise the second time is not asked a second time."""
    connected = []

    async def connect(_self, host, port, **_):
        connected.append(host)
        raise ExchangeError("far enough")

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
    asked = resolves_to(monkeypatch, [PUBLIC], ["127.0.0.1"])
    async with egress() as out:
        with pytest.raises(ExchangeError):
            await out.post("https://rebind.example.com/", b"{}", [], seconds=3)
    assert (asked, connected) == (["rebind.example.com"], [PUBLIC])


async def test_networks_that_operators_name_can_be_reached(listening):
    port, reached = listening
    async with egress(INSIDE) as out:
        status = await out.post(f"http://127.0.0.1:{port}/", b"{}", [], seconds=3)
        assert (status, len(reached)) == (204, 1)
        with pytest.raises(ForbiddenAddressError):
            await out.post("https://127.0.0.2/", b"{}", [], seconds=3)
    async with egress() as out:
        with pytest.raises(ForbiddenAddressError):
            await out.post(f"https://127.0.0.1:{port}/", b"{}", [], seconds=3)
    assert len(reached) == 1


async def test_who_does_not_answer_is_waited_for_no_longer_than_said():
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await closed(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server, egress(INSIDE) as out:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ExchangeError, match=r"no answer|Timeout"):
            await out.post(f"http://127.0.0.1:{port}/", b"{}", [], seconds=0.3)

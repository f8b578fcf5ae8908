"""
Requests to addresses that clients chose: what is inside cannot be reached by them.

Invariant: the address that was checked is the one that is connected to. A name is resolved once,
all its addresses must be public, and no redirect is followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

import httpcore

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

PORTS = frozenset({443, 8443})
"""Where endpoints on public addresses listen: nothing else that lies at these can be spoken to."""
_MAX_URL = 2048
# IPv6 addresses that lead to IPv4 ones, by where the latter stand in them: RFC 6052 and RFC 3056.
_NAT64, _SIX_TO_FOUR = IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")
# Teredo hides where it leads (RFC 4380); what is handed out to anybody is in here (RFC 4291).
_TEREDO, _UNICAST = IPv6Network("2001::/32"), IPv6Network("2000::/3")
_LOW_32 = 0xFFFFFFFF


class ForbiddenAddressError(Exception):
    """The URL, or what its name resolves to, is none that requests of ours may go to."""


def networks_of(text: str) -> tuple[Network, ...]:
    """Return the networks in a setting, separated by commas; raises ValueError."""
    return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())


def check_url(url: str, *, inside: Sequence[Network] = ()) -> None:
    """
    Raise ForbiddenAddressError where no name that *url* has could make it a good one.

    It is ``https``, names a host, and no port but PORTS. Where there are networks *inside* that
    operators allow, it may be ``http`` and name any port: connecting decides.
    """
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ForbiddenAddressError("it is not a URL of up to 2048 printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ForbiddenAddressError("it is not a URL") from error
    if parts.scheme not in ({"https", "http"} if inside else {"https"}) or not parts.hostname:
        raise ForbiddenAddressError("it does not begin with https:// and a host")
    if parts.username is not None or parts.password is not None or "\\" in url:
        raise ForbiddenAddressError("it has a user or a password")
    if not inside and (port or 443) not in PORTS:
        raise ForbiddenAddressError("its port is not 443 or 8443")
    literal = _literal(parts.hostname)
    if literal is not None:
        check_address(literal, port or 443, inside=inside)


def check_address(address: Address, port: int, *, inside: Sequence[Network] = ()) -> None:
    """Raise ForbiddenAddressError unless *address* is public, or in one of *inside*."""
    if any(address in network for network in inside):
        return
    if port not in PORTS:
        raise ForbiddenAddressError("its port is not 443 or 8443")
    if not _is_public(address):
        raise ForbiddenAddressError("its address is not a public one")


def _is_public(address: Address) -> bool:
    """Return whether *address*, and the one of IPv4 that it leads to, if any, is a public one."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped is not None:
        return _is_public(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public(IPv4Address(int(address) & _LOW_32))
    if address in _SIX_TO_FOUR:
        return _is_public(IPv4Address(int(address) >> 80 & _LOW_32))
    # All else that counts as global in the registry of special addresses alone is old or unused.
    return address.is_global and address in _UNICAST and address not in _TEREDO


def _literal(host: str) -> Address | None:
    """Return the address that *host* spells, in any form that resolvers take, or None of a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        # 0x7f.1, 2130706433, 0177.0.0.1: what the C library reads as an address.
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone."""

    def __init__(self, inside: Sequence[Network]) -> None:
        self._inside = inside
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            addresses = await _addresses(host, port)
        for address in addresses:
            check_address(address, port, inside=self._inside)
        return await self._backend.connect_tcp(
            str(addresses[0]),
            port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


async def _addresses(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} has no address") from error
    # Those of IPv4 first: many a container has no route for the others.
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return [ipaddress.ip_address(one[4][0]) for one in found]


class Egress:
    """Sends requests to URLs that clients chose."""

    def __init__(
        self,
        *,
        inside: Sequence[Network] = (),
        connections: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._inside = inside
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=connections,
            max_keepalive_connections=connections // 4,
            keepalive_expiry=30,
            network_backend=_Checked(inside),
        )

    async def post(
        self, url: str, body: bytes, headers: Sequence[tuple[str, str]], *, seconds: float
    ) -> int:
        """
        Return the status that *url* answers with; its body is not read.

        Raises ForbiddenAddressError, and ExchangeError where there is no answer within *seconds*.
        """
        check_url(url, inside=self._inside)
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        try:
            async with (
                asyncio.timeout(seconds),
                self._pool.stream(
                    "POST", url, headers=headers, content=body, extensions={"timeout": timeouts}
                ) as answer,
            ):
                return answer.status
        except TimeoutError as error:
            raise ExchangeError(f"no answer within {seconds:g} s") from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise ExchangeError(f"{type(error).__name__}: {error}"[:200]) from error
        except (OSError, ssl.SSLError) as error:
            raise ExchangeError(repr(error)[:200]) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class ExchangeError(Exception):
    """No answer came."""

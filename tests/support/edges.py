"""More edges before the running stack, each with settings of its own, and what its keys sign."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from media_runtime.http.links import LinkSigner
from media_runtime.settings import EdgeKeySettings
from mediactl.devstack.local import LocalStack
from mediactl.devstack.native.edge import EdgePorts, EdgeServer
from mediactl.devstack.ports import free_port
from mediactl.devstack.state import State

from support.surroundings import Parts, variable

_AT_ONCE, _A_CONNECTION = 50, 500  # nginx ends a connection after 1,000 requests
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def edge_keys() -> str:
    """Return the keys that the stack's edge takes."""
    return State(Parts().home.state_file).secret("edge_keys")


def signer(
    keys: str | None = None, *, base_url: str | None = None, now: Callable[[], float] = time.time
) -> LinkSigner:
    """Return what signs links as the sign API does, or with other *keys*, or at another time."""
    settings = EdgeKeySettings(edge_keys=keys or edge_keys())
    return LinkSigner(
        settings, base_url or variable("MEDIA_URL"), lifetime=timedelta(hours=1), now=now
    )


@contextmanager
def another_edge(folder: Path, **settings: str) -> Iterator[str]:
    """Run one more edge of the stack for the block, and give its origin."""
    home, ports = Parts().home, EdgePorts(free_port(), free_port())
    stack = LocalStack(home, State(home.state_file), {}, native=True)
    edge = EdgeServer(
        code=home.root / "deploy" / "edge",
        data=folder / "edge",
        log_file=folder / "edge.log",
        ports=ports,
        behind={**stack._behind_edge(), **settings},
        environ={},
    )
    edge.start()
    try:
        edge.wait_ready()
        yield f"http://127.0.0.1:{ports.public}"
    finally:
        edge.stop()


async def statuses(url: str, heads: Sequence[str], *, source: str = "127.0.0.1") -> list[int]:
    """Send requests, each a request line and headers, one after the other; return the answers'."""
    found: list[int] = []
    for start in range(0, len(heads), _A_CONNECTION):
        found += await _statuses(url, heads[start : start + _A_CONNECTION], source)
    return found


async def _statuses(url: str, heads: Sequence[str], source: str) -> list[int]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port, local_addr=(source, 0)
    )
    found: list[int] = []
    try:
        for start in range(0, len(heads), _AT_ONCE):
            part = heads[start : start + _AT_ONCE]
            writer.write("".join(f"{head}\r\nHost: edge\r\n\r\n" for head in part).encode())
            await writer.drain()
            found += [await _status(reader, has_body=not head.startswith("HEAD")) for head in part]
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return found


async def _status(reader: asyncio.StreamReader, *, has_body: bool) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    await reader.readexactly(int(length[1]) if length and has_body else 0)
    status = _STATUS.match(head)
    assert status is not None, head
    return int(status[1])

"""A small HTTP/1.1 load generator: keep-alive connections, one request at a time on each."""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit


async def requests_per_second(
    url: str, body: bytes, token: str, *, requests: int, connections: int = 16
) -> float:
    """Return the rate at which *requests* POSTs are answered 201; raises on any other answer."""
    address = urlsplit(url)
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    left = requests

    async def work() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        while left > 0:
            left -= 1
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(answer.decode())
            length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return requests / (time.perf_counter() - started)


if __name__ == "__main__":
    _, target, payload, bearer, count = sys.argv
    rate = asyncio.run(requests_per_second(target, payload.encode(), bearer, requests=int(count)))
    sys.stdout.write(f"{rate}\n")

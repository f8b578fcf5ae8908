"""Uploads in parts: what is there is not sent again, whoever sent it and whatever came between."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from mediactl.client import MediaClient, RefusedError

LEAST_BYTES = 16 * 1024 * 1024
"""Smaller files are uploaded in one request."""
_ENDS_BYTES = 1024 * 1024
_AT_ONCE = 4
_URLS_AT_ONCE = 100
_TRIES = 6
_PAUSE_SECONDS = 0.5
_PIECE_BYTES = 256 * 1024
_OVER = 404

OnBytes = Callable[[int], None]


def fingerprint_of(path: Path) -> str:
    """
    Return what an upload of this file is found by again, on other pages and devices too.

    It is the SHA-256 of the file's name, its size in bytes and the milliseconds of its last change,
    each as decimal text on a line of its own, and of its first and its last MiB.
    """
    found = path.stat()
    digest = hashlib.sha256(
        f"{path.name}\n{found.st_size}\n{found.st_mtime_ns // 1_000_000}\n".encode()
    )
    with path.open("rb") as file:
        digest.update(file.read(_ENDS_BYTES))
        file.seek(max(0, found.st_size - _ENDS_BYTES))
        digest.update(file.read(_ENDS_BYTES))
    return f"sha256:{digest.hexdigest()}"


async def begin(client: MediaClient, path: Path) -> dict[str, Any]:
    """Return the upload of the file at *path*, with the parts that are there; or RefusedError."""
    return await client.begin(path, await asyncio.to_thread(fingerprint_of, path))


async def send_parts(
    client: MediaClient, upload: dict[str, Any], path: Path, on_bytes: OnBytes
) -> None:
    """
    Send the parts that are not there yet, and have the file made of them.

    *on_bytes* gets the size of each piece sent, and of what was there. Raises RefusedError, and
    httpx.TransportError where the edge is away for long.
    """
    part_size, size = upload["partSize"], path.stat().st_size  # noqa: ASYNC240 - one call
    sizes = {
        number: min(part_size, size - (number - 1) * part_size)
        for number in range(1, upload["parts"] + 1)
    }
    there = {one["number"] for one in upload["stored"] if sizes[one["number"]] == one["size"]}
    on_bytes(sum(sizes[number] for number in there))
    missing = [number for number in sizes if number not in there]
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def send(part: _Part, url: str) -> None:
        async with at_once:
            await part.send(url)

    for begin_at in range(0, len(missing), _URLS_AT_ONCE):
        numbers = missing[begin_at : begin_at + _URLS_AT_ONCE]
        urls = await client.part_urls(upload["assetId"], numbers)
        parts = [_Part(client, upload, path, number, sizes[number], on_bytes) for number in numbers]
        await _all_or_first_error(*(send(part, urls[part.number]) for part in parts))
    await client.complete(upload["assetId"])


async def _all_or_first_error(*awaited: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


@dataclass(frozen=True)
class _Part:
    client: MediaClient
    upload: dict[str, Any]
    path: Path
    number: int
    size: int
    on_bytes: OnBytes

    async def send(self, url: str) -> None:
        """Send the part, again and with a new URL where that helps."""
        for tries in range(1, _TRIES + 1):
            sent = 0

            def count(size: int) -> None:
                nonlocal sent
                sent += size
                self.on_bytes(size)

            problem = ""
            try:
                answer = await self.client.put_part(url, self.size, self._pieces(count))
            except httpx.TransportError as error:
                problem = repr(error)
            else:
                if answer.is_success:
                    return
                problem = f"the edge answered {answer.status_code}"
                if answer.status_code == _OVER:
                    break
            self.on_bytes(-sent)
            await asyncio.sleep(_PAUSE_SECONDS * 2**tries)
            url = (await self.client.part_urls(self.upload["assetId"], [self.number]))[self.number]
        raise RefusedError(f"{self.path.name}: part {self.number} was not stored: {problem}")

    async def _pieces(self, on_bytes: OnBytes) -> AsyncIterator[bytes]:
        left = self.size
        with self.path.open("rb") as file:
            file.seek((self.number - 1) * self.upload["partSize"])
            while left and (piece := file.read(min(left, _PIECE_BYTES))):
                yield piece
                left -= len(piece)
                on_bytes(len(piece))

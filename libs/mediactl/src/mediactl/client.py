"""
A client of the running stack: signs, uploads, and follows the events of a company.

Invariant: the event stream is opened before the first upload and resumed by Last-Event-ID, so
no change of an asset is missed.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from media_contracts.formats import TYPE_OF_EXTENSION
from mediactl.errors import MediactlError, UsageError

from media_pipeline import MediaError, MediaPipeline

_TIMEOUT = httpx.Timeout(30, read=120)
_STREAM_TIMEOUT = httpx.Timeout(10, read=60)
_RECONNECT_SECONDS = 1.0
_RECONNECT_TRIES = 60
_PIECE_BYTES = 256 * 1024


class RefusedError(MediactlError):
    """The API or the edge refused; the message is the reason it gave."""


@dataclass(frozen=True)
class Event:
    """One event of the stream: its kind (``media_status``, …) and the CloudEvent it carries."""

    kind: str
    asset_id: str
    time: str
    data: dict[str, Any]


def media_type(path: Path) -> str:
    """Return the MIME type that the name of *path* suggests; raises UsageError without one."""
    found = TYPE_OF_EXTENSION.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
    if found is None:
        raise UsageError(f"{path}: cannot tell its type from its name; give it an extension.")
    return found


class MediaClient:
    """Talks to the edge of a stack at *url* in the name of one company."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        headers = {"Authorization": f"Bearer {token}"}
        # Each client would read the authorities that it trusts anew, for tens of milliseconds.
        trust = httpx.create_ssl_context()
        self._api = httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT, verify=trust)
        self._events = httpx.AsyncClient(headers=headers, timeout=_STREAM_TIMEOUT, verify=trust)
        self._storage = httpx.AsyncClient(timeout=_TIMEOUT, verify=trust)
        self._sdk = MediaPipeline(url, token)

    async def __aenter__(self) -> Self:
        """Return the client; its connections open as they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        for connection in (self._api, self._events, self._storage):
            await connection.aclose()
        self._sdk.close()

    async def sign(self, path: Path, *, profile: str | None = None) -> dict[str, Any]:
        """Return the upload grant of the file at *path*, of the default *profile* or another."""
        wanted = {"profile": profile} if profile else {}
        answer = await self._api.post("/api/media/sign", json=_declared(path) | wanted)
        return checked(answer, path.name)

    async def upload(
        self, grant: dict[str, Any], path: Path, *, on_bytes: Callable[[int], None]
    ) -> None:
        """Upload the file under *grant*; *on_bytes* gets the size of each piece sent."""
        upload = grant["upload"]
        size = path.stat().st_size  # noqa: ASYNC240 - one call
        answer = await self._storage.request(
            upload["method"],
            upload["url"],
            headers={**upload["headers"], "Content-Length": str(size)},
            content=_pieces(path, on_bytes),
        )
        if not answer.is_success:
            checked(answer, path.name)

    async def send(
        self, path: Path, *, on_begun: Callable[[str], None], on_bytes: Callable[[int], None]
    ) -> None:
        """
        Upload the file at *path* as the SDK does: what is there already is not sent again.

        *on_begun* gets the asset's id before anything is sent, *on_bytes* the size of each piece.
        Raises RefusedError, and httpx.TransportError where the edge is away for long.
        """
        loop, is_over = asyncio.get_running_loop(), threading.Event()

        def count(size: int) -> None:
            if is_over.is_set():
                raise InterruptedError  # nobody waits for it any more
            loop.call_soon_threadsafe(on_bytes, size)

        try:
            await asyncio.to_thread(
                self._sdk.upload,
                path,
                content_type=media_type(path),
                on_begun=lambda asset_id: on_begun(str(asset_id)),
                on_bytes=count,
            )
        except MediaError as error:
            raise RefusedError(f"{path.name}: {error} ({error.code})") from error
        finally:
            is_over.set()

    async def open_uploads(self) -> list[dict[str, Any]]:
        """Return the uploads in parts that can go on, newest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params: dict[str, str | int] = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            answer = await self._api.get("/api/media/uploads", params=params)
            page = checked(answer, "uploads")
            found += page["items"]
            cursor = page["nextCursor"]
            if cursor is None:
                return found

    async def parts_there(self, asset_id: str) -> dict[str, Any]:
        """Return an upload in parts with those that are stored."""
        return checked(await self._api.get(f"/api/media/uploads/{asset_id}"), asset_id)

    async def give_up(self, asset_id: str) -> None:
        """Have an upload's parts removed."""
        answer = await self._api.delete(f"/api/media/uploads/{asset_id}")
        if not answer.is_success:
            checked(answer, asset_id)

    async def asset(self, asset_id: str) -> dict[str, Any]:
        """Return the asset as the API shows it."""
        return checked(await self._api.get(f"/api/media/assets/{asset_id}"), asset_id)

    async def fetch(self, url: str) -> httpx.Response:
        """Return the file that *url* serves, with its headers."""
        answer = await self._storage.get(url)
        if not answer.is_success:
            raise RefusedError(f"{url}: answered {answer.status_code}")
        return answer

    async def events(self, connected: asyncio.Event) -> AsyncIterator[Event]:
        """Yield the company's events for ever; *connected* is set once the stream is open."""
        last_id: str | None = None
        for _ in range(_RECONNECT_TRIES):
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                async with self._events.stream(
                    "GET", f"{self._url}/api/media/events", headers=headers
                ) as answer:
                    await _refuse_errors(answer)
                    async for kind, event_id, data in _server_sent(answer):
                        last_id = event_id or last_id
                        connected.set()
                        if kind in {"media_status", "media_processed"}:
                            yield _event(kind, data)
            except httpx.TransportError:
                pass
            await asyncio.sleep(_RECONNECT_SECONDS)
        raise MediactlError("The event stream is gone: run 'mediactl status'.")


async def _pieces(path: Path, on_bytes: Callable[[int], None]) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
            on_bytes(len(piece))


async def _server_sent(answer: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    """Yield kind, id and data of each event (WHATWG HTML, section 9.2.6)."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            yield fields.get("event", "message"), fields.get("id", ""), fields.get("data", "")
            fields = {}


def _declared(path: Path) -> dict[str, Any]:
    return {"fileName": path.name, "size": path.stat().st_size, "type": media_type(path)}


def _event(kind: str, data: str) -> Event:
    event = json.loads(data)
    return Event(kind=kind, asset_id=event["subject"], time=event["time"], data=event["data"])


async def _refuse_errors(answer: httpx.Response) -> None:
    if answer.is_client_error:
        await answer.aread()
        checked(answer, "events")
    if not answer.is_success:
        raise httpx.ReadError(f"the notifier answered {answer.status_code}")


def checked(answer: httpx.Response, what: str) -> dict[str, Any]:
    """Return what the API answers of *what*; raises RefusedError with the reason it gives."""
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    try:
        problem = answer.json()
        raise RefusedError(f"{what}: {problem['detail']} ({problem['code']})")
    except (ValueError, KeyError) as error:
        raise RefusedError(f"{what}: the API answered {answer.status_code}") from error

"""
The response that carries a stream of events over HTTP.

Invariant: however it ends (by itself, by the client, by a client that takes no bytes, by an
error) the stream is closed, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fastapi import Response
from media_runtime import background
from starlette.types import Receive, Scope, Send

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would collect events
}


class EventStream(Response):
    """
    Sends *parts* as they come, and calls *close* at the end.

    Starlette's own streaming response cancels in a way that lets no clean-up await anything,
    and waits for ever on a client that takes no bytes.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        close: Callable[[], None],
        *,
        write_seconds: float,
    ) -> None:
        super().__init__(headers=_HEADERS)
        self._parts = parts
        self._close = close
        self._write_seconds = write_seconds
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends or the client is gone."""
        del scope
        async with background.running(
            sending=self._send_all(send), gone=_disconnected(receive)
        ) as (sending, gone):
            try:
                await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                self._close()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._parts) as parts:
            async for part in parts:
                try:
                    async with asyncio.timeout(self._write_seconds):
                        await send(_body(part))
                except TimeoutError:
                    return  # the server closes the connection: nobody reads an end either
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _body(part: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": part, "more_body": True}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

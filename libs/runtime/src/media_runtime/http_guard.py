"""
What stands before every HTTP app: bounds on what a request may be, and headers on every answer.

The bounds hold before an app sees the request, so no route can forget them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 * 1024
"""What request line and headers may have; a token has about 400."""
MAX_BODY_BYTES = 64 * 1024
"""What a body may have: all of ours are small JSON, files go to object storage."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]
_NO_STORE = (b"cache-control", b"no-store")
_NOTHING = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# FastAPI's pages for people: script and style come from this CDN, and an inline script starts them.
_DOCS = (
    b"content-security-policy",
    b"; ".join(
        (
            b"default-src 'none'",
            b"connect-src 'self'",
            b"frame-ancestors 'none'",
            b"img-src 'self' data: https://fastapi.tiangolo.com",
            b"script-src 'unsafe-inline' https://cdn.jsdelivr.net",
            b"style-src 'unsafe-inline' https://cdn.jsdelivr.net",
        )
    ),
)
_DOCS_PATHS = frozenset({"/docs", "/redoc"})
_BETWEEN = len(b": \r\n")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_TOO_LARGE = {
    "headers": (
        431,
        "Request Header Fields Too Large",
        "headers_too_large",
        f"The request line and headers may have {MAX_HEAD_BYTES} bytes.",
    ),
    "body": (
        413,
        "Content Too Large",
        "body_too_large",
        f"The request body may have {MAX_BODY_BYTES} bytes.",
    ),
}


class Guarded:
    """
    ASGI app that lets *app* see bounded requests only, and secures its answers.

    What is too large is answered with a problem: 413 ``body_too_large``, 431
    ``headers_too_large``. The body is there in whole before *app* is called.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        policy = _DOCS if scope["path"] in _DOCS_PATHS else _NOTHING

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _secured(message["headers"], policy)
            await send(message)

        if _head_bytes(scope) > MAX_HEAD_BYTES:
            return await _refuse(secured, "headers")
        if scope["method"] in _WITHOUT_BODY:
            return await self._app(scope, receive, secured)
        body = await _whole_body(scope, receive)
        if body is None:
            return await _refuse(secured, "body")
        return await self._app(scope, _replaying(body, receive), secured)


class BoundedProtocol(HttpToolsProtocol):
    """
    uvicorn's protocol with a bound on what it keeps of a request that is not whole yet.

    Its parser keeps a header, or a trailer, of any length until its end comes.
    """

    _pending = 0

    def data_received(self, data: bytes) -> None:
        """Parse *data*, and close the connection when too much leads to nothing."""
        self._pending += len(data)
        super().data_received(data)
        if self._pending > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_raw_refusal("headers"))
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Begin to count anew."""
        self._pending = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Begin to count anew."""
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew."""
        self._pending = 0
        super().on_message_complete()


def _head_bytes(scope: MutableMapping[str, Any]) -> int:
    fields = sum(len(name) + len(value) + _BETWEEN for name, value in scope["headers"])
    return fields + len(scope["raw_path"]) + len(scope["query_string"])


async def _whole_body(scope: MutableMapping[str, Any], receive: Receive) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > MAX_BODY_BYTES:
            return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return body


def _replaying(body: bytes, receive: Receive) -> Receive:
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


def _secured(headers: Any, policy: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    found = [*headers, *_HEADERS, policy]
    if not any(name == b"cache-control" for name, _ in headers):
        found.append(_NO_STORE)
    return found


async def _refuse(send: Send, what: str) -> None:
    status, body = _TOO_LARGE[what][0], _problem(what)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what is left of the request is not read
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _raw_refusal(what: str) -> bytes:
    status, title, *_ = _TOO_LARGE[what]
    body = _problem(what)
    return (
        f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode() + body


def _problem(what: str) -> bytes:
    status, title, code, detail = _TOO_LARGE[what]
    problem = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return json.dumps(problem).encode()

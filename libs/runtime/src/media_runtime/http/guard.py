"""
What stands before every HTTP app: bounds on what a request may be, and headers on every answer.

The bounds hold before an app sees the request, so no route can forget them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from media_contracts.errors import ErrorCode
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 * 1024
"""What request line and headers may have; a token has about 400."""
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

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
API_PAGE_PATH = "/docs"
# What the page of media_runtime.http.page may load; Swagger UI styles its parts inline.
_API_PAGE = (
    b"content-security-policy",
    (
        b"default-src 'none'; connect-src 'self'; frame-ancestors 'none'; img-src data:; "
        b"script-src 'self'; style-src 'self' 'unsafe-inline'"
    ),
)
_BETWEEN = len(b": \r\n")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class Guarded:
    """
    ASGI app that lets *app* see bounded requests only, and secures its answers.

    What is too large is answered with a problem: 413 ``body_too_large``, 431
    ``headers_too_large``. Bodies may have *max_body_bytes*, or those *max_bytes_of* their path. A
    body is there in whole before *app* is called, and *app* is not called for one that broke off.
    """

    def __init__(
        self, app: App, *, max_body_bytes: int, max_bytes_of: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_bytes_of = max_bytes_of or {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        policy = _API_PAGE if scope["path"] == API_PAGE_PATH else _NOTHING

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _secured(message["headers"], policy)
            await send(message)

        if _head_bytes(scope) > MAX_HEAD_BYTES:
            return await _refuse(secured, 431, _HEAD_TOO_LARGE)
        try:
            receive = await self._bounded(scope, receive)
        except _TooLargeError:
            told = f"The request body may have {self._max_bytes(scope)} bytes."
            return await _refuse(secured, 413, _problem(ErrorCode.BODY_TOO_LARGE, told))
        except _BrokenOffError:
            return None
        return await self._app(scope, receive, secured)

    async def _bounded(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        max_bytes = self._max_bytes(scope)
        if _said_length(scope) > max_bytes:
            raise _TooLargeError
        if scope["method"] in _WITHOUT_BODY:  # one that comes is read by nobody
            return receive
        return _replaying(await _whole_body(receive, max_bytes), receive)

    def _max_bytes(self, scope: MutableMapping[str, Any]) -> int:
        return self._max_bytes_of.get(scope["path"], self._max_body_bytes)


class BoundedProtocol(HttpToolsProtocol):
    """
    uvicorn's protocol with a bound on what it takes that leads to nothing.

    That is a head, or a trailer, without an end, all of which its parser would keep, and a body
    that goes on after the answer has begun, which it would read for ever. A request has to be
    there in whole within ``request_seconds``; a connection that is one too many is closed.
    """

    request_seconds: float
    max_connections: int
    _pending = 0
    _in_head = False
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, unless there are too many who do."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse *data*, and close the connection when too much leads to nothing."""
        self._pending += len(data)
        super().data_received(data)
        if self._pending > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._close_with(431, _HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        self._expect_request()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to count anew."""
        self._in_head = False
        self._pending = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Begin to count anew, unless nobody reads the body."""
        if not self.cycle.response_started:
            self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew."""
        self._pending = 0
        self._expect_nothing()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close the connection."""
        del msg  # uvicorn has logged it
        self._close_with(400, _NO_HTTP)

    def _expect_request(self) -> None:
        # From its first byte on, not from its last: a byte at a time is too slow, too.
        if self._late is None:
            self._late = self.loop.call_later(self.request_seconds, self._give_up)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self._in_head or self._in_body():
            self._close_with(408, _TOO_SLOW)
        else:
            self.transport.close()  # it never asked

    def _in_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    def _close_with(self, status: int, problem: bytes) -> None:
        # Within an answer these bytes would be a part of it.
        answered = self.cycle is not None and (
            not self.cycle.response_complete if self._in_head else self.cycle.response_started
        )
        if not answered:
            self.transport.write(_raw_answer(status, problem))
        self.transport.close()


def bounded_protocol(*, request_seconds: float, max_connections: int) -> type[BoundedProtocol]:
    """Return the protocol with these bounds; uvicorn makes its own instances."""
    bounds = {"request_seconds": request_seconds, "max_connections": max_connections}
    return type("BoundedProtocol", (BoundedProtocol,), bounds)


class _TooLargeError(Exception):
    """The body is larger than bodies may be."""


class _BrokenOffError(Exception):
    """The client has gone before the end of the body."""


def _head_bytes(scope: MutableMapping[str, Any]) -> int:
    fields = sum(len(name) + len(value) + _BETWEEN for name, value in scope["headers"])
    return fields + len(scope["raw_path"]) + len(scope["query_string"])


def _said_length(scope: MutableMapping[str, Any]) -> int:
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


async def _whole_body(receive: Receive, max_bytes: int) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _BrokenOffError
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > max_bytes:
            raise _TooLargeError
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


async def _refuse(send: Send, status: int, problem: bytes) -> None:
    await send(
        {"type": "http.response.start", "status": status, "headers": _problem_headers(problem)}
    )
    await send({"type": "http.response.body", "body": problem})


def _raw_answer(status: int, problem: bytes) -> bytes:
    headers = _secured(_problem_headers(problem), _NOTHING)
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return f"HTTP/1.1 {status} {TITLES[status]}\r\n".encode() + lines + b"\r\n" + problem


def _problem_headers(problem: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(problem)).encode()),
        (b"connection", b"close"),  # what is left of the request is not read
    ]


def _problem(code: ErrorCode, detail: str = "") -> bytes:
    # As media_runtime.http.app.Problem; services that serve /readyz alone have no FastAPI.
    problem = {
        "type": "about:blank",
        "title": TITLES[code.http_status or 500],
        "status": code.http_status,
        "code": code,
        "detail": detail or code.sentence,
    }
    return json.dumps(problem).encode()


_HEAD_TOO_LARGE = _problem(
    ErrorCode.HEADERS_TOO_LARGE,
    f"The request line and headers may have {MAX_HEAD_BYTES} bytes.",
)
_TOO_SLOW = _problem(ErrorCode.REQUEST_TOO_SLOW)
_NO_HTTP = _problem(ErrorCode.INVALID_REQUEST)

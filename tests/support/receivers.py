"""An endpoint of a company: it takes events by HTTP, as somebody else's server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time
from typing import Any

import uvicorn
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from support.eventually import eventually


@dataclass(frozen=True)
class Taken:
    """One request: its body, its headers, and when it came."""

    body: bytes
    headers: dict[str, str]
    at: float

    @property
    def event_id(self) -> str:
        """The id of the event, by the header."""
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """Return the event, as PyPI's standardwebhooks verifies it."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


@dataclass
class Receiver:
    """What an endpoint was sent; *answers* says the status of each request, and may wait."""

    url: str = ""
    answers: Callable[[Taken], int | float] = lambda _: 204
    requests: list[Taken] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        """Answer one request: a number below 100 is seconds in which nothing is answered."""
        one = Taken(await request.body(), dict(request.headers), time())
        self.requests.append(one)
        status = self.answers(one)
        if status < 100:
            await asyncio.sleep(status)
            return Response(status_code=500)
        if 200 <= status < 300:
            self.taken.append(one)
        headers = {"location": "http://127.0.0.1:9/"} if 300 <= status < 400 else {}
        return Response(status_code=int(status), headers=headers)

    def of(self, event_type: str) -> list[Taken]:
        """Return the requests that were answered with 2xx and have events of a type."""
        return [one for one in self.taken if f'"type":"{event_type}"'.encode() in one.body]


@asynccontextmanager
async def receiving(
    answers: Callable[[Taken], int | float] = lambda _: 204,
) -> AsyncIterator[Receiver]:
    """Give an endpoint on this machine for the block."""
    receiver = Receiver(answers=answers)
    app = Starlette(routes=[Route("/{path:path}", receiver.take, methods=["POST"])])
    # One that has a lifespan leaves it to the garbage collector, which writes a traceback then. On
    # CPython 3.11 that breaks a parse of the same moment, as pytest's of a failed test (gh-106905).
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, timeout=10)
    port = server.servers[0].sockets[0].getsockname()[1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        server.should_exit = server.force_exit = True
        await serving

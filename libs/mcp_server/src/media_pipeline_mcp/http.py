"""
The server behind HTTP: each request is made by whoever's token it carries.

Invariant: the server has no token of its own. A request without one ends here, and no session
outlives a request.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from media_pipeline_mcp.pipeline import Ctx, Pipeline, RefusedError, bearer_of

PATH = "/mcp"
MAX_BODY_BYTES = 64 * 1024
"""Arguments of a tool are some hundred bytes; titles and texts have limits of the API's own."""

_OWN_HOSTS = ("127.0.0.1:*", "localhost:*", "[::1]:*")
_CONNECTIONS = 500
_GRACE_SECONDS = 5
_UNAUTHORIZED = "Send your own token: Authorization: Bearer …"


def token_of(ctx: Ctx) -> str:
    """Return the token of the request that made this call; raises RefusedError."""
    token = bearer_of(ctx.headers or {})
    if token is None:
        raise RefusedError("unauthorized", _UNAUTHORIZED)
    return token


class OnlyWithToken:
    """Lets POST requests through that carry a bearer token; whether it is good, the API says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it before its body is read."""
        app = self._app
        if scope["type"] == "http":
            app = _refusal(scope) or app
        await app(scope, receive, send)


def build_app(
    server: MCPServer[Pipeline],
    *,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
) -> ASGIApp:
    """
    Return the app of *server*.

    It answers to names of this machine and to *allowed_hosts* (``name`` or ``name:port``, where
    the port may be ``*``), else a page that has its name resolve to us could call it. Pages call
    it from *allowed_origins* alone.
    """
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[*_OWN_HOSTS, *allowed_hosts], allowed_origins=[*allowed_origins]
        ),
    )
    return OnlyWithToken(app)


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serve *app* until the process is asked to end."""
    name = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"media-pipeline-mcp: http://{name}:{port}{PATH}\n")
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _refusal(scope: Scope) -> Response | None:
    if bearer_of(Headers(scope=scope)) is None:
        return _problem(401, "unauthorized", _UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
    if scope["method"] != "POST":
        # Without sessions there is nothing to listen to, and nothing to end.
        return _problem(405, "method_not_allowed", "Send POST.", {"Allow": "POST"})
    return None


def _problem(status: int, code: str, detail: str, headers: dict[str, str]) -> Response:
    body = json.dumps({"status": status, "code": code, "detail": detail}, ensure_ascii=False)
    return Response(body, status, headers, "application/problem+json")

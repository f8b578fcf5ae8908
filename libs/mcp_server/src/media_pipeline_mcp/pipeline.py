"""
The pipeline's API in the name of one caller, over the SDK.

Invariant: a client is made for one call, with the token of whoever calls, and closed with it, so
that nothing of one caller is there for the next.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import UUID

import anyio
import httpx
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from media_pipeline import MediaError
from media_pipeline.api.api.media import delete_asset, get_asset, list_assets, retry_asset, sign
from media_pipeline.api.client import AuthenticatedClient
from media_pipeline.api.models import (
    AssetPage,
    AssetStatus,
    AssetView,
    Problem,
    SignRequest,
    SignResponse,
)
from media_pipeline.api.types import UNSET, Response

T = TypeVar("T")

UNREACHABLE = "unreachable"
"""The code of an error of ours: nobody answered."""

_TIMEOUT = httpx.Timeout(30)
_STORAGE_TRIES, _STORAGE_SECONDS = 15, 2.0
_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]{1,8192}=*)", re.IGNORECASE)


class RefusedError(ToolError):
    """The pipeline refused a call; ``code`` is stable and for programs, the message for people."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Pipeline:
    """The pipeline at *url*; *token_of* tells in whose name a call is made."""

    url: str
    token_of: Callable[[Ctx], str]
    # Loading certificates takes longer than a call. They are nobody's own.
    _tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context, repr=False)

    @asynccontextmanager
    async def caller(self, ctx: Ctx) -> AsyncIterator[Caller]:
        """Give the API in the name of whoever made this call."""
        client = AuthenticatedClient(
            base_url=self.url.rstrip("/"),
            token=self.token_of(ctx),
            timeout=_TIMEOUT,
            verify_ssl=self._tls,
        )
        async with client:
            yield Caller(client)


Ctx = Context[Pipeline, Any]


class Caller:
    """The API in one caller's name. Each method raises RefusedError."""

    def __init__(self, client: AuthenticatedClient) -> None:
        self._client = client

    async def asset(self, asset_id: UUID) -> AssetView:
        """Return an asset as it is now."""
        return await self._answer(get_asset.asyncio_detailed, asset_id=asset_id)

    async def assets(self, status: AssetStatus | None, limit: int, cursor: str | None) -> AssetPage:
        """Return one page of assets, newest first."""
        return await self._answer(
            list_assets.asyncio_detailed,
            status=status or UNSET,
            limit=limit,
            cursor=cursor or UNSET,
        )

    async def sign(self, request: SignRequest) -> SignResponse:
        """Return an upload grant."""
        return await self._answer(sign.asyncio_detailed, body=request)

    async def retry(self, asset_id: UUID) -> AssetView:
        """Begin a new attempt for a failed asset."""
        return await self._answer(retry_asset.asyncio_detailed, asset_id=asset_id)

    async def delete(self, asset_id: UUID) -> None:
        """Delete an asset and its files."""
        answer = await _answered(delete_asset.asyncio_detailed, self._client, asset_id=asset_id)
        if answer.status_code is not HTTPStatus.NO_CONTENT:
            raise _refusal(answer)

    async def _answer(
        self, call: Callable[..., Awaitable[Response[T | Problem]]], **arguments: Any
    ) -> T:
        answer = await _answered(call, self._client, **arguments)
        if answer.parsed is None or isinstance(answer.parsed, Problem):
            raise _refusal(answer)
        return answer.parsed


async def until_storage_is_made(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what *attempt* does, tried again while the storage of a new company is being made."""
    for _ in range(_STORAGE_TRIES):
        try:
            return await attempt()
        except RefusedError as error:
            if error.code != "storage_not_ready":
                raise
            await anyio.sleep(_STORAGE_SECONDS)
    return await attempt()


def refused(error: Exception) -> RefusedError:
    """Return what is told of an error of the SDK."""
    if isinstance(error, MediaError):
        return RefusedError(error.code, str(error), error.status)
    if isinstance(error, httpx.HTTPError):
        return RefusedError(UNREACHABLE, "The pipeline does not answer; try again in a moment.")
    return RefusedError("invalid_answer", "The answer is not the pipeline's.")


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """Return the bearer token of a request; None where it has none, or one of no known form."""
    found = _BEARER.fullmatch(headers.get("authorization", ""))
    return found[1] if found else None


async def _answered(
    call: Callable[..., Awaitable[Response[T]]], client: AuthenticatedClient, **arguments: Any
) -> Response[T]:
    try:
        return await call(client=client, **arguments)
    # A proxy's page, where the API's answer should be, fails in any of these ways.
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise refused(error) from error


def _refusal(answer: Response[Any]) -> RefusedError:
    status = int(answer.status_code)
    if isinstance(answer.parsed, Problem):
        return RefusedError(answer.parsed.code, answer.parsed.detail, status)
    return RefusedError("invalid_answer", f"The pipeline answered {status}.", status)

"""
The tools that both transports have; their docstrings are what an agent reads.

Invariant: whatever a tool knows comes from the API by the caller's own token.
"""

from __future__ import annotations

import shlex
import time
from contextlib import AbstractAsyncContextManager
from pathlib import PurePath
from typing import Annotated, Any
from uuid import UUID

import anyio
from mcp.server.mcpserver import ElicitationResult, Resolve
from pydantic import Field

from media_pipeline.api.models import AssetStatus, AssetView, SignRequest, SignResponse
from media_pipeline.api.types import UNSET
from media_pipeline.types_by_name import TYPE_OF_EXTENSION
from media_pipeline_mcp.confirmation import Consent, check, consent, doomed
from media_pipeline_mcp.pipeline import (
    UNREACHABLE,
    Caller,
    Ctx,
    RefusedError,
    until_storage_is_made,
)
from media_pipeline_mcp.views import Asset, AssetList, AssetSummary, Deleted, Grant, Waited

MAX_WAIT_SECONDS = 300

_UNDER_WAY = frozenset({AssetStatus.PENDING, AssetStatus.PROCESSING})
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.5, 5.0
_AWAY = frozenset({429, 502, 503, 504})

AssetId = Annotated[UUID, Field(description="The id that an upload or a list told.")]
Title = Annotated[str | None, Field(description="What people are to call it.")]
Alt = Annotated[str | None, Field(description="What it shows, for those who do not see it.")]
Profile = Annotated[
    str | None,
    Field(description="A profile of the company: what is made of the file. Default: its own."),
]


async def list_assets(
    ctx: Ctx,
    status: Annotated[AssetStatus | None, Field(description="Only those of this status.")] = None,
    limit: Annotated[int, Field(ge=1, le=100, description="Assets on a page.")] = 20,
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.")] = None,
) -> AssetList:
    """
    List the company's assets, newest first, a page at a time.

    Each has its id, file name, status and, where it failed, the reason. get_asset has the URLs.
    """
    async with _caller(ctx) as caller:
        page = await caller.assets(status, limit, cursor)
    items = [AssetSummary.of(one) for one in page.items]
    return AssetList(items=items, next_cursor=page.next_cursor or None)


async def get_asset(ctx: Ctx, asset_id: AssetId) -> Asset:
    """
    Look at one asset: status, sizes, URLs to play and show it, and what went wrong, in a sentence.

    URLs lapse after an hour; call this again for new ones.
    """
    async with _caller(ctx) as caller:
        return Asset.of(await caller.asset(asset_id))


async def create_upload(
    ctx: Ctx,
    *,
    file_name: Annotated[str, Field(description="The name alone, such as holiday.mp4.")],
    size: Annotated[int, Field(ge=1, description="Exact bytes of the file.")],
    type: Annotated[  # noqa: A002 - the API's name
        str | None, Field(description="MIME type. Default: what the file's name tells.")
    ] = None,
    profile: Profile = None,
    title: Title = None,
    alt: Alt = None,
) -> Grant:
    """
    Create an upload grant for one video, image or sound, and the curl line that uploads it.

    Run the line in the file's folder, or give it to the person: this tool sends no bytes. The grant
    lapses after an hour and takes one file of exactly this type and size. Then call wait_for_asset.
    """
    said = given(profile=profile, title=title, alt=alt)
    request = SignRequest(file_name=file_name, size=size, type_=type or type_of(file_name), **said)
    async with _caller(ctx) as caller:
        signed = await until_storage_is_made(lambda: caller.sign(request))
    return _grant(signed, file_name)


async def wait_for_asset(
    ctx: Ctx,
    asset_id: AssetId,
    seconds: Annotated[
        int, Field(ge=0, le=MAX_WAIT_SECONDS, description="How long to wait at most.")
    ] = 45,
) -> Waited:
    """
    Wait until an upload is ready or has failed, and return the asset.

    When time is up first, done is false and the asset is as it is then: call this again. An asset
    that stays pending has not been uploaded.
    """
    began, pause = time.monotonic(), _LOOK_SECONDS
    async with _caller(ctx) as caller:
        while True:
            found = await _look(caller, asset_id)
            waited = time.monotonic() - began
            if isinstance(found, AssetView):
                done = found.status not in _UNDER_WAY
                if done or waited >= seconds:
                    return Waited(done=done, asset=Asset.of(found))
            elif waited >= seconds:
                raise found
            await ctx.report_progress(waited, seconds, _told(found))
            await anyio.sleep(min(pause, seconds - waited))
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)


async def retry_asset(ctx: Ctx, asset_id: AssetId) -> Asset:
    """
    Process a failed asset again. Only a failed one can be retried, and the file is not sent again.

    It helps where the error was the system's own, and not where the file cannot be used.
    """
    async with _caller(ctx) as caller:
        return Asset.of(await caller.retry(asset_id))


async def delete_asset(
    ctx: Ctx,
    asset_id: AssetId,
    asset: Annotated[AssetView, Resolve(doomed)],
    answer: Annotated[ElicitationResult[Consent], Resolve(consent)],
    confirm_file_name: Annotated[
        str | None,
        Field(
            description="The asset's file name, exactly. Needed where the client cannot ask the "
            "person itself: ask them first."
        ),
    ] = None,
) -> Deleted:
    """
    Delete an asset, its upload and all that was made of it. This cannot be undone.

    The person is asked by the client. A client that cannot ask needs confirm_file_name: ask the
    person yourself, then give the asset's file name.
    """
    del confirm_file_name  # consent() compares it
    check(answer)
    async with _caller(ctx) as caller:
        await caller.delete(asset_id)
    return Deleted(asset_id=asset_id, file_name=asset.file_name)


def type_of(file_name: str) -> str:
    """Return the MIME type that a file's name tells; raises RefusedError."""
    found = TYPE_OF_EXTENSION.get(PurePath(file_name).suffix.lower())
    if found is None:
        raise RefusedError(
            "invalid_type", "The file's name is not that of a video, image or sound."
        )
    return found


def given(**said: str | None) -> dict[str, Any]:
    """Return the arguments that were given, as the SDK takes them."""
    return {name: UNSET if value is None else value for name, value in said.items()}


def curl_line(signed: SignResponse, file_name: str) -> str:
    """Return the command line that uploads a file, for a POSIX shell in its folder."""
    words = ["curl", "--fail-with-body", "--globoff"]
    for name, value in signed.upload.headers.to_dict().items():
        words += ["-H", f"{name}: {value}"]
    # A name that begins with a dash, or is one, means something else to curl.
    words += ["-T", f"./{file_name}", signed.upload.url]
    return shlex.join(words)


def _grant(signed: SignResponse, file_name: str) -> Grant:
    return Grant(
        asset_id=signed.asset_id,
        method=signed.upload.method,
        url=signed.upload.url,
        headers=signed.upload.headers.to_dict(),
        expires_at=signed.upload.expires_at,
        curl=curl_line(signed, file_name),
    )


async def _look(caller: Caller, asset_id: UUID) -> AssetView | RefusedError:
    """Return the asset, or why it cannot be seen now; raises RefusedError for what stays so."""
    try:
        return await caller.asset(asset_id)
    except RefusedError as error:
        if error.code == UNREACHABLE or error.status in _AWAY:
            return error
        raise


def _told(found: AssetView | RefusedError) -> str:
    if isinstance(found, RefusedError):
        return str(found)
    left = found.ready_in_seconds
    return f"{found.status}, ready in about {left} s" if left else str(found.status)


def _caller(ctx: Ctx) -> AbstractAsyncContextManager[Caller]:
    return ctx.request_context.lifespan_context.caller(ctx)

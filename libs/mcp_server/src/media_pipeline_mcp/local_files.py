"""
The tool that reads a file of the person's own machine.

Invariant: only the server that the person's own client starts has it. Behind HTTP a path would
be one of the server's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID

import httpx
from pydantic import Field

from media_pipeline import MediaError, MediaPipeline
from media_pipeline_mcp.pipeline import Ctx, RefusedError, refused, until_storage_is_made
from media_pipeline_mcp.tools import Alt, Profile, Title, type_of
from media_pipeline_mcp.views import Uploaded

_REPORT_SECONDS = 1.0


class _Sent:
    """Counts the bytes that threads send, and stops the threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self.size = 0

    def __call__(self, size: int) -> None:
        """Count *size* more, which is negative where some have to be sent again."""
        if self._stopped:
            raise RefusedError("cancelled", "The call was cancelled.")
        with self._lock:
            self.size += size

    def stop(self) -> None:
        """Have the next piece not sent: a thread cannot be cancelled."""
        self._stopped = True


async def upload_file(
    ctx: Ctx,
    path: Annotated[str, Field(description="The file on this machine; ~ is the home folder.")],
    profile: Profile = None,
    title: Title = None,
    alt: Alt = None,
) -> Uploaded:
    """
    Upload a video, image or sound from this machine.

    Files from 16 MiB on go in parts: after an interruption, the same call sends only what is
    missing. Then call wait_for_asset.
    """
    pipeline = ctx.request_context.lifespan_context
    file, size = _local(path)
    # By its name alone: an agent that is led astray sends no keys and no documents.
    content_type = type_of(file.name)
    token = pipeline.token_of(ctx)

    async def attempt() -> UUID:
        sent = _Sent()

        def send() -> UUID:
            with MediaPipeline(pipeline.url, token) as media:
                return media.upload(
                    file,
                    content_type=content_type,
                    profile=profile,
                    title=title,
                    alt=alt,
                    on_bytes=sent,
                )

        return await _followed(ctx, send, sent, size)

    asset_id = await until_storage_is_made(attempt)
    return Uploaded(asset_id=asset_id, file_name=file.name, size=size)


def _local(path: str) -> tuple[Path, int]:
    try:
        file = Path(path).expanduser()
        if file.is_file():
            return file, file.stat().st_size
    except (OSError, RuntimeError, ValueError):  # no such home, no right, no path at all
        pass
    raise RefusedError("no_such_file", "There is no such file on this machine.")


async def _followed(ctx: Ctx, send: Callable[[], UUID], sent: _Sent, size: int) -> UUID:
    """Return what *send* returns in a thread, and report its progress."""
    sending = asyncio.get_running_loop().run_in_executor(None, send)
    # Of a call that was cancelled nobody asks for the outcome, and asyncio would complain.
    sending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    told = 0
    try:
        while not sending.done():
            await asyncio.wait([sending], timeout=_REPORT_SECONDS)
            if sent.size > told:
                told = sent.size
                await ctx.report_progress(told, size, "sent")
        return sending.result()
    except (MediaError, httpx.HTTPError) as error:
        raise refused(error) from error
    except OSError as error:
        reason = f"The file cannot be read: {error.strerror}."
        raise RefusedError("unreadable_file", reason) from error
    finally:
        sent.stop()

"""Sends files through the running stack and follows each to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media_runtime import background
from mediactl.client import MediaClient, RefusedError, media_type
from mediactl.errors import MediactlError, UsageError
from mediactl.timeline import Track

_AT_ONCE = 4
_CONNECT_SECONDS = 15
_LOOK_SECONDS = 5.0


@dataclass
class Uploads:
    """Files on their way; ``tracks`` is up to date at any time, for whoever shows it."""

    client: MediaClient
    paths: list[Path]
    tracks: list[Track] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Refuse files that cannot be read before anything is sent."""
        for path in self.paths:
            if not path.is_file():
                raise UsageError(f"{path} is not a file.")
            media_type(path)
        self.tracks = [Track(path.name, size=path.stat().st_size) for path in self.paths]

    async def run(self, *, timeout_seconds: float) -> list[Track]:
        """Send all files and return their tracks once each is ready or failed."""
        connected = asyncio.Event()
        try:
            async with background.running(
                following=self._follow(connected), looking=self._look_now_and_then()
            ) as (following, _):
                await _first(connected.wait(), following, _CONNECT_SECONDS)
                await self._send_all()
                await _first(self._all_done(), following, timeout_seconds)
        except TimeoutError as error:
            waiting = ", ".join(track.name for track in self.tracks if not track.done)
            raise MediactlError(
                f"No outcome in time for {waiting or 'the event stream'}: "
                "look at 'mediactl status' and 'mediactl logs'."
            ) from error
        for track in self.tracks:
            if track.asset_id:
                track.asset = await self.client.asset(track.asset_id)
        return self.tracks

    async def _send_all(self) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def send(path: Path, track: Track) -> None:
            async with limit:
                try:
                    await self._send(path, track)
                except RefusedError as error:
                    track.status, track.error = "failed", str(error)
                    self._changed.set()

        await asyncio.gather(*map(send, self.paths, self.tracks))

    async def _send(self, path: Path, track: Track) -> None:
        def sent(count: int) -> None:
            track.sent_bytes += count

        def begun(asset_id: str) -> None:
            track.asset_id, track.status = asset_id, "pending"
            track.mark("signed")

        await self.client.send(path, on_begun=begun, on_bytes=sent)

    async def _follow(self, connected: asyncio.Event) -> None:
        async for event in self.client.events(connected):
            for track in self.tracks:
                if track.asset_id == event.asset_id:
                    track.take(event)
            self._changed.set()

    async def _look_now_and_then(self) -> None:
        # The stream is the way to know; a look at the API now and then costs little.
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for track in [t for t in self.tracks if t.asset_id and not t.done]:
                with suppress(MediactlError):
                    asset = await self.client.asset(track.asset_id)
                    if asset["status"] in {"ready", "failed"}:
                        await asyncio.sleep(1)
                        track.status = asset["status"] if not track.done else track.status
                        error = asset["error"]
                        track.error = f"{error['code']}: {error['message']}" if error else None
                        self._changed.set()

    async def _all_done(self) -> None:
        while not all(track.done for track in self.tracks):
            self._changed.clear()
            await self._changed.wait()


async def _first(
    awaited: Coroutine[Any, Any, object], following: asyncio.Task[None], seconds: float
) -> None:
    """Wait for *awaited*; an end of the event stream before it is an error."""
    async with asyncio.timeout(seconds), background.running(awaited=awaited) as (task,):
        await asyncio.wait({task, following}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await following

"""The commands that send media through the stack: upload and demo."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from mediactl.client import MediaClient
from mediactl.devstack import stack
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.devstack.state import State, exclusive
from mediactl.errors import MediactlError
from mediactl.progress import progress_on
from mediactl.samples import make_samples
from mediactl.timeline import Track, timeline_table
from mediactl.tokens import local_token
from mediactl.uploads import Uploads
from mediactl.verify import problems_of
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

DEMO_COMPANY = "00000000-0000-4000-8000-00000000de30"
_REFRESHES_PER_SECOND = 10

Files = Annotated[list[Path], typer.Argument(help="Videos, images and sound.")]
Wait = Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for outcomes.")]


def upload(
    files: Files,
    company: Annotated[str, typer.Option(metavar="UUID", help="Whose files they are.")],
    wait: Wait = 900,
) -> None:
    """Upload files, follow each until it is ready or failed, and print its URLs."""
    home = Home.from_environment()
    tracks = asyncio.run(_upload(home, files, company, wait, _UploadBars()))
    _print_outcomes(tracks)
    raise typer.Exit(0 if all(track.status == "ready" for track in tracks) else 1)


def uploads(
    company: Annotated[str, typer.Option(metavar="UUID", help="Whose uploads they are.")],
    give_up: Annotated[
        str | None, typer.Option(metavar="ID", help="Remove the parts of this one.")
    ] = None,
) -> None:
    """List uploads in parts that can go on: the same 'upload' again goes on with one."""
    home = Home.from_environment()
    found = asyncio.run(_open_uploads(home, company, give_up))
    table = Table("asset", "file", "size", "parts", "until", box=None)
    for one in found:
        there = f"{len(one['stored'])} of {one['parts']}"
        size = f"{one['size'] / 1e6:.1f} MB"
        table.add_row(one["assetId"], one["fileName"], size, there, one["expiresAt"])
    Console(width=None if sys.stdout.isatty() else 160).print(
        table if found else "No upload waits for parts."
    )


async def _open_uploads(home: Home, company: str, give_up: str | None) -> list[dict[str, Any]]:
    async with _client(home, company) as client:
        if give_up:
            await client.give_up(give_up)
        return [await client.parts_there(one["assetId"]) for one in await client.open_uploads()]


def play(
    asset: Annotated[str, typer.Argument(metavar="ID", help="The asset's id.")],
    company: Annotated[str, typer.Option(metavar="UUID", help="Whose it is.")],
) -> None:
    """Print signed links to what can be played or shown of an asset; they lapse in an hour."""
    found = asyncio.run(_asset(Home.from_environment(), company, asset))
    links = {name: url for name, url in found.items() if name.endswith("Url") and url}
    if not links:
        raise MediactlError(f"Nothing of {asset} can be played: it is {found['status']}.")
    for name, url in links.items():
        sys.stdout.write(f"{name.removesuffix('Url'):<12}{url}\n")


async def _asset(home: Home, company: str, asset_id: str) -> dict[str, Any]:
    async with _client(home, company) as client:
        return await client.asset(asset_id)


def demo(
    files: Annotated[list[Path] | None, typer.Argument(help="Default: made on the spot.")] = None,
    company: Annotated[str, typer.Option(metavar="UUID", help="Whose files.")] = DEMO_COMPANY,
    wait: Wait = 900,
    open_page: Annotated[
        bool, typer.Option("--open", help="Print the address of the page, with a token for a day.")
    ] = False,
) -> None:
    """Start everything, send files through it, show their way, and check what came out."""
    home = Home.from_environment()
    with exclusive(home.lock_file), progress_on() as progress:
        stack.up(home, progress)
    paths = files or make_samples(home.data / "demo")
    tracks = asyncio.run(_demo(home, paths, company, wait))
    _print_outcomes(tracks)
    if open_page:
        sys.stdout.write(
            f"\nThe page of this company, for a day:\n  {page_address(home, company)}\n"
        )
    raise typer.Exit(0 if all(not track.error for track in tracks) else 1)


async def _upload(
    home: Home,
    paths: list[Path],
    company: str,
    wait: float,
    show: Callable[[list[Track]], RenderableType],
) -> list[Track]:
    async with _client(home, company) as client:
        return await _watched(Uploads(client, paths), wait, show)


async def _demo(home: Home, paths: list[Path], company: str, wait: float) -> list[Track]:
    async with _client(home, company) as client:
        tracks = await _watched(Uploads(client, paths), wait, timeline_table)
        for track in tracks:
            problems = await problems_of(client, track) if track.asset else []
            track.error = track.error or "; ".join(problems) or None
        return tracks


async def _watched(
    uploads: Uploads, wait: float, show: Callable[[list[Track]], RenderableType]
) -> list[Track]:
    console = Console()

    def shown() -> RenderableType:
        return show(uploads.tracks)

    if not console.is_terminal:
        tracks = await uploads.run(timeout_seconds=wait)
        Console(width=160).print(timeline_table(tracks))
        return tracks
    with Live(
        get_renderable=shown, console=console, refresh_per_second=_REFRESHES_PER_SECOND
    ) as live:
        tracks = await uploads.run(timeout_seconds=wait)
        live.refresh()
    return tracks


class _UploadBars:
    """Shows one bar a file; called again and again with the same tracks."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[state]}"),
        )

    def __call__(self, tracks: list[Track]) -> RenderableType:
        for number, track in enumerate(tracks):
            if number >= len(self._progress.tasks):
                self._progress.add_task(track.name, total=track.size, state="")
            done = min(track.sent_bytes, track.size)
            self._progress.update(TaskID(number), completed=done, state=_state(track))
        return self._progress


def _state(track: Track) -> str:
    if track.percent is not None and not track.done:
        return f"transcoding {track.percent:.0f} %"
    return track.error or track.status


def page_address(home: Home, company: str) -> str:
    """Return where a company sees its files; no server and no log learns what stands behind #."""
    url, token = _login(home, company)
    return f"{url}/#token={token}"


def _client(home: Home, company: str) -> MediaClient:
    return MediaClient(*_login(home, company))


def _login(home: Home, company: str) -> tuple[str, str]:
    """Return the edge's address, and a token that is good for a day."""
    variables = read_variables(home)
    token = local_token(
        State(home.state_file), {**variables, **os.environ}, company=company, ttl_seconds=24 * 3600
    )
    return variables["MEDIA_URL"], token


def _print_outcomes(tracks: list[Track]) -> None:
    for track in tracks:
        if track.error:
            sys.stdout.write(f"\n{track.name}: failed: {track.error}\n")
            continue
        sys.stdout.write(
            f"\n{track.name}: {track.status} ({track.asset_id})\n"
            f"  processed  {track.asset['processedUrl']}\n"
            f"  thumbnail  {track.asset['thumbnailUrl']}\n"
        )

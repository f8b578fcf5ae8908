"""How long events take to an endpoint, beside endpoints of another company that never answer."""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx

from bench.report import Row
from bench.stack import client, token, variable
from support.eventually import eventually
from support.media_files import make_photo
from support.receivers import Receiver, receiving

_EVENTS = 300
_PAUSE_SECONDS = 0.04
_ENDPOINTS = 10
_WANTED = "media.asset.status_changed.v1"


def run(rounds: int) -> list[Row]:
    """Return the times from an event to its endpoint, alone and beside what hangs, in *rounds*."""
    with tempfile.TemporaryDirectory() as name:
        return [asyncio.run(_row(make_photo(Path(name) / "photo.jpg"), rounds))]


async def _row(photo: Path, rounds: int) -> Row:
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(await _times(photo, hanging=False))
        beside.append(await _times(photo, hanging=True))
    return Row(
        name="webhooks: an event beside 10 endpoints of another company that hang",
        ours=_told(beside),
        other=f"{_told(alone)} alone",
        ratios=[_p99(one) / _p99(other) for one, other in zip(beside, alone, strict=True)],
        target="p50 500 ms, ratio of p99 1.1",
    )


async def _times(photo: Path, *, hanging: bool) -> list[float]:
    """Return the seconds that each event of a company took to its endpoint."""
    async with receiving() as receiver, receiving(lambda _: 60.0) as deaf:
        ours, theirs = [await _assets(photo) for _ in range(2)]
        await _listen(ours[0], receiver)
        if hanging:
            for _ in range(_ENDPOINTS):
                await _listen(theirs[0], deaf)
        for one, other in zip(ours[1], theirs[1], strict=True):
            # Another one's events wait for endpoints that take nothing.
            await asyncio.gather(_cancel(ours[0], one), _cancel(theirs[0], other))
            await asyncio.sleep(_PAUSE_SECONDS)
        await eventually(lambda: len(receiver.taken) >= _EVENTS, timeout=120)
        return [
            one.at - datetime.fromisoformat(json.loads(one.body)["time"]).timestamp()
            for one in receiver.taken
        ]


async def _assets(photo: Path) -> tuple[UUID, list[str]]:
    """Return a new company, and assets of it that wait for their files."""
    company = uuid4()
    async with client(company) as media:
        return company, [(await media.sign(photo))["assetId"] for _ in range(_EVENTS)]


async def _listen(company: UUID, receiver: Receiver) -> None:
    await _call(company, "POST", "webhooks", json={"url": receiver.url, "types": [_WANTED]})


async def _cancel(company: UUID, asset_id: str) -> None:
    await _call(company, "DELETE", f"assets/{asset_id}")


async def _call(company: UUID, method: str, path: str, **body: object) -> None:
    headers = {"Authorization": f"Bearer {token(company, 'media:manage', 'media:upload')}"}
    async with httpx.AsyncClient(base_url=variable("MEDIA_URL"), headers=headers) as http:
        (await http.request(method, f"/api/media/{path}", **body)).raise_for_status()


def _told(rounds: list[list[float]]) -> str:
    times = [one for times in rounds for one in times]
    return f"p50 {statistics.median(times) * 1000:.0f} ms, p99 {_p99(times) * 1000:.0f} ms"


def _p99(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]

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
from bench.stack import token, variable
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
    async with (
        receiving() as receiver,
        receiving(lambda _: 60.0) as deaf,
        _api(uuid4()) as ours,
        _api(uuid4()) as theirs,
    ):
        assets = [await _assets(photo, api) for api in (ours, theirs)]
        await _listen(ours, receiver)
        if hanging:
            for _ in range(_ENDPOINTS):
                await _listen(theirs, deaf)
        for pair in zip(*assets, strict=True):
            # Another one's events wait for endpoints that take nothing.
            await asyncio.gather(*map(_cancel, (ours, theirs), pair))
            await asyncio.sleep(_PAUSE_SECONDS)
        await eventually(lambda: len(receiver.taken) >= _EVENTS, timeout=120)
        return [
            one.at - datetime.fromisoformat(json.loads(one.body)["time"]).timestamp()
            for one in receiver.taken
        ]


def _api(company: UUID) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token(company, 'media:manage', 'media:upload')}"}
    return httpx.AsyncClient(base_url=f"{variable('MEDIA_URL')}/api/media", headers=headers)


async def _assets(photo: Path, api: httpx.AsyncClient) -> list[str]:
    """Return assets that wait for their files."""
    size = photo.stat().st_size  # noqa: ASYNC240 - one call
    wanted = {"fileName": photo.name, "size": size, "type": "image/jpeg"}
    await eventually(lambda: _is_signed(api, wanted), timeout=30)
    answer = await api.post("/batches", json={"uploads": [wanted] * _EVENTS})
    return [one["assetId"] for one in answer.raise_for_status().json()["items"]]


async def _is_signed(api: httpx.AsyncClient, wanted: dict[str, object]) -> bool:
    return (await api.post("/sign", json=wanted)).is_success


async def _listen(api: httpx.AsyncClient, receiver: Receiver) -> None:
    answer = await api.post("/webhooks", json={"url": receiver.url, "types": [_WANTED]})
    answer.raise_for_status()


async def _cancel(api: httpx.AsyncClient, asset_id: str) -> None:
    (await api.delete(f"/assets/{asset_id}")).raise_for_status()


def _told(rounds: list[list[float]]) -> str:
    times = [one for times in rounds for one in times]
    return f"p50 {statistics.median(times) * 1000:.0f} ms, p99 {_p99(times) * 1000:.0f} ms"


def _p99(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]

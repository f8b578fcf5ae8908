"""What a batch of 1,000 costs: to ask for, beside as many grants; to look at, beside one of 1."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx

from bench.report import Row
from bench.stack import drop, token, variable

_UPLOADS = 1000
_LOOKS = 200
_AT_ONCE = 8
_PHOTO = {"fileName": "photo.jpg", "size": 9, "type": "image/jpeg"}


def run(rounds: int) -> list[Row]:
    """Return the ratios of paired *rounds*."""
    return asyncio.run(_rows(rounds))


async def _rows(rounds: int) -> list[Row]:
    asked, signed, large, small = [], [], [], []
    for _ in range(rounds):
        company = uuid4()
        async with _api(company) as http:
            (await http.post("/sign", json=_PHOTO)).raise_for_status()
            began = time.perf_counter()
            batch = await _post(http, "/batches", {"uploads": [_PHOTO] * _UPLOADS})
            asked.append(time.perf_counter() - began)
            began = time.perf_counter()
            grants = await _in_turns(lambda http=http: _post(http, "/sign", _PHOTO))
            signed.append(time.perf_counter() - began)
            alone = await _post(http, "/batches", {"uploads": [_PHOTO]})
            looks: dict[str, list[float]] = {batch["batchId"]: [], alone["batchId"]: []}
            for _ in range(_LOOKS):
                for batch_id, taken in looks.items():
                    began = time.perf_counter()
                    (await http.get(f"/batches/{batch_id}")).raise_for_status()
                    taken.append(time.perf_counter() - began)
            large.append(statistics.median(looks[batch["batchId"]]))
            small.append(statistics.median(looks[alone["batchId"]]))
            await http.post(f"/batches/{batch['batchId']}/cancel")
        await drop(company, [one["assetId"] for one in grants])
    return [
        Row(
            name=f"batch: a look at {_UPLOADS} uploads",
            ours=f"{statistics.median(large) * 1000:.2f} ms",
            other=f"{statistics.median(small) * 1000:.2f} ms for 1",
            ratios=[one / other for one, other in zip(large, small, strict=True)],
            target="flat",
        ),
        Row(
            name=f"batch: {_UPLOADS} grants in one request",
            ours=f"{statistics.median(asked):.2f} s",
            other=f"{statistics.median(signed):.2f} s, one by one",
            ratios=[one / other for one, other in zip(asked, signed, strict=True)],
        ),
    ]


def _api(company: UUID) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token(company)}"}
    url = f"{variable('MEDIA_URL')}/api/media"
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60)


async def _post(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post(path, json=body)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


async def _in_turns(act: Callable[[], Awaitable[dict[str, Any]]]) -> list[dict[str, Any]]:
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def one() -> dict[str, Any]:
        async with at_once:
            return await act()

    return list(await asyncio.gather(*(one() for _ in range(_UPLOADS))))

"""An upload in parts as a client of the API makes it: plain HTTP."""

from __future__ import annotations

import os
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx

from support.clients import JSON, Company
from support.eventually import eventually
from support.wire import Rows

_BEGUN = "SELECT count(*) FROM uploads WHERE company_id = $1"
PART = 8 * 1024 * 1024


async def begun(company: Company, data: bytes, **said: Any) -> JSON:
    """Return a new upload of *data*, a video unless *said* otherwise."""
    body = {"fileName": "film.mp4", "size": len(data), "type": "video/mp4", **said}
    answer = await company.post("/uploads", json=body)
    assert answer.status_code == 201, answer.text
    found: JSON = answer.json()
    return found


async def granted(company: Company, upload: JSON, numbers: Iterable[int]) -> list[JSON]:
    """Return the grants of some parts."""
    answer = await company.post(
        f"/uploads/{upload['assetId']}/parts", json={"numbers": list(numbers)}
    )
    assert answer.status_code == 200, answer.text
    found: list[JSON] = answer.json()["parts"]
    return found


def part_of(data: bytes, upload: JSON, number: int) -> bytes:
    """Return the bytes of one part."""
    size = upload["partSize"]
    return data[(number - 1) * size : number * size]


async def sent(
    company: Company, upload: JSON, data: bytes, numbers: Iterable[int] | None = None
) -> list[httpx.Response]:
    """Send some parts of *data*, or all, and return the edge's answers."""
    wanted = range(1, upload["parts"] + 1) if numbers is None else numbers
    return [
        await company.http.put(one["url"], content=part_of(data, upload, one["number"]))
        for one in await granted(company, upload, wanted)
    ]


async def looked(company: Company, upload: JSON) -> httpx.Response:
    """Look at the upload."""
    return await company.get(f"/uploads/{upload['assetId']}")


async def completed(company: Company, upload: JSON) -> httpx.Response:
    """Ask for the file of the parts."""
    return await company.post(f"/uploads/{upload['assetId']}/complete")


async def given_up(company: Company, upload: JSON) -> httpx.Response:
    """Give the upload up."""
    return await company.call("DELETE", f"/uploads/{upload['assetId']}")


def numbers_in(answer: httpx.Response) -> list[int]:
    """Return the numbers of the parts that are there."""
    return [one["number"] for one in answer.json()["stored"]]


async def kill_in_the_midst(
    client: Process, company: Company, rows: Rows, there: Callable[[], Awaitable[list[int]]]
) -> None:
    """
    Kill the *client* of a company's only upload once a part is *there*, and before all are.

    It is stopped as soon as its upload is begun, and works on for the time of one query after
    another: while a request is answered on a busy machine it may get to its end.
    """

    async def is_begun() -> bool:
        return bool(await rows.connection.fetchval(_BEGUN, company.id))

    async def there_after_a_moment() -> list[int]:
        os.killpg(client.pid, signal.SIGCONT)
        await is_begun()
        os.killpg(client.pid, signal.SIGSTOP)
        return await there()

    await eventually(is_begun, timeout=60)
    os.killpg(client.pid, signal.SIGSTOP)
    await eventually(there_after_a_moment, timeout=60)
    os.killpg(client.pid, signal.SIGKILL)
    await client.wait()

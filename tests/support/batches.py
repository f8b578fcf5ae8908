"""A batch as a client of the API makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.clients import JSON, Company
from support.eventually import eventually

PHOTO = {"fileName": "photo.jpg", "size": 9, "type": "image/jpeg"}


async def begun_batch(company: Company, uploads: Sequence[JSON], **said: Any) -> JSON:
    """Return a new batch of *uploads*, photos of nine bytes unless they say otherwise."""
    body = {"uploads": [PHOTO | one for one in uploads], **said}
    answer = await company.post("/batches", json=body)
    assert answer.status_code == 201, answer.text
    found: JSON = answer.json()
    return found


async def batch_of(company: Company, batch: JSON) -> JSON:
    """Return how far a batch is."""
    answer = await company.get(f"/batches/{batch['batchId']}")
    assert answer.status_code == 200, answer.text
    found: JSON = answer.json()
    return found


async def decided(company: Company, batch: JSON, *, within: float = 60) -> JSON:
    """Wait until a batch is decided, and return it."""

    async def look() -> JSON | None:
        found = await batch_of(company, batch)
        return found if found["decided"] else None

    found: JSON = await eventually(look, timeout=within)
    return found


async def stored(company: Company, item: JSON, data: bytes) -> None:
    """Send the file of one upload of a batch."""
    upload = item["upload"]
    answer = await company.http.put(upload["url"], content=data, headers=upload["headers"])
    assert answer.status_code == 200, answer.text

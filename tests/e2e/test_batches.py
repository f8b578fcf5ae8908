"""A batch of photos through the whole system: sent, decided, told of once."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from uuid import uuid4

import pytest

from support.batches import begun_batch, decided, stored
from support.clients import JSON, Company, Listener
from support.eventually import eventually
from support.media_files import make_photo
from support.receivers import Receiver, receiving
from support.tiers import FULL
from support.typed import mediactl

from .test_webhooks import Manager

_PHOTOS = 1000 if FULL else 30
_AT_ONCE = 8
_DECIDED = "media.batch.decided.v1"
_OF_NO_USE = b"no photo."
# What operators type wrong themselves.
_WRONG = {"cannot be read": 2, "--metadata takes": 2}


@pytest.fixture
async def receiver():
    async with receiving() as found:
        yield found


def told_of(listener: Listener, batch: JSON) -> list[JSON]:
    """Return what a listener heard of a batch."""
    found = [one for one in listener.of(batch["batchId"]) if one.event["type"] == _DECIDED]
    return [one.data for one in found]


@pytest.mark.timeout(1800 if FULL else 300)
async def test_a_batch_of_photos_is_told_of_once_and_retried_as_a_whole(
    company: Company, tmp_path, receiver: Receiver
):
    data = make_photo(tmp_path / "photo.jpg").read_bytes()
    manager = Manager(company)
    await company.sign()
    endpoint = await manager.add(receiver.url, _DECIDED)
    sizes = [len(_OF_NO_USE) if n == 3 else len(data) for n in range(_PHOTOS)]
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def send(item: JSON) -> None:
        async with at_once:
            await stored(company, item, _OF_NO_USE if item["size"] != len(data) else data)

    async with company.listening() as listener:
        batch = await begun_batch(company, [{"size": one} for one in sizes], metadata={"a": "b"})
        await asyncio.gather(*(send(one) for one in batch["items"]))
        done = await decided(company, batch, within=1500 if FULL else 120)
        assert (done["counts"]["ready"], done["counts"]["failed"]) == (_PHOTOS - 1, 1)
        heard = await eventually(lambda: told_of(listener, batch))
        assert heard == [
            {
                "uploads": _PHOTOS,
                "ready": _PHOTOS - 1,
                "failed": 1,
                "metadata": {"a": "b"},
                "expired": 0,
                "cancelled": 0,
                "deleted": 0,
            }
        ]
        await eventually(lambda: len(receiver.taken) == 1)
        event = receiver.taken[0].verified(endpoint["secret"])
        assert (event["type"], event["subject"]) == (_DECIDED, batch["batchId"])

        answer = await company.post(f"/batches/{batch['batchId']}/retry")
        assert answer.status_code == 202
        again = await decided(company, batch)
        assert again["counts"] == done["counts"]
        assert again["decidedAt"] > done["decidedAt"]
        await eventually(lambda: len(told_of(listener, batch)) == 2)
        await eventually(lambda: len(receiver.taken) == 2)
        assert len({one.event_id for one in receiver.taken}) == 2


async def test_an_operator_types_it(company: Company, tmp_path):
    async def typed(*words: str, code: int = 0) -> str:
        line = ("batch", *words, "--company", str(company.id))
        done = await asyncio.to_thread(partial(mediactl, *line, environment={**os.environ}))
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    photos = [str(make_photo(tmp_path / f"{name}.jpg")) for name in "ab"]
    broken = tmp_path / "c.jpg"
    broken.write_bytes(_OF_NO_USE)
    await company.sign()
    sent = await typed("send", *photos, str(broken), "--metadata", "shoot=harbour", code=1)
    (batch,) = (await company.get("/batches")).json()["items"]
    assert (batch["counts"]["ready"], batch["counts"]["failed"]) == (2, 1)
    assert batch["batchId"] in sent
    assert batch["batchId"] in await typed("list", "--metadata", "shoot=harbour")
    assert "no such batch" in await typed("list", "--metadata", "shoot=other")
    for command in ("show", "cancel", "retry"):
        assert batch["batchId"] in await typed(command, batch["batchId"])
    for wrong, said in (
        (("show", "nonsense"), "invalid_id"),
        (("show", str(uuid4())), "batch_not_found"),
        (("send", str(tmp_path / "none.jpg")), "cannot be read"),
        (("send", str(tmp_path)), "invalid_type"),
        (("send", *photos, "--metadata", "a b=c"), "invalid_metadata"),
        (("send", *photos, "--metadata", "a"), "--metadata takes"),
    ):
        assert said in await typed(*wrong, code=_WRONG.get(said, 1))

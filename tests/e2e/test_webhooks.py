"""Webhooks through the whole system: signed, in order of time, until they are taken."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import statistics
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import pytest
from standardwebhooks import WebhookVerificationError

from support.clients import JSON, Company, token_of
from support.eventually import eventually
from support.media_files import make_photo
from support.receivers import Receiver, receiving
from support.surroundings import Parts
from support.tiers import FULL
from support.typed import mediactl
from support.wire import Rows

_EVENTS = 10_000 if FULL else 400
PROCESSED, STATUS, PING = (
    f"media.{one}.v1" for one in ("asset.processed", "asset.status_changed", "webhook.ping")
)
_QUEUE = """
    INSERT INTO outbox (producer, company_id, topic, key, value)
    SELECT 'nobody', $1, 'media_status', 'k', convert_to(json_build_object(
        'id', gen_random_uuid(), 'type', 'media.asset.progressed.v1', 'n', n)::text, 'UTF8')
    FROM generate_series(1, $2) n
"""
_FORGET = "DELETE FROM outbox WHERE producer = 'nobody' AND company_id = $1"


class Manager:
    """A company's own server, which may manage its endpoints."""

    def __init__(self, company: Company) -> None:
        permissions = ["media:manage", "media:upload", "media:read"]
        self._headers = {"Authorization": f"Bearer {token_of(company.id, permissions)}"}
        self._company = company

    async def call(self, method: str, path: str = "", status: int = 200, **body: object) -> JSON:
        """Ask the API, and return what it answers."""
        answer = await self._company.call(
            method,
            f"/webhooks{path}",
            headers=self._headers,
            json=body if method == "POST" else body or None,
        )
        assert answer.status_code == status, answer.text
        found: JSON = answer.json() if answer.content else {}
        return found

    async def add(self, url: str, *types: str) -> JSON:
        """Add an endpoint."""
        return await self.call("POST", status=201, url=url, types=list(types))

    async def log(self, endpoint: JSON, query: str = "") -> list[JSON]:
        """Return what was sent to an endpoint, newest first."""
        found: list[JSON] = (await self.call("GET", f"/{endpoint['id']}/deliveries{query}"))[
            "items"
        ]
        return found


@pytest.fixture
async def manager(company: Company) -> AsyncIterator[Manager]:
    """The company's own server; its endpoints go with it, or they are tried for days."""
    found = Manager(company)
    yield found
    for endpoint in (await found.call("GET"))["items"]:
        await found.call("DELETE", f"/{endpoint['id']}", 204)


@pytest.fixture
async def receiver():
    """An endpoint that takes everything."""
    async with receiving() as found:
        yield found


async def heard(receiver: Receiver, event_type: str, count: int = 1) -> None:
    """Wait until an endpoint has taken so many events of a type."""
    await eventually(lambda: len(receiver.of(event_type)) >= count, timeout=60)


async def test_an_upload_is_heard_of_as_by_every_other_way(
    company: Company, manager: Manager, receiver: Receiver, tmp_path
):
    endpoint = await manager.add(receiver.url)
    async with company.listening() as listener:
        asset = await company.upload(make_photo(tmp_path / "photo.jpg"))
        outcome = await listener.outcome(asset)
    await heard(receiver, PROCESSED)
    (told,) = receiver.of(PROCESSED)
    assert told.verified(endpoint["secret"]) == outcome.event
    assert told.event_id == outcome.event["id"]
    assert told.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        told.verified("whsec_" + "A" * 43 + "=")
    statuses = [json.loads(one.body)["data"]["status"] for one in receiver.of(STATUS)]
    assert set(statuses) == {"processing", "ready"}
    items = await manager.log(endpoint)
    assert {one["state"] for one in items} == {"done"}
    assert {one["eventId"] for one in items} == {one.event_id for one in receiver.taken}


async def test_an_endpoint_hears_of_the_types_that_it_wants_and_of_its_company_alone(
    company: Company, other_company: Company, manager: Manager, receiver: Receiver, tmp_path
):
    await manager.add(receiver.url, PROCESSED)
    async with receiving() as theirs:
        await Manager(other_company).add(theirs.url, PROCESSED)
        photo = make_photo(tmp_path / "photo.jpg")
        mine, other = await company.upload(photo), await other_company.upload(photo)
        await heard(receiver, PROCESSED)
        await heard(theirs, PROCESSED)
        assert [json.loads(one.body)["subject"] for one in receiver.taken] == [mine]
        assert [json.loads(one.body)["subject"] for one in theirs.taken] == [other]


def has_taken(receiver: Receiver, count: int) -> bool:
    """Return whether an endpoint has taken so many events."""
    return len(receiver.taken) >= count


async def queue(rows: Rows, company: Company, events: int) -> None:
    """Tell of so many events, as a service does."""
    await rows.connection.execute(_QUEUE, company.id, events)
    await rows.connection.execute(_FORGET, company.id)


@pytest.mark.timeout(1800 if FULL else 300)
async def test_nothing_is_lost_to_an_endpoint_that_often_fails(
    company: Company, manager: Manager, rows: Rows
):
    """One try of five fails; the first pause is 5 s, the second a minute."""
    dice = random.Random(17)
    async with receiving(lambda _: 503 if dice.random() < 0.2 else 200) as flaky:
        await manager.add(flaky.url)
        await queue(rows, company, _EVENTS)

        async def hurry() -> bool:
            await rows.connection.execute(
                "UPDATE webhook_deliveries SET not_before = now() WHERE company_id = $1"
                " AND state = 'waiting' AND not_before > now() + interval '6 s'",
                company.id,
            )
            return len({one.event_id for one in flaky.taken}) >= _EVENTS

        await eventually(hurry, timeout=900 if FULL else 120)
        times = Counter(one.event_id for one in flaky.taken)
        assert (len(times), set(times.values())) == (_EVENTS, {1})


async def test_a_sender_that_is_killed_in_the_midst_loses_nothing(
    company: Company, manager: Manager, rows: Rows, parts: Parts
):
    async with receiving() as receiver:
        await manager.add(receiver.url)
        receiver.answers = lambda _: 0.5 if len(receiver.requests) < 8 else 204
        await queue(rows, company, 100)
        await eventually(lambda: receiver.requests, timeout=20)
        parts.kill("notifier")
        parts.start("notifier")
        await rows.connection.execute(
            "UPDATE webhook_deliveries SET lease_until = now(), not_before = now()"
            " WHERE company_id = $1 AND state = 'waiting'",
            company.id,
        )

        async def all_there() -> bool:
            await rows.connection.execute(
                "UPDATE webhook_deliveries SET not_before = now()"
                " WHERE company_id = $1 AND state = 'waiting' AND lease_until IS NULL",
                company.id,
            )
            return len({one.event_id for one in receiver.taken}) == 100

        await eventually(all_there, timeout=90)


async def test_an_endpoint_that_hangs_keeps_no_other_waiting(
    company: Company, other_company: Company, manager: Manager, rows: Rows
):
    async with receiving(lambda _: 60.0) as hanging, receiving() as receiver:
        for _ in range(10):
            await manager.add(hanging.url)
        await Manager(other_company).add(receiver.url)
        await queue(rows, company, 200)
        await eventually(lambda: len(hanging.requests) >= 10, timeout=20)
        delays = []
        for count in range(1, 11):
            before = datetime.now(UTC).timestamp()
            await queue(rows, other_company, 1)
            await eventually(partial(has_taken, receiver, count), timeout=20)
            delays.append(receiver.taken[-1].at - before)
        assert statistics.median(delays) < 1.5, "no wait for a time-out of 3 s"


async def test_an_endpoint_that_takes_nothing_is_disabled_and_its_company_hears_of_it(
    company: Company, manager: Manager, rows: Rows
):
    async with receiving(lambda _: 500) as broken, company.listening() as listener:
        endpoint = await manager.add(broken.url)
        path = f"/{endpoint['id']}"
        event_id = (await manager.call("POST", f"{path}/ping", 202))["eventId"]
        await eventually(lambda: broken.requests, timeout=20)

        async def failing() -> str | None:
            found: str | None = (await manager.call("GET", path))["failingSince"]
            return found

        await eventually(failing, timeout=20)
        await rows.connection.execute(
            "UPDATE webhook_endpoints SET failing_since = now() - interval '6 days' WHERE id = $1",
            UUID(endpoint["id"]),
        )
        await rows.connection.execute(
            "UPDATE webhook_deliveries SET not_before = now() WHERE endpoint_id = $1",
            UUID(endpoint["id"]),
        )
        told = await listener.heard(endpoint["id"], "disabled", timeout=30)
        assert told.data["url"] == broken.url
        now = await manager.call("GET", path)
        assert (now["enabled"], bool(now["disabledAt"])) == (False, True)

        broken.answers = lambda _: 204
        await manager.call("PATCH", path, enabled=True)
        sent = len(broken.requests)
        # What waited for it is sent now, or is sent again on demand.
        await rows.connection.execute(
            "UPDATE webhook_deliveries SET not_before = now() WHERE endpoint_id = $1",
            UUID(endpoint["id"]),
        )
        await heard(broken, PING)
        assert len(broken.requests) > sent
        assert broken.taken[0].event_id == event_id
        assert (await manager.call("GET", path))["failingSince"] is None


async def test_an_endpoint_that_is_gone_for_good_is_disabled_at_once(manager: Manager):
    async with receiving(lambda _: 410) as gone:
        endpoint = await manager.add(gone.url)
        await manager.call("POST", f"/{endpoint['id']}/ping", 202)

        async def disabled() -> bool:
            return not (await manager.call("GET", f"/{endpoint['id']}"))["enabled"]

        await eventually(disabled, timeout=20)
        (one,) = await manager.log(endpoint)
        assert (one["state"], one["answer"], one["tries"]) == ("failed", "410", 1)


async def test_a_redirect_is_a_failure_and_is_not_followed(manager: Manager):
    async with receiving(lambda _: 302) as moved:
        endpoint = await manager.add(moved.url)
        await manager.call("POST", f"/{endpoint['id']}/ping", 202)

        async def tried() -> str | None:
            (one,) = await manager.log(endpoint)
            found: str | None = one["answer"]
            return found

        assert await eventually(tried, timeout=20) == "302"
        (one,) = await manager.log(endpoint, "?state=waiting")
        assert one["nextTryAt"] > one["triedAt"]


async def test_two_secrets_sign_while_one_takes_the_place_of_the_other(
    manager: Manager, receiver: Receiver
):
    endpoint = await manager.add(receiver.url)
    path = f"/{endpoint['id']}"
    new = await manager.call("POST", f"{path}/secret")
    assert new["secret"] != endpoint["secret"]
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", new["secret"])
    await manager.call("POST", f"{path}/ping", 202)
    await heard(receiver, PING)
    for secret in (endpoint["secret"], new["secret"]):
        assert receiver.taken[0].verified(secret)["type"] == PING
    assert "secret" not in await manager.call("GET", path)


async def test_what_was_sent_is_sent_again_by_its_id_and_by_time(
    company: Company, manager: Manager, receiver: Receiver, rows: Rows
):
    endpoint = await manager.add(receiver.url)
    path = f"/{endpoint['id']}/replay"
    began = datetime.now(UTC).isoformat()
    await queue(rows, company, 3)
    await eventually(lambda: len(receiver.taken) == 3, timeout=20)
    first = receiver.taken[0]

    async def settled() -> bool:
        return {one["state"] for one in await manager.log(endpoint)} == {"done"}

    await eventually(settled, timeout=20)
    assert (await manager.call("POST", path, 202, eventId=first.event_id))["count"] == 1
    await eventually(lambda: len(receiver.taken) == 4, timeout=20)
    assert (receiver.taken[3].event_id, receiver.taken[3].body) == (first.event_id, first.body)
    await eventually(settled, timeout=20)
    assert (await manager.call("POST", path, 202, since=began))["count"] == 3
    await eventually(lambda: len(receiver.taken) == 7, timeout=20)
    for wrong in ({}, {"eventId": first.event_id, "since": began}):
        assert (await manager.call("POST", path, 400, **wrong))["code"] == "invalid_replay"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/", "https"),
        ("https://", "host"),
        ("https://me@example.com/", "user"),
        ("https://exa mple.com/", "printable"),
        ("https://10.0.0.1/", "public"),
        ("https://[::ffff:169.254.169.254]/", "public"),
        ("https://2130706434/", "public"),
        ("https://example.com:99999/", "URL"),
    ],
)
async def test_what_cannot_be_an_endpoint_is_refused_with_the_reason(manager: Manager, url, why):
    problem = await manager.call("POST", "", 400, url=url)
    assert problem["code"] == "invalid_url"
    assert why in problem["detail"]


async def test_who_may_upload_may_add_no_endpoint(company: Company):
    answer = await company.post("/webhooks", json={"url": "https://example.com/"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_of_endpoints_that_are_added_at_once_no_more_are_taken(
    manager: Manager, receiver: Receiver
):
    adding = (manager.add(receiver.url) for _ in range(40))
    taken = await asyncio.gather(*adding, return_exceptions=True)
    assert sum(not isinstance(one, BaseException) for one in taken) == 20
    assert len((await manager.call("GET"))["items"]) == 20


async def test_a_company_has_a_few_endpoints_and_each_is_its_own(
    manager: Manager, other_company: Company, receiver: Receiver
):
    added = [await manager.add(receiver.url) for _ in range(20)]
    problem = await manager.call("POST", "", 400, url=receiver.url)
    assert problem["code"] == "too_many_endpoints"
    stranger = Manager(other_company)
    path = f"/{added[0]['id']}"
    for method, rest, body in (
        ("GET", path, {}), ("PATCH", path, {"enabled": False}), ("DELETE", path, {}),
        ("POST", f"{path}/ping", {}), ("POST", f"{path}/secret", {}),
        ("POST", f"{path}/replay", {"eventId": str(uuid4())}), ("GET", f"{path}/deliveries", {}),
    ):  # fmt: skip
        problem = await stranger.call(method, rest, 404, **body)
        assert problem["code"] == "webhook_not_found"
    assert (await stranger.call("GET"))["items"] == []
    await manager.call("DELETE", path, 204)
    await manager.call("GET", path, 404)
    assert len((await manager.call("GET"))["items"]) == 19


async def test_types_that_no_event_has_are_refused(manager: Manager, receiver: Receiver):
    problem = await manager.call("POST", "", 400, url=receiver.url, types=["media.asset.v1"])
    assert problem["code"] == "invalid_types"


async def test_an_event_is_there_in_half_a_second(
    company: Company, manager: Manager, receiver: Receiver, tmp_path
):
    """From the commit on; half of all."""
    await manager.add(receiver.url)
    photo = make_photo(tmp_path / "photo.jpg", size=(64, 48))
    for _ in range(5):
        await company.ready(await company.upload(photo))
    await heard(receiver, PROCESSED, 5)
    moment = {one.event_id: json.loads(one.body)["time"] for one in receiver.taken}
    late = [
        one.at - datetime.fromisoformat(moment[one.event_id]).timestamp() for one in receiver.taken
    ]
    assert statistics.median(late) < 0.5 * float(os.environ.get("TEST_PATIENCE", "1"))


async def test_an_operator_types_it(company: Company, receiver: Receiver):
    def typed(*words: str) -> str:
        done = mediactl(
            "webhooks", *words, "--company", str(company.id), environment={**os.environ}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    added = json.loads(await asyncio.to_thread(typed, "add", receiver.url, "--type", PROCESSED))
    assert added["secret"].startswith("whsec_")
    endpoint = added["id"]
    assert receiver.url in await asyncio.to_thread(typed, "list")
    await asyncio.to_thread(typed, "ping", endpoint)
    await heard(receiver, PING)

    async def logged() -> bool:
        return "204" in await asyncio.to_thread(typed, "log", endpoint)

    await eventually(logged, timeout=30)
    long_ago = "2026-01-01T00:00:00Z"
    again = json.loads(await asyncio.to_thread(typed, "replay", endpoint, "--since", long_ago))
    assert again == {"count": 1}
    new = json.loads(await asyncio.to_thread(typed, "rotate", endpoint))
    assert new["secret"] != added["secret"]
    await asyncio.to_thread(typed, "remove", endpoint)
    assert receiver.url not in await asyncio.to_thread(typed, "list")

"""A stranger with a token of its own meets nothing of another company, not even its absence."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID, uuid4

import httpx
import pytest
from media_contracts import (
    MEDIA_PROCESSED,
    MEDIA_STATUS,
    MEDIA_THUMBNAIL,
    MEDIA_THUMBNAILED,
    CloudEvent,
)
from mediactl.devstack.ports import free_port

from support.batches import begun_batch
from support.clients import JSON, Company, Listener, token_of
from support.eventually import eventually
from support.in_parts import begun, granted, looked, numbers_in, sent
from support.media_files import make_photo
from support.surroundings import Parts, restarted, variable
from support.tiers import FULL
from support.wire import events_on

# How a stranger asks for another's asset, by route; a route that is missing here is an error.
_BY_ID = {
    ("GET", "/api/media/assets/{asset_id}"),
    ("POST", "/api/media/assets/{asset_id}/retry"),
    ("POST", "/api/media/assets/{asset_id}/poster"),
    ("POST", "/api/media/assets/{asset_id}/pictures"),
    ("DELETE", "/api/media/assets/{asset_id}"),
    ("GET", "/api/media/uploads/{asset_id}"),
    ("POST", "/api/media/uploads/{asset_id}/parts"),
    ("POST", "/api/media/uploads/{asset_id}/complete"),
    ("DELETE", "/api/media/uploads/{asset_id}"),
}
_BODIES = {
    "/assets/{asset_id}/poster": {"atSeconds": 1},
    "/assets/{asset_id}/pictures": {"focus": None},
    "/uploads/{asset_id}/parts": {"numbers": [1]},
}
_BY_BATCH = {
    ("GET", "/api/media/batches/{batch_id}"),
    ("GET", "/api/media/batches/{batch_id}/uploads"),
    ("POST", "/api/media/batches/{batch_id}/cancel"),
    ("POST", "/api/media/batches/{batch_id}/retry"),
}
_OF_ITS_OWN = {
    ("POST", "/api/media/batches"),
    ("GET", "/api/media/batches"),
    ("POST", "/api/media/sign"),
    ("GET", "/api/media/assets"),
    ("POST", "/api/media/uploads"),
    ("GET", "/api/media/uploads"),
    ("GET", "/api/media/events"),
    ("POST", "/api/media/events/ticket"),
}
# What companies have of endpoints, tests/e2e/test_webhooks.py holds apart.
_OF_WEBHOOKS = {
    *((method, "/api/media/webhooks") for method in ("GET", "POST")),
    *((method, "/api/media/webhooks/{webhook_id}") for method in ("GET", "PATCH", "DELETE")),
    *(
        ("POST", f"/api/media/webhooks/{{webhook_id}}/{what}")
        for what in ("secret", "ping", "replay")
    ),
    ("GET", "/api/media/webhooks/{webhook_id}/deliveries"),
}
_TRIES, _SEED = (10_000 if FULL else 400), 17
_ASKED, _LENGTHS = 0.3, 0.1
DATA = b"a stranger's film"
SECRET = {"shoot": "secret"}
_VARYING = {"date", "server", "x-request-id", "x-amz-request-id", "x-amz-id-2", "content-length"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Victim:
    """A company with one asset of each kind that a stranger might want."""

    company: Company
    ready: JSON
    failed: JSON
    pending: JSON
    """The grant of an asset whose file was never stored."""
    in_parts: JSON
    """An upload of which a part is there."""
    batch: JSON
    """A batch of one upload, whose file was never stored."""
    listener: Listener

    @property
    def ids(self) -> list[str]:
        """Return the ids of its assets."""
        found = (self.ready, self.failed, self.pending, self.in_parts)
        return [one["assetId"] for one in found]

    def is_in(self, text: str) -> bool:
        """Return whether *text* names the company or one of its assets."""
        return any(one in text for one in (str(self.company.id), *self.ids))


@pytest.fixture
async def victim(company, tmp_path):
    photo = make_photo(tmp_path / "secret name.jpg")
    async with company.listening() as listener:
        ready = await company.ready(await company.upload(photo))
        failed = await company.ended(await company.upload_bytes("f.jpg", b"x" * 99, "image/jpeg"))
        await listener.outcome(ready["assetId"])
        in_parts = await begun(company, b"a film")
        await sent(company, in_parts, b"a film")
        batch = await begun_batch(company, [{"metadata": SECRET}], metadata=SECRET)
        yield Victim(company, ready, failed, await company.sign(), in_parts, batch, listener)


@pytest.fixture
async def stranger(other_company):
    await other_company.sign()  # it has a bucket, as real companies do
    return other_company


def told(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    """Return all that an answer says, except for the ids that were asked for."""
    headers = {name: value for name, value in answer.headers.items() if name not in _VARYING}
    return answer.status_code, headers, _UUID.sub("<id>", answer.text)


async def routes(http: httpx.AsyncClient) -> set[tuple[str, str]]:
    found = set()
    for base in ("MEDIA_API_URL", "MEDIA_EVENTS_URL"):
        document = (await http.get(f"{variable(base)}/openapi.json")).json()
        found |= {(m.upper(), path) for path, ways in document["paths"].items() for m in ways}
    return found


async def test_every_route_is_known_to_these_tests(http):
    assert await routes(http) == _BY_ID | _BY_BATCH | _OF_ITS_OWN | _OF_WEBHOOKS


@pytest.mark.parametrize(("method", "path"), sorted(_BY_ID))
async def test_anothers_asset_is_like_one_that_does_not_exist(victim, stranger, method, path):
    path = path.removeprefix("/api/media")
    for asset_id in victim.ids:
        theirs, nobodys = [
            await stranger.call(method, path.replace("{asset_id}", one), json=_BODIES.get(path))
            for one in (asset_id, str(uuid4()))
        ]
        assert told(theirs) == told(nobodys)
        assert theirs.status_code == 404
    now = [(await victim.company.asset(one))["status"] for one in victim.ids]
    assert now == ["ready", "failed", "pending", "pending"]
    assert numbers_in(await looked(victim.company, victim.in_parts)) == [1]


@pytest.mark.parametrize(("method", "path"), sorted(_BY_BATCH))
async def test_anothers_batch_is_like_one_that_does_not_exist(victim, stranger, method, path):
    path = path.removeprefix("/api/media")
    theirs, nobodys = [
        await stranger.call(method, path.replace("{batch_id}", one))
        for one in (victim.batch["batchId"], str(uuid4()))
    ]
    assert told(theirs) == told(nobodys)
    assert theirs.status_code == 404
    now = (await victim.company.get(f"/batches/{victim.batch['batchId']}")).json()
    assert now["counts"]["pending"] == now["uploads"] == 1


@pytest.mark.parametrize("path", ["/batches", "/assets"])
async def test_a_list_by_what_another_said_holds_ones_own(victim, stranger, path):
    own = await begun_batch(stranger, [{"metadata": SECRET}], metadata=SECRET)
    wanted = {"metadata": "shoot:secret"}
    theirs = (await victim.company.get(path, params=wanted)).json()["items"]
    (found,) = (await stranger.get(path, params=wanted)).json()["items"]
    assert found["batchId"] == own["batchId"]
    assert [one["batchId"] for one in theirs] == [victim.batch["batchId"]]
    if path == "/assets":
        of_victim = await stranger.get(path, params={"batch": victim.batch["batchId"]})
        assert of_victim.json()["items"] == []


def changed(rng: random.Random, own: str, theirs: str) -> str:
    """Return one's own URL of a part with some of it changed, to another's where that is known."""
    mine, other = urlsplit(own), urlsplit(theirs)
    query, known = dict(parse_qsl(mine.query)), dict(parse_qsl(other.query))
    places = list(zip(mine.path.split("/"), other.path.split("/"), strict=True))
    path, more = [one for one, _ in places], ""
    kind = rng.choice(["path", "word", "nonsense", "less", "more"])
    if kind == "path":
        while path == mine.path.split("/"):
            path = [rng.choice(pair) for pair in places]
    elif kind == "word":
        name = rng.choice([one for one in query if query[one] != known[one]])
        query[name] = known[name]
    elif kind == "nonsense":
        name = rng.choice(["partNumber", "size", "X-Amz-Expires", "X-Amz-Date", "uploadId"])
        query[name] = rng.choice(["0", "-1", "2", "10001", "9" * 20, "", "%00", query[name] + "1"])
    elif kind == "less":
        del query[rng.choice(list(query))]
    else:
        name = rng.choice(["uploadId", "partNumber", "size", "X-Amz-Signature"])
        more = "&" + urlencode(
            [rng.choice([(name, known[name]), ("uploads", ""), ("versionId", "x")])]
        )
    return urlunsplit((mine.scheme, mine.netloc, "/".join(path), urlencode(query) + more, ""))


@pytest.mark.timeout(1200 if FULL else 120)
async def test_nothing_that_a_stranger_tries_reaches_an_upload(victim, stranger):
    """Of all that can be changed in what a stranger has been granted, and of all routes."""
    rng, at_once = random.Random(_SEED), asyncio.Semaphore(16)
    mine = await begun(stranger, DATA)
    (own,) = await granted(stranger, mine, [1])
    (theirs,) = await granted(victim.company, victim.in_parts, [1])
    upload_routes = sorted(one for one in _BY_ID if "/uploads/" in one[1])

    async def ask() -> int:
        method, path = rng.choice(upload_routes)
        path = path.removeprefix("/api/media")
        # A company of its own each time: one alone would be told to come back later.
        headers = {"Authorization": f"Bearer {token_of(uuid4())}"}
        of = path.replace("{asset_id}", victim.in_parts["assetId"])
        answer = await stranger.call(method, of, json=_BODIES.get(path), headers=headers)
        return answer.status_code

    async def put() -> int:
        kind = rng.random()
        url = own["url"] if kind < _LENGTHS else changed(rng, own["url"], theirs["url"])
        data = DATA if kind >= _LENGTHS else DATA[: rng.choice([0, 1, len(DATA) - 1])] + b"xx"
        answer = await stranger.http.put(url, content=data)
        return answer.status_code

    async def try_it() -> int:
        async with at_once:
            return await (ask if rng.random() < _ASKED else put)()

    statuses = Counter(await asyncio.gather(*(try_it() for _ in range(_TRIES))))
    assert set(statuses) <= {400, 403, 404, 411, 413}, statuses
    assert numbers_in(await looked(victim.company, victim.in_parts)) == [1]
    assert numbers_in(await looked(stranger, mine)) == []
    assert (await sent(stranger, mine, DATA))[0].status_code == 200


async def test_a_list_of_uploads_holds_ones_own(victim, stranger):
    assert (await victim.company.get("/uploads")).json()["items"]
    assert (await stranger.get("/uploads")).json()["items"] == []


async def test_a_list_holds_ones_own_assets_whatever_is_asked(victim, stranger):
    first = (await victim.company.get("/assets?limit=1")).json()
    assert first["nextCursor"]
    for query in ("", "?limit=100", f"?cursor={first['nextCursor']}", "?status=ready"):
        answer = await stranger.get(f"/assets{query}")
        assert answer.status_code == 200
        assert not victim.is_in(answer.text)
    guesses = {
        "companyId": str(victim.company.id), "company_id": str(victim.company.id),
        "X-Company-Id": str(victim.company.id),
    }  # fmt: skip
    answer = await stranger.get("/assets", params=guesses, headers=guesses)
    assert not victim.is_in(answer.text)


async def test_a_grant_is_for_ones_own_bucket_whatever_is_asked(victim, stranger):
    body = {"fileName": "x.jpg", "size": 9, "type": "image/jpeg"}
    again = {"Idempotency-Key": "the-same-of-both", "X-Company-Id": str(victim.company.id)}
    theirs = {"companyId": str(victim.company.id)}
    own = await victim.company.post("/sign", json=body, headers=again)
    answer = await stranger.post("/sign", json=body, headers=again, params=theirs)
    assert [own.status_code, answer.status_code] == [201, 201]
    assert answer.json()["assetId"] != own.json()["assetId"]
    own_folder = f"/media-{stranger.id}/{stranger.id}/uploads/"
    assert urlsplit(answer.json()["upload"]["url"]).path.startswith(own_folder)
    assert not victim.is_in(answer.text)
    for field in ("companyId", "company_id", "assetId", "bucket", "key", "uploadKey"):
        grant = (await stranger.post("/sign", json=body | {field: victim.ids[0]})).json()
        assert urlsplit(grant["upload"]["url"]).path.startswith(own_folder)
        assert not victim.is_in(json.dumps(grant))


async def test_an_event_stream_tells_of_ones_own_assets_alone(victim, stranger, tmp_path):
    """Also when it asks for another's asset."""
    base = f"{variable('MEDIA_EVENTS_URL')}/api/media/events"
    photo = make_photo(tmp_path / "photo.jpg")
    with restarted("notifier", NOTIFIER_HEARTBEAT_SECONDS="1"):
        for url, ears in ((f"{base}?assetId={victim.ready['assetId']}", False), (base, True)):
            async with stranger.http.stream("GET", url, headers=stranger.headers) as stream:
                assert stream.status_code == 200
                await victim.company.ready(await victim.company.upload(photo))
                own = await stranger.upload(photo)
                await stranger.ready(own)
                heard = await _heard(stream, own if ears else None)
            assert not victim.is_in(heard)
            assert (own in heard) is ears


async def test_where_anothers_stream_was_is_like_what_nobody_was_given(victim, stranger):
    url = f"{variable('MEDIA_EVENTS_URL')}/api/media/events"
    theirs = victim.listener.events[0].last_id
    answers = [
        await stranger.http.get(url, headers=stranger.headers | {"Last-Event-ID": last_id})
        for last_id in (theirs, theirs[:-8] + "AAAAAAAA")
    ]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code == 400


async def test_what_a_company_does_changes_nothing_on_anothers_stream(
    company, other_company, tmp_path
):
    """Neither when something comes, nor how much, nor in the ids: they count what all do."""
    url, photo = f"{variable('MEDIA_EVENTS_URL')}/api/media/events", make_photo(tmp_path / "p.jpg")
    shapes, ids = [], []
    with restarted("notifier", NOTIFIER_HEARTBEAT_SECONDS="1"):
        for uploads in (0, 3):
            async with company.http.stream("GET", url, headers=company.headers) as stream:
                for _ in range(uploads):
                    await other_company.ready(await other_company.upload(photo))
                lines = (await _heard(stream, None)).splitlines()
            ids += [line for line in lines if line.startswith("id: ")]
            shapes.append([line for line in lines if not line.startswith("id: ")])
    assert shapes[0] == shapes[1]
    assert len(set(ids)) == len(ids) > 2
    assert len({len(line) for line in ids}) == 1


async def _heard(stream: httpx.Response, own: str | None) -> str:
    """Return what a stream said up to the outcome of *own*, or up to its second heartbeat."""
    heard, beats = "", 0
    async for line in stream.aiter_lines():
        heard += f"{line}\n"
        beats += line == ": heartbeat"
        if (own and own in line and '"outcome"' in line) or (not own and beats == 2):
            break
    return heard


async def test_a_ticket_that_was_used_or_guessed_opens_nothing(victim, stranger):
    base = f"{variable('MEDIA_EVENTS_URL')}/api/media/events"
    ticket = (await stranger.http.post(f"{base}/ticket", headers=victim.company.headers)).json()
    async with stranger.http.stream("GET", base, params={"ticket": ticket["ticket"]}) as own:
        assert own.status_code == 200
    used = await stranger.http.get(base, params={"ticket": ticket["ticket"]})
    guessed = await stranger.http.get(base, params={"ticket": "x" * len(ticket["ticket"])})
    assert told(used) == told(guessed)
    assert used.status_code == 401


async def test_storage_serves_nothing_without_a_signature_of_the_company(victim, stranger):
    """Neither through the edge nor, for whoever gets inside, of its own."""
    theirs = urlsplit(victim.pending["upload"]["url"])
    own = await stranger.sign(size=9)
    bucket = theirs.path.split("/")[1]
    for store in (variable("MEDIA_URL"), variable("S3_ENDPOINT_URL")):
        for method, path in (
            ("GET", "/?list-type=2"),
            ("GET", f"/{bucket}"),
            ("GET", f"/{bucket}?versions"),
            ("GET", f"/{bucket}?policy"),
            ("GET", theirs.path),
            ("HEAD", theirs.path),
            ("PUT", theirs.path),
            ("DELETE", theirs.path),
        ):
            answer = await stranger.http.request(method, f"{store}{path}")
            assert answer.status_code in {403, 404, 405}, f"{method} {path}: {answer.text}"
    buckets = await stranger.http.get(f"{variable('S3_ENDPOINT_URL')}/")
    page = await stranger.http.get(f"{variable('MEDIA_URL')}/")
    assert (buckets.status_code, page.status_code) == (403, 200)
    assert "<!doctype html>" in page.text
    assert str(victim.company.id) not in page.text
    token = victim.ready["processedUrl"].split("/")[4]
    mine = victim.ready["processedUrl"].replace(victim.ready["assetId"], victim.ids[1])
    for url in (mine, victim.ready["processedUrl"].replace(token, token[:-1] + "_")):
        assert (await stranger.http.get(url)).status_code == 403
    query = urlsplit(own["upload"]["url"]).query
    own["upload"]["url"] = f"{theirs.scheme}://{theirs.netloc}{theirs.path}?{query}"
    refused = await stranger.store(own, b"x" * 9)
    assert refused.status_code == 403, refused.text
    assert (await victim.company.asset(victim.ids[2]))["status"] == "pending"


async def test_a_bucket_that_exists_is_like_one_that_does_not(victim, http):
    path = urlsplit(victim.pending["upload"]["url"]).path.rpartition("/")[0]
    nobodys = path.replace(str(victim.company.id), str(uuid4()))
    for store in (variable("MEDIA_URL"), variable("S3_ENDPOINT_URL")):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            for end in ("", "/x"):
                answers = [
                    await http.request(method, f"{store}{one}{end}") for one in (path, nobodys)
                ]
                assert answers[0].status_code == answers[1].status_code
                assert answers[0].status_code in {403, 404, 405}


@pytest.mark.parametrize(
    "topic",
    [MEDIA_STATUS, MEDIA_PROCESSED, MEDIA_THUMBNAIL, MEDIA_THUMBNAILED],
    ids=lambda t: t.name,
)
async def test_every_record_names_its_company_and_no_other(victim, stranger, topic, tmp_path):
    own = await stranger.ready(await stranger.upload(make_photo(tmp_path / "photo.jpg")))
    owners = {UUID(one): victim.company.id for one in victim.ids} | {
        UUID(own["assetId"]): stranger.id
    }

    async def sent() -> list[CloudEvent[Any]]:
        """A row is there before its records are."""
        found = await events_on(topic, [str(one) for one in owners])
        ready = {UUID(victim.ready["assetId"]), UUID(own["assetId"])}
        assert {event.subject for event in found} >= ready
        return found

    found = await eventually(sent, timeout=30)
    for event in found:
        assert event.companyid == owners[event.subject]
        others = {str(company) for company in owners.values()} - {str(event.companyid)}
        assert not any(other in event.model_dump_json() for other in others)


async def test_metrics_and_health_of_what_clients_reach_name_nobody(victim, stranger, http):
    await eventually(lambda: _watched(http, victim), timeout=30)
    for variable_name in (
        "MEDIA_API_URL", "MEDIA_EVENTS_URL", "INGEST_METRICS_URL", "THUMBNAILER_METRICS_URL",
    ):  # fmt: skip
        base = variable(variable_name).removesuffix("/metrics")
        for path in ("/metrics", "/healthz", "/readyz"):
            answer = await http.get(f"{base}{path}", headers=stranger.headers)
            assert answer.status_code == 200
            assert not victim.is_in(answer.text)
            assert "watcher_" not in answer.text


async def _watched(http, victim: Victim) -> bool:
    """Tell whether the watcher's metrics, which are for operators, name the company by now."""
    return str(victim.company.id) in (await http.get(variable("WATCHER_METRICS_URL"))).text


@pytest.mark.parametrize("service", ["sign_api", "notifier"])
async def test_metrics_can_be_taken_off_the_port_that_clients_reach(service, stranger, http):
    port = free_port()
    setting = {f"{service.upper()}_METRICS_HTTP_PORT": str(port)}
    async with Parts().another(service, **setting) as url:
        answer = await http.get(f"{url}/metrics", headers=stranger.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        metrics = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert metrics.status_code == 200
    assert "http_requests_total" in metrics.text

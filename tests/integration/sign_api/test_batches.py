"""Batches, as clients meet them: asked for, gone on with, found, cancelled."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest
from media_contracts.topics import MEDIA_STATUS
from sign_api.domain import MAX_IN_BATCH, MAX_WORDS
from sign_api.settings import SignApiSettings

from support.batches import PHOTO, batch_of, begun_batch, decided, stored
from support.clients import JSON, Company
from support.eventually import eventually
from support.in_parts import completed, sent
from support.media_files import make_photo
from support.surroundings import variable
from support.wire import events_on

from .test_api import problem

DECIDED = "media.batch.decided.v1"


async def unsent(company: Company, batch: JSON, **query: object) -> JSON:
    answer = await company.get(f"/batches/{batch['batchId']}/uploads", params=query)
    assert answer.status_code == 200, answer.text
    found: JSON = answer.json()
    return found


async def ids_on(company: Company, path: str, **query: object) -> list[str]:
    """Return the ids on a page of assets or batches."""
    answer = await company.get(path, params=query)
    assert answer.status_code == 200, answer.text
    name = "assetId" if path == "/assets" else "batchId"
    return [one[name] for one in answer.json()["items"]]


async def told_of(batch: JSON) -> list[JSON]:
    """Return what the batch's topic has told of it."""
    events = await events_on(MEDIA_STATUS, [batch["batchId"]])
    return [one.data.model_dump(exclude_none=True) for one in events if one.type == DECIDED]


async def test_grants_come_in_the_order_of_the_request_and_are_good(company, tmp_path):
    data = make_photo(tmp_path / "photo.jpg").read_bytes()
    names = [f"{number}.jpg" for number in range(7)]
    wanted = [{"fileName": name, "size": len(data)} for name in names]
    batch = await begun_batch(company, wanted, metadata={"shoot": "harbour"})
    assert [one["fileName"] for one in batch["items"]] == names
    assert (batch["uploads"], batch["counts"]["pending"], batch["decided"]) == (7, 7, False)
    assert batch["metadata"] == {"shoot": "harbour"}
    for item in batch["items"]:
        await stored(company, item, data)
    done = await decided(company, batch)
    assert done["counts"]["ready"] == 7
    assert done["decidedAt"] is not None
    asset = await company.asset(batch["items"][3]["assetId"])
    assert (asset["fileName"], asset["batchId"]) == ("3.jpg", batch["batchId"])


@pytest.mark.parametrize(
    ("wrong", "code", "place"),
    [
        ({"type": "text/html"}, "invalid_type", "uploads[2]: "),
        ({"type": 5}, "invalid_type", "uploads[2].type: "),
        ({"size": 0}, "invalid_size", "uploads[2]: "),
        ({"fileName": "a/b"}, "invalid_file_name", "uploads[2]: "),
        ({"profile": "nobody's"}, "unknown_profile", "uploads[2]: "),
        ({"profile": "none-of-ours"}, "unknown_profile", ""),
        ({"fingerprint": "with space"}, "invalid_fingerprint", "uploads[2]: "),
        ({"metadata": {"a b": "c"}}, "invalid_metadata", "uploads[2]: "),
        ({"metadata": {"size": 5}}, "invalid_metadata", "uploads[2].metadata: "),
        ({"metadata": {str(n): "" for n in range(MAX_WORDS + 1)}}, "invalid_metadata", ""),
        ({"metadata": {"a": "x" * 501}}, "invalid_metadata", ""),
        ({"metadata": {"a": "\u0000"}}, "invalid_metadata", ""),
        ({"size": 400_000_000_000}, "file_too_large", "uploads[2]: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value or "-",
)
async def test_one_wrong_file_is_told_by_its_number_and_nothing_is_granted(
    company, wrong, code, place
):
    await company.sign()
    uploads = [PHOTO, PHOTO, PHOTO | wrong, PHOTO]
    answer = await company.post("/batches", json={"uploads": uploads})
    assert problem(answer, 400) == code
    assert answer.json()["detail"].startswith(place)
    assert await ids_on(company, "/batches") == []
    assert len(await ids_on(company, "/assets")) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"uploads": []}, "invalid_batch"),
        ({"uploads": None}, "invalid_batch"),
        ({}, "invalid_batch"),
        ({"uploads": [PHOTO] * (MAX_IN_BATCH + 1)}, "invalid_batch"),
        ({"uploads": [PHOTO], "metadata": ["a"]}, "invalid_metadata"),
        ({"uploads": [PHOTO], "metadata": {"": "a"}}, "invalid_metadata"),
        ([PHOTO], "invalid_request"),
    ],
    ids=["none", "null", "absent", "too many", "list", "no word", "no object"],
)
async def test_what_is_no_batch_is_refused(company, body, code):
    assert problem(await company.post("/batches", json=body), 400) == code


async def test_the_same_key_gives_the_same_batch_and_grants_for_what_is_still_to_be_sent(company):
    key = {"Idempotency-Key": str(uuid4())}
    body = {"uploads": [PHOTO] * 3}
    await company.sign()
    first, second = await asyncio.gather(
        *(company.post("/batches", json=body, headers=key) for _ in range(2))
    )
    assert first.json()["batchId"] == second.json()["batchId"]
    await stored(company, first.json()["items"][1], b"123456789")
    await eventually(lambda: _counts(company, first, pending=2))
    again = await company.post("/batches", json=body, headers=key)
    left = [first.json()["items"][number]["assetId"] for number in (0, 2)]
    assert [one["assetId"] for one in again.json()["items"]] == left
    assert [one["number"] for one in again.json()["items"]] == [0, 2]
    other = await company.post("/batches", json=body | {"metadata": {"a": "b"}}, headers=key)
    assert problem(other, 422) == "idempotency_key_reused"
    assert len(await ids_on(company, "/batches")) == 1


async def _counts(company: Company, answer: httpx.Response, **wanted: int) -> bool:
    counts = (await batch_of(company, answer.json()))["counts"]
    return all(counts[name] == number for name, number in wanted.items())


async def test_what_a_company_may_not_store_it_is_not_granted(company, rows):
    await company.sign()
    await rows.connection.execute(
        "UPDATE companies SET quota_bytes = 1100 WHERE company_id = $1", company.id
    )
    body = {"uploads": [PHOTO | {"size": 60}, PHOTO | {"size": 60}]}
    assert problem(await company.post("/batches", json=body), 400) == "quota_exceeded"
    assert await ids_on(company, "/batches") == []
    await begun_batch(company, [{"size": 50}, {"size": 50}])
    assert problem(await company.post("/batches", json=body), 400) == "quota_exceeded"


async def test_any_client_goes_on_with_what_is_still_to_be_sent(company):
    batch = await begun_batch(company, [{"fileName": f"{number}.jpg"} for number in range(5)])
    await stored(company, batch["items"][1], b"x" * 9)
    await eventually(lambda: _counts(company, httpx.Response(200, json=batch), pending=4))
    page = await unsent(company, batch, limit=3)
    rest = await unsent(company, batch, limit=3, cursor=page["nextCursor"])
    assert rest["nextCursor"] is None
    found = [*page["items"], *rest["items"]]
    assert [one["fileName"] for one in found] == ["0.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert [one["number"] for one in found] == [0, 2, 3, 4]
    await stored(company, found[0], b"x" * 9)
    path = f"/batches/{batch['batchId']}/uploads"
    assert problem(await company.get(path, params={"cursor": "x"}), 400) == "invalid_cursor"


async def test_a_file_of_a_batch_can_go_in_parts(company, tmp_path):
    data = make_photo(tmp_path / "photo.jpg").read_bytes()
    wanted = {"size": len(data), "inParts": True, "fingerprint": "mine"}
    batch = await begun_batch(company, [wanted, {}])
    item = batch["items"][0]
    assert (item["upload"], item["parts"], item["fingerprint"]) == (None, 1, "mine")
    assert batch["items"][1]["partSize"] is None
    open_ones = (await company.get("/uploads", params={"fingerprint": "mine"})).json()["items"]
    assert [one["assetId"] for one in open_ones] == [item["assetId"]]
    await sent(company, item, data)
    assert (await completed(company, item)).status_code == 200
    assert (await company.ready(item["assetId"]))["batchId"] == batch["batchId"]
    assert len((await unsent(company, batch))["items"]) == 1


async def test_assets_and_batches_are_found_by_what_their_client_says(company):
    shoots = [{"shoot": "harbour", "by": "Ada"}, {"shoot": "harbour"}, {"shoot": "it's; --"}]
    made = [
        await begun_batch(company, [{"metadata": {"n": str(n)} | said}], metadata=said)
        for n, said in enumerate(shoots)
    ]
    batches = [one["batchId"] for one in made]
    assets = [one["items"][0]["assetId"] for one in made]
    grant = await company.sign(metadata={"shoot": "harbour", "by": "Ada"})
    asset = await company.asset(grant["assetId"])
    assert (asset["metadata"], asset["batchId"]) == ({"shoot": "harbour", "by": "Ada"}, None)

    harbour = {"metadata": "shoot:harbour"}
    assert await ids_on(company, "/batches", **harbour) == [batches[1], batches[0]]
    assert await ids_on(company, "/assets", **harbour) == [grant["assetId"], assets[1], assets[0]]
    both = {"metadata": ["shoot:harbour", "by:Ada"]}
    assert await ids_on(company, "/batches", **both) == [batches[0]]
    assert await ids_on(company, "/assets", **both) == [grant["assetId"], assets[0]]
    assert await ids_on(company, "/assets", **both, batch=batches[0]) == [assets[0]]
    assert await ids_on(company, "/assets", **both, batch=batches[1]) == []
    assert await ids_on(company, "/assets", batch=batches[2]) == [assets[2]]
    assert await ids_on(company, "/assets", metadata="shoot:it's; --") == [assets[2]]
    assert await ids_on(company, "/assets", metadata="shoot:Harbour") == []
    assert await ids_on(company, "/assets", **harbour, status="ready") == []
    page = (await company.get("/assets", params={**harbour, "limit": 2})).json()
    rest = await ids_on(company, "/assets", **harbour, cursor=page["nextCursor"])
    assert rest == [assets[0]]
    page = (await company.get("/batches", params={"limit": 2})).json()
    assert await ids_on(company, "/batches", cursor=page["nextCursor"]) == [batches[0]]


@pytest.mark.parametrize("path", ["/assets", "/batches"])
@pytest.mark.parametrize(
    "wanted", ["shoot", "a b:c", ["a:b", "a:c"], [f"a{n}:b" for n in range(11)]]
)
async def test_metadata_that_nothing_can_have_is_refused(company, path, wanted):
    answer = await company.get(path, params={"metadata": wanted})
    assert problem(answer, 400) == "invalid_metadata"


async def test_cancelling_stops_what_is_not_decided_and_tells_once(company, tmp_path):
    data = make_photo(tmp_path / "photo.jpg").read_bytes()
    batch = await begun_batch(company, [{"size": len(data)}] * 61)
    await stored(company, batch["items"][60], data)
    await company.ready(batch["items"][60]["assetId"])
    assert await told_of(batch) == []
    answer = await company.post(f"/batches/{batch['batchId']}/cancel")
    assert answer.status_code == 200
    counts = answer.json()["counts"]
    assert (counts["cancelled"], counts["ready"], answer.json()["decided"]) == (60, 1, True)
    again = await company.post(f"/batches/{batch['batchId']}/cancel")
    assert again.json() == answer.json()
    await company.call("DELETE", f"/assets/{batch['items'][60]['assetId']}")
    now = await batch_of(company, batch)
    assert (now["counts"]["ready"], now["counts"]["deleted"]) == (0, 1)
    assert now["decidedAt"] == answer.json()["decidedAt"]
    (told,) = await eventually(lambda: told_of(batch))
    assert told == {
        "uploads": 61,
        "ready": 1,
        "cancelled": 60,
        "failed": 0,
        "expired": 0,
        "deleted": 0,
    }
    assert (await unsent(company, batch))["items"] == []
    assert problem(await company.get("/batches/nonsense"), 400) == "invalid_batch_id"


async def test_of_all_that_decide_a_batch_at_once_one_tells(company):
    batch = await begun_batch(company, [{}] * 12)
    await asyncio.gather(
        *(company.call("DELETE", f"/assets/{one['assetId']}") for one in batch["items"])
    )
    assert (await decided(company, batch))["counts"]["deleted"] == 12
    (told,) = await eventually(lambda: told_of(batch))
    assert told["deleted"] == 12


@pytest.mark.parametrize("body", [{"uploads": [PHOTO] * MAX_IN_BATCH}, {"x": "y" * 900_000}])
async def test_a_company_gets_no_more_by_batches_than_by_as_many_requests(company, body):
    """Whether they are granted, or large and of no use; another company is let in meanwhile."""
    await company.sign()
    limit = SignApiSettings.model_fields["company_requests_per_minute"].default
    answers = [await company.post("/batches", json=body) for _ in range(limit // 800)]
    statuses = [one.status_code for one in answers]
    assert statuses[0] in {201, 400}
    assert problem(answers[-1], 429) == "rate_limited"
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert statuses.count(429) < len(statuses)


async def test_a_large_body_without_a_token_is_not_read(company, http):
    url = f"{variable('MEDIA_API_URL')}/api/media/batches"
    nonsense = b"[" * 500_000
    assert problem(await http.post(url, content=nonsense), 401) == "unauthorized"
    answer = await http.post(url, content=nonsense, headers=company.headers)
    assert problem(answer, 400) == "invalid_request"

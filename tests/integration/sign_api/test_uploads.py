"""Uploads in parts, as clients meet them: begun, looked at, completed, given up."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from media_records.uploads import begin
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore, upload_key
from sign_api.domain import MAX_PARTS, part_size_of, sizes_of_parts

from support.eventually import eventually
from support.in_parts import (
    PART,
    begun,
    completed,
    given_up,
    granted,
    looked,
    numbers_in,
    part_of,
    sent,
)

from .test_api import problem

DATA = bytes(range(256)) * (2 * PART // 256) + b"the rest"


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


async def reserved(rows, company) -> int:
    found: int = await rows.connection.fetchval(
        "SELECT coalesce(sum(bytes), 0)::bigint FROM company_usage WHERE company_id = $1",
        company.id,
    )
    return found


@pytest.mark.parametrize(
    ("size", "part"),
    [(1, PART), (PART, PART), (500_000_000, PART), (MAX_PARTS * PART + 1, PART + 1024**2)],
)
def test_parts_make_up_the_file_and_are_not_too_many(size, part):
    assert part_size_of(size, least=PART) == part
    sizes = sizes_of_parts(size, part)
    assert (sum(sizes), len(sizes) <= MAX_PARTS) == (size, True)
    assert all(one == part for one in sizes[:-1])
    assert 0 < sizes[-1] <= part


async def test_parts_in_any_order_become_the_file_that_is_processed(company, store):
    upload = await begun(company, DATA)
    assert (upload["parts"], upload["partSize"], upload["status"]) == (3, PART, "open")
    assert upload["stored"] == []
    answers = await sent(company, upload, DATA, [3, 1])
    assert [one.status_code for one in answers] == [200, 200]
    assert numbers_in(await looked(company, upload)) == [1, 3]
    assert problem(await completed(company, upload), 409) == "parts_missing"
    await sent(company, upload, DATA, [2])
    done = await completed(company, upload)
    assert (done.status_code, done.json()["status"]) == (200, "complete")
    assert (await looked(company, upload)).json()["status"] == "complete"
    key = upload_key(company.id, upload["assetId"])
    stored = store._client.get_object(store.bucket_of(company.id), key)
    assert stored.data == DATA
    assert stored.headers["content-type"] == "video/mp4"

    async def taken_in() -> bool:
        return (await company.asset(upload["assetId"]))["status"] != "pending"

    await eventually(taken_in, timeout=30)


@pytest.mark.parametrize("_", range(5))  # who comes while storage completes differs
async def test_completing_again_and_at_once_makes_one_file(company, store, _):
    upload = await begun(company, DATA)
    await sent(company, upload, DATA)
    answers = await asyncio.gather(*(completed(company, upload) for _ in range(8)))
    answers.append(await completed(company, upload))
    assert {one.status_code for one in answers} == {200}, [one.text for one in answers]
    found = await store.objects(
        store.bucket_of(company.id), upload_key(company.id, upload["assetId"]), all_versions=True
    )
    assert [one.size for one in found] == [len(DATA)]
    assert problem(await given_up(company, upload), 409) == "already_complete"


async def test_a_part_is_sent_in_exactly_its_size(company):
    upload = await begun(company, DATA)
    first, last = await granted(company, upload, [1, 3])
    assert (first["size"], last["size"]) == (PART, len(b"the rest"))
    for grant, data in ((first, DATA[: PART + 1]), (first, DATA[: PART - 1]), (last, b"the rest!")):
        answer = await company.http.put(grant["url"], content=data)
        assert problem(answer, 403) == "grant_refused"
    assert numbers_in(await looked(company, upload)) == []


async def test_a_grant_of_a_part_is_good_for_that_part_alone(company, other_company):
    upload, another = await begun(company, DATA), await begun(company, DATA)
    (grant,) = await granted(company, upload, [3])
    (theirs,) = await granted(company, another, [3])
    url, rest = grant["url"], b"the rest"
    storage_id = parse_qs(urlsplit(theirs["url"]).query)["uploadId"][0]
    mine = parse_qs(urlsplit(url).query)["uploadId"][0]
    changed = [
        url.replace("partNumber=3", "partNumber=2"),
        url.replace(mine, storage_id),
        url.replace(upload["assetId"], another["assetId"]),
        url.replace("size=8", "size=9"),
        url.replace(str(company.id), str(other_company.id)),
        f"{url}&x=1",
        re.sub(r"&X-Amz-Signature=.", "&X-Amz-Signature=", url),
    ]
    for one in changed:
        assert one != url
        answer = await company.http.put(one, content=rest)
        assert answer.status_code in {403, 404}, one
    for method in ("GET", "POST", "DELETE"):
        answer = await company.http.request(method, url)
        assert problem(answer, 405) == "method_not_allowed"
    assert numbers_in(await looked(company, upload)) == []
    assert (await company.http.put(url, content=rest)).status_code == 200


async def test_what_is_sent_again_replaces_what_was_there(company, store):
    upload = await begun(company, DATA)
    await sent(company, upload, DATA)
    (grant,) = await granted(company, upload, [3])
    assert (await company.http.put(grant["url"], content=b"The Rest")).status_code == 200
    assert (await completed(company, upload)).status_code == 200
    key = upload_key(company.id, upload["assetId"])
    assert store._client.get_object(store.bucket_of(company.id), key).data[-8:] == b"The Rest"


@pytest.mark.parametrize(
    "numbers", [[], [0], [4], [1, 1], list(range(1, 102)), "1", [1.5], ["1"], [True], [10**30]]
)
async def test_numbers_that_an_upload_does_not_have_are_refused(company, numbers):
    upload = await begun(company, DATA)
    answer = await company.post(f"/uploads/{upload['assetId']}/parts", json={"numbers": numbers})
    assert problem(answer, 400) == "invalid_parts"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"size": 0}, "invalid_size"),
        ({"size": 10**12}, "file_too_large"),
        ({"type": "text/html"}, "invalid_type"),
        ({"fileName": "a/b"}, "invalid_file_name"),
        ({"profile": "none-such"}, "unknown_profile"),
        ({"fingerprint": ""}, "invalid_fingerprint"),
        ({"fingerprint": "ä"}, "invalid_fingerprint"),
        ({"fingerprint": 1}, "invalid_fingerprint"),
        ({"title": "\0"}, "invalid_text"),
    ],
)
async def test_what_would_be_refused_of_a_whole_file_is_refused_of_one_in_parts(
    company, changed, code
):
    body = {"fileName": "film.mp4", "size": 9, "type": "video/mp4", **changed}
    assert problem(await company.post("/uploads", json=body), 400) == code


async def test_giving_up_frees_what_was_reserved_and_removes_the_parts(company, store, rows):
    upload = await begun(company, DATA)
    await sent(company, upload, DATA, [1])
    assert await reserved(rows, company) == len(DATA)
    assert (await given_up(company, upload)).status_code == 204
    assert (await given_up(company, upload)).status_code == 204
    assert await reserved(rows, company) == 0
    assert await store.unfinished_uploads(store.bucket_of(company.id)) == []
    assert problem(await looked(company, upload), 404) == "upload_not_found"
    assert problem(await completed(company, upload), 404) == "upload_not_found"
    assert (await company.asset(upload["assetId"]))["status"] == "cancelled"


async def test_a_part_of_an_upload_that_was_given_up_is_told_so(company):
    upload = await begun(company, DATA)
    (grant,) = await granted(company, upload, [3])
    await given_up(company, upload)
    answer = await company.http.put(grant["url"], content=b"the rest")
    assert problem(answer, 404) == "upload_not_found"


async def test_another_device_finds_an_upload_by_its_fingerprint(company, other_company):
    mark = f"sha256:{uuid4().hex}"
    first = await begun(company, DATA, fingerprint=mark)
    await begun(company, DATA)
    done = await begun(company, DATA, fingerprint=mark)
    await given_up(company, done)
    answer = await company.get("/uploads", params={"fingerprint": mark})
    assert [one["assetId"] for one in answer.json()["items"]] == [first["assetId"]]
    assert (await other_company.get("/uploads")).json()["items"] == []


async def test_open_uploads_are_listed_by_pages_newest_first(company):
    begun_in_order = [(await begun(company, DATA))["assetId"] for _ in range(3)]
    page = (await company.get("/uploads?limit=2")).json()
    rest = (await company.get(f"/uploads?limit=2&cursor={page['nextCursor']}")).json()
    found = [one["assetId"] for one in page["items"] + rest["items"]]
    assert (found, rest["nextCursor"]) == (begun_in_order[::-1], None)


async def test_one_key_begins_one_upload(company):
    await company.sign()  # its bucket is there

    async def asked(size: int):
        body = {"fileName": "a.mp4", "size": size, "type": "video/mp4"}
        return await company.post("/uploads", json=body, headers={"Idempotency-Key": "k"})

    first, again = await asked(9), await asked(9)
    assert first.json()["assetId"] == again.json()["assetId"]
    assert problem(await asked(10), 422) == "idempotency_key_reused"
    whole = {"fileName": "a.mp4", "size": 9, "type": "video/mp4"}
    answer = await company.post("/sign", json=whole, headers={"Idempotency-Key": "k"})
    assert problem(answer, 422) == "idempotency_key_reused"


async def test_a_grant_of_a_whole_file_is_no_upload_in_parts(company):
    asset_id = (await company.sign("film.mp4", 9, "video/mp4"))["assetId"]
    assert problem(await looked(company, {"assetId": asset_id}), 404) == "upload_not_found"
    assert problem(await given_up(company, {"assetId": asset_id}), 404) == "upload_not_found"
    assert (await company.asset(asset_id))["status"] == "pending"


async def test_many_that_ask_for_the_first_part_begin_one_upload_in_storage(company, store, rows):
    upload = await begun(company, DATA)
    found = await asyncio.gather(*(granted(company, upload, [3]) for _ in range(8)))
    ids = {parse_qs(urlsplit(one["url"]).query)["uploadId"][0] for (one,) in found}
    assert len(ids) == 1
    open_ones = await store.unfinished_uploads(store.bucket_of(company.id))
    assert {one.upload_id for one in open_ones} == ids
    # They may have come one after the other.
    assert await begin(rows.connection, UUID(upload["assetId"]), "another") in ids


async def test_an_upload_that_storage_has_lost_begins_anew(company, store):
    upload = await begun(company, DATA)
    await sent(company, upload, DATA, [1, 2])
    (lost,) = await store.unfinished_uploads(store.bucket_of(company.id))
    await store.abort_upload(lost)
    assert numbers_in(await looked(company, upload)) == []
    await sent(company, upload, DATA)
    assert part_of(DATA, upload, 3) == b"the rest"
    assert (await completed(company, upload)).status_code == 200

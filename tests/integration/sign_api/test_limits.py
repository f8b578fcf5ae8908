"""What one company may take of the system, and how it is told that it is too much."""

from __future__ import annotations

import asyncio

import pytest

from support.clients import Company
from support.eventually import eventually
from support.media_files import make_photo
from support.surroundings import restarted

PHOTO = {"fileName": "photo.jpg", "size": 1000, "type": "image/jpeg"}


@pytest.fixture
async def used(rows):
    """Return the bytes and the open grants that a company is counted to have."""

    async def look(company):
        row = await rows.connection.fetchrow(
            "SELECT coalesce(sum(bytes), 0)::bigint AS bytes,"
            " coalesce(sum(pending), 0)::bigint AS grants"
            " FROM company_usage WHERE company_id = $1",
            company.id,
        )
        return row["bytes"], row["grants"]

    return look


@pytest.fixture
async def set_quota(rows):
    """Change a company's quota until the end of the test."""
    changed = set()

    async def change(company, quota):
        changed.add(company)
        await rows.connection.execute(
            "UPDATE companies SET quota_bytes = $2 WHERE company_id = $1", company.id, quota
        )

    yield change
    for company in list(changed):
        await change(company, 10**12)


async def test_a_file_that_the_quota_does_not_hold_is_refused(company, other_company, set_quota):
    await company.sign(size=1000)
    await set_quota(company, 2500)
    await company.sign(size=1500)
    answer = await company.post("/sign", json=PHOTO | {"size": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "quota_exceeded")
    await other_company.sign()


async def test_a_deleted_file_gives_its_bytes_back(company, set_quota, used):
    grant = await company.sign(size=1000)
    await set_quota(company, 1000)
    assert (await company.post("/sign", json=PHOTO)).status_code == 400
    assert await used(company) == (1000, 1)
    await company.call("DELETE", f"/assets/{grant['assetId']}")
    assert await used(company) == (0, 0)
    await company.sign(size=1000)


async def test_the_outputs_of_a_file_count(company, used, rows, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg")
    asset = await company.ready(await company.upload(photo))
    outputs = 0
    for one in asset["files"]:
        outputs += len((await company.fetch(one["url"])).content)
    assert outputs == sum(one["size"] for one in asset["files"])
    assert {one["kind"] for one in asset["files"]} == {"image", "thumbnail", "responsive"}
    assert await used(company) == (photo.stat().st_size + outputs, 0)


async def test_an_answer_that_is_repeated_takes_nothing_and_is_never_refused(
    company, set_quota, used
):
    again = {"Idempotency-Key": "one"}
    first = await company.post("/sign", json=PHOTO, headers=again)
    await set_quota(company, 1)
    second = await company.post("/sign", json=PHOTO, headers=again)
    assert (second.status_code, second.json()) == (201, first.json())
    assert await used(company) == (1000, 1)


async def test_grants_at_once_are_all_counted(company, used):
    await asyncio.gather(*(company.sign() for _ in range(40)))
    assert await used(company) == (40_000, 40)


@pytest.fixture(scope="module")
def narrow():
    """A sign API with narrow limits."""
    with restarted(
        "sign_api", SIGN_API_COMPANY_OPEN_GRANTS="2", SIGN_API_COMPANY_REQUESTS_PER_MINUTE="40"
    ):
        yield


async def test_too_many_open_grants_are_refused_until_one_is_used(narrow, http, tmp_path):
    company = Company(http)
    photo = make_photo(tmp_path / "photo.jpg").read_bytes()
    grant = await company.sign(size=len(photo))
    await company.sign()
    answer = await company.post("/sign", json=PHOTO)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_open_grants")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["ratelimit-policy"] == '"grants";q=2'
    assert answer.headers["ratelimit"] == '"grants";r=0;t=60'
    await Company(http).sign()
    async with company.listening() as listener:
        await company.store(grant, photo)
        await listener.outcome(grant["assetId"])
    await company.sign()


async def test_too_many_requests_are_refused_for_a_while(narrow, http):
    company, other = Company(http), Company(http)
    for _ in range(39):
        await company.get("/assets")
    await company.sign()
    for path in ("/assets", f"/assets/{other.id}"):
        answer = await company.get(path)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["ratelimit-policy"] == '"company";q=40;w=60'
    assert answer.headers["ratelimit"].startswith('"company";r=0;t=')
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert (await company.post("/sign", json=PHOTO)).status_code == 429
    await other.sign()


async def test_a_quota_that_is_nearly_used_is_reported(company, set_quota, rows):
    await company.sign(size=1000)
    await set_quota(company, 1100)
    with restarted("watcher", WATCHER_WATCH_INTERVAL_SECONDS="1") as parts:
        log = parts.home.log_file("watcher")
        await eventually(
            lambda: any(
                '"ALERT quota"' in line and str(company.id) in line
                for line in log.read_text().splitlines()
            )
        )

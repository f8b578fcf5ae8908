"""Links to files: who may follow them, for how long, and what a cache makes of them."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from urllib.parse import urljoin, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from media_runtime.http.links import LinkKind
from media_runtime.storage.keys import output_key

from support.clients import JSON, Company
from support.edges import another_edge, edge_keys, signer, statuses
from support.eventually import eventually
from support.media_files import make_photo, make_video
from support.surroundings import Parts, variable

KINDS = {"processedUrl": LinkKind.MEDIA, "thumbnailUrl": LinkKind.THUMBNAIL}


@pytest.fixture
async def asset(company: Company, tmp_path) -> JSON:
    return await company.ready(await company.upload(make_photo(tmp_path / "photo.jpg")))


async def cached(company: Company, url: str) -> httpx.Response:
    """Fetch *url* until it comes from the cache."""
    await company.fetch(url)
    await company.fetch(url)
    answer = await company.fetch(url)
    assert answer.headers["x-cache"] == "HIT"
    return answer


async def test_both_files_are_served_to_whoever_has_their_links(company, asset):
    for name in KINDS:
        answer = await company.fetch(asset[name])
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert not [n for n in answer.headers if n.startswith(("x-amz", "x-minio", "x-rate"))]
        assert "minio" not in str(answer.headers).lower()


async def test_one_copy_is_kept_for_all_tokens(company, asset):
    url = asset["processedUrl"]
    first = await company.fetch(url)
    parts = urlsplit(url).path.split("/")
    key = output_key(company.id, UUID(parts[3]), 1, parts[-1])
    other = signer(now=lambda: time.time() + 1000).link(key, LinkKind.MEDIA)
    assert other != url
    answers = [first, *[await company.fetch(link) for link in (other, url, other)]]
    assert [a.headers["x-cache"] for a in answers] == ["MISS", "MISS", "HIT", "HIT"]
    assert len({a.content for a in answers}) == 1
    assert len({a.headers["etag"] for a in answers}) == 1


async def test_ranges_come_from_the_cache(company, asset):
    whole = (await cached(company, asset["processedUrl"])).content
    for wanted, part in (("0-9", whole[:10]), ("100-", whole[100:]), ("-7", whole[-7:])):
        headers = {"Range": f"bytes={wanted}"}
        answer = await company.http.get(asset["processedUrl"], headers=headers)
        assert (answer.status_code, answer.headers["x-cache"]) == (206, "HIT")
        assert answer.content == part
    answer = await company.http.get(asset["processedUrl"], headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416


async def test_a_file_that_is_not_cached_yet_gives_ranges_as_well(company, asset):
    first = await company.http.get(asset["thumbnailUrl"], headers={"Range": "bytes=3-12"})
    second = await company.http.get(asset["thumbnailUrl"], headers={"Range": "bytes=5-"})
    assert [(a.status_code, a.headers["x-cache"]) for a in (first, second)] == [(206, "MISS")] * 2
    whole = (await company.fetch(asset["thumbnailUrl"])).content
    assert (first.content, second.content) == (whole[3:13], whole[5:])


async def test_what_a_client_has_already_is_not_sent_again(company, asset):
    first = await cached(company, asset["processedUrl"])
    headers = {"If-None-Match": first.headers["etag"]}
    answer = await company.http.get(asset["processedUrl"], headers=headers)
    assert (answer.status_code, answer.content) == (304, b"")


async def test_a_relative_name_inherits_the_token(company, asset):
    """As a playlist's names do: they need no token of their own."""
    name = asset["processedUrl"].rpartition("/")[2]
    beside = urljoin(asset["processedUrl"], name)
    assert (await company.fetch(beside)).status_code == 200
    elsewhere = urljoin(asset["processedUrl"], "segments/720p/init.mp4")
    assert (await company.http.get(elsewhere)).json()["code"] == "file_not_found"


async def test_links_of_the_next_minutes_are_the_same(company, asset):
    """So that a browser's own cache finds what it has."""
    again = await company.asset(asset["assetId"])
    third = await company.asset(asset["assetId"])
    assert again["thumbnailUrl"] == third["thumbnailUrl"]


def forgeries(company: UUID, asset: JSON, other: JSON, count: int) -> list[str]:
    """Return links that were made up, have lapsed, or are another's, from the same seed."""
    chance = random.Random(1)
    path, theirs = urlsplit(asset["processedUrl"]).path, urlsplit(other["processedUrl"]).path
    _, _, token, asset_id, folder, name = path.split("/")
    thumbnail = urlsplit(asset["thumbnailUrl"]).path.split("/")
    key = output_key(company, UUID(asset_id), 1, name)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    strangers = signer(f"k1:{secrets.token_hex(24)}")
    unknown = signer(f"k9:{edge_keys().partition(':')[2]}")

    def mutated() -> str:
        at = chance.randrange(len(token))
        return f"{token[:at]}{chance.choice(alphabet)}{token[at + 1 :]}"

    def lapsed() -> str:
        past = time.time() - chance.randrange(4000, 4_000_000)
        return urlsplit(signer(now=lambda: past).link(key, LinkKind.MEDIA)).path

    makers = [
        lambda: f"/v/{mutated()}/{asset_id}/{folder}/{name}",
        lambda: f"/v/{token}/{uuid4()}/{folder}/{name}",
        lambda: f"/v/{token}/{theirs.split('/')[3]}/{folder}/{name}",
        lambda: f"/v/{token}/{asset_id}/{folder}/thumbnail.jpg",
        lambda: f"/v/{thumbnail[2]}/{asset_id}/{folder}/{name}",
        lambda: f"/v/{token}/{asset_id}/../{theirs.split('/')[3]}/{folder}/{name}",
        lambda: f"/v/{token}/{asset_id}/%2e%2e/{theirs.split('/')[3]}/{folder}/{name}",
        lambda: f"/v/{token}/{asset_id}/{folder}/../../../uploads/{asset_id}",
        lambda: urlsplit(strangers.link(key, LinkKind.MEDIA)).path,
        lambda: urlsplit(unknown.link(key, LinkKind.MEDIA)).path,
        lapsed,
        lambda: f"/v/{token.replace('.media.', '.thumbnail.')}/{asset_id}/{folder}/{name}",
        lambda: f"/v/{token.rpartition('.')[0]}./{asset_id}/{folder}/{name}",
    ]
    found = [chance.choice(makers)() for _ in range(count)]
    return [
        one
        for one in found
        if one.split("/")[2] != token or one.split("/")[3:] != path.split("/")[3:]
    ]


async def test_of_ten_thousand_forged_links_none_is_served(company, other_company, asset, tmp_path):
    other = await other_company.ready(
        await other_company.upload(make_photo(tmp_path / "other.jpg"))
    )
    await cached(company, asset["processedUrl"])  # what is in the cache is guarded as well
    await cached(other_company, other["processedUrl"])
    links = forgeries(company.id, asset, other, 10_000)
    assert len(links) > 9900

    heads = [f"GET {link} HTTP/1.1" for link in links]
    parts = [heads[start::4] for start in range(4)]
    answers = await asyncio.gather(*(statuses(variable("MEDIA_URL"), part) for part in parts))

    assert {status for part in answers for status in part} <= {400, 403, 404}


async def test_a_link_that_has_lapsed_says_so(company, asset):
    key = output_key(company.id, UUID(asset["assetId"]), 1, "image")
    lapsed = signer(now=lambda: time.time() - 8000).link(key, LinkKind.MEDIA)
    answer = await company.http.get(lapsed)
    assert (answer.status_code, answer.json()["code"]) == (403, "link_expired")
    answer = await company.http.get(lapsed.replace(".media.", ".thumbnail."))
    assert (answer.status_code, answer.json()["code"]) == (403, "link_refused")


async def test_keys_are_changed_without_a_link_that_breaks(company, asset, tmp_path):
    """A new key signs while the old one is still taken; once that is gone its links are."""
    old, new = edge_keys(), f"k2:{secrets.token_hex(24)}"
    key = output_key(company.id, UUID(asset["assetId"]), 1, "image")
    links = {
        name: signer(keys).link(key, LinkKind.MEDIA) for name, keys in (("old", old), ("new", new))
    }
    taken = {}
    for edge_takes in (f"{new},{old}", new):
        with another_edge(tmp_path / edge_takes[:2], EDGE_KEYS=edge_takes) as edge:
            for name, link in links.items():
                url = link.replace(variable("MEDIA_URL"), edge)
                taken[edge_takes, name] = (await company.http.get(url)).status_code
    assert taken == {
        (f"{new},{old}", "old"): 200, (f"{new},{old}", "new"): 200,
        (new, "old"): 403, (new, "new"): 200,
    }  # fmt: skip


async def test_a_deleted_asset_is_gone_at_once_from_the_cache_too(company, asset):
    for name in KINDS:
        await cached(company, asset[name])
    assert (await company.call("DELETE", f"/assets/{asset['assetId']}")).status_code == 204

    async def gone() -> bool:
        answers = [await company.http.get(asset[name]) for name in KINDS]
        return {answer.status_code for answer in answers} == {404}

    await eventually(gone, timeout=5)


async def test_an_edge_that_was_away_hears_of_deletions_later(company, asset, parts: Parts):
    for name in KINDS:
        await cached(company, asset[name])
    with parts.down("edge"):
        url = f"{variable('MEDIA_API_URL')}/api/media/assets/{asset['assetId']}"
        assert (await company.http.delete(url, headers=company.headers)).status_code == 204

    async def gone() -> bool:
        answers = [await company.http.get(asset[name]) for name in KINDS]
        return {answer.status_code for answer in answers} == {404}

    await eventually(gone, timeout=30)


async def test_files_in_the_cache_are_served_while_storage_is_away(company, tmp_path, parts: Parts):
    asset = await company.ready(await company.upload(make_video(tmp_path / "film.mp4", seconds=1)))
    before = await cached(company, asset["processedUrl"])
    with parts.down("minio"):
        after = await company.fetch(asset["processedUrl"])
        assert after.content == before.content
        answer = await company.http.get(asset["thumbnailUrl"])
        assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert (await company.http.get(asset["thumbnailUrl"])).status_code == 200


async def test_no_link_and_no_grant_is_in_the_log(company, asset, parts: Parts):
    grant = await company.sign(size=5)
    await company.store(grant, b"12345")
    await company.fetch(asset["processedUrl"])
    token = urlsplit(asset["processedUrl"]).path.split("/")[2]
    log = parts.home.log_file("edge")
    await eventually(lambda: asset["assetId"] in log.read_text(), timeout=10)
    await eventually(lambda: grant["assetId"] in log.read_text(), timeout=10)
    text = log.read_text()
    assert token not in text
    assert grant["upload"]["url"].rpartition("=")[2] not in text

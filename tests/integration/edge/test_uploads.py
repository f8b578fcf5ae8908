"""Uploads through the edge: exactly what was granted, and storage sees nothing but that."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from media_contracts import ObjectRef
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore

from support.clients import JSON, Company
from support.edges import another_edge
from support.eventually import eventually
from support.media_files import make_photo
from support.surroundings import Parts, variable
from support.wire import Rows

# What storage obeys although no signature covers it, tried on its own port.
UNSIGNED = {
    "X-Minio-Source-Replication-Request": "true",
    "X-Minio-Source-Mtime": "2020-01-01T00:00:00Z",
    "X-Minio-Source-ETag": "0" * 32,
    "X-Minio-Force-Delete": "true",
    "X-Amz-Tagging": "a=b",
    "X-Amz-Meta-Note": "x",
    "X-Amz-Storage-Class": "REDUCED_REDUNDANCY",
    "X-Amz-Website-Redirect-Location": "https://example.com/",
    "X-Amz-Object-Lock-Mode": "GOVERNANCE",
    "X-Amz-Object-Lock-Retain-Until-Date": "2036-01-01T00:00:00Z",
    "X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256",
    "X-Amz-Copy-Source": "/media-x/y",
    "X-Amz-Acl": "public-read",
    "Content-Encoding": "gzip",
    "Cache-Control": "public, max-age=31536000",
    "Content-Disposition": "inline",
    "Expires": "Thu, 01 Jan 2036 00:00:00 GMT",
    "If-None-Match": "x",
    "If-Match": "*",
}
_ASKED = {"Method": "PUT", "Headers": "content-type"}
QUERIES = ["versionId=null", "versionId=", "uploads", "partNumber=1&uploadId=x", "tagging", "acl"]


@pytest.fixture
def store():
    found = ObjectStore(StorageSettings())
    yield found
    found.close()


@pytest.fixture
def photo(tmp_path) -> bytes:
    return make_photo(tmp_path / "photo.jpg", size=(64, 48)).read_bytes()


def key_of(grant: JSON) -> str:
    return urlsplit(grant["upload"]["url"]).path.split("/", 2)[2]


async def test_curl_alone_is_a_client(company: Company, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg")
    grant = await company.sign(size=photo.stat().st_size)
    headers = [
        word for pair in grant["upload"]["headers"].items() for word in ("-H", ": ".join(pair))
    ]
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--fail-with-body", "-T", str(photo), *headers, grant["upload"]["url"])
    )

    assert await curl.wait() == 0
    await company.ready(grant["assetId"])


async def test_storage_keeps_nothing_of_what_an_upload_says_besides(company, store, photo):
    grant = await company.sign(size=len(photo))
    headers = {**grant["upload"]["headers"], **UNSIGNED}
    answer = await company.http.put(grant["upload"]["url"], content=photo, headers=headers)

    assert answer.status_code == 200, answer.text
    bucket = store.bucket_of(company.id)
    found = store._client.stat_object(bucket, key_of(grant))
    assert (found.content_type, found.size) == ("image/jpeg", len(photo))
    told = {name.lower() for name in found.metadata}
    assert not {n for n in told if n.startswith(("x-amz-meta", "x-amz-tagging", "x-amz-storage"))}
    assert not told & {"cache-control", "content-encoding", "content-disposition", "expires"}
    assert not store._client.get_object_tags(bucket, key_of(grant))
    await company.ready(grant["assetId"])


async def test_a_used_grant_changes_nothing_whatever_is_sent_with_it(
    company, store, photo, rows: Rows
):
    grant = await company.sign(size=len(photo))
    await company.store(grant, photo)
    before = await company.ready(grant["assetId"])
    usage = await rows.connection.fetchval(
        "SELECT sum(bytes) FROM company_usage WHERE company_id = $1", company.id
    )
    url, headers = grant["upload"]["url"], grant["upload"]["headers"]
    fake = bytes(len(photo))

    answers = [await company.http.put(url, content=fake, headers={**headers, **UNSIGNED})]
    for name, value in UNSIGNED.items():
        again = {**headers, name: value}
        answers.append(await company.http.put(url, content=fake, headers=again))
    for query in QUERIES:
        answers += [
            await company.http.put(changed, content=fake, headers=headers)
            for changed in (f"{url}&{query}", url.replace("?", f"?{query}&"))
        ]
    answers += [
        await company.http.request(method, url, headers=headers)
        for method in ("POST", "DELETE", "GET", "HEAD", "PATCH")
    ]

    assert {answer.status_code for answer in answers} <= {403, 405, 409}
    versions = await store.objects(store.bucket_of(company.id), key_of(grant), all_versions=True)
    assert [found.size for found in versions] == [len(photo)]
    after = await company.asset(grant["assetId"])
    assert (after["status"], after["updatedAt"]) == ("ready", before["updatedAt"])
    served = await company.fetch(after["processedUrl"])
    assert served.content == (await company.fetch(before["processedUrl"])).content
    assert usage == await rows.connection.fetchval(
        "SELECT sum(bytes) FROM company_usage WHERE company_id = $1", company.id
    )


async def test_an_upload_under_way_is_taken_while_the_edge_stops(company, photo, tmp_path):
    grant = await company.sign(size=len(photo))
    with ExitStack() as ours, ExitStack() as running:
        edge = urlsplit(running.enter_context(another_edge(tmp_path)))
        url = urlsplit(grant["upload"]["url"])
        sent = {"Host": url.netloc, "Content-Length": len(photo), "Expect": "100-continue"}
        sent |= grant["upload"]["headers"]
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        reader, writer = await asyncio.open_connection(edge.hostname, edge.port)
        ours.callback(writer.close)
        writer.write(f"PUT {url.path}?{url.query} HTTP/1.1\r\n{head}\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"100"
        writer.write(photo[:100])
        stopping = asyncio.create_task(asyncio.to_thread(running.close))

        async def refuses() -> bool:
            try:
                await company.http.get(f"http://{edge.netloc}/")
            except httpx.ConnectError:
                return True
            except httpx.TransportError:
                # A connection that was taken just before may be cut off without an answer.
                return False
            return False

        await eventually(refuses, timeout=10)
        writer.write(photo[100:])
        assert (await reader.readline()).split()[1] == b"200"
        ours.close()
        await stopping
    await company.ready(grant["assetId"])


async def test_an_upload_says_its_length(company: Company):
    grant = await company.sign(size=5)

    async def pieces():
        yield b"12345"

    headers = grant["upload"]["headers"]
    answer = await company.http.put(grant["upload"]["url"], content=pieces(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


async def test_an_upload_that_breaks_off_stores_nothing_and_can_be_repeated(company, store, photo):
    grant = await company.sign(size=len(photo))
    address = urlsplit(grant["upload"]["url"])
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
    head += f"Content-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
    writer.write(head.encode() + photo[:-10])
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    answer = await company.store(grant, photo)
    assert answer.status_code == 200, answer.text
    versions = await store.objects(store.bucket_of(company.id), key_of(grant), all_versions=True)
    assert [found.size for found in versions] == [len(photo)]


async def test_uploads_lie_on_no_disk_of_the_edge(company, parts: Parts):
    """They pass to storage as they come: half of a large one is there, and none in a file."""
    grant = await company.sign("film.mp4", 200_000_000, "video/mp4")
    address = urlsplit(grant["upload"]["url"])
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
    head += "Content-Type: video/mp4\r\nContent-Length: 200000000\r\n\r\n"
    writer.write(head.encode())
    for _ in range(50):
        writer.write(bytes(1_000_000))
        await writer.drain()
    body = parts.home.data / "edge" / "tmp" / "body"
    assert sum(file.stat().st_size for file in body.rglob("*") if file.is_file()) == 0
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def memory_of(parts: Parts, name: str) -> int:
    """Return what a part has in memory, in bytes."""
    status = Path(f"/proc/{parts.pid(name)}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


async def endless(url: str, head: str, piece: bytes, seconds: float) -> bytes:
    """Send *piece* again and again until the connection is cut, and return what was answered."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head.encode())
    answer = b""

    async def send() -> None:
        while True:
            writer.write(piece)
            await writer.drain()

    async with asyncio.timeout(seconds):
        sending = asyncio.create_task(send())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            answer = await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            await sending
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("method", "place", "form"),
    [
        ("POST", "bucket", True),
        ("POST", "key", True),
        ("PUT", "grant", True),
        ("PUT", "grant", False),
    ],
    ids=["form to a bucket", "form to a key", "form for a file", "body without an end"],
)
async def test_bodies_that_no_grant_allows_never_reach_storage(
    company: Company, parts: Parts, method, place, form
):
    """Storage kept form fields in memory, 400 MB and more, of anybody who sent them."""
    grant = await company.sign(size=1000)
    before = memory_of(parts, "minio")
    url = urlsplit(grant["upload"]["url"])
    target = {
        "bucket": f"/{url.path.split('/')[1]}",
        "key": url.path,
        "grant": f"{url.path}?{url.query}",
    }[place]
    head = f"{method} {target} HTTP/1.1\r\nHost: {url.netloc}\r\n"
    if form:
        head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 400000000\r\n"
        piece = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n" + bytes(65_536)
    else:
        head += "Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n"
        piece = b"10000\r\n" + bytes(65_536) + b"\r\n"
    answer = await endless(grant["upload"]["url"], f"{head}\r\n", piece, seconds=30)
    assert answer[9:12] in {b"403", b"404", b"405", b"411", b"413"}, answer
    assert memory_of(parts, "minio") < before + 100_000_000


async def test_a_browser_of_a_configured_origin_may_upload_and_no_other(
    company, photo, tmp_path, monkeypatch
):
    ours, theirs = "https://app.example.com", "https://evil.example.com"
    with another_edge(tmp_path, CORS_ALLOW_ORIGINS=f"{ours},https://b.example.com") as edge:
        grant = await company.sign(size=len(photo))
        url = grant["upload"]["url"].replace(variable("MEDIA_URL"), edge)
        ask = {f"Access-Control-Request-{n}": v for n, v in _ASKED.items()}
        for origin, allowed in ((ours, ours), (theirs, None), ("null", None)):
            answer = await company.http.options(url, headers={"Origin": origin, **ask})
            assert answer.status_code == 204
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in answer.headers
        assert (
            "PUT"
            in (await company.http.options(url, headers={"Origin": ours, **ask})).headers[
                "access-control-allow-methods"
            ]
        )
        # Refused, since the grant is for the stack's own edge; and the page may read why.
        refused = await company.http.put(
            url, content=photo, headers={**grant["upload"]["headers"], "Origin": ours}
        )
        assert refused.json()["code"] == "grant_refused"
        assert refused.headers["access-control-allow-origin"] == ours


async def test_a_store_that_is_away_is_told_as_that(company, photo, parts: Parts):
    grant = await company.sign(size=len(photo))
    with parts.down("minio"):
        answer = await company.store(grant, photo)
        assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
        assert answer.headers["retry-after"]
    assert (await company.store(grant, photo)).status_code == 200


async def test_what_was_uploaded_is_what_is_stored(company, store):
    data = os.urandom(3_000_000)
    grant = await company.sign("x.mp4", len(data), "video/mp4")
    assert (await company.store(grant, data)).status_code == 200
    ref = ObjectRef(bucket=store.bucket_of(company.id), key=key_of(grant))

    async def same() -> bool:
        response = store._client.get_object(ref.bucket, ref.key)
        try:
            return bool(response.read() == data)
        finally:
            response.close()
            response.release_conn()

    await eventually(same, timeout=5)

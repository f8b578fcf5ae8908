"""Requests that are too large, torn or malformed, and the headers of every answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
from media_runtime.http_guard import MAX_BODY_BYTES, MAX_HEAD_BYTES

from support.surroundings import variable

SERVICES = ["MEDIA_API_URL", "MEDIA_EVENTS_URL"]
POST = b"POST /api/media/events/ticket HTTP/1.1\r\nHost: x\r\n"
SECURE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


async def talk(base: str, *parts: bytes, ends: bool = False) -> tuple[int, bytes]:
    """Send raw bytes and return how many were taken, and what was answered."""
    address = urlsplit(variable(base))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    sent = 0
    try:
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                sent += len(part)
                if reader.at_eof():
                    break
            if ends:
                writer.write_eof()
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                return sent, await reader.read(2000)
        return sent, b""
    finally:
        writer.close()


def code_of(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


@pytest.mark.parametrize("base", SERVICES)
@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/media/assets HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /api/media/assets HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?q=" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["header", "headers", "path", "query"],
)
async def test_a_large_head_is_refused(base, head):
    _, answer = await talk(base, head)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert code_of(answer) == "headers_too_large"


@pytest.mark.parametrize("base", SERVICES)
@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET /",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ",
    ],
    ids=["header", "path", "trailer"],
)
async def test_a_head_without_an_end_is_not_kept(base, begin):
    """Red with uvicorn's own protocol, which keeps all of it."""
    sent, answer = await talk(base, begin, *([b"a" * 10**5] * 500))
    assert sent < 20 * 10**6, "the connection was closed early"
    assert not answer or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("path", ["/sign", "/assets/x/retry"])
async def test_a_large_body_is_refused(company, path):
    answer = await company.post(path, content=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "body_too_large"


async def test_a_body_of_unsaid_length_is_refused_as_it_grows(company):
    taken = 0

    async def chunks():
        nonlocal taken
        for _ in range(1000):
            taken += 10**5
            yield b"x" * 10**5

    answer = None
    with suppress(httpx.TransportError):
        answer = await company.post("/sign", content=chunks())
    assert answer is None or answer.status_code == 413
    assert taken < 50 * 10**6


async def test_a_body_as_large_as_may_be_is_read(company):
    text = b" " * (MAX_BODY_BYTES - 2) + b"{}"
    answer = await company.post("/sign", content=text)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_file_name")


@pytest.mark.parametrize("base", SERVICES)
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"X\x00Y: 1\r\n\r\n",
        POST + b"X: a\r\n b\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_bad_request(base, request_bytes):
    _, answer = await talk(base, request_bytes)
    assert answer[9:12] in {b"400", b"401", b"404", b"405", b"413"}, answer


@pytest.mark.parametrize("base", SERVICES)
async def test_a_torn_request_harms_nobody(base, http):
    await talk(base, POST + b"Content-Length: 50\r\n\r\n{", ends=True)
    assert (await http.get(f"{variable(base)}/readyz")).status_code == 200


@pytest.mark.parametrize("base", SERVICES)
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openapi.json", 200), ("/healthz", 200), ("/readyz", 200), ("/metrics", 200),
        ("/nothing", 404), ("/api/media/events/", 404), ("/api/media/assets/", 404),
        ("/api//media/assets", 404), ("/api/media/assets/%00", 401), ("/%2e%2e/passwd", 404),
        ("/api/media/assets/%ff%fe", 401), ("/api/media/assets/%zz", 401), ("/.env", 404),
    ],
)  # fmt: skip
async def test_every_answer_has_the_headers(base, http, path, status):
    answer = await http.get(f"{variable(base)}{path}")
    if "/assets/%" not in path or base == "MEDIA_API_URL":
        assert answer.status_code == status
    assert SECURE.items() <= dict(answer.headers).items()
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"]
    assert "server" not in answer.headers


async def test_answers_to_callers_are_not_kept(company):
    for answer in (
        await company.post("/sign", json={"fileName": "a", "size": 1, "type": "image/png"}),
        await company.get("/assets"),
        await company.http.post(
            f"{variable('MEDIA_EVENTS_URL')}/api/media/events/ticket", headers=company.headers
        ),
    ):
        assert answer.status_code in {200, 201}
        assert answer.headers["cache-control"] == "no-store"
        assert SECURE.items() <= dict(answer.headers).items()


async def test_a_stream_has_the_headers(company):
    url = f"{variable('MEDIA_EVENTS_URL')}/api/media/events"
    async with company.http.stream("GET", url, headers=company.headers) as stream:
        assert SECURE.items() <= dict(stream.headers).items()
        assert "no-" in stream.headers["cache-control"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize(
    "url", ["MEDIA_API_URL /api/media/sign", "MEDIA_EVENTS_URL /api/media/events"]
)
async def test_other_methods_are_refused(company, method, url):
    base, path = url.split()
    answer = await company.http.request(method, f"{variable(base)}{path}", headers=company.headers)
    assert answer.status_code in {400, 404, 405}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"fileName":"a\\u0000b","size":1,"type":"image/png"}',
        b'{"fileName":"a","size":1e400,"type":"image/png"}',
        b'{"fileName":"a","size":' + b"9" * 5000 + b',"type":"image/png"}',
        b'{"fileName":"a","size":NaN,"type":"image/png"}',
        b'{"fileName":"a","size":-0,"type":"image/png"}',
        b'{"fileName":"\xff\xfe","size":1,"type":"image/png"}',
        b'{"fileName":"\\ud800","size":1,"type":"image/png"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
)
async def test_an_odd_body_is_a_bad_request(company, body):
    answer = await company.post("/sign", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_of_a_field_given_twice_the_last_one_counts(company):
    body = b'{"fileName":"a","fileName":"b","size":1,"type":"image/png"}'
    answer = await company.post("/sign", content=body)
    assert answer.status_code == 201
    assert (await company.asset(answer.json()["assetId"]))["fileName"] == "b"

"""Requests that are too large, torn or malformed, and the headers of every answer."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from media_runtime.http.guard import MAX_HEAD_BYTES
from media_runtime.settings import Settings

from support.eventually import eventually
from support.surroundings import Parts, variable

MAX_BODY_BYTES = Settings.model_fields["http_max_body_bytes"].default
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
                return sent, await _answer(reader)
        return sent, b""
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return one answer, as much of it as comes."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        return head + await reader.readexactly(int(length[1]) if length else 0)
    except asyncio.IncompleteReadError as error:
        return error.partial


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


async def test_a_batch_may_be_larger_than_other_bodies_but_not_larger_than_that(company):
    text = b" " * MAX_BODY_BYTES + b"{}"
    read = await company.post("/batches", content=text)
    assert (read.status_code, read.json()["code"]) == (400, "invalid_batch")
    refused = await company.post("/batches", content=b" " * 1024**2 + b"{}")
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


async def test_a_body_of_unsaid_length_is_refused_as_it_grows(company):
    taken = 0

    async def chunks():
        nonlocal taken
        for _ in range(1000):
            taken += 10**5
            yield b"x" * 10**5

    answer = None
    with suppress(httpx.TransportError):
        url = f"{variable('MEDIA_API_URL')}/api/media/sign"
        answer = await company.http.post(url, content=chunks(), headers=company.headers)
    assert answer is None or answer.status_code == 413
    assert taken < 50 * 10**6


async def test_a_body_as_large_as_may_be_is_read(company):
    text = b" " * (MAX_BODY_BYTES - 2) + b"{}"
    answer = await company.post("/sign", content=text)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_file_name")


@pytest.fixture(scope="module")
async def own_api():
    """A sign API with settings of its own."""
    settings = {
        "SIGN_API_HTTP_MAX_BODY_BYTES": "100",
        "SIGN_API_CORS_ALLOW_ORIGINS": "https://app.example, https://b.example",
    }
    async with Parts().another("sign_api", **settings) as url:
        yield f"{url}/api/media"


async def test_how_large_a_body_may_be_is_a_setting(company, own_api):
    body = json.dumps({"fileName": "a" * 100, "size": 1, "type": "image/png"})
    answer = await company.http.post(f"{own_api}/sign", content=body, headers=company.headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "100 bytes" in answer.json()["detail"]
    assert (await company.post("/sign", content=body)).status_code == 201


@pytest.mark.parametrize("origin", ["https://app.example", "https://evil.example"])
@pytest.mark.parametrize("path", ["/assets", "/assets/none", "/nothing"])
async def test_only_allowed_origins_may_read_answers_in_browsers(company, own_api, origin, path):
    asked = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "Authorization",
    }
    preflight = await company.http.options(own_api + path, headers={"Origin": origin, **asked})
    answer = await company.http.get(own_api + path, headers={"Origin": origin, **company.headers})
    for one in (preflight, answer):
        allowed = one.headers.get("access-control-allow-origin")
        assert allowed == (origin if "app" in origin else None)
        assert "access-control-allow-credentials" not in one.headers
        assert SECURE.items() <= dict(one.headers).items()


@pytest.mark.parametrize("path", ["/api/media/assets", "/healthz", "/nothing"])
async def test_a_body_that_nobody_reads_is_bounded_too(company, path):
    url = f"{variable('MEDIA_API_URL')}{path}"
    large = await company.http.request(
        "GET", url, headers=company.headers, content=b"x" * (MAX_BODY_BYTES + 1)
    )
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")

    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    sent, answer = await talk(
        "MEDIA_API_URL", head, *([b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 500)
    )
    assert sent < 20 * 10**6, "the connection was closed early"
    assert answer.count(b"HTTP/1.1") <= 1


async def test_a_request_that_breaks_off_changes_nothing(company):
    """Red when what came of the body is taken for all of it."""
    body = json.dumps({"fileName": "a", "size": 1, "type": "image/png"}).encode()
    head = f"POST /api/media/sign HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) + 1}\r\n"
    token = f"Authorization: {company.headers['Authorization']}\r\n\r\n"
    await talk("MEDIA_API_URL", (head + token).encode() + body, ends=True)

    await company.sign("later.jpg")
    (asset,) = (await company.get("/assets")).json()["items"]
    assert asset["fileName"] == "later.jpg"


@pytest.fixture(scope="module")
async def hasty():
    """A sign API that waits for no one, and takes few."""
    settings = {"SIGN_API_HTTP_REQUEST_SECONDS": "1", "SIGN_API_HTTP_MAX_CONNECTIONS": "20"}
    async with Parts().another("sign_api", **settings) as url:
        yield url


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"", b""),
        (b"GET /healthz HTT", b"HTTP/1.1 408 "),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 "),
        (POST + b"Content-Length: 50\r\n\r\n{", b"HTTP/1.1 408 "),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "line", "head", "body", "chunks"],
)
async def test_a_request_that_does_not_come_is_not_waited_for(hasty, begin, said):
    """Red with uvicorn's own protocol, which waits for ever, however little comes."""
    address = urlsplit(hasty)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(begin)
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert answer.startswith(said)
        assert not said or code_of(answer) == "request_too_slow"
    finally:
        writer.close()


async def test_a_byte_now_and_then_does_not_keep_a_connection(hasty):
    address = urlsplit(hasty)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answered = asyncio.create_task(reader.read())
    try:
        async with asyncio.timeout(10):
            writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
            while not answered.done():
                writer.write(b"a")
                await asyncio.wait({answered}, timeout=0.1)
        assert answered.result().startswith(b"HTTP/1.1 408 ")
    finally:
        writer.close()


async def test_connections_that_are_too_many_are_closed_and_the_others_served(hasty, http):
    address = urlsplit(hasty)
    opened = [await asyncio.open_connection(address.hostname, address.port) for _ in range(40)]
    closed = 0
    async with asyncio.timeout(10):
        for reader, _ in opened[30:]:
            with suppress(ConnectionError):
                assert await reader.read() == b""
            closed += 1
    assert closed == 10
    for _, writer in opened:
        writer.close()

    async def served() -> bool:
        with suppress(httpx.TransportError):
            return (await http.get(f"{hasty}/healthz")).status_code == 200
        return False

    await eventually(served)


async def test_nothing_is_said_in_the_middle_of_a_stream(company):
    """What comes behind the request for a stream, and is refused, ends the stream."""
    address = urlsplit(variable("MEDIA_EVENTS_URL"))
    for refused in (b"GET /" + b"a" * 2 * MAX_HEAD_BYTES, b"\x00\x01\x02\r\n\r\n"):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        token = f"Authorization: {company.headers['Authorization']}"
        writer.write(f"GET /api/media/events HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n".encode())
        said = await reader.readuntil(b"media_hello")
        writer.write(refused)
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                said += await reader.read()
        writer.close()
        assert said.count(b"HTTP/1.1") == 1


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
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    assert status.split()[1] in {"400", "401", "404", "405", "413"}, answer
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == int(status.split()[1])
    assert SECURE.items() <= headers.items()
    assert headers["content-security-policy"].startswith("default-src 'none'")


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


@pytest.mark.parametrize("base", SERVICES)
async def test_production_has_no_page_for_people(base, http):
    for path in ("/docs", "/docs/start.js", "/redoc"):
        assert (await http.get(f"{variable(base)}{path}")).status_code == 404


@pytest.mark.parametrize("service", ["sign_api", "notifier"])
async def test_the_page_for_people_is_of_our_own_files(service, http):
    async with Parts().another(service, MEDIA_ENV="development") as url:
        page = await http.get(f"{url}/docs")
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(loaded) == 3
        for path in loaded:
            assert "://" not in path
            file = await http.get(urljoin(f"{url}/docs", path))
            assert (file.status_code, len(file.content) > 100) == (200, True)
            assert file.headers["content-type"].startswith(("text/javascript", "text/css"))
        policy = dict(
            part.split(" ", 1) for part in page.headers["content-security-policy"].split("; ")
        )
        assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
        assert policy["connect-src"] == "'self'"
        assert "<script>" not in page.text


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


ODD_REQUESTS = [
    *("GET assets/%00", "GET assets/%ff%fe", "GET assets/%zz", "GET assets/%", "GET assets/..%2f"),
    *("DELETE assets/" + "9" * 30_000, "POST assets/%F0%9F%8E%AC/retry", "GET assets/-1"),
    *("GET assets?limit=" + "9" * 5000, "GET assets?limit=-1", "GET assets?limit=1e3"),
    *(
        "GET assets?limit=%00",
        "GET assets?limit=%D9%A3%00",
        "GET assets?limit=",
        "GET assets?limit",
    ),
    *("GET assets?status=%00", "GET assets?status=ready%00", "GET assets?status=%ff"),
    *("GET assets?cursor=%00", "GET assets?cursor=%ff%fe", "GET assets?cursor=" + "A" * 20_000),
    *("GET events?assetId=%00", "GET events?assetId=", "GET events?assetId=%ff"),
    *("GET events?ticket=%00", "GET events?ticket=%ff%fe", "GET events?ticket="),
    *("GET events?ticket=" + "A" * 20_000, "GET events?ticket=a&ticket=b"),
    *("GET events?lastEventId=%00", "GET events?lastEventId=%ff", "GET events?lastEventId=-1"),
    *("GET events?lastEventId=" + "A" * 20_000, "GET events?lastEventId=AWxlu2cAAAAB"),
    *("POST sign/", "GET assets/", "POST events/ticket/", "GET events/", "PUT sign"),
    *("PATCH assets", "DELETE events", "GET events/ticket", "OPTIONS sign", "TRACE events"),
]


@pytest.mark.parametrize("odd", ODD_REQUESTS, ids=lambda odd: odd[:60])
async def test_an_odd_request_is_refused_as_a_problem(company, odd):
    method, path = odd.split(" ", 1)
    base = "MEDIA_EVENTS_URL" if path.startswith("events") else "MEDIA_API_URL"
    token = f"Authorization: {company.headers['Authorization']}"
    _, answer = await talk(
        base, f"{method} /api/media/{path} HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head[9:12] in {b"400", b"401", b"404", b"405"}, answer
    assert json.loads(body)["status"] == int(head[9:12])
    assert b"content-type: application/problem+json" in head


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("sign", "Idempotency-Key: \xff\xfe"),
        ("sign", "Idempotency-Key: a\tb"),
        ("sign", "traceparent: \xff" * 3),
        ("sign", "Authorization: Bearer \xff\xfe"),
        ("sign", "Content-Length: 0"),
        ("events/ticket", "Authorization: Bearer \xc3\xbc.\xc3\xbc.\xc3\xbc"),
    ],
)
async def test_an_odd_header_is_refused_as_a_problem(company, path, header):
    base = "MEDIA_EVENTS_URL" if path.startswith("events") else "MEDIA_API_URL"
    lines = [f"POST /api/media/{path} HTTP/1.1", "Host: x", header]
    if "Authorization" not in header:
        lines.append(f"Authorization: {company.headers['Authorization']}")
    _, answer = await talk(base, "\r\n".join([*lines, "", ""]).encode("latin-1"))
    assert answer[9:12] in {b"400", b"401"}, answer
    assert b"content-type: application/problem+json" in answer


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 201),
        ("application/json", 201),
        ("Application/JSON ; charset=utf-8", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        ("", 415),
        ("\u00ff", 415),
    ],
)
async def test_a_grant_is_asked_for_in_json(company, content_type, status):
    headers = {} if content_type is None else {"Content-Type": content_type.encode("latin-1")}
    body = json.dumps({"fileName": "a", "size": 1, "type": "image/png"})
    answer = await company.post("/sign", content=body, headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unsupported_media_type"


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

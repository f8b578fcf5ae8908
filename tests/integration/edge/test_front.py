"""What the edge lets nobody reach, and what it costs others when somebody tries."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import time
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
from mediactl.devstack.home import Home

from support.clients import Company
from support.edges import another_edge, statuses
from support.http_clients import web
from support.media_files import make_photo
from support.surroundings import variable

BUCKET = "media-00000000-0000-4000-8000-000000000001"
STORES_OWN = [
    "/minio/", "/minio/login", "/minio/health/live", "/minio/health/cluster",
    "/minio/v2/metrics/cluster", "/minio/v2/metrics/bucket", "/minio/prometheus/metrics",
    "/minio/admin/v3/info", "/minio/admin/v3/list-users", "/minio/admin/v3/datausageinfo",
    "/minio/kms/v1/status", "/minio/bootstrap/v1/verify", "/minio/storage/x/v60/readall",
    "/minio/lock/v7/lock", "/minio/peer/v38/health", "/minio/grid/v1", "/minio/browser",
    "/?Action=AssumeRole&Version=2011-06-15", "/?Action=AssumeRoleWithWebIdentity",
    f"/{BUCKET}", f"/{BUCKET}/", f"/{BUCKET}?versions", f"/{BUCKET}?list-type=2",
    f"/{BUCKET}?policy", f"/{BUCKET}?location", f"/{BUCKET}?uploads", f"/{BUCKET}?notification",
    f"/{BUCKET}?events=s3:ObjectCreated:*", "/?events", f"/{BUCKET}/x", f"/{BUCKET}/../x",
    f"//{BUCKET}", f"/%2f{BUCKET}", "/minio%2fhealth%2flive", "//minio/health/live",
    "/./minio/health/live", "/v/../minio/health/live", "/v/%2e%2e/minio/health/live",
    f"/{BUCKET}/{BUCKET[6:]}/outputs/{BUCKET[6:]}/1/image",
    f"/{BUCKET}/{BUCKET[6:]}/quarantine/{BUCKET[6:]}",
    f"/{BUCKET}/{BUCKET[6:]}/uploads/{BUCKET[6:]}/x", f"/{BUCKET}/{BUCKET[6:]}/uploads/",
]  # fmt: skip
SERVICES_OWN = [
    "/metrics", "/healthz", "/readyz", "/docs", "/openapi.json", "/revoked/media/x",
    f"/revoked/media/{BUCKET[6:]}", "/-/preflight", "/api", "/api/", "/api/medias",
    "/api/media/../../metrics", "/api/media/%2e%2e/%2e%2e/metrics", "/nginx_status",
]  # fmt: skip


@pytest.mark.parametrize("path", [*STORES_OWN, *SERVICES_OWN])
async def test_what_is_inside_is_refused_to_everybody(http: httpx.AsyncClient, path):
    base = variable("MEDIA_URL")
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PROPFIND"):
        (status,) = await statuses(base, [f"{method} {path} HTTP/1.1\r\nContent-Length: 0"])
        assert status in {400, 401, 403, 404, 405}, f"{method} {path}: {status}"
    answer = await http.get(f"{base}{path}")
    assert answer.headers.get("content-type") == "application/problem+json"
    assert "x-amz-request-id" not in answer.headers
    assert "minio" not in str(answer.headers).lower()


async def test_a_login_of_storage_is_of_no_use_outside(http):
    """Even the administrator's: nothing but a grant is passed on."""
    curl = [
        *(
            "curl",
            "-sS",
            "-w",
            "\n%{http_code}",
            "--aws-sigv4",
            "aws:amz:us-east-1:s3",
        ),
        *("--user", f"{variable('S3_ACCESS_KEY')}:{variable('S3_SECRET_KEY')}"),
    ]
    asked = {
        "/": "200",
        "/?x-id=ListBuckets": "404",
        f"/{BUCKET}": "404",
        "/minio/admin/v3/info": "404",
    }
    for path, status in asked.items():
        done = subprocess.run(  # noqa: ASYNC221 - it takes milliseconds
            [*curl, f"{variable('MEDIA_URL')}{path}"], capture_output=True, text=True, check=True
        )
        body, _, answered = done.stdout.rpartition("\n")
        assert answered == status, path
        # At / is the page, for everybody, and no list of buckets.
        assert body.startswith("<!doctype html>" if status == "200" else '{"type":"about:blank"')


async def test_one_origin_has_the_api_events_uploads_and_files(company: Company, tmp_path):
    base = variable("MEDIA_URL")
    async with company.listening() as listener:
        assert listener.url.startswith(base)
        grant = await company.sign()
        assert grant["upload"]["url"].startswith(f"{base}/")
        asset_id = await company.upload(make_photo(tmp_path / "photo.jpg"))
        await listener.heard(asset_id, "ready")
        asset = await company.asset(asset_id)
    assert asset["processedUrl"].startswith(f"{base}/v/")
    assert asset["thumbnailUrl"].startswith(f"{base}/v/")


async def test_events_are_not_kept_back(company: Company, tmp_path):
    """A proxy that buffers would tell of an upload when its buffer is full."""
    async with company.listening() as listener:
        asset_id = await company.upload(make_photo(tmp_path / "photo.jpg"))
        await listener.heard(asset_id, "processing", timeout=10)


async def test_an_address_that_asks_for_too_much_waits_and_others_do_not(company, tmp_path):
    with another_edge(tmp_path, EDGE_REQUESTS_PER_SECOND="1") as edge:
        heads = ["GET /api/media/assets HTTP/1.1"] * 40
        answers = await statuses(edge, heads)
        assert 429 in answers
        assert answers[0] == 401
        assert await statuses(edge, heads[:1], source="127.0.0.2") == [401]
        more = [await company.http.get(f"{edge}/api/media/assets") for _ in range(6)]
        refused = next(answer for answer in more if answer.status_code != 401)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.headers["retry-after"]


async def test_the_addresses_of_one_ipv6_network_count_as_one(tmp_path):
    ours = [f"2001:db8:0:a::{number:x}" for number in range(1, 9)]
    with another_edge(
        tmp_path, EDGE_REQUESTS_PER_SECOND="1", EDGE_TRUSTED_PROXIES="127.0.0.1"
    ) as edge:

        async def answers(addresses: list[str]) -> list[int]:
            line = "GET /api/media/assets HTTP/1.1\r\nX-Forwarded-For: "
            return await statuses(edge, [line + address for address in addresses])

        assert 429 in await answers(ours)
        assert await answers(["2001:db8:0:b::1", "2001:db8:1:a::1", "192.0.2.1"]) == [401] * 3


async def test_an_address_has_a_bounded_number_of_requests_at_one_time(company, tmp_path):
    with another_edge(tmp_path, EDGE_CONNECTIONS_PER_ADDRESS="3") as edge:
        url = f"{edge}/api/media/events"
        async with web() as http:
            streams = [http.stream("GET", url, headers=company.headers) for _ in range(3)]
            opened = [await stream.__aenter__() for stream in streams]
            assert {answer.status_code for answer in opened} == {200}
            fourth = await company.http.get(f"{edge}/api/media/assets", headers=company.headers)
            assert (fourth.status_code, fourth.json()["code"]) == (429, "rate_limited")
            for stream in streams:
                await stream.__aexit__(None, None, None)


async def sign_seconds(company: Company, source: str) -> float:
    """Return the median time of a signature for a client at another address."""
    transport = httpx.AsyncHTTPTransport(local_address=source)
    async with httpx.AsyncClient(transport=transport, timeout=20) as http:
        other = Company(http, company.id)
        await other.sign()
        times = []
        for _ in range(20):
            began = time.monotonic()
            await other.sign()
            times.append(time.monotonic() - began)
    return statistics.median(times)


@pytest.mark.alone
async def test_ten_thousand_idle_connections_of_one_address_cost_another_nothing(company):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > 11_000, "raise the limit of open files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (11_000, hard))
    address = urlsplit(variable("MEDIA_URL"))
    usual = await sign_seconds(company, "127.0.0.2")
    writers = []
    try:
        for _ in range(100):
            opened = await asyncio.gather(
                *(asyncio.open_connection(address.hostname, address.port) for _ in range(100))
            )
            writers += [writer for _, writer in opened]
        assert len(writers) == 10_000
        beside = await sign_seconds(company, "127.0.0.2")
    finally:
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert beside < 2 * usual + 0.05


async def test_a_connection_that_says_nothing_is_ended(tmp_path):
    address = urlsplit(variable("MEDIA_URL"))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    began = time.monotonic()
    rest = b""
    async with asyncio.timeout(20):
        with suppress(ConnectionResetError):
            rest = await reader.read()
    assert time.monotonic() - began < 15
    assert b"408" in rest or rest == b""
    with suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()


async def test_with_a_certificate_it_speaks_tls_and_http_2(company, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(  # noqa: ASYNC221 - it takes milliseconds
        [*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    with another_edge(
        tmp_path, EDGE_TLS_CERTIFICATE=str(certificate), EDGE_TLS_CERTIFICATE_KEY=str(key)
    ) as edge:
        url = edge.replace("http://", "https://") + "/api/media/assets"
        done = subprocess.run(  # noqa: ASYNC221
            ["curl", "-sSk", "--http2", "-w", "\n%{http_version} %{http_code}", url],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    problem, _, told = done.stdout.rpartition("\n")
    assert told == "2 401"
    assert json.loads(problem)["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGE_KEYS", ""), ("EDGE_KEYS", "k1:short"), ("EDGE_KEYS", "no-id"),
        ("EDGE_S3_SECRET_KEY", ""), ("EDGE_LISTEN", "8080"), ("EDGE_SIGN_API", "x; return 200"),
        ("EDGE_STORAGE", "minio:9000"), ("EDGE_REQUESTS_PER_SECOND", "0"),
        ("EDGE_CONNECTIONS_PER_ADDRESS", "many"), ("MAX_UPLOAD_BYTES", "1g; x"),
        ("CDN_BASE_URL", "cdn.example.com"), ("CDN_BASE_URL", "https://a; script-src *"),
        ("CORS_ALLOW_ORIGINS", "app.example.com"), ("CORS_ALLOW_ORIGINS", 'https://a" "b'),
        ("S3_BUCKET_PREFIX", "../"), ("EDGE_TRUSTED_PROXIES", "all"),
        ("EDGE_TLS_CERTIFICATE", "/x"),
    ],
)  # fmt: skip
def test_a_setting_that_is_not_usable_is_named(tmp_path, name, value):
    code = Home.from_environment().root / "deploy" / "edge"
    given = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "EDGE_KEYS": f"k1:{'x' * 32}", "EDGE_S3_ACCESS_KEY": "a", "EDGE_S3_SECRET_KEY": "b",
        name: value,
    }  # fmt: skip
    done = subprocess.run(
        ["sh", str(code / "start.sh"), str(code), str(tmp_path)],
        env=given, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("edge: ")
    assert name in done.stderr

"""The page at the edge's front: what comes with it, how long it is kept, and what it may load."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import jwt
import pytest
from mediactl.commands.media import DEMO_COMPANY, page_address
from mediactl.devstack.home import Home

from support.edges import another_edge, statuses
from support.surroundings import Parts, variable

CODE = Home.from_environment().root / "deploy" / "edge"
FILES = sorted(path for path in (CODE / "page").rglob("*") if path.is_file())
TYPES = {
    ".js": "application/javascript", ".css": "text/css", ".json": "application/json",
    ".svg": "image/svg+xml", ".txt": "text/plain",
}  # fmt: skip
# Names of formats, which nobody fetches, in modules of others.
NAMESPACES = {
    "http://www.w3.org/ns/ttml",
    "http://www.w3.org/2000/svg",
    "https://aomedia.org/emsg/ID3",
}
POLICY = {
    "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self'",
    "media-src": "'self' blob: data:", "connect-src": "'self'", "base-uri": "'none'",
    "form-action": "'none'", "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'", "trusted-types": "'none'",
}  # fmt: skip


def policy_of(answer: httpx.Response) -> dict[str, str]:
    directives = answer.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


async def version_of(http: httpx.AsyncClient, base: str) -> str:
    answer = await http.get(f"{base}/")
    (version,) = set(re.findall(r'(?:src|href)="/page/([0-9a-f]{16})/', answer.text))
    return version


async def test_the_page_may_load_what_is_here_and_nothing_else(http):
    answer = await http.get(f"{variable('MEDIA_URL')}/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert policy_of(answer) == POLICY
    assert "@" not in re.sub(r"<style.*?</style>", "", answer.text)
    assert not re.search(r"<style| style=| on[a-z]+=|<script>", answer.text)
    again = await http.get(
        f"{variable('MEDIA_URL')}/", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304


async def test_a_file_of_the_page_never_changes_and_comes_compressed(http):
    base = variable("MEDIA_URL")
    version = await version_of(http, base)
    for path in FILES:
        name = path.relative_to(CODE / "page").as_posix()
        if name == "index.html":
            continue
        answer = await http.get(f"{base}/page/{version}/{name}")
        assert answer.status_code == 200, name
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"] == TYPES[path.suffix], name
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        if path.suffix != ".txt":
            assert answer.headers["content-encoding"] == "gzip", name
            assert answer.headers["vary"] == "Accept-Encoding"


async def test_nothing_else_is_there(http):
    base = variable("MEDIA_URL")
    version = await version_of(http, base)
    for path in (
        "/index.html", "/page", "/page/", "/page/index.html", f"/page/{version}",
        f"/page/{version}/", f"/page/{version}/index.html", f"/page/{version}/vendor/",
        f"/page/{version}/nothing.js",
        f"/page/{'0' * 16}/page.js", f"/page/{version}/page.js.gz",
        f"/page/{version}/vendor/../../../nginx.conf", "/?x", "/page.js", "/favicon.ico",
    ):  # fmt: skip
        answer = await http.get(f"{base}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    for method in ("PUT", "POST", "DELETE", "OPTIONS", "PROPFIND"):
        for path in ("/", f"/page/{version}/page.js"):
            head = f"{method} {path} HTTP/1.1\r\nContent-Length: 0"
            assert await statuses(base, [head]) == [405], f"{method} {path}"


async def test_it_may_load_files_from_a_cdn_that_links_lead_to(http, tmp_path):
    with another_edge(tmp_path, CDN_BASE_URL="https://cdn.example.com:444/media/") as edge:
        policy = policy_of(await http.get(f"{edge}/"))
    sources = {name: f"{POLICY[name]} https://cdn.example.com:444"
               for name in ("img-src", "media-src", "connect-src")}  # fmt: skip
    assert policy == POLICY | sources


async def test_it_knows_how_large_a_file_may_be(http, tmp_path):
    with another_edge(tmp_path, MAX_UPLOAD_BYTES="12345") as edge:
        answer = await http.get(f"{edge}/")
    assert '<meta name="max-upload-bytes" content="12345">' in answer.text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_of_the_page_names_another_host(path):
    if path.suffix == ".txt":
        return
    text = path.read_text()
    assert set(re.findall(r"https?://[A-Za-z0-9][^\s\"'`)#\\]*", text)) <= NAMESPACES
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?//", text)
    assert not re.search(r"import\s*\(?\s*[\"'](?!\.\.?/)", text)


def prepared(code: Path, data: Path) -> set[str]:
    """Have start.sh make the edge's folder, without a server; return the versions of the page."""
    given = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin", "EDGE_KEYS": f"k1:{'x' * 32}",
        "EDGE_S3_ACCESS_KEY": "a", "EDGE_S3_SECRET_KEY": "b", "EDGE_NGINX": "true",
    }  # fmt: skip
    subprocess.run(["sh", str(code / "start.sh"), str(code), str(data)], env=given, check=True)
    return {path.name for path in (data / "page").iterdir() if path.is_dir()}


def test_a_tab_that_was_open_before_a_change_finds_the_rest_of_what_it_began_with(tmp_path):
    code, data = tmp_path / "code", tmp_path / "data"
    shutil.copytree(CODE, code)
    (before,) = prepared(code, data)
    assert prepared(code, data) == {before}
    (code / "page" / "page.js").write_text("changed")
    both = prepared(code, data)
    (after,) = both - {before}
    assert before in both
    assert (data / "page" / after / "page.js").read_text() == "changed"
    assert after in (data / "page" / "index.html").read_text()
    eight_days = (data / "page" / after).stat().st_mtime - 8 * 24 * 3600
    os.utime(data / "page" / before, (eight_days, eight_days))
    assert prepared(code, data) == {after}


async def test_the_demo_prints_an_address_that_is_good_for_a_day(http):
    address, _, token = page_address(Parts().home, DEMO_COMPANY).partition("#token=")
    assert address == f"{variable('MEDIA_URL')}/"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["company_id"] == DEMO_COMPANY
    assert claims["exp"] - claims["iat"] <= 24 * 3600
    answer = await http.get(
        f"{address}api/media/assets", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200

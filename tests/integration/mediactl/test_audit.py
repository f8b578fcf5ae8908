"""``mediactl audit`` with an OSV database of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
SWAGGER_UI = "libs/runtime/src/media_runtime/http/swagger_ui"
ADVISORY = {
    "id": "GHSA-1",
    "aliases": ["CVE-1"],
    "summary": "All is lost.",
    "affected": [
        {
            "package": {"name": "pillow", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


def version_of(lock: str, name: str) -> str:
    packages = json.loads((ROOT / lock / "package-lock.json").read_text())["packages"]
    return packages[f"node_modules/{name}"]["version"]


HLS_JS = version_of("deploy/edge/vendor", "hls.js")
OPENAPI_FETCH = version_of("libs/sdk_typescript", "openapi-fetch")
LOCK = f"pillow==1.0 --hash=sha256:{'0' * 64}\nsix==1.17.0 --hash=sha256:{'0' * 64}\n"


class Database(ThreadingHTTPServer):
    """Answers as api.osv.dev does; ``asked`` holds the packages that it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.asked: set[tuple[str, str]] = set()
        self.advisories: dict[str, dict[str, object]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/query"


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in two writes waits for an acknowledgement in between
    server: Database

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = question["package"]["name"]
        self.server.asked.add((name, question["version"]))
        known = self.server.advisories.get(name)
        body = json.dumps({"vulns": [known]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def database() -> Iterator[Database]:
    with Database() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def checkout(tmp_path):
    """Make a checkout with two locked packages, and with these exceptions."""

    def make(exceptions: str = "", lock: str = LOCK) -> Path:
        copied = [
            *("docker-compose.yml", "deploy/local/pom.xml", "deploy/edge/vendor/package-lock.json"),
            *("libs/sdk_typescript/package-lock.json", f"{SWAGGER_UI}/package.json"),
            *(str(path.relative_to(ROOT)) for path in ROOT.glob("*/*/Dockerfile")),
        ]
        for name in copied:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
        (tmp_path / "requirements.lock").write_text(lock)
        (tmp_path / "pyproject.toml").write_text(
            f"[tool.media.audit]\nexceptions = [{exceptions}]\n"
        )
        return tmp_path

    return make


def audit(root: Path, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "mediactl", "audit"],
        env={**os.environ, "MEDIACTL_ROOT": str(root), "MEDIACTL_OSV_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_package_that_is_locked_for_this_python_is_looked_up(database):
    locked = [
        Requirement(line.rstrip(" \\"))
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line[:1].isalnum()
    ]
    ours = [one for one in locked if one.marker is None or one.marker.evaluate()]

    done = audit(ROOT, database.url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert database.asked >= {(one.name, str(one.specifier)[2:]) for one in ours}
    others = {("hls.js", HLS_JS), ("openapi-fetch", OPENAPI_FETCH)}
    others |= {(one, version) for one, version in database.asked if "kafka_" in one}
    assert len(others) == 3
    assert others < database.asked
    audited = int(done.stdout.split()[0])
    assert audited == len(database.asked - {("pip", "0")}) > len(ours)
    assert f"{audited} packages, 0 known" in done.stdout


def test_what_is_known_of_a_package_of_npm_is_told(database, checkout):
    of_npm = {"package": {"name": "hls.js", "ecosystem": "npm"}}
    ranges = [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "9.0.0"}]}]
    database.advisories["hls.js"] = {**ADVISORY, "affected": [{**of_npm, "ranges": ranges}]}

    done = audit(checkout(), database.url)

    assert done.returncode == 1
    assert f"hls.js {HLS_JS}: GHSA-1, fixed in 9.0.0\n" in done.stdout


def test_a_vulnerability_fails_and_is_named_with_its_fix(database, checkout):
    database.advisories["pillow"] = ADVISORY

    done = audit(checkout(), database.url)

    assert done.returncode == 1
    assert "pillow 1.0: CVE-1, fixed in 99\n" in done.stdout


@pytest.mark.parametrize(("until", "code"), [("2999-01-01", 0), ("2020-01-01", 1)])
def test_one_that_is_accepted_passes_until_its_day(database, checkout, until, code):
    database.advisories["pillow"] = ADVISORY
    root = checkout(f'{{ id = "GHSA-1", reason = "It is never called.", until = {until} }}')

    done = audit(root, database.url)

    assert done.returncode == code, done.stdout
    assert ("It is never called." in done.stdout) is (code == 0)


def test_without_a_database_nothing_is_claimed(checkout):
    done = audit(checkout(), "http://127.0.0.1:9/v1/query")

    assert done.returncode == 0
    assert done.stdout.startswith("Not audited: http://127.0.0.1:9/v1/query cannot be reached")


def test_an_audit_that_fails_while_the_database_answers_is_an_error(database, checkout):
    """Red when every failure is taken for a missing network."""
    done = audit(checkout(lock="six==1.17.0\n"), database.url)

    assert done.returncode == 1
    assert "does not contain a hash" in done.stderr


def test_services_ship_nothing_that_the_audited_lock_does_not_hold():
    def pins(lock: Path) -> set[str]:
        lines = lock.read_text().splitlines()
        return {line.split()[0] for line in lines if line[:1].isalnum()}

    locks = [*ROOT.glob("services/*/requirements.lock"), *ROOT.glob("libs/*/requirements.lock")]
    assert len(locks) >= 6
    for lock in locks:
        assert pins(lock) <= pins(ROOT / "requirements.lock"), lock

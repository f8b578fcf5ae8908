"""The load's clients are good ones: they try again what may be tried, and admit doubt."""

from __future__ import annotations

import json
from collections import Counter
from uuid import UUID, uuid4

import httpx
import pytest

from chaos import load
from chaos.journal import Entry, Journal, uploads
from chaos.load import run_load
from chaos.media import READY, Sample
from chaos.target import Target

COMPANY = UUID(int=1)
PHOTO = Sample("photo.jpg", "image/jpeg", b"photo", READY)
TARGET = Target(
    url="http://api",
    jwt_secret="secret-of-thirty-two-bytes-or-more",
    database_url="",
    kafka="",
    s3_url="http://storage",
    s3_access_key="",
    s3_secret_key="",
)


class Server:
    """The API and storage; what they answer to each request in turn, then well."""

    def __init__(self) -> None:
        self.sign: list = []
        self.upload: list = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        is_sign = request.url.host == "api"
        answers = self.sign if is_sign else self.upload
        answer = answers.pop(0) if answers else (201 if is_sign else 200)
        if isinstance(answer, Exception):
            raise answer
        if not is_sign or answer != 201:
            return httpx.Response(answer)
        upload = {"url": "http://storage/bucket", "headers": {"Content-Type": "image/jpeg"}}
        return httpx.Response(201, json={"assetId": str(uuid4()), "upload": upload})

    def at(self, host: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.host == host]


@pytest.fixture
def server(monkeypatch) -> Server:
    server = Server()
    client = httpx.AsyncClient

    def mocked(**options):
        return client(transport=httpx.MockTransport(server), timeout=options["timeout"])

    monkeypatch.setattr(load.httpx, "AsyncClient", mocked)
    monkeypatch.setattr(load, "_FIRST_PAUSE", 0.001)
    return server


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


async def send(journal, *, patience=5.0) -> list[tuple[str, str]]:
    await run_load(
        TARGET,
        count=1,
        seed=1,
        journal=journal,
        companies=[COMPANY],
        concurrency=1,
        samples=[PHOTO],
        patience=patience,
    )
    return [(entry.op, entry.outcome) for entry in journal.entries()]


LOST = httpx.ReadError("the connection broke")
AWAY = httpx.ConnectError("nobody listens")


async def test_an_upload_is_signed_and_stored(server, journal):
    assert await send(journal) == [("sign", "ok"), ("upload", "ok")]
    sign, upload = journal.entries()
    assert json.loads(server.requests[0].content) == {
        "fileName": "photo.jpg",
        "size": 5,
        "type": "image/jpeg",
    }
    assert sign.asset_id == upload.asset_id
    assert (upload.company, upload.expect, upload.size) == (str(COMPANY), "ready", 5)


async def test_a_sign_is_repeated_with_the_same_key(server, journal):
    server.sign = [AWAY, 503, LOST, 429]
    assert await send(journal) == [("sign", "ok"), ("upload", "ok")]
    keys = {request.headers["idempotency-key"] for request in server.at("api")}
    assert (len(server.at("api")), len(keys)) == (5, 1)
    assert journal.entries()[0].tries == 5


async def test_an_upload_is_repeated_with_the_same_grant(server, journal):
    server.upload = [LOST, 503, AWAY]
    assert await send(journal) == [("sign", "ok"), ("upload", "ok")]
    assert (len(server.at("api")), len(server.at("storage"))) == (1, 4)


async def test_what_is_refused_is_not_repeated(server, journal):
    server.upload = [403]
    assert await send(journal) == [("sign", "ok"), ("upload", "fail")]
    assert len(server.at("storage")) == 1


async def test_a_refusal_after_a_broken_connection_leaves_a_doubt(server, journal):
    server.upload = [LOST, 403]
    assert await send(journal) == [("sign", "ok"), ("upload", "info")]


async def test_what_never_reached_anyone_has_failed(server, journal):
    server.upload = [AWAY] * 1000
    assert await send(journal, patience=0.05) == [("sign", "ok"), ("upload", "fail")]


@pytest.mark.parametrize("answer", [LOST, 503])
async def test_what_may_have_been_stored_is_in_doubt(server, journal, answer):
    server.upload = [answer] * 1000
    assert await send(journal, patience=0.05) == [("sign", "ok"), ("upload", "info")]


async def test_without_a_grant_nothing_is_uploaded(server, journal):
    server.sign = [422]
    assert await send(journal) == [("sign", "fail")]
    assert server.at("storage") == []


def test_a_mix_is_kept_to_the_file(monkeypatch):
    kinds = {"image": READY, "clip": READY, "bad": "type_mismatch"}
    found = [
        Sample(f"{kind}-{n}", "video/mp4" if kind == "clip" else "image/jpeg", b"", expect)
        for kind, expect in kinds.items()
        for n in range(3)
    ]
    monkeypatch.setattr(load.media, "samples", lambda seed: found)
    mix = {"image": 0.7, "clip": 0.25, "bad": 0.05}
    chosen = load._chosen(200, 5, mix, None)
    assert Counter(sample.kind for sample in chosen) == {"image": 140, "clip": 50, "bad": 10}
    assert {sample.name for sample in chosen} == {sample.name for sample in found}
    assert chosen == load._chosen(200, 5, mix, None) != load._chosen(200, 6, mix, None)
    assert len(load._chosen(7, 5, mix, None)) == 7


def test_a_ledger_gives_back_what_was_written_but_no_torn_line(journal):
    first = journal.add("upload", "info", asset_id="a", company="c", sample="x", expect="ready")
    second = journal.add("upload", "ok", asset_id="a", company="c")
    journal.add("upload", "fail", asset_id="a")
    with journal.path.open("a") as file:
        file.write('{"op":"sign","outco')
    found = Journal.read(journal.path)
    assert found[:2] == [first, second]
    assert len(found) == 3
    assert uploads(found) == {"a": second}


def test_an_entry_may_have_fields_of_a_later_day(journal):
    journal.path.write_text('{"op":"sign","outcome":"ok","at":1.5,"weather":"fine"}\n')
    assert journal.entries() == [Entry(op="sign", outcome="ok", at=1.5)]

"""The sign API as a client meets it: every documented answer, over HTTP, on real parts."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from media_contracts import MEDIA_STATUS

from support.clients import Company, token_of
from support.eventually import eventually
from support.media_files import make_photo
from support.surroundings import variable
from support.wire import Rows, events_on, open_rows

PHOTO = {"fileName": "photo.jpg", "size": 1000, "type": "image/jpeg"}


def problem(answer: httpx.Response, status: int) -> str:
    """Check that *answer* is a problem of RFC 9457 and return its code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert set(found) == {"type", "title", "status", "code", "detail"}
    assert found["status"] == status
    assert found["detail"].endswith(".")
    assert len(found["detail"].split()) > 2, "the detail is a sentence"
    return str(found["code"])


def claims(**changed) -> dict[str, object]:
    """Return the claims of a valid token, some of them *changed*; None leaves one out."""
    valid = {
        "sub": "someone",
        "company_id": str(uuid4()),
        "permissions": ["media:upload", "media:read"],
        "aud": variable("JWT_AUDIENCE"),
        "iss": variable("JWT_ISSUER"),
        "exp": datetime.now(UTC) + timedelta(hours=1),
    }
    return {name: value for name, value in {**valid, **changed}.items() if value is not None}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_grant_is_good_for_one_key_type_and_size_for_an_hour(company):
    answer = await company.post("/sign", json=PHOTO)
    grant = answer.json()

    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert set(grant) == {"assetId", "upload"}
    assert set(grant["upload"]) == {"method", "url", "headers", "expiresAt"}
    assert grant["upload"]["method"] == "PUT"
    assert grant["upload"]["url"].startswith(variable("MEDIA_URL"))
    assert str(company.id) in grant["upload"]["url"], "the company's own bucket"
    expires = datetime.fromisoformat(grant["upload"]["expiresAt"])
    assert timedelta(minutes=59) < expires - datetime.now(UTC) <= timedelta(hours=1)

    url = urlsplit(grant["upload"]["url"])
    key = f"{company.id}/uploads/{grant['assetId']}"
    assert url.path == f"/media-{company.id}/{key}"
    assert parse_qs(url.query)["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
    assert grant["upload"]["headers"] == {"Content-Type": "image/jpeg"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"type": "application/pdf"}, "invalid_type"),
        ({"type": "image/svg+xml"}, "invalid_type"),
        ({"type": "image/jpeg image/png"}, "invalid_type"),
        ({"type": "; charset=utf-8"}, "invalid_type"),
        ({"type": ""}, "invalid_type"),
        ({"type": 7}, "invalid_type"),
        ({"type": None}, "invalid_type"),
        ({"size": 500_000_001}, "file_too_large"),
        ({"size": 10**30}, "file_too_large"),
        ({"size": 0}, "invalid_size"),
        ({"size": -1}, "invalid_size"),
        ({"size": 1.5}, "invalid_size"),
        ({"size": "1000"}, "invalid_size"),
        ({"size": True}, "invalid_size"),
        ({"title": ""}, "invalid_text"),
        ({"title": "x" * 501}, "invalid_text"),
        ({"title": "a\0b"}, "invalid_text"),
        ({"title": 7}, "invalid_text"),
        ({"alt": "x" * 2001}, "invalid_text"),
        ({"alt": "a\ud800b"}, "invalid_text"),
        ({"focus": "left"}, "invalid_focus"),
        ({"focus": {"x": 0.5}}, "invalid_focus"),
        ({"focus": {"x": 0.5, "y": 1.01}}, "invalid_focus"),
        ({"focus": {"x": -0.01, "y": 1}}, "invalid_focus"),
        ({"focus": {"x": "0.5", "y": 1}}, "invalid_focus"),
        ({"crop": "faces"}, "invalid_crop"),
        ({"crop": {"x": 0.5, "y": 1}}, "invalid_crop"),
        ({"fileName": ""}, "invalid_file_name"),
        ({"fileName": "x" * 256}, "invalid_file_name"),
        ({"fileName": "../../etc/passwd"}, "invalid_file_name"),
        ({"fileName": "a\\b.jpg"}, "invalid_file_name"),
        ({"fileName": ".."}, "invalid_file_name"),
        ({"fileName": "a\nb.jpg"}, "invalid_file_name"),
        ({"fileName": "a\0b.jpg"}, "invalid_file_name"),
        ({"fileName": "a\u2028b.jpg"}, "invalid_file_name"),
        ({"fileName": "\ud800.jpg"}, "invalid_file_name"),
        ({"fileName": 5}, "invalid_file_name"),
    ],
)
async def test_a_bad_field_is_named_by_its_code(company, changed, code):
    body = json.dumps({**PHOTO, **changed})
    answer = await company.post("/sign", content=body, headers={"Content-Type": "application/json"})

    assert problem(answer, 400) == code


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("IMAGE/JPEG", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("image/jpeg; charset=utf-8", "image/jpeg"),
        ('video/webm; codecs="vp8, opus"', "video/webm"),
    ],
)
async def test_a_type_is_signed_in_its_plain_form(company, said, plain):
    answer = await company.post("/sign", json={**PHOTO, "type": said})

    assert answer.status_code == 201, answer.text
    assert answer.json()["upload"]["headers"]["Content-Type"] == plain


@pytest.mark.parametrize("field", ["fileName", "size", "type"])
async def test_a_missing_field_is_named_by_its_code(company, field):
    body = {name: value for name, value in PHOTO.items() if name != field}
    codes = {"fileName": "invalid_file_name", "size": "invalid_size", "type": "invalid_type"}

    assert problem(await company.post("/sign", json=body), 400) == codes[field]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"null"])
async def test_a_body_that_is_no_json_object_is_an_invalid_request(company, body):
    answer = await company.post("/sign", content=body, headers={"Content-Type": "application/json"})

    assert problem(answer, 400) == "invalid_request"


@pytest.mark.parametrize("name", ["x", "x" * 255, "Ferien 2026, Übersee 🌊.jpg", "a+b&c=d%.jpg"])
async def test_ordinary_names_are_kept_as_they_are(company, name):
    grant = await company.sign(name)

    assert (await company.asset(grant["assetId"]))["fileName"] == name


@pytest.mark.parametrize("size", [1, 500_000_000])
async def test_the_smallest_and_the_largest_size_are_accepted(company, size):
    assert (await company.sign(size=size))["upload"]["url"]


def token(secret: str | None = None, algorithm: str = "HS256", **changed) -> str:
    return jwt.encode(claims(**changed), secret or variable("JWT_SECRET"), algorithm=algorithm)


def unsigned(**changed) -> str:
    return jwt.encode(claims(**changed), None, algorithm="none")


_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_PUBLIC_JWK = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_KEY.public_key()))


def forged(**header) -> str:
    """Return a token that an attacker's key has signed, with hints where to find that key."""
    return jwt.encode(claims(), _KEY, algorithm="RS256", headers=header)


BAD_TOKENS = {
    "lapsed": lambda: token(exp=datetime.now(UTC) - timedelta(minutes=1)),
    "for another audience": lambda: token(aud="other"),
    "of another issuer": lambda: token(iss="other"),
    "without an end": lambda: token(exp=None),
    "without an audience": lambda: token(aud=None),
    "without a subject": lambda: token(sub=None),
    "without a company": lambda: token(company_id=None),
    "of no real company": lambda: token(company_id="acme"),
    "without permissions": lambda: token(permissions=None),
    "with permissions as text": lambda: token(permissions="media:upload"),
    "not valid yet": lambda: token(nbf=datetime.now(UTC) + timedelta(minutes=5)),
    "with another secret": lambda: token(secret="another secret of enough bytes, 32"),
    "unsigned": unsigned,
    "unsigned, claiming HS256": lambda: f"{_header('HS256')}.{unsigned().partition('.')[2]}",
    "with another algorithm": lambda: token(algorithm="HS512", secret=variable("JWT_SECRET") * 2),
    "that names its own key": lambda: forged(jwk=_PUBLIC_JWK),
    "that says where its key is": lambda: forged(jku="http://127.0.0.1:9/jwks.json"),
    "that brings a certificate": lambda: forged(x5u="http://127.0.0.1:9/c.pem", x5c=["AAAA"]),
    "that names a file as its key": lambda: forged(kid="../../../../dev/null"),
    "that names a query as its key": lambda: forged(kid="' UNION SELECT 'key"),
    "with a header that must be understood": lambda: forged(crit=["exp"]),
    "of a size that no token has": lambda: token(padding="x" * 20_000),
    "garbage": lambda: "garbage",
    "with another payload": lambda: ".".join(
        [token().split(".")[0], unsigned().split(".")[1], token().split(".")[2]]
    ),
}


def _header(algorithm: str) -> str:
    header = json.dumps({"alg": algorithm, "typ": "JWT"})
    return base64.urlsafe_b64encode(header.encode()).decode().rstrip("=")


@pytest.mark.parametrize("what", BAD_TOKENS)
async def test_a_bad_token_is_refused_everywhere(company, what):
    headers, nothing = bearer(BAD_TOKENS[what]()), uuid4()

    for method, path, options in (
        ("POST", "/sign", {"json": PHOTO}),
        ("GET", "/assets", {}),
        ("GET", f"/assets/{nothing}", {}),
        ("POST", f"/assets/{nothing}/retry", {}),
        ("DELETE", f"/assets/{nothing}", {}),
    ):
        answer = await company.call(method, path, headers=headers, **options)
        assert problem(answer, 401) == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
    events = f"{variable('MEDIA_EVENTS_URL')}/api/media/events"
    for method, url in (("GET", events), ("POST", f"{events}/ticket")):
        answer = await company.http.request(method, url, headers=headers)
        assert problem(answer, 401) == "unauthorized"


@pytest.mark.parametrize("value", ["", "Bearer", "Basic dXNlcjpwYXNz", "token"])
async def test_a_request_without_a_bearer_token_is_refused(company, value):
    answer = await company.post("/sign", json=PHOTO, headers={"Authorization": value})

    assert problem(answer, 401) == "unauthorized"


async def test_a_valid_token_of_ours_is_accepted(company):
    """What the tests of bad tokens change is good as it is."""
    answer = await company.post("/sign", json=PHOTO, headers=bearer(token()))

    assert answer.status_code == 201


@pytest.mark.parametrize("permissions", [(), ("media:read",), ("media:uploads", "admin")])
async def test_only_uploaders_may_change_anything(company, permissions):
    grant = await company.sign()
    headers = bearer(token_of(company.id, permissions))

    for method, path, options in (
        ("POST", "/sign", {"json": PHOTO}),
        ("POST", f"/assets/{grant['assetId']}/retry", {}),
        ("DELETE", f"/assets/{grant['assetId']}", {}),
    ):
        answer = await company.call(method, path, headers=headers, **options)
        assert problem(answer, 403) == "forbidden"
    assert (await company.asset(grant["assetId"]))["status"] == "pending"


@pytest.mark.parametrize(
    ("permissions", "status"), [(("media:read",), 200), (("media:upload",), 200), (("x",), 403)]
)
async def test_readers_and_uploaders_may_look(company, permissions, status):
    grant = await company.sign()
    headers = bearer(token_of(company.id, permissions))

    for path in ("/assets", f"/assets/{grant['assetId']}"):
        assert (await company.get(path, headers=headers)).status_code == status


async def test_another_companys_asset_looks_like_none(company, other_company):
    theirs, nobodys = (await other_company.sign())["assetId"], str(uuid4())

    for method, end in (("GET", ""), ("POST", "/retry"), ("DELETE", "")):
        for_theirs = await company.call(method, f"/assets/{theirs}{end}")
        for_nobodys = await company.call(method, f"/assets/{nobodys}{end}")
        assert problem(for_theirs, 404) == "asset_not_found"
        assert for_theirs.content == for_nobodys.content
    assert (await other_company.asset(theirs))["status"] == "pending"


async def test_a_list_shows_the_companys_own_assets_alone(company, other_company):
    mine = (await company.sign())["assetId"]
    await other_company.sign()

    page = (await company.get("/assets")).json()
    assert [asset["assetId"] for asset in page["items"]] == [mine]
    assert page["nextCursor"] is None


async def test_a_list_is_filtered_by_status_and_paged(company):
    signed = [(await company.sign(f"{n}.jpg"))["assetId"] for n in range(5)]
    await company.call("DELETE", f"/assets/{signed[0]}")

    first = (await company.get("/assets", params={"limit": 3, "status": "pending"})).json()
    second = (
        await company.get(
            "/assets", params={"limit": 3, "status": "pending", "cursor": first["nextCursor"]}
        )
    ).json()
    found = [asset["assetId"] for page in (first, second) for asset in page["items"]]
    assert found == signed[:0:-1], "newest first, without the deleted one"
    assert second["nextCursor"] is None
    assert (await company.get("/assets", params={"status": "ready"})).json()["items"] == []


async def test_assets_signed_while_pages_are_turned_are_neither_lost_nor_shown_twice(company):
    signed = [(await company.sign(f"{n}.jpg"))["assetId"] for n in range(4)]
    first = (await company.get("/assets", params={"limit": 2})).json()
    await company.sign("late.jpg")
    params = {"limit": 2, "cursor": first["nextCursor"]}
    second = (await company.get("/assets", params=params)).json()

    found = [asset["assetId"] for page in (first, second) for asset in page["items"]]
    assert found == signed[::-1]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "0"}, "invalid_limit"),
        ({"limit": "101"}, "invalid_limit"),
        ({"limit": "many"}, "invalid_limit"),
        ({"status": "done"}, "invalid_status"),
        ({"status": ""}, "invalid_status"),
        ({"cursor": "garbage"}, "invalid_cursor"),
        ({"cursor": "é"}, "invalid_cursor"),
        ({"cursor": base64.urlsafe_b64encode(b"2026-01-01|x").decode()}, "invalid_cursor"),
        ({"cursor": base64.urlsafe_b64encode(b"\xff\xfe").decode()}, "invalid_cursor"),
        (
            {"cursor": base64.urlsafe_b64encode(f"0001-01-01T00:00+14:00|{UUID(int=0)}".encode())},
            "invalid_cursor",
        ),
    ],
)
async def test_bad_parameters_of_a_list_are_named_by_their_code(company, params, code):
    assert problem(await company.get("/assets", params=params), 400) == code


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("POST", "/retry"), ("DELETE", "")])
async def test_an_id_that_is_none_is_named_by_its_code(company, method, end):
    answer = await company.call(method, f"/assets/none{end}")

    assert problem(answer, 400) == "invalid_asset_id"


async def test_unknown_paths_and_methods_are_problems_too(company):
    assert problem(await company.get("/nothing"), 404) == "not_found"
    assert problem(await company.call("PUT", "/sign"), 405) == "method_not_allowed"


async def test_a_repeated_request_under_one_key_gets_the_same_answer(company):
    key = {"Idempotency-Key": str(uuid4())}
    first = await company.post("/sign", json=PHOTO, headers=key)
    second = await company.post("/sign", json=PHOTO, headers=key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len((await company.get("/assets")).json()["items"]) == 1


async def test_another_request_under_one_key_is_refused(company):
    key = {"Idempotency-Key": str(uuid4())}
    await company.post("/sign", json=PHOTO, headers=key)
    answer = await company.post("/sign", json={**PHOTO, "size": 999}, headers=key)

    assert problem(answer, 422) == "idempotency_key_reused"


async def test_companies_do_not_share_keys(company, other_company):
    key = {"Idempotency-Key": "upload-1"}
    mine = (await company.post("/sign", json=PHOTO, headers=key)).json()
    theirs = (await other_company.post("/sign", json=PHOTO, headers=key)).json()

    assert mine["assetId"] != theirs["assetId"]


@pytest.mark.parametrize("key", ["x" * 256, "with space", ""])
async def test_a_bad_key_is_refused(company, key):
    answer = await company.post("/sign", json=PHOTO, headers={"Idempotency-Key": key})

    assert problem(answer, 400) == "invalid_idempotency_key"


async def test_ten_requests_at_once_under_one_key_make_one_asset(company):
    key = {"Idempotency-Key": str(uuid4())}
    answers = await asyncio.gather(
        *(company.post("/sign", json=PHOTO, headers=key) for _ in range(10))
    )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["assetId"] for answer in answers}) == 1
    assert len((await company.get("/assets")).json()["items"]) == 1


async def test_ten_first_grants_of_a_new_company_at_once_are_all_good(company, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg", size=(40, 30)).read_bytes()
    grants = await asyncio.gather(*(company.sign(size=len(photo)) for _ in range(10)))

    assert len({grant["assetId"] for grant in grants}) == 10
    answers = await asyncio.gather(*(company.store(grant, photo) for grant in grants))
    assert {answer.status_code for answer in answers} == {200}
    for grant in grants:
        await company.ready(grant["assetId"])


async def test_all_that_is_told_of_an_upload_carries_the_trace_of_its_grant(company, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg").read_bytes()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await company.post(
        "/sign", json={**PHOTO, "size": len(photo)}, headers={"traceparent": trace}
    )
    asset_id = answer.json()["assetId"]
    await company.store(answer.json(), photo)
    await company.ready(asset_id)

    async def told():
        events = await events_on(MEDIA_STATUS, [asset_id])
        return events if events and _status(events[-1]) == "ready" else None

    events = await eventually(told)
    assert {event.traceparent for event in events} == {trace}
    assert {event.companyid for event in events} == {company.id}


def _status(event) -> str | None:
    return getattr(event.data, "status", None)


async def test_an_asset_that_has_not_failed_cannot_be_retried(company, tmp_path):
    pending = (await company.sign())["assetId"]
    ready = await company.upload(make_photo(tmp_path / "photo.jpg"))
    await company.ready(ready)

    for asset_id in (pending, ready):
        assert problem(await company.post(f"/assets/{asset_id}/retry"), 409) == "not_failed"


async def test_a_failed_asset_is_retried_and_ends_again(company, rows: Rows):
    asset_id = await company.upload_bytes("bad.jpg", b"no photo" * 9, "image/jpeg")
    await company.ended(asset_id)

    async with company.listening() as listener:
        answer = await company.post(f"/assets/{asset_id}/retry")
        assert answer.status_code == 202
        assert (answer.json()["status"], answer.json()["error"]) == ("processing", None)
        outcome = await listener.outcome(asset_id)

    assert (outcome.data["attempt"], outcome.data["outcome"]) == (2, "failed")
    assert await rows.endings(asset_id) == [(1, "failed"), (2, "failed")]


async def test_one_asset_is_retried_once_a_minute(company, rows: Rows):
    """Each attempt may cost minutes of work, and a client that loops costs no more than one."""
    asset_id = await company.upload_bytes("bad.jpg", b"no photo" * 9, "image/jpeg")
    await company.ended(asset_id)
    assert (await company.post(f"/assets/{asset_id}/retry")).status_code == 202
    await company.ended(asset_id)
    answer = await company.post(f"/assets/{asset_id}/retry")
    assert problem(answer, 429) == "retried_too_soon"
    assert 30 < int(answer.headers["retry-after"]) <= 60
    await rows.connection.execute(
        "UPDATE media_assets SET attempt_at = attempt_at - interval '1 minute' WHERE id = $1",
        UUID(asset_id),
    )
    assert (await company.post(f"/assets/{asset_id}/retry")).status_code == 202
    await company.ended(asset_id)


async def test_a_file_that_is_no_longer_kept_cannot_be_retried(company, rows: Rows):
    """Its time in quarantine is over: an attempt could only fail, by nobody's fault but ours."""
    asset_id = await company.upload_bytes("bad.jpg", b"no photo" * 9, "image/jpeg")
    await company.ended(asset_id)
    await rows.connection.execute("DELETE FROM asset_files WHERE asset_id = $1", UUID(asset_id))
    assert problem(await company.post(f"/assets/{asset_id}/retry"), 409) == "original_gone"
    assert (await company.asset(asset_id))["status"] == "failed"


async def test_five_retries_at_once_begin_one_attempt(company, rows: Rows):
    asset_id = await company.upload_bytes("bad.jpg", b"no photo" * 9, "image/jpeg")
    await company.ended(asset_id)

    async with rows.connection.transaction():
        # All five wait for this lock, so that none of them comes after the new attempt's end.
        await rows.connection.execute(
            "SELECT 1 FROM media_assets WHERE id = $1 FOR UPDATE", UUID(asset_id)
        )
        retries = [asyncio.create_task(company.post(f"/assets/{asset_id}/retry")) for _ in range(5)]
        await eventually(lambda: _waiting_for_locks(5))
    statuses = sorted([(await retry).status_code for retry in retries])

    assert statuses == [202] + [409] * 4
    assert await eventually(lambda: _endings(rows, asset_id, 2)) == [(1, "failed"), (2, "failed")]


async def _waiting_for_locks(count: int) -> bool:
    # A transaction sees others as they were at its first look: each look has its own.
    async with open_rows() as rows:
        found = await rows.connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'media_sign_api'"
            " AND wait_event_type = 'Lock'"
        )
    return found >= count


async def _endings(rows: Rows, asset_id: str, count: int):
    found = await rows.endings(asset_id)
    return found if len(found) == count else None


async def test_a_deleted_asset_is_gone_and_so_are_its_files(company: Company, tmp_path):
    asset_id = await company.upload(make_photo(tmp_path / "photo.jpg"))
    asset = await company.ready(asset_id)

    for _ in range(2):
        answer = await company.call("DELETE", f"/assets/{asset_id}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert problem(await company.get(f"/assets/{asset_id}"), 404) == "asset_not_found"
    assert problem(await company.post(f"/assets/{asset_id}/retry"), 404) == "asset_not_found"
    assert (await company.get("/assets")).json()["items"] == []

    async def files_are_gone() -> bool:
        answers = [await company.http.get(asset[u]) for u in ("processedUrl", "thumbnailUrl")]
        return {answer.status_code for answer in answers} == {404}

    await eventually(files_are_gone, timeout=5)


async def test_an_asset_deleted_before_its_upload_stays_deleted(company, rows: Rows, tmp_path):
    photo = make_photo(tmp_path / "photo.jpg").read_bytes()
    grant = await company.sign(size=len(photo))
    await company.call("DELETE", f"/assets/{grant['assetId']}")

    assert (await company.store(grant, photo)).status_code == 200
    await company.ready(await company.upload(tmp_path / "photo.jpg"))
    assert (await company.get(f"/assets/{grant['assetId']}")).status_code == 404
    assert (await rows.transitions(grant["assetId"]))[-1][2] == "deleted"


async def test_probes_and_metrics_need_no_token(http):
    url = variable("MEDIA_API_URL")
    for path in ("/healthz", "/readyz"):
        answer = await http.get(f"{url}{path}")
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    answer = await http.get(variable("SIGN_API_METRICS_URL"))
    assert answer.status_code == 200
    assert "outbox_relayed_total" in answer.text
    assert "sign_api_" in answer.text


async def test_metrics_count_grants_and_name_no_company(company):
    async def grants() -> float:
        answer = await company.http.get(variable("SIGN_API_METRICS_URL"))
        assert str(company.id) not in answer.text
        lines = [line for line in answer.text.splitlines() if line.startswith("sign_api_grants_")]
        return sum(float(x.split()[-1]) for x in lines if 'image"' in x and "_total" in x)

    before = await grants()
    await company.sign()
    assert await grants() > before

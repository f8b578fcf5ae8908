"""
Both OpenAPI documents against the services: no input leads to an answer that is not in them.

The inputs are the same each time; SCHEMATHESIS_SEED=7 gives others. Documents know no ids: those
of real assets are put into every other input.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from media_runtime.http.app import MANAGE, READ, UPLOAD
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from schemathesis.specs.openapi.schemas import OpenApiSchema

from support.batches import begun_batch
from support.clients import Company, open_http, token_of
from support.in_parts import begun
from support.media_files import make_photo
from support.surroundings import Parts, variable
from support.tiers import FULL, HOUR

EXAMPLES = 1000 if FULL else 30
SEED = int(os.environ.get("SCHEMATHESIS_SEED", "0"))
# A good request to this one is answered for as long as the token is valid.
STREAM = ("MEDIA_EVENTS_URL", "GET", "/api/media/events")
OPERATIONS = [
    ("MEDIA_API_URL", "POST", "/api/media/sign"),
    ("MEDIA_API_URL", "GET", "/api/media/assets"),
    ("MEDIA_API_URL", "GET", "/api/media/assets/{asset_id}"),
    ("MEDIA_API_URL", "DELETE", "/api/media/assets/{asset_id}"),
    ("MEDIA_API_URL", "POST", "/api/media/assets/{asset_id}/retry"),
    ("MEDIA_API_URL", "POST", "/api/media/assets/{asset_id}/poster"),
    ("MEDIA_API_URL", "POST", "/api/media/assets/{asset_id}/pictures"),
    ("MEDIA_API_URL", "POST", "/api/media/uploads"),
    ("MEDIA_API_URL", "GET", "/api/media/uploads"),
    ("MEDIA_API_URL", "GET", "/api/media/uploads/{asset_id}"),
    ("MEDIA_API_URL", "POST", "/api/media/uploads/{asset_id}/parts"),
    ("MEDIA_API_URL", "POST", "/api/media/uploads/{asset_id}/complete"),
    ("MEDIA_API_URL", "DELETE", "/api/media/uploads/{asset_id}"),
    ("MEDIA_API_URL", "POST", "/api/media/batches"),
    ("MEDIA_API_URL", "GET", "/api/media/batches"),
    ("MEDIA_API_URL", "GET", "/api/media/batches/{batch_id}"),
    ("MEDIA_API_URL", "GET", "/api/media/batches/{batch_id}/uploads"),
    ("MEDIA_API_URL", "POST", "/api/media/batches/{batch_id}/cancel"),
    ("MEDIA_API_URL", "POST", "/api/media/batches/{batch_id}/retry"),
    ("MEDIA_API_URL", "POST", "/api/media/webhooks"),
    ("MEDIA_API_URL", "GET", "/api/media/webhooks"),
    ("MEDIA_API_URL", "GET", "/api/media/webhooks/{webhook_id}"),
    ("MEDIA_API_URL", "PATCH", "/api/media/webhooks/{webhook_id}"),
    ("MEDIA_API_URL", "POST", "/api/media/webhooks/{webhook_id}/secret"),
    ("MEDIA_API_URL", "POST", "/api/media/webhooks/{webhook_id}/ping"),
    ("MEDIA_API_URL", "POST", "/api/media/webhooks/{webhook_id}/replay"),
    ("MEDIA_API_URL", "GET", "/api/media/webhooks/{webhook_id}/deliveries"),
    ("MEDIA_API_URL", "DELETE", "/api/media/webhooks/{webhook_id}"),
    ("MEDIA_EVENTS_URL", "POST", "/api/media/events/ticket"),
    STREAM,
]
# What each operation must have answered at least once: else nothing of it was checked.
MET = {
    ("POST", "/api/media/sign"): {201, 400, 422},
    ("GET", "/api/media/assets"): {200, 400},
    ("GET", "/api/media/assets/{asset_id}"): {200, 400, 404},
    ("DELETE", "/api/media/assets/{asset_id}"): {204, 400, 404},
    ("POST", "/api/media/assets/{asset_id}/retry"): {202, 400, 404, 409},
    ("POST", "/api/media/assets/{asset_id}/poster"): {400, 404, 409},
    ("POST", "/api/media/assets/{asset_id}/pictures"): {400, 404, 409},
    ("POST", "/api/media/uploads"): {201, 400},
    ("GET", "/api/media/uploads"): {200, 400},
    ("GET", "/api/media/uploads/{asset_id}"): {200, 400, 404},
    ("POST", "/api/media/uploads/{asset_id}/parts"): {200, 400, 404},
    ("POST", "/api/media/uploads/{asset_id}/complete"): {400, 404, 409},
    ("DELETE", "/api/media/uploads/{asset_id}"): {204, 400, 404},
    ("POST", "/api/media/batches"): {201, 400},
    ("GET", "/api/media/batches"): {200, 400},
    ("GET", "/api/media/batches/{batch_id}"): {200, 400, 404},
    ("GET", "/api/media/batches/{batch_id}/uploads"): {200, 400, 404},
    ("POST", "/api/media/batches/{batch_id}/cancel"): {200, 400, 404},
    ("POST", "/api/media/batches/{batch_id}/retry"): {202, 400, 404},
    ("POST", "/api/media/webhooks"): {201, 400},
    ("GET", "/api/media/webhooks"): {200},
    ("GET", "/api/media/webhooks/{webhook_id}"): {200, 400, 404},
    ("PATCH", "/api/media/webhooks/{webhook_id}"): {200, 400, 404},
    ("POST", "/api/media/webhooks/{webhook_id}/secret"): {200, 400, 404},
    ("POST", "/api/media/webhooks/{webhook_id}/ping"): {202, 400, 404},
    ("POST", "/api/media/webhooks/{webhook_id}/replay"): {202, 400, 404},
    ("GET", "/api/media/webhooks/{webhook_id}/deliveries"): {200, 400, 404},
    ("DELETE", "/api/media/webhooks/{webhook_id}"): {204, 400, 404},
    ("POST", "/api/media/events/ticket"): {201},
}
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
Change = Callable[[schemathesis.Case], None]
# No input means these: neither a position, nor a ticket or an asset's id.
NONSENSE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400)


@dataclass(frozen=True)
class Stocked:
    """A company with assets of each kind, and a position between two pages of its list."""

    token: str
    ids: Sequence[str]
    cursor: str
    webhooks: Sequence[str]
    """Its endpoints, at which nobody listens."""
    batches: Sequence[str]


def document_of(url: str) -> OpenApiSchema:
    """Return a service's document as it publishes it."""
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.fixture
def stocked(tmp_path) -> Stocked:
    """Made in a loop of its own, since what attacks is not asynchronous."""
    return asyncio.run(_stock(tmp_path))


async def _stock(folder: Path) -> Stocked:
    async with open_http() as http:
        company = Company(http)
        ids = [await company.upload(make_photo(folder / "photo.jpg"))]
        ids += [await company.upload_bytes("f.jpg", b"x" * 99, "image/jpeg") for _ in range(3)]
        for asset in ids:
            await company.ended(asset)
        ids += [(await company.sign())["assetId"] for _ in range(3)]
        ids += [(await begun(company, b"x" * 9))["assetId"] for _ in range(3)]
        cursor = (await company.get("/assets?limit=2")).json()["nextCursor"]
        token = token_of(company.id, [MANAGE, READ, UPLOAD])
        webhooks = [await _webhook(http, token) for _ in range(3)]
        batches = [(await begun_batch(company, [{}]))["batchId"] for _ in range(3)]
        return Stocked(token, ids, cursor, webhooks, batches)


async def _webhook(http: httpx.AsyncClient, token: str) -> str:
    answer = await http.post(
        f"{variable('MEDIA_API_URL')}/api/media/webhooks",
        json={"url": "http://127.0.0.1:9/"},
        headers={"Authorization": f"Bearer {token}"},
    )
    found: str = answer.json()["id"]
    return found


@pytest.mark.parametrize("base", ["MEDIA_API_URL", "MEDIA_EVENTS_URL"])
def test_every_operation_is_attacked(base):
    found = [one.ok() for one in document_of(variable(base)).get_all_operations()]
    assert {(base, one.method.upper(), one.path) for one in found} == {
        one for one in OPERATIONS if one[0] == base
    }


def attacked(
    url: str,
    method: str,
    path: str,
    *,
    token: str,
    examples: int,
    changes: st.SearchStrategy[Change] | None = None,
) -> set[int]:
    """Send good and bad inputs, check each answer, and return the statuses."""
    operation, statuses = document_of(url)[path][method], set()

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(
        case=operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE),
        change=st.just(_as_it_is) if changes is None else changes,
    )
    def attack(case: schemathesis.Case, change: Change) -> None:
        change(case)
        answer = case.call(headers={"Authorization": f"Bearer {token}"}, timeout=10)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    attack()
    return statuses


def _as_it_is(case: schemathesis.Case) -> None:
    del case


def _batch(value: str) -> Change:
    return lambda case: case.path_parameters.update(batch_id=value)


def _together(size: int) -> Change:
    wanted = {"fileName": "a.jpg", "size": size, "type": "image/jpeg"}
    return lambda case: setattr(case, "body", {"uploads": [wanted]})


def _webhook_id(value: str) -> Change:
    return lambda case: case.path_parameters.update(webhook_id=value)


def _endpoint(port: int) -> Change:
    body = {"url": f"http://127.0.0.1:{port}/", "types": []}
    return lambda case: setattr(case, "body", body)


def _of_its_own(stocked: Stocked, method: str, path: str) -> st.SearchStrategy[Change]:
    """Return changes that put in what the company has, as often as not."""

    def asset(value: str) -> Change:
        return lambda case: case.path_parameters.update(asset_id=value)

    def cursor(limit: int) -> Change:
        given = {"cursor": stocked.cursor, "limit": limit}
        return lambda case: setattr(case, "query", {**(case.query or {}), **given})

    def key(size: int) -> Change:
        # Which types are accepted is said in words: no pattern has all their forms.
        wanted = {"fileName": "a.jpg", "size": size, "type": "image/jpeg"}

        def change(case: schemathesis.Case) -> None:
            case.headers.update({"Idempotency-Key": "one"})
            case.body = {**(case.body if isinstance(case.body, dict) else {}), **wanted}

        return change

    def part(value: str) -> Change:
        def change(case: schemathesis.Case) -> None:
            case.path_parameters.update(asset_id=value)
            case.body = {"numbers": [1]}

        return change

    if "{webhook_id}" in path:
        ids = [*stocked.webhooks, str(uuid4())]
        return st.just(_as_it_is) | st.sampled_from(ids).map(_webhook_id)
    if "{batch_id}" in path:
        ids = [*stocked.batches, str(uuid4())]
        return st.just(_as_it_is) | st.sampled_from(ids).map(_batch)
    some = st.sampled_from([*stocked.ids, str(uuid4())])
    own: st.SearchStrategy[Change] = {
        "POST /api/media/sign": st.integers(1, 2).map(key),
        "POST /api/media/uploads": st.integers(1, 2).map(key),
        "POST /api/media/batches": st.integers(1, 2).map(_together),
        "GET /api/media/batches": st.just(_as_it_is),
        "POST /api/media/webhooks": st.integers(1, 2).map(_endpoint),
        "GET /api/media/webhooks": st.just(_as_it_is),
        "GET /api/media/assets": st.integers(1, 3).map(cursor),
        "GET /api/media/uploads": st.integers(1, 3).map(cursor),
        "POST /api/media/uploads/{asset_id}/parts": some.map(asset)
        | st.sampled_from(stocked.ids[-3:]).map(part),
    }.get(f"{method} {path}", some.map(asset))
    return st.just(_as_it_is) | own


@pytest.mark.timeout(HOUR if FULL else 300)
@pytest.mark.parametrize(("base", "method", "path"), [one for one in OPERATIONS if one != STREAM])
def test_no_input_of_a_caller_leads_to_an_undocumented_answer(stocked, base, method, path):
    """Red when MET is not: without ids of real assets their routes are asked for nothing else."""
    changes = None if "ticket" in path else _of_its_own(stocked, method, path)
    statuses = attacked(
        variable(base), method, path, token=stocked.token, examples=EXAMPLES, changes=changes
    )
    assert statuses >= MET[method, path], "some inputs are good, and some are bad"


@pytest.mark.timeout(HOUR if FULL else 300)
@pytest.mark.parametrize("name", ["lastEventId", "assetId", "ticket"])
def test_no_nonsense_opens_a_stream(name):
    def put_in(value: str) -> Change:
        def change(case: schemathesis.Case) -> None:
            case.headers.clear()
            case.query = {name: value}

        return change

    base, method, path = STREAM
    statuses = attacked(
        variable(base),
        method,
        path,
        token=token_of(uuid4()),
        examples=EXAMPLES,
        changes=NONSENSE.map(put_in),
    )
    assert statuses - {405} == ({401} if name == "ticket" else {400})


@pytest.mark.parametrize(
    ("service", "method", "path"),
    [
        ("sign_api", "POST", "/api/media/sign"),
        ("sign_api", "GET", "/api/media/assets"),
        ("notifier", "POST", "/api/media/events/ticket"),
    ],
)
async def test_a_company_that_asks_too_often_is_answered_as_documented(service, method, path):
    setting = {f"{service.upper()}_COMPANY_REQUESTS_PER_MINUTE": "3"}
    async with Parts().another(service, **setting) as url:
        statuses = await asyncio.to_thread(
            attacked, url, method, path, token=token_of(uuid4()), examples=20
        )
    assert 429 in statuses


@pytest.mark.parametrize(("base", "method", "path"), OPERATIONS)
def test_every_answer_that_says_when_to_come_back_is_documented_to(base, method, path):
    answers = document_of(variable(base)).raw_schema["paths"][path][method.lower()]["responses"]
    assert set(answers["429"]["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}
    assert set(answers["503"]["headers"]) == {"Retry-After"}
    assert set(answers["401"]["headers"]) == {"WWW-Authenticate"}


@pytest.mark.parametrize(("base", "method", "path"), OPERATIONS)
def test_no_input_of_a_stranger_leads_to_an_undocumented_answer(base, method, path):
    assert attacked(variable(base), method, path, token="no", examples=10) <= {400, 401, 405, 422}

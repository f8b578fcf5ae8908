"""
Both OpenAPI documents against the services: no input leads to an answer that is not in them.

The inputs are the same each time. SCHEMATHESIS_SEED=7 gives others, SCHEMATHESIS_EXAMPLES=1000
more.
"""

from __future__ import annotations

import os
from uuid import uuid4

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks

from support.clients import token_of
from support.surroundings import variable

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "60"))
SEED = int(os.environ.get("SCHEMATHESIS_SEED", "0"))
# A good request to this one is answered for as long as the token is valid.
STREAM = ("MEDIA_EVENTS_URL", "GET", "/api/media/events")
OPERATIONS = [
    ("MEDIA_API_URL", "POST", "/api/media/sign"),
    ("MEDIA_API_URL", "GET", "/api/media/assets"),
    ("MEDIA_API_URL", "GET", "/api/media/assets/{asset_id}"),
    ("MEDIA_API_URL", "DELETE", "/api/media/assets/{asset_id}"),
    ("MEDIA_API_URL", "POST", "/api/media/assets/{asset_id}/retry"),
    ("MEDIA_EVENTS_URL", "POST", "/api/media/events/ticket"),
    STREAM,
]
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def document_of(base: str) -> BaseSchema:
    """Return a service's document as it publishes it."""
    return schemathesis.openapi.from_url(f"{variable(base)}/openapi.json")


@pytest.mark.parametrize("base", ["MEDIA_API_URL", "MEDIA_EVENTS_URL"])
def test_every_operation_is_attacked(base):
    found = [one.ok() for one in document_of(base).get_all_operations()]
    assert {(base, one.method.upper(), one.path) for one in found} == {
        one for one in OPERATIONS if one[0] == base
    }


def attacked(
    base: str, method: str, path: str, *, headers: dict[str, str], examples: int
) -> set[int]:
    """Send good and bad inputs, check each answer, and return the statuses."""
    operation, statuses = document_of(base)[path][method], set()

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE))
    def attack(case: schemathesis.Case) -> None:
        answer = case.call(headers=headers, timeout=10)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    attack()
    return statuses


@pytest.mark.parametrize(("base", "method", "path"), [one for one in OPERATIONS if one != STREAM])
def test_no_input_of_a_caller_leads_to_an_undocumented_answer(base, method, path):
    headers = {"Authorization": f"Bearer {token_of(uuid4())}"}
    statuses = attacked(base, method, path, headers=headers, examples=EXAMPLES)
    assert statuses & {200, 201, 204, 404}, "some inputs are good"


@pytest.mark.parametrize(("base", "method", "path"), OPERATIONS)
def test_no_input_of_a_stranger_leads_to_an_undocumented_answer(base, method, path):
    headers = {"Authorization": "Bearer no"}
    assert attacked(base, method, path, headers=headers, examples=10) <= {400, 401, 405, 422}

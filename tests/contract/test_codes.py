"""Each error code is declared once; what is written of it elsewhere says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from media_contracts.errors import NO_FAULT_OF_THE_FILE, SYSTEM_FAULTS, ErrorCode, Fault, table
from media_contracts.warnings import WarningCode
from media_runtime.errors import PermanentError
from media_runtime.http.app import ApiError, Problem
from media_runtime.http.guard import TITLES

ROOT = Path(__file__).parents[2]
PROBLEMS = ROOT / "deploy" / "edge" / "problems"
SCHEMA = ROOT / "libs" / "records" / "src" / "media_records" / "schema.sql"
# The edge alone answers these; uvicorn and FastAPI need no title of theirs.
EDGE_ALONE = {411, 416}


def edge_problems() -> list[tuple[str, int, str]]:
    lines = [line.split(maxsplit=3) for line in PROBLEMS.read_text().splitlines() if line.strip()]
    return [(code, int(status), sentence) for _, status, code, sentence in lines]


@pytest.mark.parametrize(("code", "status", "sentence"), edge_problems())
def test_the_edge_answers_with_the_status_and_sentence_of_a_code(code, status, sentence):
    declared = ErrorCode[code.upper()]
    assert (declared.http_status, declared.sentence) == (status, sentence)


def test_the_published_page_has_every_code_that_clients_see():
    """Run ``python -m media_contracts libs/contracts`` after a change."""
    page = (ROOT / "libs" / "contracts" / "errors.md").read_text()
    assert page == table()
    seen = {code for code in ErrorCode if code.http_status or code.failure}
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) == seen | set(WarningCode)
    assert set(ErrorCode) - seen == {ErrorCode.MALFORMED_NOTIFICATION}


def test_the_api_describes_the_codes_that_answers_have():
    described = Problem.model_json_schema()["properties"]["code"]["x-extensible-enum"]
    assert described == [code for code in ErrorCode if code.http_status]
    assert {code.http_status for code in ErrorCode if code.http_status} <= set(TITLES) | EDGE_ALONE


def test_the_database_refuses_with_codes_that_exist():
    refused = set(re.findall(r"(?:refused :=|THEN) '([a-z_]+)'", SCHEMA.read_text()))
    assert refused == {
        ErrorCode.QUOTA_EXCEEDED, ErrorCode.TOO_MANY_OPEN_GRANTS, ErrorCode.UNKNOWN_PROFILE,
    }  # fmt: skip


def test_a_code_is_its_name_and_its_sentence_is_one():
    for code in (*ErrorCode, *WarningCode):
        assert code == code.name.lower()
        assert code is ErrorCode.MALFORMED_NOTIFICATION or code.sentence.endswith(".")


def test_an_error_says_the_sentence_of_its_code_unless_it_has_a_more_exact_one():
    assert PermanentError(ErrorCode.TOO_MANY_STREAMS, limit=16).message == (
        "The file has more than 16 streams."
    )
    refused = ApiError(ErrorCode.FORBIDDEN, permission="media:read")
    assert (refused.status, refused.detail) == (403, "The token lacks the permission media:read.")
    assert (
        ApiError(ErrorCode.NOT_FOUND, "There is no such page.").detail == "There is no such page."
    )


def test_alerts_count_our_faults_and_retries_go_by_those_that_are_not_the_files():
    assert {code for code in ErrorCode if code.fault in {Fault.SYSTEM, Fault.UNCLEAR}} - {
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.STORAGE_NOT_READY,
        ErrorCode.TEMPORARILY_UNAVAILABLE,
        ErrorCode.MALFORMED_NOTIFICATION,
    } == SYSTEM_FAULTS
    assert {
        "invalid_profile", "object_missing", "processing_failed", "processing_timeout",
    } == SYSTEM_FAULTS  # fmt: skip
    assert {
        "invalid_profile", "object_missing", "processing_timeout", "quota_exceeded",
        "watermark_missing",
    } == NO_FAULT_OF_THE_FILE  # fmt: skip

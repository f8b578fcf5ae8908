"""The contracts keep their invariants to those who hold an older version of them."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_contracts import (
    MEDIA_STATUS,
    TOPICS,
    AssetStatusChanged,
    ContractError,
    MalformedEventError,
)
from media_contracts.__main__ import publish, render
from media_contracts.asyncapi import document
from media_contracts.schemas import breaking_changes, event_schema, messages
from pydantic import ValidationError

CONTRACTS = Path(__file__).parents[2] / "libs" / "contracts"
EXAMPLES = sorted((CONTRACTS / "examples").glob("*/*.json"))
TOPIC_OF = {message.event_type: topic for topic in TOPICS for message in topic.messages}


def published(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONTRACTS / "schemas" / f"{name}.json").read_text())
    return found


def test_every_message_has_a_golden_example_and_a_published_schema() -> None:
    assert {path.parent.name for path in EXAMPLES} == set(messages())
    assert {path.stem for path in (CONTRACTS / "schemas").glob("*.json")} == set(messages())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_example_parses_to_the_same_message(path: Path) -> None:
    example = json.loads(path.read_text())
    event = TOPIC_OF[path.parent.name].parse(path.read_bytes())
    assert json.loads(event.to_bytes()) == example
    jsonschema.validate(example, published(path.parent.name))


@pytest.mark.parametrize("name", sorted(messages()))
def test_published_schema_is_that_of_the_code(name: str) -> None:
    """Run ``python -m media_contracts libs/contracts`` after an allowed change."""
    current = event_schema(messages()[name])
    assert breaking_changes(published(name), current) == []
    assert published(name) == current


def test_asyncapi_document_is_that_of_the_code() -> None:
    assert (CONTRACTS / "asyncapi.json").read_text() == render(document())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data["properties"].pop("attempt"), "attempt: was removed"),
        (lambda data: data["required"].append("error"), "required properties changed"),
        (lambda data: data["required"].remove("status"), "required properties changed"),
        (lambda data: data["properties"]["attempt"].update(type="string"), "attempt.type"),
        (lambda data: data["properties"]["attempt"].update(minimum=2), "attempt.minimum"),
        (lambda data: data["properties"]["attempt"].update(maximum=9), "attempt.maximum"),
    ],
)
def test_breaking_change_is_found(change: Any, named: str) -> None:
    name = "media.asset.status_changed.v1"
    changed = copy.deepcopy(published(name))
    change(changed["$defs"]["AssetStatusChanged"])
    assert any(named in problem for problem in breaking_changes(published(name), changed))


def test_another_enum_value_is_a_breaking_change() -> None:
    name = "media.asset.status_changed.v1"
    changed = copy.deepcopy(published(name))
    changed["$defs"]["AssetStatus"]["enum"].append("archived")
    assert breaking_changes(published(name), changed)


def test_new_optional_field_and_new_prose_are_allowed() -> None:
    name = "media.asset.status_changed.v1"
    changed = copy.deepcopy(published(name))
    data = changed["$defs"]["AssetStatusChanged"]
    data["properties"]["note"] = {"type": "string"}
    data["description"] = "Other words."
    assert breaking_changes(published(name), changed) == []


def test_what_may_be_null_is_compared_by_its_parts() -> None:
    name = "media.asset.processed.v1"
    track = {"type": "object", "properties": {"codec": {"type": "string"}}, "required": ["codec"]}
    held: dict[str, Any] = {"anyOf": [{"type": "array", "items": track}, {"type": "null"}]}
    published_ = {**published(name), "properties": {"tracks": held}}
    changed = copy.deepcopy(published_)
    items = changed["properties"]["tracks"]["anyOf"][0]["items"]
    items["properties"]["ssim"] = {"type": "number"}
    assert breaking_changes(published_, changed) == []
    items["properties"]["codec"]["type"] = "number"
    assert any("codec.type" in problem for problem in breaking_changes(published_, changed))


def test_breaking_change_is_not_published(tmp_path: Path) -> None:
    assert publish(tmp_path) == []
    path = tmp_path / "schemas" / "media.asset.progressed.v1.json"
    schema = json.loads(path.read_text())
    schema["$defs"]["AssetProgressed"]["properties"]["gone"] = {"type": "string"}
    path.write_text(json.dumps(schema))
    before = path.read_text()
    assert any("gone" in problem for problem in publish(tmp_path))
    assert path.read_text() == before


def example(name: str = "media.asset.status_changed.v1") -> dict[str, Any]:
    path = next(path for path in EXAMPLES if path.parent.name == name)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_consumer_ignores_fields_it_does_not_know() -> None:
    event = example()
    event["newattribute"] = 1
    event["data"]["newField"] = {"deep": True}
    assert MEDIA_STATUS.parse(json.dumps(event).encode()).data.attempt == 1


def test_producer_cannot_send_an_unknown_field() -> None:
    with pytest.raises(ValidationError):
        AssetStatusChanged(attempt=1, status="pending", newField=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["media.asset.status_changed.v2", "media.asset.admired.v1"])
@pytest.mark.parametrize("data", [{}, {"attempt": "third"}, {"new": [1]}])
def test_an_event_of_a_type_from_the_future_is_passed_over(name: str, data: Any) -> None:
    event = example() | {"type": name, "data": data}
    assert MEDIA_STATUS.parse(json.dumps(event).encode()) is None


def test_an_unknown_type_does_not_excuse_what_is_no_event() -> None:
    event = example() | {"type": "media.asset.admired.v1"}
    for missing in ("id", "source", "subject", "time", "companyid", "data"):
        with pytest.raises(MalformedEventError):
            MEDIA_STATUS.parse(json.dumps({**event, missing: None}).encode())


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{}"])
def test_malformed_value_is_refused(value: bytes | None) -> None:
    with pytest.raises(MalformedEventError):
        MEDIA_STATUS.parse(value)


@given(st.binary(max_size=200))
def test_no_bytes_escape_the_contract_error(value: bytes) -> None:
    with pytest.raises(ContractError):
        MEDIA_STATUS.parse(value)


def test_contracts_import_nothing_but_pydantic() -> None:
    """Other teams install this package alone."""
    code = (
        "import sys, media_contracts; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'faststream', 'aiokafka', 'fastapi', 'sqlmodel', 'sqlalchemy', 'minio', 'PIL'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

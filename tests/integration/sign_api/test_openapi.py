"""The OpenAPI document of the sign API: valid, complete, and with examples that are true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from support.surroundings import variable

ANY_REQUEST = {"408", "413", "431"}
_OF_WEBHOOK = {"200", "400", "401", "403", "404", "429", "503"}
_OF_BATCH = _OF_WEBHOOK
ROUTES = {
    ("post", "/api/media/sign"): {"201", "400", "401", "403", "415", "422", "429", "503"},
    ("get", "/api/media/assets/{asset_id}"): {"200", "400", "401", "403", "404", "429", "503"},
    ("get", "/api/media/assets"): {"200", "400", "401", "403", "429", "503"},
    ("post", "/api/media/assets/{asset_id}/retry"): {
        *("202", "400", "401", "403", "404", "409", "429", "503"),
    },
    ("post", "/api/media/assets/{asset_id}/poster"): {
        *("202", "400", "401", "403", "404", "409", "429", "503"),
    },
    ("post", "/api/media/assets/{asset_id}/pictures"): {
        *("202", "400", "401", "403", "404", "409", "429", "503"),
    },
    ("delete", "/api/media/assets/{asset_id}"): {"204", "400", "401", "403", "404", "429", "503"},
    ("post", "/api/media/webhooks"): {"201", "400", "401", "403", "429", "503"},
    ("get", "/api/media/webhooks"): {"200", "401", "403", "429", "503"},
    ("get", "/api/media/webhooks/{webhook_id}"): _OF_WEBHOOK,
    ("patch", "/api/media/webhooks/{webhook_id}"): _OF_WEBHOOK,
    ("delete", "/api/media/webhooks/{webhook_id}"): {"204", *_OF_WEBHOOK} - {"200"},
    ("post", "/api/media/webhooks/{webhook_id}/secret"): _OF_WEBHOOK,
    ("post", "/api/media/webhooks/{webhook_id}/ping"): {"202", *_OF_WEBHOOK} - {"200"},
    ("post", "/api/media/webhooks/{webhook_id}/replay"): {"202", *_OF_WEBHOOK} - {"200"},
    ("get", "/api/media/webhooks/{webhook_id}/deliveries"): _OF_WEBHOOK,
    ("post", "/api/media/uploads"): {"201", "400", "401", "403", "422", "429", "503"},
    ("post", "/api/media/batches"): {"201", "400", "401", "403", "415", "422", "429", "503"},
    ("get", "/api/media/batches"): {"200", "400", "401", "403", "429", "503"},
    ("get", "/api/media/batches/{batch_id}"): _OF_BATCH,
    ("get", "/api/media/batches/{batch_id}/uploads"): _OF_BATCH,
    ("post", "/api/media/batches/{batch_id}/cancel"): _OF_BATCH,
    ("post", "/api/media/batches/{batch_id}/retry"): {"202", *_OF_BATCH} - {"200"},
    ("get", "/api/media/uploads"): {"200", "400", "401", "403", "429", "503"},
    ("get", "/api/media/uploads/{asset_id}"): {"200", "400", "401", "403", "404", "429", "503"},
    ("post", "/api/media/uploads/{asset_id}/parts"): {
        *("200", "400", "401", "403", "404", "429", "503"),
    },
    ("post", "/api/media/uploads/{asset_id}/complete"): {
        *("200", "400", "401", "403", "404", "409", "429", "503"),
    },
    ("delete", "/api/media/uploads/{asset_id}"): {
        *("204", "400", "401", "403", "404", "409", "429", "503"),
    },
}


@pytest.fixture
async def document(http) -> dict[str, Any]:
    answer = await http.get(f"{variable('MEDIA_API_URL')}/openapi.json")
    found: dict[str, Any] = answer.json()
    return found


async def test_each_route_names_every_answer(document):
    found = {
        (method, path): set(operation["responses"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }

    assert found == {route: statuses | ANY_REQUEST for route, statuses in ROUTES.items()}


async def test_errors_are_problems(document):
    for _, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400":
                content = answer["content"]["application/problem+json"]
                assert content["schema"]["$ref"].endswith("/Problem")
                assert "application/json" not in answer["content"]


async def test_every_route_asks_for_a_bearer_token(document):
    for _, operation in operations(document):
        (requirement,) = operation["security"]
        (scheme,) = requirement
        assert document["components"]["securitySchemes"][scheme]["scheme"] == "bearer"


async def test_every_reference_leads_somewhere_and_every_schema_is_valid(document):
    assert document["openapi"].startswith("3.1")
    for reference in references(document):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_examples_are_valid(document):
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        whole = {**document, "$ref": f"#/components/schemas/{name}"}
        for example in schema.get("examples", []):
            Draft202012Validator(whole).validate(example)
            checked += 1
        for part in schema.get("properties", {}).values():
            for example in part.get("examples", []):
                Draft202012Validator({**document, **part}).validate(example)
                checked += 1
    assert checked >= 5


async def test_the_request_and_the_answers_have_examples(document):
    schemas = document["components"]["schemas"]
    for name in ("fileName", "size", "type"):
        assert schemas["SignRequest"]["properties"][name]["examples"]
    assert schemas["Problem"]["examples"]


async def test_no_field_is_of_one_type_or_another(document):
    """Clients are generated from it: a field of a request or an answer has one type, or is null."""
    schemas = document["components"]["schemas"]
    assert schemas["Crop"]["enum"] == ["middle", "attention"]
    for name, schema in schemas.items():
        for field, part in schema.get("properties", {}).items():
            choices = [one for one in part.get("anyOf", ()) if one.get("type") != "null"]
            assert len(choices) <= 1, (name, field)
            assert "oneOf" not in part


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "$ref":
                yield part
            else:
                yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


async def test_operations_are_called_as_sdks_call_them(document):
    assert {operation["operationId"] for _, operation in operations(document)} == {
        *("sign", "getAsset", "listAssets", "retryAsset", "choosePoster", "cropPictures"),
        *("beginBatch", "listBatches", "getBatch", "listBatchUploads", "cancelBatch", "retryBatch"),
        *("deleteAsset", "beginUpload", "listUploads", "getUpload", "grantParts"),
        *("completeUpload", "abortUpload", "addWebhook", "listWebhooks", "getWebhook"),
        *("changeWebhook", "rotateWebhookSecret", "removeWebhook", "pingWebhook"),
        *("replayWebhook", "listDeliveries"),
    }

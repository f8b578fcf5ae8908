"""The OpenAPI document: FastAPI's own, with the answers that our APIs really give."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

_REFERENCE = "#/components/schemas/{model}"
_PROBLEM = "application/problem+json"


def describe(app: FastAPI, *inputs: type[BaseModel]) -> None:
    """
    Make *app* publish its document without FastAPI's validation answers, which are 400 here.

    *inputs* are models that routes read by themselves and refer to in their ``openapi_extra``.
    """

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            schema.setdefault("components", {})["securitySchemes"] = {
                "HTTPBearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            }
            for path in schema["paths"].values():
                for operation in path.values():
                    _drop_validation_answer(operation["responses"])
                    _answer_with_problems(operation["responses"])
            for unused in ("HTTPValidationError", "ValidationError"):
                schema["components"].get("schemas", {}).pop(unused, None)
            for model in inputs:
                described = model.model_json_schema(ref_template=_REFERENCE)
                schema["components"]["schemas"] |= described.pop("$defs", {})
                schema["components"]["schemas"][model.__name__] = described
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _drop_validation_answer(responses: dict[str, Any]) -> None:
    content = responses.get("422", {}).get("content", {})
    if "HTTPValidationError" in str(content.get("application/json", "")):
        del responses["422"]


def _answer_with_problems(responses: dict[str, Any]) -> None:
    # FastAPI describes a model under application/json, whatever media type is declared.
    for answer in responses.values():
        content = answer.get("content", {})
        if _PROBLEM in content and "application/json" in content:
            content[_PROBLEM] = content.pop("application/json")

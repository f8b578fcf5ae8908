"""
What the HTTP services share: callers by bearer token, and errors as RFC 9457 problem details.

Invariant: every error has a stable ``code`` for programs and a sentence for people, and tells
nothing of hosts, paths or other companies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from media_contracts.errors import ErrorCode
from media_runtime.errors import PermanentError, TransientError
from media_runtime.http.auth import Caller, InvalidTokenError, TokenVerifier, bearer_token
from media_runtime.http.guard import TITLES
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

_CODES = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
_DETAILS = {
    404: "There is nothing at this path.",
    405: "This path does not answer this method.",
}
_RETRY_AFTER: dict[str, Any] = {
    "description": "Seconds after which to come back.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}


def _text_header(description: str, pattern: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"description": description, "required": True, "schema": schema}


_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _text_header("How to prove who calls.", "^Bearer$")},
    429: {
        "Retry-After": _RETRY_AFTER,
        "RateLimit": _text_header("What is left of the limit.", r'^"[a-z-]+";r=\d+;t=\d+$'),
        "RateLimit-Policy": _text_header("The limit that was met.", r'^"[a-z-]+";q=\d+(;w=\d+)?$'),
    },
    503: {"Retry-After": _RETRY_AFTER},
}
_FOR_ANY_REQUEST = (408, 413, 431)  # what is too slow or too large, see http_guard
_RETRY_AFTER_SECONDS = "5"
_INTERNAL = 500
_REFUSED = 400
ASKS_FOR_BEARER = {"WWW-Authenticate": "Bearer"}


class Problem(BaseModel):
    """An error: ``code`` is stable and for programs, ``detail`` is for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Bad Request",
                    "status": 400,
                    "code": ErrorCode.FILE_TOO_LARGE,
                    "detail": "size is 600000000 bytes; at most 500000000 bytes are accepted.",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    code: str = Field(
        json_schema_extra={"x-extensible-enum": [code for code in ErrorCode if code.http_status]}
    )
    detail: str


BEARER_ONLY: dict[str, Any] = {"security": [{"HTTPBearer": []}]}
"""OpenAPI's entry for a route that takes a bearer token."""


def operation_id(route: APIRoute) -> str:
    """Return what SDKs call a route: the name of its function, which is a promise to clients."""
    return to_camel(route.name)


READ, UPLOAD, MANAGE = "media:read", "media:upload", "media:manage"


class ApiError(Exception):
    """An answer other than success, with the sentence of its code unless *detail* is one."""

    def __init__(
        self,
        code: ErrorCode,
        detail: str = "",
        *,
        headers: dict[str, str] | None = None,
        **fields: object,
    ) -> None:
        self.detail = detail or code.sentence.format(**fields)
        super().__init__(self.detail)
        self.status = code.http_status or _INTERNAL
        self.code = code
        self.headers = headers


async def caller_of(request: Request, verifier: TokenVerifier, *any_of: str) -> Caller:
    """
    Return the caller that the request's bearer token proves.

    Raises ApiError: 401 without a valid token, 403 unless it has one of the permissions *any_of*.
    """
    try:
        caller = await verifier.verify(bearer_token(request.headers.get("authorization")))
    except InvalidTokenError as error:
        raise unauthorized(why=error) from error
    if caller.permissions.isdisjoint(any_of):
        raise ApiError(ErrorCode.FORBIDDEN, permission=any_of[0])
    return caller


def unauthorized(detail: str = "", **fields: object) -> ApiError:
    """Return the answer to a missing or invalid token."""
    return ApiError(ErrorCode.UNAUTHORIZED, detail, headers=ASKS_FOR_BEARER, **fields)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of these error answers, and of those that any request may get."""
    return {
        status: {
            "model": Problem,
            "description": TITLES[status],
            "content": {"application/problem+json": {}},
            "headers": _HEADERS.get(status, {}),
        }
        for status in sorted({*statuses, *_FOR_ANY_REQUEST})
    }


def answer_with_problems(app: FastAPI, *, field_codes: Mapping[str, ErrorCode]) -> None:
    """
    Make *app* answer every error as a problem.

    *field_codes* gives the code of an invalid input by the name of its field, parameter or
    header; others are ``invalid_request``.
    """

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> JSONResponse:
        return _answer(error.status, error.code, error.detail, error.headers)

    @app.exception_handler(PermanentError)
    async def refused(_: Request, error: PermanentError) -> JSONResponse:
        return _answer(error.code.http_status or _REFUSED, error.code, error.message)

    @app.exception_handler(TransientError)
    async def unavailable(_: Request, error: TransientError) -> JSONResponse:
        del error  # it names hosts; the log has it
        code = ErrorCode.TEMPORARILY_UNAVAILABLE
        return _answer(503, code, code.sentence, {"Retry-After": _RETRY_AFTER_SECONDS})

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(400, *_first_problem(error.errors(), field_codes))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, ErrorCode.INVALID_REQUEST)
        headers = dict(error.headers) if error.headers else None
        detail = _DETAILS.get(error.status_code, str(error.detail))
        return _answer(error.status_code, code, detail, headers)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        del error  # the server logs it
        return _answer(500, ErrorCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR.sentence)


def _first_problem(
    errors: Sequence[Any], field_codes: Mapping[str, ErrorCode]
) -> tuple[ErrorCode, str]:
    first = errors[0]
    names = [str(part) for part in first["loc"] if isinstance(part, str)]
    field = names[-1] if len(names) > 1 else ""
    code = field_codes.get(field, ErrorCode.INVALID_REQUEST)
    # Of a list's entries it says which.
    places = (f"[{one}]" if isinstance(one, int) else f".{one}" for one in first["loc"][1:])
    place = "".join(places).removeprefix(".") or "request body"
    return code, f"{place}: {first['msg']}."


def _answer(
    status: int, code: ErrorCode, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    problem = Problem(title=TITLES.get(status, "Error"), status=status, code=code, detail=detail)
    return JSONResponse(
        problem.model_dump(),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )

"""Routes that read their request themselves, for what is asked for most often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import request_response

Endpoint = Callable[[Request], Awaitable[Response]]


class _PlainRoute(APIRoute):
    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = request_response(endpoint)


def plain_post(router: APIRouter, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
    """
    Add a route as ``router.post`` does, which FastAPI describes and Starlette alone calls.

    FastAPI's resolution of parameters and dependencies, and what it keeps open for them, would take
    a quarter of the time of a route that has none.
    """

    def add(endpoint: Endpoint) -> Endpoint:
        router.add_api_route(
            path, endpoint, methods=["POST"], route_class_override=_PlainRoute, **options
        )
        return endpoint

    return add

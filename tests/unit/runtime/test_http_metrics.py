"""Requests are counted by route and outcome: an error of ours is never one that was answered."""

from __future__ import annotations

import httpx
import pytest
from media_runtime.http.metrics import RequestMetrics
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

_COUNT = "http_request_duration_seconds_count"


async def answer(request):
    if request.path_params["status"] == "error":
        raise RuntimeError("a bug")
    return Response(status_code=int(request.path_params["status"]))


def counted(route, outcome):
    labels = {"route": route, "method": "GET", "outcome": outcome}
    return REGISTRY.get_sample_value(_COUNT, labels) or 0


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("201", "answered"), ("404", "answered"), ("500", "failed"), ("503", "failed"),
     ("error", "failed")],
)  # fmt: skip
async def test_a_request_is_answered_or_failed(status, outcome):
    route = f"/{status}/{{status}}"
    app = RequestMetrics(Starlette(routes=[Route(route, answer)]))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        await http.get(f"/{status}/{status}")

    other = {"answered": "failed", "failed": "answered"}[outcome]
    assert (counted(route, outcome), counted(route, other)) == (1, 0)

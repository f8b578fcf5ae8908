"""What anyone who asks is told of how a service is."""

import json
from typing import Any

from media_runtime.telemetry.ops import ops_routes
from structlog.testing import capture_logs


async def asked(app: Any) -> tuple[int, dict[str, Any]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({}, None, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def test_which_check_fails_is_told_and_why_is_logged_once() -> None:
    """Red when the error is answered: it names internal addresses."""
    away: list[str] = ["10.0.0.7:5432 refused"]

    async def check() -> None:
        if away:
            raise ConnectionError(away[0])

    async def fine() -> None: ...

    app = dict(ops_routes({"postgres": check, "events": fine}, about={"sandbox": "none"}))[
        "/readyz"
    ]
    with capture_logs() as logs:
        answers = [await asked(app) for _ in range(3)]
        away.clear()
        healthy = await asked(app)
    told = {"status": "failing", "problems": ["postgres"], "sandbox": "none"}
    assert answers == [(503, told)] * 3
    assert [(one["event"], one["check"]) for one in logs] == [("not_ready", "postgres")]
    assert "10.0.0.7" in logs[0]["error"]
    assert healthy == (200, {"status": "ok", "problems": [], "sandbox": "none"})


def test_metrics_may_be_served_elsewhere() -> None:
    assert "/metrics" in dict(ops_routes({}))
    assert "/metrics" not in dict(ops_routes({}, metrics=False))

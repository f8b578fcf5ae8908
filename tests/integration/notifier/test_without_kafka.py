"""A notifier that is started while Kafka is away waits for it."""

from __future__ import annotations

import subprocess
import sys

import httpx

from support.company_fixtures import company, http, parts
from support.eventually import eventually
from support.surroundings import Parts

__all__ = ["company", "http", "parts"]


async def test_a_notifier_that_starts_before_kafka_is_ready_once_kafka_is(
    http: httpx.AsyncClient, parts: Parts
):
    environment = parts.environment_of("notifier")
    url = f"http://127.0.0.1:{environment['HTTP_PORT']}"

    async def answer(path: str) -> int | None:
        try:
            return (await http.get(f"{url}{path}")).status_code
        except httpx.TransportError:
            return None

    async def is_there() -> bool:
        return await answer("/healthz") == 200

    async def is_ready() -> bool:
        return await answer("/readyz") == 200

    command = [sys.executable, "-P", "-m", "notifier"]
    with subprocess.Popen(command, env=environment) as notifier:  # noqa: ASYNC220
        try:
            with parts.down("kafka"):
                await eventually(is_there, timeout=60)
                assert not await is_ready()
            await eventually(is_ready, timeout=60)
        finally:
            notifier.terminate()

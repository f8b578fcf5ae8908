"""aiokafka's clients, started for a block and stopped whatever state they are in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaTimeoutError

log = structlog.get_logger(__name__)

Client: TypeAlias = AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient

_START_SECONDS, _STOP_SECONDS = 30.0, 20.0


@asynccontextmanager
async def started(*clients: Client) -> AsyncIterator[None]:
    """Start *clients* for the block, and stop() them at its end; raises KafkaError or OSError."""
    try:
        try:
            async with asyncio.timeout(_START_SECONDS):
                for client in clients:
                    await client.start()
        except TimeoutError as error:
            raise KafkaTimeoutError("no broker was ready in time") from error
        yield
    finally:
        for client in reversed(clients):
            await stop(client)


async def stop(client: Client) -> None:
    """
    Stop a client, whether it has started or not; one that does not end is left behind.

    A consumer that is stopped before the loop has run once since its start lets the cancellation of
    its own task through: whoever awaits its stop() looks as if somebody had cancelled it, and ends.
    """
    stopping = asyncio.ensure_future(
        client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop()
    )
    done, _ = await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    if not done:
        stopping.cancel()
        log.warning("kafka_client_left_behind", client=type(client).__name__)
    elif not stopping.cancelled() and (error := stopping.exception()):
        log.warning("kafka_client_stop_failed", error=repr(error))

"""
How a command runs: with the watcher's connections, and its log on standard error.

What is away is told in a sentence.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

from media_records import schema
from media_records.companies import CompanyNotFoundError
from media_records.schema import PendingMigrationError
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.kafka.producer import Producer
from media_runtime.settings import PostgresSettings
from media_runtime.telemetry.ops import configure_logging
from media_runtime.telemetry.terminal import CommandError
from pydantic import ValidationError
from watcher.reconcile.assets import SERVICE
from watcher.settings import WatcherSettings, WatchSettings
from watcher.watch import CheckResult, Watch

_FLUSH_SECONDS = 5.0
_TOLD = TransientError, OSError, PendingMigrationError, ValidationError, CompanyNotFoundError

QUIET, FOUND = 0, 2
"""Exit codes: nothing, or something that needs attention."""

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what *coroutine* returns; raises CommandError for what a person can act on."""
    configure_logging("watcher", level="WARNING", stream=sys.stderr)
    try:
        return asyncio.run(coroutine)
    except _TOLD as error:
        raise CommandError(str(error)) from error


def connected(settings: PostgresSettings) -> AbstractAsyncContextManager[Database]:
    """Give the database for the block; see media_records.schema.connected()."""
    return schema.connected(settings, name=SERVICE)


async def watch_once(settings: WatchSettings) -> CheckResult:
    """Look once, without cleaning up, and return what is wrong."""
    async with connected(settings) as database:
        return await Watch.all_checks(database, settings)()


@asynccontextmanager
async def open_operator(settings: WatcherSettings) -> AsyncIterator[Work]:
    """Give what a command acts with; what it tells is on its way at the end, or soon after."""
    async with (
        connected(settings) as database,
        Producer.connect(settings, name=SERVICE) as producer,
    ):
        outbox = Outbox(database, producer, service=SERVICE)
        yield Work(database, outbox)
        # Where Kafka is away, the relay of the running watcher goes on.
        with suppress(TransientError, TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await outbox.flush()

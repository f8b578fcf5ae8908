"""How a command runs: its log on standard error, and what is away told in a sentence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from media_records.schema import PendingMigrationError
from media_runtime.errors import TransientError
from media_runtime.telemetry.ops import configure_logging
from media_runtime.telemetry.terminal import CommandError
from pydantic import ValidationError

QUIET, FOUND = 0, 2
"""Exit codes: nothing, or something that needs attention."""

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what *coroutine* returns; raises CommandError for what a person can act on."""
    configure_logging("watcher", level="WARNING", stream=sys.stderr)
    try:
        return asyncio.run(coroutine)
    except (TransientError, OSError, PendingMigrationError, ValidationError) as error:
        raise CommandError(str(error)) from error

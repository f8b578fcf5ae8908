"""
What a command of the watcher's answers: an exit code, and a document for standard output.

``FAILED`` goes with ``{"error": …}``, a sentence for people; ``FOUND`` says that something needs
attention.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

QUIET, FAILED, FOUND = 0, 1, 2

Answer = tuple[int, Any]
Command = Callable[[argparse.Namespace], Awaitable[Answer]]


def add(commands: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Add a command to the parser's *commands* and return its own parser."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def as_json(document: object) -> str:
    """Return *document* as JSON; moments are in UTC."""
    return json.dumps(document, default=_plain)


def no_company(company: UUID) -> Answer:
    """Say that there is no such company."""
    return FAILED, {"error": f"No company {company} has a bucket."}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        # Microseconds, as rows have them: what reads a moment back must not fall short of it.
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)

"""
The terminal: how commands answer, by tables or JSON on standard output, and ask.

Invariant: strangers' words, such as file names and errors, reach a terminal without markup and
with their control characters escaped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000
_WIDTH = 120
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


class CommandError(Exception):
    """Something a person can act on; printed without a traceback."""

    exit_code = 1


class UsageError(CommandError):
    """The command was given something it cannot work with."""

    exit_code = 2


def parse_span(text: str) -> timedelta:
    """Return the span that ``30d`` means; raises UsageError."""
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS:
        raise UsageError(f"A span is a number and m, h, d or w, such as 30d; not {text!r}.")
    try:
        return timedelta(**{_UNITS[unit]: int(number)})
    except OverflowError as error:
        raise UsageError(f"{text} is longer than any span.") from error


def ask(question: str, yes: bool) -> None:
    """Ask, unless *yes*; without a yes the command ends with exit code 1."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def show(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], as_json: bool) -> None:
    """Print rows as JSON, or as a table of *columns*: a name in the row, or what picks a cell."""
    if as_json:
        print_json(rows)
    elif rows:
        print_table(table(rows, columns))
    else:
        sys.stdout.write("None.\n")


def print_table(found: Table) -> None:
    """Print a table as wide as it must be: an id or a key that is cut short is of no use."""
    console = wide_console()
    unbounded = console.options.update(max_width=_UNBOUNDED)
    needed = Measurement.get(console, unbounded, found).minimum
    if needed > console.width:
        console = Console(width=needed)
    console.print(found)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> Table:
    """Return rows as a table of *columns*."""
    texts = [
        [printable(pick(row) if callable(pick) else row.get(pick)) for pick in columns.values()]
        for row in rows
    ]
    found = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(columns):
        words = [word for cells in texts for word in cells[number].split()]
        found.add_column(
            title,
            no_wrap=not any(" " in cells[number] for cells in texts),
            # Else another column that is long would cost this one the end of an id.
            min_width=max(map(len, words), default=0),
        )
    for cells in texts:
        found.add_row(*(Text(cell) for cell in cells))
    return found


def facts(found: Mapping[str, Any]) -> Table:
    """Return one thing as a table of names and values."""
    told = Table(show_header=False, box=None, pad_edge=False)
    for name, value in found.items():
        told.add_row(name, Text(printable(value)))
    return told


def printable(value: object) -> str:
    """Return *value* as a terminal can show it."""
    text = "-" if value is None else str(value)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def print_json(document: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def plain(document: object) -> Any:
    """Return *document* as JSON has it; moments are in UTC, to the microsecond, as rows are."""
    return json.loads(json.dumps(document, default=_plain))


def wide_console() -> Console:
    """Return a console on stdout that never cuts an address short."""
    console = Console()
    return console if console.width >= _WIDTH else Console(width=_WIDTH)


def duration(seconds: float) -> str:
    """Return a time span in its two largest units."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)

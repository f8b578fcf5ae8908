"""
How commands for operators answer: tables or JSON on standard output, questions on the terminal.

Invariant: strangers' words, such as file names and errors, reach a terminal without markup and
with their control characters escaped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from mediactl.published import wide_console
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


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
        found.add_column(title, no_wrap=not any(" " in cells[number] for cells in texts))
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

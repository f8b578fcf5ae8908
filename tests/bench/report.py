"""How figures are printed: medians and ratios, never a single absolute time."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure: ours, what it is held against, and the ratios of paired runs."""

    name: str
    ours: str
    other: str = ""
    ratios: list[float] = field(default_factory=list)
    target: str = ""


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title=f"{os.cpu_count()} cores, Python {platform.python_version()}")
    for column in ("what", "ours", "against", "ratio (median)", "min to max", "n", "target"):
        table.add_column(column)
    for row in rows:
        ratios = row.ratios
        table.add_row(
            row.name,
            row.ours,
            row.other,
            f"{statistics.median(ratios):.2f}" if ratios else "",
            f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "",
            str(len(ratios)) if ratios else "",
            row.target,
        )
    Console(width=150).print(table)

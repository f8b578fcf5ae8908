"""The report of a run: what people watch while it goes on, and the text that is kept."""

from __future__ import annotations

import io
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chaos.run import Report, Scenario

_PACKAGES = ("faststream", "aiokafka", "asyncpg", "minio", "pillow")
_WIDTH = 150


class Board:
    """The live table: one line for each scenario."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self._now = {scenario.name: "" for scenario in scenarios}
        self._titles = {scenario.name: scenario.title for scenario in scenarios}
        self._live: Live | None = None
        self._console = Console(width=None)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table for the block; without a terminal, each line is printed once."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._table(), console=self._console, refresh_per_second=4) as self._live:
            yield

    def tell(self, name: str, text: str) -> None:
        """Say what a scenario does now."""
        self._now[name] = text
        if self._live is not None:
            self._live.update(self._table())
        else:
            moment = datetime.now(UTC).strftime("%H:%M:%S")
            self._console.print(f"{moment} {name:20} {text}", highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table("scenario", "what", "now", box=None, pad_edge=False)
        for name, title in self._titles.items():
            table.add_row(name, title, self._now[name])
        return table


def summary(reports: Sequence[Report], *, seed: int, scale: str) -> str:
    """Return the report as text: versions, a line for each scenario, and what was broken."""
    console = Console(file=io.StringIO(), width=_WIDTH, no_color=True)
    console.print(f"Fault suite, {scale}, seed {seed}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    console.print(", ".join(_versions()))
    console.print()
    console.print(_outcomes(reports))
    console.print()
    console.print(_totals(reports))
    for report in reports:
        console.print()
        console.print(f"{report.scenario.name}: {report.scenario.title}")
        for name, number in sorted(report.faults.items()):
            console.print(f"  {name}: {number}, of which {report.hits[name]} met work under way")
        for name, text in report.facts.items():
            console.print(f"  {name}: {text}")
        if report.problem:
            console.print(f"  PROBLEM {report.problem}")
        for violation in report.verdict.violations[:10]:
            console.print(f"  {'found' if report.scenario.mutation else 'BROKEN'} {violation}")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _outcomes(reports: Sequence[Report]) -> Table:
    table = Table(
        "scenario", "faults", "hits", "uploads", "lost", "double", "wrong", "absorbed",
        "recovery p50", "p95", "seconds", "verdict", box=None, pad_edge=False,
    )  # fmt: skip
    for report in reports:
        broken = [violation.invariant for violation in report.verdict.violations]
        table.add_row(
            report.scenario.name,
            str(sum(report.faults.values())),
            str(sum(report.hits.values())),
            str(report.count("upload_ok")),
            str(_told(report, "acknowledged; ", "acknowledged, but")),
            str(_told(report, " times: ", "Kafka tells")),
            str(broken.count("I3")),
            str(report.count("wire_duplicates") + report.count("stale_results")),
            _seconds(report.recovery(50)),
            _seconds(report.recovery(95)),
            f"{report.seconds:.0f}",
            _verdict(report),
        )
    return table


def _told(report: Report, *marks: str) -> int:
    """Return how many violations the judge told with one of these words."""
    texts = [violation.text for violation in report.verdict.violations]
    return sum(any(mark in text for mark in marks) for text in texts)


def _verdict(report: Report) -> str:
    if report.problem:
        return "PROBLEM"
    if report.scenario.mutation:
        broken = ", ".join(sorted(report.verdict.broken))
        return f"red as it should: {broken}" if report.ok else "NOT NOTICED"
    return "kept" if report.ok else "BROKEN " + ", ".join(sorted(report.verdict.broken))


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _totals(reports: Sequence[Report]) -> str:
    real = [report for report in reports if not report.scenario.mutation]
    kills = sum(n for report in real for name, n in report.faults.items() if "kill" in name)
    return (
        f"In all: {sum(report.count('upload_ok') for report in real)} uploads, "
        f"{sum(sum(report.faults.values()) for report in real)} faults, {kills} of them kills; "
        f"{sum(len(report.verdict.violations) for report in real)} invariants broken."
    )


def _versions() -> list[str]:
    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    return [
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in _PACKAGES),
        " ".join(ffmpeg.stdout.split()[:3:2]),
    ]

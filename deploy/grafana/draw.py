"""
Draws the dashboards with a Prometheus's data: ``python deploy/grafana/draw.py [URL] [MINUTES]``.

The pictures beside this file are what Grafana would show, without a Grafana: the same panels at
the same places, the same queries, thresholds and units. URL is else that of ``PROMETHEUS_URL``.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isnan, nan
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from published import PublishedPanel, PublishedQuery, names, panels

_FOLDER = Path(__file__).parent
_WIDTH, _ROW, _DPI = 1400, 33, 100
_COLUMNS = 24
_MARGIN, _LEGEND_ROOM = 58, 58
_POINTS = 300
_LEGEND = 9
_LONG_NAME = 18
_TWO_MINUTES, _KIBI = 120, 1024
_COLOURS = {
    "green": "#3a8f47",
    "yellow": "#d9a514",
    "red": "#c4343f",
    "blue": "#3a6fb0",
    "orange": "#d9731a",
}
_CYCLE = ["#3a6fb0", "#d9731a", "#3a8f47", "#8a5bb5", "#c4343f", "#2a9d9d", "#8c6d4f", "#777777"]
_TABLE_ROWS = 8
_SEVERITIES = {"page": _COLOURS["red"], "ticket": _COLOURS["yellow"], "info": _COLOURS["blue"]}
_INK, _FAINT, _PAPER = "#24292e", "#6a737d", "#f2f4f6"

Value = tuple[str, float]
Curve = tuple[str, list[float], list[float]]


@dataclass(frozen=True)
class Prometheus:
    """A server, and the span of time that is drawn; ``variables`` are those of the queries."""

    url: str
    end: float
    seconds: float
    variables: dict[str, str] = field(default_factory=dict)

    def now(self, query: PublishedQuery) -> list[Value]:
        """Return the series of an instant query with their values."""
        found = self._ask("query", query, time=self.end)
        return [(_legend(query, one["metric"]), float(one["value"][1])) for one in found]

    def rows(self, query: PublishedQuery) -> list[dict[str, str]]:
        """Return the labels of the series of an instant query."""
        return [one["metric"] for one in self._ask("query", query, time=self.end)]

    def curves(self, query: PublishedQuery) -> list[Curve]:
        """Return the series of a range query."""
        step = max(round(self.seconds / _POINTS), 1)
        start = int(self.end - self.seconds)
        times = range(start, int(self.end) + 1, step)
        found = self._ask("query_range", query, start=start, end=times[-1], step=step)
        return [
            (_legend(query, one["metric"]), [*times], _on_grid(one["values"], times))
            for one in found
        ]

    def busiest_company(self) -> str:
        """Return the company with the most assets, for a picture of one."""
        query = PublishedQuery("topk(1, sum by (company) (watcher_company_assets))", "", True)
        found = self._ask("query", query, time=self.end)
        return str(found[0]["metric"]["company"]) if found else ""

    def _ask(self, path: str, query: PublishedQuery, **span: float) -> Any:
        parameters: dict[str, str | float] = {"query": query.filled(self.variables), **span}
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False)
        answer.raise_for_status()
        return answer.json()["data"]["result"]


def main() -> None:
    """Draw each dashboard into a file of its name."""
    arguments = sys.argv[1:]
    url = arguments[0] if arguments else os.environ["PROMETHEUS_URL"]
    seconds = 60 * float(arguments[1] if len(arguments) > 1 else 60)
    server = Prometheus(url, time.time(), seconds)
    server.variables.update(
        __rate_interval="1m",
        __range=f"{seconds:.0f}s",
        instance=".+",
        company=server.busiest_company(),
    )
    mpl.rcParams.update({"font.size": 8, "axes.edgecolor": "#c8ccd0", "text.color": _INK})
    for name in names():
        figure = drawn(name, server)
        figure.savefig(
            _FOLDER / f"{name}.png", dpi=_DPI, facecolor=_PAPER, metadata={"Software": None}
        )


def drawn(name: str, server: Prometheus) -> Figure:
    """Return the picture of a dashboard."""
    found = list(panels(name))
    rows = max(one.document["gridPos"]["y"] + one.document["gridPos"]["h"] for one in found)
    figure = Figure(figsize=(_WIDTH / _DPI, rows * _ROW / _DPI))
    for panel in found:
        _draw(figure, panel, rows, server)
    return figure


def _draw(figure: Figure, panel: PublishedPanel, rows: int, server: Prometheus) -> None:
    place = panel.document["gridPos"]
    left, width = place["x"] / _COLUMNS, place["w"] / _COLUMNS
    bottom, height = 1 - (place["y"] + place["h"]) / rows, place["h"] / rows
    if panel.kind == "row":
        title = PublishedQuery(panel.title, "", True).filled(server.variables)
        figure.text(left + 0.006, bottom + height * 0.3, title, fontsize=11, fontweight="bold")
        return
    box = figure.add_axes((left + 0.003, bottom + 0.1 / rows, width - 0.006, height - 0.2 / rows))
    box.set(xticks=[], yticks=[], facecolor="white")
    px = 1 / (rows * _ROW)  # one pixel of the picture's height
    figure.text(
        left + 0.008, bottom + height - 17 * px, panel.title, fontsize=8.5, fontweight="bold"
    )
    if panel.kind == "text":
        _draw_text(box, panel)
    elif panel.kind == "table":
        _draw_table(box, panel, server.rows(panel.queries[0]))
    elif panel.kind == "stat":
        _draw_numbers(box, panel, [one for query in panel.queries for one in server.now(query)])
    else:
        size = (width - (_MARGIN + 16) / _WIDTH, height - (_LEGEND_ROOM + 28) * px)
        inner = figure.add_axes((left + _MARGIN / _WIDTH, bottom + _LEGEND_ROOM * px, *size))
        drawing = _draw_bars if panel.kind == "bargauge" else _draw_curves
        drawing(inner, panel, server)


def _draw_text(box: Axes, panel: PublishedPanel) -> None:
    width = int(panel.document["gridPos"]["w"] * 8.2)
    plain = re.sub(r"\*\*|(?<!\w)\*|\*(?!\w)|`", "", panel.document["options"]["content"])
    lines = [line for part in plain.split("\n") for line in (textwrap.wrap(part, width) or [""])]
    box.text(0.02, 0.86, "\n".join(lines), transform=box.transAxes, va="top", linespacing=1.35)


def _draw_table(box: Axes, panel: PublishedPanel, found: Sequence[dict[str, str]]) -> None:
    columns = [name for name in panel.columns if any(name in one for one in found)]
    lines = [columns, *([one.get(name, "") for name in columns] for one in found)]
    for number, line in enumerate(lines[:_TABLE_ROWS]):
        for place, text in enumerate(line):
            at = (0.008 + place * 0.16, 0.8 - number * 0.098)
            colour = _SEVERITIES.get(text, _INK) if number else _FAINT
            weight = "bold" if number and not place else "normal"
            box.text(*at, text, transform=box.transAxes, va="top", color=colour, weight=weight)
    if not found:
        nothing = panel.defaults["noValue"]
        box.text(0.5, 0.4, nothing, transform=box.transAxes, ha="center", color=_FAINT)


def _draw_numbers(box: Axes, panel: PublishedPanel, values: Sequence[Value]) -> None:
    shown = [value for value in values if not isnan(value[1])] or [("", nan)]
    steps = panel.defaults["thresholds"]["steps"]
    for number, (name, value) in enumerate(shown):
        left, width = number / len(shown), 1 / len(shown)
        colour = "#9aa2ab" if isnan(value) else _level(steps, value)
        box.axvspan(left + 0.005, left + width - 0.005, 0.05, 0.72, color=colour, lw=0)
        text = "no data" if isnan(value) else _units(panel)(value)
        middle = (left + width / 2, 0.44 if name and len(shown) > 1 else 0.38)
        box.text(*middle, text, color="white", fontsize=15, ha="center", va="center", weight="bold")
        if name and len(shown) > 1:
            box.text(left + width / 2, 0.15, name, color="white", fontsize=8, ha="center")
    box.set(xlim=(0, 1), ylim=(0, 1))


def _draw_bars(axes: Axes, panel: PublishedPanel, server: Prometheus) -> None:
    values = [one for query in panel.queries for one in server.now(query)]
    values.sort(key=lambda one: (one[1], one[0]))
    steps, unit = panel.defaults["thresholds"]["steps"], _units(panel)
    place = axes.get_position()
    axes.set_position((place.x0 + 0.035, place.y0, place.width - 0.085, place.height))
    labels = [name if len(name) < _LONG_NAME else f"…{name[-6:]}" for name, _ in values]
    axes.barh(labels, [one[1] for one in values], color=[_level(steps, one[1]) for one in values])
    axes.set_xlim(0, max([one[1] for one in values], default=0) or 1)
    for row, (_, value) in enumerate(values):
        at = ("axes fraction", "data")
        axes.annotate(unit(value), (1.02, row), xycoords=at, va="center", fontsize=7.5)
    axes.set(facecolor="#eef0f2", xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_curves(axes: Axes, panel: PublishedPanel, server: Prometheus) -> None:
    found = [one for query in panel.queries for one in server.curves(query)]
    found = [one for one in found if not all(isnan(value) for value in one[2])]
    colours = _colours(panel, [name for name, _, _ in found])
    stacked = panel.defaults["custom"].get("stacking", {}).get("mode") == "normal"
    if stacked:
        _stack(axes, found, colours)
    else:
        for (name, at, values), colour in zip(found, colours, strict=True):
            axes.plot(at, values, color=colour, label=name, lw=1.3, marker=".", ms=2)
    # A limit far above the curves is left out, as it is in Grafana.
    steps = panel.defaults.get("thresholds", {}).get("steps", [])
    limits = [step["value"] for step in steps if step["value"] and step["color"] == "red"]
    axes.set_ylim(0, 1.1 * (_highest(found, stacked=stacked) or max(limits, default=1)))
    for limit in limits:
        axes.axhline(limit, color=_COLOURS["red"], lw=1, ls="--")
    _mark_axes(axes, panel, server)
    if found:
        _put_legend(axes)
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=_FAINT)


def _highest(found: Sequence[Curve], *, stacked: bool) -> float:
    together = sum if stacked else max
    columns = zip(*(values for _, _, values in found), strict=True)
    return max((together([0, *(v for v in one if v > 0)]) for one in columns), default=0)


def _mark_axes(axes: Axes, panel: PublishedPanel, server: Prometheus) -> None:
    axes.set_xlim(server.end - server.seconds, server.end)
    axes.xaxis.set_major_locator(ticker.MultipleLocator(60 * max(1, server.seconds // 60 // 5)))
    axes.xaxis.set_major_formatter(lambda at, _: f"{datetime.fromtimestamp(at, UTC):%H:%M}")
    unit = _units(panel)
    counts = panel.defaults["unit"] == "none"
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4, integer=counts))
    axes.yaxis.set_major_formatter(lambda value, _: unit(value))
    axes.tick_params(labelsize=7, length=2, colors=_FAINT)
    axes.grid(color="#eceef0", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _put_legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    longest = max(len(label) for label in labels[:_LEGEND])
    width = axes.get_position().width * _WIDTH + _MARGIN
    axes.legend(
        handles[:_LEGEND],
        labels[:_LEGEND],
        loc="upper left",
        bbox_to_anchor=(-_MARGIN / (width - _MARGIN), -0.1),
        ncols=max(1, int(width / (4.6 * longest + 30))),
        frameon=False,
        fontsize=6.5,
        handlelength=1,
        columnspacing=1,
        labelspacing=0.15,
    )


def _stack(axes: Axes, found: Sequence[Curve], colours: Sequence[str]) -> None:
    if found:
        heights = [[0 if isnan(value) else value for value in values] for _, _, values in found]
        names_ = [name for name, _, _ in found]
        axes.stackplot(found[0][1], heights, labels=names_, colors=colours, alpha=0.75, lw=0)


def _on_grid(points: Iterable[Sequence[Any]], times: Iterable[int]) -> list[float]:
    # Where there is no point there is no line either.
    there = {round(float(at)): float(value) for at, value in points}
    return [there.get(at, nan) for at in times]


def _colours(panel: PublishedPanel, series: Sequence[str]) -> list[str]:
    fixed = {
        one["matcher"]["options"]: one["properties"][0]["value"]["fixedColor"]
        for one in panel.document["fieldConfig"]["overrides"]
    }
    free = iter(_CYCLE * (1 + len(series) // len(_CYCLE)))
    return [_COLOURS[fixed[name]] if name in fixed else next(free) for name in series]


def _level(steps: Sequence[dict[str, Any]], value: float) -> str:
    colour = steps[0]["color"]
    for step in steps[1:]:
        if value >= step["value"]:
            colour = step["color"]
    return _COLOURS[colour]


def _legend(query: PublishedQuery, labels: dict[str, str]) -> str:
    if query.legend == "__auto":
        return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), query.legend)


def _units(panel: PublishedPanel) -> Callable[[float], str]:
    return _UNITS[panel.defaults["unit"]]


def _seconds(value: float) -> str:
    if 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < _TWO_MINUTES else f"{value / 60:.3g} min"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIBI:
            return f"{value:.3g} {unit}"
        value /= _KIBI
    return f"{value:.3g} TiB"


_UNITS: dict[str, Callable[[float], str]] = {
    "none": lambda value: f"{value:.4g}",
    "s": _seconds,
    "bytes": _bytes,
    "Bps": lambda value: f"{_bytes(value)}/s",
    "percentunit": lambda value: f"{value * 100:.3g} %",
    "ops": lambda value: f"{value:.3g}/s",
    "reqps": lambda value: f"{value:.3g}/s",
    "opm": lambda value: f"{value:.3g}/min",
    "suffix:x": lambda value: f"{value:.3g}x",
}


if __name__ == "__main__":
    main()

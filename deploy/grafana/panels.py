"""
The vocabulary of the dashboards: numbers, curves, bars, tables and notes, each with a title, a
sentence that explains it, a unit and its queries.

Invariant: places and ids of panels follow from their order, so the same code gives the same files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

SOURCE = model.DataSourceRef(type_val="prometheus", uid="prometheus")
RATE = "$__rate_interval"
GREEN, YELLOW, RED = "green", "yellow", "red"

Panel = Builder[model.Panel]
Described = TypeVar("Described", stat.Panel, timeseries.Panel, bargauge.Panel, table.Panel)


@dataclass(frozen=True)
class Query:
    """A query, and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Levels:
    """
    The values from which a number has a colour.

    The first step has no value: it is the colour below all others.
    """

    steps: Sequence[tuple[float | None, str]]

    @classmethod
    def rising(cls, yellow: float, red: float) -> Levels:
        """Return levels of something that should be low."""
        return cls([(None, GREEN), (yellow, YELLOW), (red, RED)])

    @classmethod
    def falling(cls, green: float, yellow: float) -> Levels:
        """Return levels of something that should be high: red lies below *yellow*."""
        return cls([(None, RED), (yellow, YELLOW), (green, GREEN)])

    @classmethod
    def all_of(cls, number: float) -> Levels:
        """Return levels of something of which there should be *number*."""
        return cls([(None, RED), (number, GREEN)])

    @classmethod
    def none_is_good(cls) -> Levels:
        """Return levels of something that there should be none of."""
        return cls([(None, GREEN), (1, RED)])

    @classmethod
    def plain(cls) -> Levels:
        """Return levels of a number that is neither good nor bad."""
        return cls([(None, "blue")])

    def build(self) -> dashboard.ThresholdsConfig:
        """Return them as Grafana's."""
        steps = [model.Threshold(value=value, color=colour) for value, colour in self.steps]
        return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def number(
    title: str, about: str, unit: str, *queries: Query, levels: Levels, span: int = 4
) -> Panel:
    """
    Return a coloured number as it is now.

    It is an instant query, as a last value of a range may be long over.
    """
    panel = (
        stat.Panel()
        .graph_mode(options.BigValueGraphMode.NONE)
        .color_mode(options.BigValueColorMode.BACKGROUND)
        .text_mode(options.BigValueTextMode.AUTO)
        .justify_mode(options.BigValueJustifyMode.CENTER)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(levels.build())
        .no_value("no data")
        .height(4)
        .span(span)
    )
    return _described(panel, title, about, unit, queries, instant=True)


def bars(
    title: str, about: str, unit: str, *queries: Query, levels: Levels, span: int = 8
) -> Panel:
    """Return a bar for each series, as it is now."""
    panel = (
        bargauge.Panel()
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(levels.build())
        .no_value("no data")
        .min(0)
        .height(8)
        .span(span)
    )
    return _described(panel, title, about, unit, queries, instant=True)


def curves(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    span: int = 8,
    height: int = 8,
    stacked: bool = False,
    colours: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> Panel:
    """Return curves over time; *colours* are by series, *limit* is drawn as a red line."""
    panel = (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(30 if stacked else 5)
        .show_points(options.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.LIST)
            .placement(options.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI))
        .min(0)
        .height(height)
        .span(span)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if limit is not None:
        panel.thresholds(Levels([(None, GREEN), (limit, RED)]).build()).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.LINE)
        )
    for series, colour in (colours or {}).items():
        fixed = model.DynamicConfigValue(
            id_val="color", value={"mode": "fixed", "fixedColor": colour}
        )
        panel.override_by_name(series, [fixed])
    return _described(panel, title, about, unit, queries, instant=False)


def rows(
    title: str, about: str, query: Query, columns: Sequence[str], *, nothing: str, span: int = 24
) -> Panel:
    """Return a table of the series that there are now; *columns* are labels of theirs."""
    hidden = dict.fromkeys(("Time", "Value", "__name__"), True)
    organised = model.DataTransformerConfig(
        id_val="organize",
        options={
            "excludeByName": hidden,
            "indexByName": {name: place for place, name in enumerate(columns)},
            "renameByName": {},
        },
    )
    panel = table.Panel().with_transformation(organised).no_value(nothing).height(6).span(span)
    panel.title(title).description(about).unit("none").datasource(SOURCE)
    target = prometheus.Dataquery().expr(query.expr).ref_id("A").datasource(SOURCE)
    return panel.with_target(target.format(PromQueryFormat.TABLE).instant())


def note(title: str, about: str, content: str, *, span: int = 8, height: int = 8) -> Panel:
    """Return a text, in Markdown."""
    return (
        text.Panel()
        .title(title)
        .description(about)
        .mode(TextMode.MARKDOWN)
        .content(content)
        .height(height)
        .span(span)
    )


def quantiles(
    histogram: str, *, by: str = "", named: str = "", which: str = "50 95 99"
) -> list[Query]:
    """Return quantiles of *histogram*, a bucket series with its labels, over the last moments."""
    grouping = f"le, {by}" if by else "le"
    return [
        Query(
            f"histogram_quantile(0.{one}, sum by ({grouping}) (rate({histogram}[{RATE}])))",
            f"{named}p{one}" if named or not by else f"{{{{{by}}}}} p{one}",
        )
        for one in which.split()
    ]


def rate(counter: str, by: str = "") -> str:
    """Return how fast *counter*, with its labels, rises, in a second."""
    return f"sum{f' by ({by})' if by else ''} (rate({counter}[{RATE}]))"


def variable(
    name: str, label: str, about: str, query: str, *, multi: bool
) -> Builder[model.VariableModel]:
    """Return a template variable whose values Prometheus has; *multi* begins with all of them."""
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .description(about)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi)
        .include_all(multi)
    )
    return made.all_value(".+") if multi else made


def board(
    uid: str,
    title: str,
    about: str,
    rows: Mapping[str, Sequence[Panel]],
    *variables: Builder[model.VariableModel],
) -> model.Dashboard:
    """Return a dashboard of *rows*, with links to the others."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["media"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Media pipeline")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["media"])
            .keep_time(True)
        )
    )
    for one in variables:
        made.with_variable(one)
    for name, panels in rows.items():
        made.with_row(dashboard.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return _numbered(made.build())


def _numbered(built: model.Dashboard) -> model.Dashboard:
    for number_, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number_
    return built


def _described(
    panel: Described, title: str, about: str, unit: str, queries: Sequence[Query], *, instant: bool
) -> Described:
    panel.title(title).description(about).unit(unit).datasource(SOURCE)
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(SOURCE)
        target.legend_format(query.legend or "__auto")
        panel.with_target(target.instant() if instant else target.range())
    return panel

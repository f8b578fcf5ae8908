"""The dashboards as Grafana gets them: their panels, and their queries with variables filled in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"


@dataclass(frozen=True)
class PublishedQuery:
    """A query as it stands in a panel; an instant one asks for now, others for a range."""

    expr: str
    legend: str
    instant: bool

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the query with *values* in place of its variables, the longest names first."""
        expr = self.expr
        for name in sorted(values, key=len, reverse=True):
            expr = expr.replace(f"${name}", values[name])
        return expr


@dataclass(frozen=True)
class PublishedPanel:
    """One panel; ``document`` is all that Grafana is told of it."""

    dashboard: str
    document: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What stands above it."""
        return str(self.document.get("title", ""))

    @property
    def kind(self) -> str:
        """What Grafana draws: stat, timeseries, bargauge, table, text or row."""
        return str(self.document["type"])

    @property
    def defaults(self) -> Mapping[str, Any]:
        """How its values are shown: unit, thresholds and the like."""
        found: Mapping[str, Any] = self.document.get("fieldConfig", {}).get("defaults", {})
        return found

    @property
    def columns(self) -> list[str]:
        """The labels that a table shows, in their order."""
        (organised,) = self.document["transformations"]
        places: Mapping[str, int] = organised["options"]["indexByName"]
        return sorted(places, key=lambda name: places[name])

    @property
    def queries(self) -> list[PublishedQuery]:
        """What it asks Prometheus."""
        return [
            PublishedQuery(one["expr"], one.get("legendFormat", ""), bool(one.get("instant")))
            for one in self.document.get("targets", [])
        ]


def names() -> list[str]:
    """Return the names of the dashboards."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def document(name: str) -> Mapping[str, Any]:
    """Return a dashboard as Grafana gets it."""
    found: Mapping[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def panels(name: str) -> Iterator[PublishedPanel]:
    """Return a dashboard's panels, rows too, in their order."""
    for one in document(name)["panels"]:
        yield PublishedPanel(name, one)

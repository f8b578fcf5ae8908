"""The dashboards are what their code makes, explain themselves, and ask for metrics there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mediactl.repository.metrics_table import instruments

import published
from support.tiers import PATIENCE

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "deploy" / "grafana" / "build.py"
ALL = [panel for name in published.names() for panel in published.panels(name)]
DRAWN = [panel for panel in ALL if panel.kind != "row"]
ASKING = [panel for panel in DRAWN if panel.kind != "text"]
# What others export of which the dashboards make use.
FOREIGN = {
    "ALERTS",
    "faststream_received_processed_messages_total",
    "minio_cluster_capacity_usable_free_bytes",
    "minio_cluster_capacity_usable_total_bytes",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "up",
}
WORDS = {"and", "by", "ignoring", "on", "or", "unless", "without"}


def known() -> set[str]:
    """Return the series that there are, by the table of metrics."""
    found = set(FOREIGN)
    for one in instruments():
        suffixes = ("_bucket", "_count", "_sum") if one.kind == "histogram" else ("",)
        found |= {one.name + suffix for suffix in suffixes}
    return found


def metrics_of(expr: str) -> set[str]:
    """Return the names in a query that are neither labels nor functions."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    names = re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)
    return set(names) - WORDS


def called(panel) -> str:
    return f"{panel.dashboard}: {panel.title}"


def test_the_files_are_what_the_code_makes(tmp_path):
    """Else: python deploy/grafana/build.py."""
    subprocess.run([sys.executable, BUILD, tmp_path], check=True, timeout=60 * PATIENCE)

    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert set(made) == {"overview.json", "services.json", "companies.json"}
    for name, text in made.items():
        assert (published.FOLDER / name).read_text() == text, name


def test_each_dashboard_keeps_its_address():
    assert {name: published.document(name)["uid"] for name in published.names()} == {
        "companies": "media-companies",
        "overview": "media-overview",
        "services": "media-services",
    }


@pytest.mark.parametrize("panel", DRAWN, ids=called)
def test_a_panel_explains_itself(panel):
    assert panel.title
    assert panel.document["description"].endswith(".")
    assert panel.kind == "text" or panel.defaults["unit"]


@pytest.mark.parametrize("panel", ASKING, ids=called)
def test_a_panel_asks_for_metrics_that_there_are(panel):
    assert panel.queries
    assert panel.document["datasource"]["uid"] == "prometheus"
    for query in panel.queries:
        names = metrics_of(query.expr)
        assert names
        assert names <= known(), names - known()


@pytest.mark.parametrize("panel", ASKING, ids=called)
def test_a_panel_uses_only_variables_that_its_dashboard_has(panel):
    templates = published.document(panel.dashboard)["templating"].get("list", [])
    there = {"__rate_interval", "__range"} | {one["name"] for one in templates}

    for query in panel.queries:
        assert set(re.findall(r"\$(\w+)", query.expr)) <= there


def test_titles_are_of_one_panel_each():
    for name in published.names():
        titles = [panel.title for panel in published.panels(name)]
        assert len(titles) == len(set(titles)), name


def test_no_panel_lies_on_another():
    for name in published.names():
        places = [panel.document["gridPos"] for panel in published.panels(name)]
        cells = [
            (x, y)
            for place in places
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells)), name
        assert max(x for x, _ in cells) < 24, name

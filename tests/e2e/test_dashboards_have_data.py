"""After a few uploads no panel of a dashboard is empty: Prometheus answers each of its queries."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from mediactl.devstack.services import SERVICES
from mediactl.repository.metrics_table import instruments

import published
from support.clients import Company
from support.eventually import eventually
from support.http_clients import get
from support.media_files import make_photo, make_video
from support.surroundings import variable

_NOTHING_IS_ZERO = " or vector(0)"
_SELECTOR = re.compile(r"\b([A-Za-z_]+)\{([^}]*)\}")
_OF_A_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


def _queries() -> Iterator[tuple[published.PublishedPanel, published.PublishedQuery]]:
    """Return every query of every panel."""
    for name in published.names():
        for panel in published.panels(name):
            for query in panel.queries:
                yield panel, query


@dataclass(frozen=True)
class Prometheus:
    """The stack's Prometheus."""

    http: httpx.AsyncClient
    url: str

    async def values(self, query: str) -> list[float]:
        """Return the numbers that a query gives now; one that is no number is left out."""
        found = [float(one["value"][1]) for one in await self._ask(query)]
        return [value for value in found if not math.isnan(value)]

    async def busiest_company(self) -> str:
        """Return the company with the most assets: after many tests ours may not be shown."""
        (found,) = await self._ask("topk(1, sum by (company) (watcher_company_assets))") or [{}]
        return str(found.get("metric", {}).get("company", "none yet"))

    async def empty(self, values: dict[str, str]) -> list[str]:
        """Return the queries of all dashboards that give nothing."""
        asked = [
            (f"{panel.dashboard}, {panel.title}", query.filled(values))
            for panel, query in _queries()
            if panel.kind != "table"  # of alerts: test_incidents makes them fire
        ]
        found = await asyncio.gather(*(self.values(query) for _, query in asked))
        return [
            f"{panel}: {query}"
            for (panel, query), values in zip(asked, found, strict=True)
            if not values
        ]

    async def quiet(self, values: dict[str, str]) -> list[str]:
        """Return the queries that give nothing but the 0 that stands in for what never happened."""
        asked = [
            query.filled(values).replace(_NOTHING_IS_ZERO, "")
            for _, query in _queries()
            if _NOTHING_IS_ZERO in query.expr
        ]
        found = await asyncio.gather(*(self.values(query) for query in asked))
        return [query for query, values in zip(asked, found, strict=True) if not values]

    async def _ask(self, query: str) -> list[Any]:
        answer = await self.http.get(f"{self.url}/api/v1/query", params={"query": query})
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["data"]["result"]
        return found


@pytest.fixture
def prometheus(http: httpx.AsyncClient) -> Prometheus:
    return Prometheus(http, variable("PROMETHEUS_URL"))


async def upload_a_video_a_photo_and_a_bad_file(company: Company, folder: Path) -> None:
    bad = folder / "bad.jpg"
    bad.write_bytes(b"This is no picture.")
    good = [make_video(folder / "video.mp4"), make_photo(folder / "photo.jpg")]
    async with company.listening():
        ids = [await company.upload(path) for path in good]
        refused = await company.upload(bad)
        await asyncio.gather(*(company.ready(one) for one in ids))
    assert (await company.ended(refused))["status"] == "failed"


async def test_every_query_of_every_panel_has_data(company: Company, prometheus, tmp_path):
    await upload_a_video_a_photo_and_a_bad_file(company, tmp_path)
    # A counter that appears with its first event has not risen: what comes next is seen to rise.
    await eventually(
        lambda: prometheus.values('thumbnailer_render_seconds_count{kind="video"}'), timeout=30
    )
    await upload_a_video_a_photo_and_a_bad_file(company, tmp_path)

    async def variables() -> dict[str, str]:
        company_shown = await prometheus.busiest_company()
        return {
            "__rate_interval": "2m", "__range": "1h", "instance": ".+", "company": company_shown,
        }  # fmt: skip

    async def nothing_is_empty() -> bool:
        empty = await prometheus.empty(await variables())
        assert not empty, "no data for\n" + "\n".join(empty)
        return True

    await eventually(nothing_is_empty, timeout=40)
    for query in await prometheus.quiet(await variables()):
        assert_it_could_have_data(query)


def assert_it_could_have_data(query: str) -> None:
    """What has not happened has no series: its metric is exported, and its labels are its own."""
    labels = {one.name: {*one.labels, "job", "instance", "le"} for one in instruments()}
    selectors = _SELECTOR.findall(query)
    assert selectors, query
    for series, selected in selectors:
        metric = _OF_A_HISTOGRAM.sub("", series)
        if metric == "ALERTS":  # Prometheus's own: test_incidents makes some fire
            continue
        jobs = re.findall(r'job="(\w+)"', selected) or SERVICES
        assert any(metric in exported(job) for job in jobs), query
        assert set(re.findall(r"(\w+)!?=", selected)) <= labels[metric], query


def exported(service: str) -> set[str]:
    """Return the names of the metrics that a service exports, those without a series too."""
    answer = get(variable(f"{service.upper()}_METRICS_URL"))
    return set(re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE))

"""After a few uploads no panel of a dashboard is empty: Prometheus answers each of its queries."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import published
from support.clients import Company
from support.eventually import eventually
from support.media_files import make_photo, make_video
from support.surroundings import variable


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
            for name in published.names()
            for panel in published.panels(name)
            for query in panel.queries
        ]
        found = await asyncio.gather(*(self.values(query) for _, query in asked))
        return [
            f"{panel}: {query}"
            for (panel, query), values in zip(asked, found, strict=True)
            if not values
        ]

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

    async def nothing_is_empty() -> bool:
        empty = await prometheus.empty(
            {
                "__rate_interval": "2m",
                "__range": "1h",
                "instance": ".+",
                "company": await prometheus.busiest_company(),
            }
        )
        assert not empty, "no data for\n" + "\n".join(empty)
        return True

    await eventually(nothing_is_empty, timeout=40)

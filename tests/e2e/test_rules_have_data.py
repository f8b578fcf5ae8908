"""Rules look at series that the running system has: none of them waits for a name that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from support.eventually import eventually
from support.http_clients import get
from support.media_files import make_photo, make_video
from support.surroundings import variable

RULES = sorted((Path(__file__).parents[2] / "deploy" / "prometheus" / "rules").glob("*.yml"))
SELECTOR = re.compile(r"\b([a-z][a-z_]*(?::[a-z_]+:[a-z0-9_]+)?)(\{[^}]*\})?(?=[\[\s)]|$)")
FUNCTIONS = {"max", "min", "sum", "rate", "increase", "absent", "time", "by", "on", "and", "or",
             "vector", "clamp_max", "topic", "job", "unless", "without", "alertname", "alertstate",
             "label_replace", "company", "integration"}  # fmt: skip
# One series for each company that is close to its quota, and none while there is no such one.
RARE = {"watcher_company_nearly_full"}


def expressions():
    """Return every expression of every rule, and the queries in their texts."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule["expr"]
                yield from re.findall(r"query `([^`]+)`", str(rule.get("annotations", "")))


def selectors():
    """Return the series that rules look at."""
    found = set()
    for expression in expressions():
        for name, labels in SELECTOR.findall(expression):
            if name not in FUNCTIONS | RARE:
                # What has not happened has no series of its own: any answer will do.
                found.add(name + re.sub(r',?\s*status=~"5\.\."', "", labels))
    return sorted(found)


def has_data(query):
    url = f"{variable('PROMETHEUS_URL')}/api/v1/query"
    answer = get(url, params={"query": query}).json()
    assert answer["status"] == "success", (query, answer)
    return bool(answer["data"]["result"])


@pytest.fixture
async def used(company, tmp_path):
    """The system after a video and a photo."""
    video = make_video(tmp_path / "v.mp4", size="160x90", seconds=1)
    for path in (video, make_photo(tmp_path / "p.jpg")):
        await company.ready(await company.upload(path))


async def test_every_series_that_a_rule_looks_at_is_there(used):
    assert len(selectors()) > 30

    def look():
        missing = [query for query in selectors() if not has_data(query)]
        assert missing == []
        return True

    await eventually(look, timeout=60)

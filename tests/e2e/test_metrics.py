"""What the running system exports is what deploy/metrics.md says."""

from __future__ import annotations

import asyncio
import re

import pytest
from media_contracts import TOPICS, AssetStatus, MediaKind
from mediactl.devstack.services import SERVICES
from mediactl.repository.metrics_table import instruments
from prometheus_client.parser import text_string_to_metric_families
from watcher.monitoring.findings import Kind, Severity

from support.eventually import eventually
from support.http_clients import get
from support.media_files import make_photo, make_video
from support.surroundings import variable

# Of libraries: the process, Python, and FastStream's consumers.
FOREIGN = ("python_", "process_", "faststream_")


def exported(service):
    """Return name, type and labels of what a service exports now."""
    answer = get(variable(f"{service.upper()}_METRICS_URL"))
    found = {}
    for family in text_string_to_metric_families(answer.text):
        if family.name.startswith(FOREIGN) or family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {key for sample in family.samples for key in sample.labels} - {"le"}
        found[name] = (family.type, labels)
    return found


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_exports_what_the_table_says_and_nothing_else(service):
    documented = {one.name: one for one in instruments()}
    own = {one.name for one in instruments() if one.service == service}
    shared = {one.name for one in instruments() if one.service not in SERVICES}

    def look():
        found = exported(service)
        assert own <= found.keys(), own - found.keys()
        return found

    # The watcher exports what it saw while it acts.
    found = await eventually(look, timeout=20)
    for name, (kind, labels) in found.items():
        assert name in documented, name
        assert name in own or name in shared, name
        assert kind == documented[name].kind, name
        assert labels in (set(), set(documented[name].labels)), name


WORDS = re.compile(r"[A-Za-z_]{2,40}")
ROUTE = re.compile(r"unmatched|(/[a-z_]+|/\{[a-z_]+\})+")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What an id, a key, a bucket, a file or an address has, and no word of ours.
ID_LIKE = re.compile(r"[0-9a-f]{8}|\d{4}|://|\.(jpg|mp4)\b")
SETS = {
    "group": {topic.group for topic in TOPICS if topic.group},
    "method": {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "other"},
    "producer": {"sign_api", "ingest", "watcher"},
    "severity": set(Severity),
    "topic": {topic.name for topic in TOPICS},
}
KINDS = {"watcher": set(Kind)}
TASKS = {"inspect", "chunk", "sound", "text", "whole", "package", "preview", "quality", "audio"}
TASKS |= {"animation"}
# What has not happened in a day without troubles has no values yet.
RARE = {
    "tasks_fence_rejections_total", "kafka_dead_lettered_total", "kafka_handler_retries_total",
    "kafka_unknown_events_total", "reruns_total",
    "notifier_malformed_total", "sign_api_refused_total", "watcher_alerts_total",
    "watcher_assets_retired_total", "watcher_looks_failed_total", "watcher_originals_moved_total",
    "watcher_company_nearly_full", "watcher_reconciled_total", "ingest_whole_films_total",
    "notifier_webhooks_total",
}  # fmt: skip


def samples(service):
    """Return the families that a service exports now, those of libraries too."""
    answer = get(variable(f"{service.upper()}_METRICS_URL"))
    return list(text_string_to_metric_families(answer.text))


def is_of_its_set(service, metric, label, value):
    """Return whether a label's value is one of those that it may have."""
    if label == "company":
        return metric.startswith("watcher_company_") and UUID.fullmatch(value)
    if label == "kind" and metric.startswith("ingest_tasks_"):
        return value in TASKS
    if label == "kind":
        return value in KINDS.get(service, set(MediaKind))
    if label == "status":
        return value in set(AssetStatus) or re.fullmatch(r"[1-5]\d\d", value)
    if label == "route":
        return ROUTE.fullmatch(value)
    return value in SETS[label] if label in SETS else WORDS.fullmatch(value)


@pytest.fixture
async def used(company, tmp_path):
    """The system after a video, a photo and a file that is neither, while somebody listens."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"This is no picture.")
    files = [
        make_video(tmp_path / "v.mp4", size="160x90", seconds=1),
        make_photo(tmp_path / "p.jpg"),
        bad,
    ]
    async with company.listening():
        ids = [await company.upload(path) for path in files]
        await asyncio.gather(*(company.ended(one) for one in ids))


async def test_labels_have_values_of_closed_sets(used):
    for service in SERVICES:
        for family in samples(service):
            own = not family.name.startswith(FOREIGN)
            for sample in family.samples:
                for label, value in sample.labels.items():
                    where = (service, sample.name, label, value)
                    if own and label != "le":
                        assert is_of_its_set(service, sample.name, label, value), where
                    elif label != "le":
                        assert not ID_LIKE.search(value), where


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("kind", "5f0c9a52-3a0e-4b7f-9d43-0d7a4c7f1b22"),
        ("kind", "holiday.mp4"),
        ("company", "5f0c9a52-3a0e-4b7f-9d43-0d7a4c7f1b22"),
        ("outcome", "attempt-7"),
        ("route", "/api/media/assets/5f0c9a52-3a0e-4b7f-9d43-0d7a4c7f1b22"),
        ("topic", "media_uploads"),
        ("status", "1200"),
    ],
)
def test_a_value_of_no_closed_set_would_be_noticed(label, value):
    assert not is_of_its_set("sign_api", "sign_api_grants_total", label, value)


async def test_after_a_few_uploads_labels_have_values(used):
    """Else the test before would have nothing to look at."""

    def look():
        named = {
            sample.name.removesuffix("_bucket")
            for service in SERVICES
            for family in samples(service)
            for sample in family.samples
        }
        labelled = {one.name for one in instruments() if one.labels}
        assert labelled - named <= RARE, labelled - named - RARE
        return True

    assert await eventually(look, timeout=20)

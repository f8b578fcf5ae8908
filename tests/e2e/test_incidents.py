"""
Troubles, planted in the running system: each gives its log line, its metric and its alert, and is
cured by what its alert's runbook says to type, and by nothing else.

They are planted together, as alerts take their time. A service that is dead logs nothing itself:
its line is the watcher's about what it no longer does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from media_contracts import MEDIA_THUMBNAIL
from media_runtime.kafka.producer import OutgoingRecord, Producer
from media_runtime.settings import KafkaSettings, StorageSettings
from media_runtime.storage.buckets import admin_client
from media_runtime.storage.store import ObjectStore
from media_runtime.storage.users import PROVISIONER, access_key
from urllib3 import PoolManager

import published
from support.clients import Company
from support.eventually import eventually
from support.http_clients import get
from support.media_files import make_photo
from support.runbook_runner import NightShift
from support.runbooks import runbook
from support.surroundings import Parts, restarted, variable
from support.typed import mediactl

ALERTS = (
    "MediaBacklog", "MediaProcessingFails", "MediaQuotaFull",
    "MediaOutboxStuck", "MediaKafkaAway", "MediaServiceDown",
)  # fmt: skip

# The clock of the watcher, shortened.
FAST = {
    "WATCHER_WATCH_INTERVAL_SECONDS": "1",
    "WATCHER_ESCALATE_AFTER_SECONDS": "3",
    "WATCHER_OUTBOX_ALERT_SECONDS": "2",
    "WATCHER_STUCK_SECONDS": "3",
    # None of it is over by itself while we look, nor hidden by what others made ready.
    "WATCHER_FAILURE_WINDOW_SECONDS": "300",
    "WATCHER_FAILURE_ALERT_RATIO": "0",
}
# An ingest that gives up at once what waits for somebody else.
IMPATIENT = {"INGEST_GIVE_UP_SECONDS": "1", "INGEST_PICTURES_LEASE_SECONDS": "1"}


def firing() -> dict[str, list[dict[str, dict[str, str]]]]:
    """Return the alerts that fire, by name."""
    answer = get(f"{variable('PROMETHEUS_URL')}/api/v1/alerts").json()
    found: dict[str, list[dict[str, dict[str, str]]]] = {}
    for alert in answer["data"]["alerts"]:
        if alert["state"] == "firing":
            found.setdefault(alert["labels"]["alertname"], []).append(alert)
    return found


def told() -> set[str]:
    """Return the names of the alerts that Alertmanager holds."""
    url = f"{variable('ALERTMANAGER_URL')}/api/v2/alerts?active=true"
    return {one["labels"]["alertname"] for one in get(url).json()}


def series(query: str) -> list[Any]:
    """Return what Prometheus answers to a query."""
    url = f"{variable('PROMETHEUS_URL')}/api/v1/query"
    found: list[Any] = get(url, params={"query": query}).json()["data"]["result"]
    return found


def value(query: str) -> float:
    """Return the sum of what Prometheus answers to a query, 0 for nothing."""
    return sum(float(one["value"][1]) for one in series(query))


class Log:
    """What the watcher logs from now on."""

    def __init__(self, parts: Parts) -> None:
        self._file: Path = parts.home.log_file("watcher")
        self._start = self._file.stat().st_size

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that there are."""
        with self._file.open() as file:
            file.seek(self._start if self._file.stat().st_size >= self._start else 0)
            return [json.loads(line) for line in file if line.startswith("{")]

    def alerts(self) -> set[str]:
        """Return the alerts and escalations among them."""
        beginnings = ("ALERT", "ESCALATE")
        return {one["event"] for one in self.lines() if one["event"].startswith(beginnings)}


async def all_true(checks: Mapping[str, Callable[[], bool]], timeout: float) -> None:  # noqa: ASYNC109
    """Wait until each check was true; those that were not are named."""
    missing = dict(checks)

    def look() -> bool:
        for name in [name for name, check in missing.items() if check()]:
            del missing[name]
        assert not missing, sorted(missing)
        return True

    await eventually(look, timeout=timeout)


@contextmanager
def impatient_ingest() -> Iterator[None]:
    """Have ingest with IMPATIENT for the block; it is left as it should be."""
    Parts().stop("ingest")
    Parts(IMPATIENT).start("ingest")
    planted = Parts().pid("ingest")
    try:
        yield
    finally:
        if Parts().pid("ingest") in {planted, None}:
            Parts().stop("ingest")
            Parts().start("ingest")


async def send_poison() -> None:
    """Send a record that no consumer can take."""
    settings = KafkaSettings(kafka_bootstrap_servers=variable("KAFKA_BOOTSTRAP_SERVERS"))
    async with Producer.connect(settings, name="test") as producer:
        await producer.send(OutgoingRecord(MEDIA_THUMBNAIL.name, "poison", b"{not json"))


def resolved(*names: str) -> dict[str, Callable[[], bool]]:
    """Return a check for each alert that it no longer fires."""
    return {f"resolved: {name}": lambda name=name: name not in firing() for name in names}


@pytest.fixture
async def photo(tmp_path):
    return make_photo(tmp_path / "p.jpg", size=(320, 240)).read_bytes()


@pytest.mark.timeout(600)
async def test_incidents_are_seen_and_their_runbooks_cure_them(
    company: Company, other_company: Company, parts: Parts, photo
):
    # Of failures, those of tests before may still be told of.
    before = firing().keys() & {*ALERTS, "MediaDeadLetters"} - {"MediaProcessingFails"}
    assert not before, "fire already"
    shift = NightShift(quota_bytes=1_000_000_000)
    with restarted("watcher", **FAST), impatient_ingest():
        log = Log(parts)
        # A full quota, and a poison record.
        await other_company.sign()
        changed = mediactl("quota", "--company", str(other_company.id), "--set", "1", "--yes")
        assert changed.returncode == 0, changed.stdout + changed.stderr
        await send_poison()
        # It is seen now: nobody can count dead letters while Kafka is away.
        await all_true(seen_of_poison(log), timeout=90)
        # A dead service, hence failures of what waits for it.
        with parts.down("thumbnailer"):
            failing = [await company.upload_bytes("p.jpg", photo, "image/jpeg") for _ in range(4)]
            ended = [await company.ended(one) for one in failing]
            assert {one["error"]["code"] for one in ended} == {"processing_timeout"}
            # Another one, hence a backlog of 11, hence one that lasts longer than it may.
            with parts.down("ingest"):
                waiting = [
                    await company.upload_bytes("p.jpg", photo, "image/jpeg") for _ in range(11)
                ]
                # Kafka away, hence a stuck outbox: it holds what is told of a deletion.
                with parts.down("kafka"):
                    await company.call("DELETE", f"/assets/{failing.pop()}")
                    await all_true(seen(log), timeout=150)
                    await the_table_of_alerts_names_them()
                    found = firing()
                    runbooks_can_be_read(found)
                    # The lowest part first.
                    shift.follow(found["MediaOutboxStuck"][0])
                shift.follow(found["MediaBacklog"][0])
            (down,) = [
                one for one in found["MediaServiceDown"] if one["labels"]["job"] == "thumbnailer"
            ]
            shift.follow(down)
        await eventually(lambda: "MediaDeadLetters" in firing(), timeout=60)
        found |= firing()
        for name in ("MediaProcessingFails", "MediaDeadLetters", "MediaQuotaFull"):
            shift.follow(found[name][0])
        for upload in (*waiting, *failing):
            await company.ready(upload)
        await other_company.sign()
        await all_true(resolved(*ALERTS, "MediaDeadLetters"), timeout=90)


def seen_of_poison(log: Log) -> dict[str, Callable[[], bool]]:
    """Return what a poison record must be seen by."""
    metric = 'watcher_dead_letters{topic="media_thumbnail"} >= 1'
    return {
        "log": lambda: "ALERT dead_letters" in log.alerts(),
        "metric": lambda: bool(series(metric)),
        "alert": lambda: "MediaDeadLetters" in firing(),
        "alertmanager": lambda: "MediaDeadLetters" in told(),
    }


def seen(log: Log) -> dict[str, Callable[[], bool]]:
    """Return what each trouble must be seen by: its log line, its metric, its alert."""
    kinds = ("backlog", "failures", "quota", "outbox", "kafka_away")
    metrics = (
        "watcher_backlog >= 11",
        'watcher_recent_outcomes{outcome="failed"} >= 3',
        'watcher_companies_nearly_full{severity="page"} >= 1',
        'watcher_outbox_oldest_seconds{producer="sign_api"} > 2',
        'watcher_findings{kind="kafka_away"} == 1',
        'up{job="ingest"} == 0',
        'up{job="thumbnailer"} == 0',
    )
    return {
        **{f"log: {one}": lambda one=one: f"ALERT {one}" in log.alerts() for one in kinds},
        "log: escalated": lambda: "ESCALATE backlog" in log.alerts(),
        **{f"metric: {one}": lambda one=one: bool(series(one)) for one in metrics},
        **{f"alert: {one}": lambda one=one: one in firing() for one in ALERTS},
        "both are down": lambda: {
            one["labels"]["job"] for one in firing().get("MediaServiceDown", [])
        } == {"ingest", "thumbnailer"},
        "alertmanager": lambda: set(ALERTS) <= told(),
    }  # fmt: skip


async def the_table_of_alerts_names_them() -> None:
    """Ask what the overview's table asks: its columns hold a name, a severity and whom it hits."""
    (table,) = [one for one in published.panels("overview") if one.kind == "table"]
    (query,) = table.queries
    shown = await eventually(lambda: [one["metric"] for one in series(query.expr)])
    rows = {tuple(one.get(name, "") for name in table.columns[:3]) for one in shown}
    assert table.columns[:3] == ["severity", "alertname", "service"]
    assert {name for _, name, _ in rows} >= set(ALERTS)
    assert ("page", "MediaServiceDown", "thumbnailer") in rows
    assert ("page", "MediaKafkaAway", "kafka") in rows


def runbooks_can_be_read(found: Mapping[str, list[dict[str, dict[str, str]]]]) -> None:
    """Follow the link of each alert, as a browser does."""
    for alert in [one for name in ALERTS for one in found[name]]:
        url = alert["annotations"]["runbook_url"]
        answer = get(url)
        assert answer.status_code == 200, url
        assert answer.text == runbook(url.rpartition("/")[2]).text


@pytest.mark.timeout(600)
async def test_a_database_that_is_away_is_seen_and_its_runbook_cures_it(
    company: Company, parts: Parts
):
    assert "MediaDatabaseAway" not in firing()
    log = Log(parts)
    with parts.down("postgres"):
        await all_true(
            {
                "log": lambda: "leadership_lost" in {one["event"] for one in log.lines()},
                "metric": lambda: bool(series("watcher_database_answers == 0")),
                "alert": lambda: "MediaDatabaseAway" in firing(),
            },
            timeout=90,
        )
        NightShift(quota_bytes=1).follow(firing()["MediaDatabaseAway"][0])
    await company.sign()
    await all_true(resolved("MediaDatabaseAway"), timeout=60)


def disown(user: str) -> None:
    """Take all its rights in storage from a user."""
    settings = StorageSettings()
    name = access_key(settings.s3_bucket_prefix, user)
    admin_client(settings, PoolManager()).policy_unset(name, user=name)


@pytest.mark.timeout(300)
async def test_buckets_that_cannot_be_made_are_seen_and_their_runbook_cures_it(
    company: Company, other_company: Company, parts: Parts, photo
):
    await other_company.sign()
    log = Log(parts)
    disown(PROVISIONER)
    asked = {"fileName": "p.jpg", "size": len(photo), "type": "image/jpeg"}
    refused = await company.post("/sign", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_not_ready")
    assert int(refused.headers["Retry-After"]) > 0
    await other_company.ready(await other_company.upload_bytes("p.jpg", photo, "image/jpeg"))
    await all_true(
        {
            "log": lambda: "bucket_not_made" in {one["event"] for one in log.lines()},
            "metric": lambda: value("watcher_bucket_failures_total") > 0,
            "alert": lambda: "MediaBucketsNotMade" in firing(),
        },
        timeout=90,
    )
    NightShift(quota_bytes=1).follow(firing()["MediaBucketsNotMade"][0])

    async def is_signed() -> bool:
        return (await company.post("/sign", json=asked)).status_code == 201

    await eventually(is_signed, timeout=60)
    await company.ready(await company.upload_bytes("p.jpg", photo, "image/jpeg"))


@pytest.mark.timeout(300)
async def test_a_cleanup_that_fails_is_seen_and_its_runbook_cures_it(
    company: Company, parts: Parts, photo
):
    log = Log(parts)
    assets = [await company.upload_bytes("p.jpg", photo, "image/jpeg") for _ in range(5)]
    for asset in assets:
        await company.ready(asset)
    disown("watcher")
    for asset in assets:
        assert (await company.call("DELETE", f"/assets/{asset}")).status_code == 204
    await all_true(
        {
            "log": lambda: {"sweep_failed", "sweep_waits"} & {one["event"] for one in log.lines()},
            "metric": lambda: value("watcher_sweeps_failed_total") > 0,
            "alert": lambda: "MediaCleanupFails" in firing(),
        },
        timeout=90,
    )
    settings = StorageSettings()
    bucket = f"{settings.s3_bucket_prefix}{company.id}"
    store = ObjectStore(settings)._client
    listed = partial(store.list_objects, bucket, recursive=True, include_version=True)
    assert list(listed())
    NightShift(quota_bytes=1).follow(firing()["MediaCleanupFails"][0])
    await eventually(lambda: not list(listed()), timeout=60)

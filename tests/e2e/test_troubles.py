"""
Troubles, planted in the running system: each gives its log line, its metric and its alert.

They are planted together, as alerts take their time, and cured as the runbooks say. Alerts that
wait for a minute, to be sure, are waited for with TROUBLES_FULL=1 alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from media_contracts import MEDIA_THUMBNAIL
from media_runtime.kafka import OutgoingRecord, Producer
from media_runtime.settings import KafkaSettings, StorageSettings
from media_runtime.storage import ObjectStore, upload_key
from pydantic import SecretStr

from support.clients import Company
from support.eventually import eventually
from support.media_files import make_photo
from support.surroundings import Parts, restarted, variable

PATIENT = "TROUBLES_FULL" in os.environ
AT_ONCE = ("MediaBacklog", "MediaBacklogLasts", "MediaQuotaFull", "MediaDeadLetters")
LATER = ("MediaServiceDown",) if PATIENT else ()

# The clock of the watcher, shortened.
FAST = {
    "WATCHER_WATCH_INTERVAL_SECONDS": "1",
    "WATCHER_ESCALATE_AFTER_SECONDS": "3",
    "WATCHER_OUTBOX_ALERT_SECONDS": "2",
    "WATCHER_FAILURE_WINDOW_SECONDS": "20",
    "WATCHER_FAILURE_ALERT_RATIO": "0",
}


def mediactl(*words: str) -> subprocess.CompletedProcess[str]:
    """Type a command of a runbook."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mediactl", *words],
        env=os.environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in {0, 2}, done.stdout + done.stderr
    return done


def firing() -> dict[str, list[Mapping[str, str]]]:
    """Return the labels of the alerts that fire, by name."""
    answer = httpx.get(f"{variable('PROMETHEUS_URL')}/api/v1/alerts", trust_env=False).json()
    found: dict[str, list[Mapping[str, str]]] = {}
    for alert in answer["data"]["alerts"]:
        if alert["state"] == "firing":
            found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
    return found


def told() -> set[str]:
    """Return the names of the alerts that Alertmanager holds."""
    url = f"{variable('ALERTMANAGER_URL')}/api/v2/alerts?active=true"
    return {one["labels"]["alertname"] for one in httpx.get(url, trust_env=False).json()}


def value(query: str) -> float:
    """Return what Prometheus answers to a query, 0 for nothing."""
    url = f"{variable('PROMETHEUS_URL')}/api/v1/query"
    answer = httpx.get(url, params={"query": query}, trust_env=False).json()
    return sum(float(one["value"][1]) for one in answer["data"]["result"])


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
        """Return the alerts among them."""
        return {one["event"] for one in self.lines() if one["event"].startswith("ALERT")}


async def all_true(checks: Mapping[str, Callable[[], bool]], timeout: float) -> None:  # noqa: ASYNC109
    """Wait until each check was true; those that were not are named."""
    missing = dict(checks)

    def look() -> bool:
        for name in [name for name, check in missing.items() if check()]:
            del missing[name]
        assert not missing, sorted(missing)
        return True

    await eventually(look, timeout=timeout)


@pytest.fixture
async def photo(tmp_path):
    return make_photo(tmp_path / "p.jpg", size=(320, 240)).read_bytes()


@pytest.mark.timeout(600)
async def test_troubles_are_seen_and_when_cured_are_over(
    company: Company, other_company: Company, parts: Parts, photo
):
    assert not firing().keys() & {"MediaBacklog", "MediaServiceDown"}, "none fires before"
    with restarted("watcher", **FAST):
        log = Log(parts)
        # 1. A dead service, hence a backlog of 11, hence one that lasts longer than it may.
        with parts.down("ingest"):
            uploads = [await company.upload_bytes("p.jpg", photo, "image/jpeg") for _ in range(11)]
            # 2. A full quota.
            await other_company.sign()
            mediactl("quota", "--company", str(other_company.id), "--set", "1", "--yes")
            # 3. A poison record.
            settings = KafkaSettings(kafka_bootstrap_servers=variable("KAFKA_BOOTSTRAP_SERVERS"))
            async with Producer.connect(settings, name="test") as producer:
                await producer.send(OutgoingRecord(MEDIA_THUMBNAIL.name, "poison", b"{not json"))

            await all_true(
                {
                    "log: backlog": lambda: "ALERT backlog" in log.alerts(),
                    "log: escalated": lambda: "ALERT escalated" in log.alerts(),
                    "log: quota": lambda: "ALERT quota" in log.alerts(),
                    "log: dead letters": lambda: "ALERT dead_letters" in log.alerts(),
                    "metric: backlog": lambda: value("watcher_backlog") >= 11,
                    "metric: quota": lambda: value(
                        'watcher_companies_nearly_full{severity="page"}') >= 1,
                    "metric: dead letters": lambda: value("watcher_dead_letters") >= 1,
                    "metric: up": lambda: value('up{job="ingest"}') == 0,
                    **{
                        f"alert: {name}": lambda name=name: name in firing()
                        for name in (*AT_ONCE, *LATER)
                    },
                    "alertmanager": lambda: {"MediaBacklog", *LATER} <= told(),
                },
                timeout=150,
            )  # fmt: skip
            assert not PATIENT or firing()["MediaServiceDown"][0]["job"] == "ingest"

            # The runbooks' cures; three of the files are gone, which ingest will find.
            for upload in uploads[:3]:
                await remove_upload(company.id, UUID(upload))
            mediactl("dlq", "discard", "--topic", "media_thumbnail", "--yes")
            mediactl("quota", "--company", str(other_company.id), "--set", "1000000000", "--yes")
        for upload in uploads[3:]:
            await company.ready(upload)
        assert [await failed_with(company, one) for one in uploads[:3]] == ["object_missing"] * 3
        await all_true(
            {
                "log: failures": lambda: "ALERT failures" in log.alerts(),
                "metric: failures": lambda: value(
                    'watcher_recent_outcomes{outcome="failed"}') >= 3,
                "alert: failures": lambda: "MediaProcessingFails" in firing(),
            },
            timeout=30,
        )  # fmt: skip
        await all_true(
            {
                f"resolved: {name}": lambda name=name: name not in firing()
                for name in (*AT_ONCE, *LATER, "MediaProcessingFails")
            },
            timeout=90,
        )  # fmt: skip
        assert "incident_recovered" in {one["event"] for one in log.lines()}


async def remove_upload(company: UUID, asset: UUID) -> None:
    """Remove an uploaded file, as somebody with too many rights may."""
    login = {name: variable(name.upper()) for name in ("s3_endpoint_url", "s3_access_key")}
    settings = StorageSettings(s3_secret_key=SecretStr(variable("S3_SECRET_KEY")), **login)
    store = ObjectStore(settings)
    await store.delete_prefix(store.bucket_of(company), upload_key(company, asset), lambda _: True)
    store.close()


async def failed_with(company: Company, asset: str) -> str:
    """Return the code that an upload failed with."""
    code: str = (await company.ended(asset))["error"]["code"]
    return code


@pytest.mark.timeout(600)
async def test_an_outbox_that_is_stuck_and_kafka_that_is_away_are_seen(
    company: Company, parts: Parts, photo
):
    asset = await company.upload_bytes("p.jpg", photo, "image/jpeg")
    await company.ready(asset)
    with restarted("watcher", **FAST):
        log = Log(parts)
        with parts.down("kafka"):
            # What is told of it waits in the outbox.
            assert (await company.call("DELETE", f"/assets/{asset}")).status_code == 204
            await all_true(
                {
                    "log: kafka": lambda: "ALERT kafka_away" in log.alerts(),
                    "log: outbox": lambda: "ALERT outbox" in log.alerts(),
                    "metric": lambda: value("watcher_outbox_oldest_seconds") > 2,
                    "alert: outbox": lambda: "MediaOutboxStuck" in firing(),
                    "alert: kafka": lambda: not PATIENT or "MediaKafkaAway" in firing(),
                },
                timeout=150,
            )
        await all_true(
            {
                f"resolved: {name}": lambda name=name: name not in firing()
                for name in ("MediaOutboxStuck", "MediaKafkaAway")
            },
            timeout=90,
        )

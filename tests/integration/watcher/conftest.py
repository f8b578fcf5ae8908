"""A watcher's parts on a database and buckets of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_runtime.database.postgres import Database
from media_runtime.storage.store import ObjectStore, upload_key
from watcher.metrics import LOOKS
from watcher.monitoring.backlog import BacklogCheck, OutcomesCheck
from watcher.monitoring.escalation import Escalation
from watcher.monitoring.quotas import QuotasCheck
from watcher.settings import WatcherSettings
from watcher.watch import Watch

from support.buckets import our_store, remove_buckets
from support.databases import service_url


@pytest.fixture(autouse=True)
def defaults(monkeypatch):
    """Forget what the stack's own watcher is told, whose clock is fast."""
    for name in WatcherSettings.model_fields:
        monkeypatch.delenv(f"WATCHER_{name.upper()}", raising=False)


@pytest.fixture
def settings(database_name):
    store = our_store().model_dump(include={"s3_endpoint_url", "s3_access_key", "s3_secret_key",
                                            "s3_bucket_prefix"})  # fmt: skip
    return WatcherSettings(
        database_url=service_url(database_name, "watcher"),
        kafka_bootstrap_servers="127.0.0.1:9",
        media_env="development",
        s3_provisioner_access_key=store["s3_access_key"],
        s3_provisioner_secret_key=store["s3_secret_key"],
        **store,
    )


@pytest.fixture
async def database(settings):
    url = settings.database_url.get_secret_value()
    async with Database.connect(url, name="t", size=2) as found:
        yield found


@pytest.fixture
async def store(settings):
    found = ObjectStore(settings)
    yield found
    found.close()
    remove_buckets(settings)


@pytest.fixture
def watch(database, settings):
    """A watch over rows alone."""
    looks = BacklogCheck, OutcomesCheck, QuotasCheck
    found = (look(database, settings) for look in looks)
    return Watch(*found, escalation=Escalation(settings))


@pytest.fixture
def value():
    """Return what the last look exported."""

    def read(name, **labels):
        return LOOKS.get_sample_value(f"watcher_{name}", labels)

    return read


@pytest.fixture
def add_file(admin):
    """Insert the row of an asset's file, or set what it says of its object."""

    async def insert(asset, kind, key, *, attempt=1, size=1, version=None):
        await admin.execute(
            "INSERT INTO asset_files (asset_id, attempt, name, company_id, kind, key, version_id,"
            " content_type, size) SELECT id, $2, $3, company_id, $3, $4, $5, 'x/y', $6"
            " FROM media_assets WHERE id = $1 ON CONFLICT (asset_id, attempt, name)"
            " DO UPDATE SET key = $4, version_id = $5, size = $6",
            asset, 0 if kind == "original" else attempt, kind, key, version, size,
        )  # fmt: skip

    return insert


@pytest.fixture
def add(admin, add_file):
    """
    Insert assets of a status, uploaded some minutes ago or not at all; return their ids.

    Those that are neither waited for nor gone have an original, as large as they are.
    """

    async def insert(status, count=1, *, minutes=None, company=None, bucket="b", **columns):
        company, ids = company or uuid4(), [uuid4() for _ in range(count)]
        uploaded = None if minutes is None else datetime.now(UTC) - timedelta(minutes=minutes)
        for asset in ids:
            await admin.execute(
                "INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket,"
                " grant_expires_at, status, uploaded_at)"
                " VALUES ($1, $2, 'n', 'image/png', 1, $3, now(), $4, $5)",
                asset, company, bucket, status, uploaded,
            )  # fmt: skip
            for column, value in columns.items():
                await admin.execute(
                    f"UPDATE media_assets SET {column} = $2 WHERE id = $1", asset, value
                )
            if status in {"processing", "ready", "failed"}:
                original = upload_key(company, asset)
                await add_file(asset, "original", original, size=columns.get("size", 1))
        return ids

    return insert

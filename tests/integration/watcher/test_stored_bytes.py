"""What a bucket holds is compared with what is accounted for, all versions of it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from media_runtime.storage.store import upload_key
from watcher.monitoring import stored_bytes
from watcher.monitoring.findings import Kind, Severity
from watcher.monitoring.stored_bytes import StoredBytesCheck, read_bucket_bytes

from support.eventually import eventually


@pytest.fixture
def make(store, admin, add):
    """Make a company with one accounted original of *size* bytes in *versions* versions."""

    async def company(versions, *, size=1000):
        found = uuid4()
        bucket = await store.ensure_bucket(found, quota_bytes=10**9)
        await admin.execute(
            "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, 1)",
            found, bucket,
        )  # fmt: skip
        (asset,) = await add("ready", company=found, bucket=bucket, size=size)
        for _ in range(versions):
            await store.upload_bytes(
                bucket, upload_key(found, asset), b"x" * size, content_type="x/y",
                cache_control="no",
            )  # fmt: skip
        return found

    return company


@pytest.fixture
def look(database, store, settings):
    def with_margin(**margin):
        margin = {"unaccounted_alert_bytes": 2500, "unaccounted_after_seconds": 0, **margin}
        return StoredBytesCheck(database, store, settings.model_copy(update=margin))

    return with_margin


async def counted(settings, store, expected):
    """Wait until the store has counted all of these companies' bytes: it does each minute."""

    async def all_of_them():
        found = await read_bucket_bytes(settings)
        return expected == {company: found.get(store.bucket_of(company)) for company in expected}

    await eventually(all_of_them, timeout=180)


async def test_versions_that_nothing_accounts_for_are_told_of_and_their_end(
    look, make, settings, store, value, monkeypatch
):
    monkeypatch.setattr(stored_bytes, "_PAGES_AT_ONCE", 2)
    honest, replayed, again = await make(1), await make(40), await make(6)
    await counted(settings, store, {honest: 1000, replayed: 40_000, again: 6000})
    found = {}
    at = look()
    for _ in range(4):  # one company after another, each in its turn
        found = {one.company_id: one for one in await at()}
    assert {company: one.details["unaccounted_bytes"] for company, one in found.items()} == {
        replayed: 39_000, again: 5000,
    }  # fmt: skip
    assert {(one.kind, one.severity) for one in found.values()} == {
        (Kind.UNACCOUNTED, Severity.TICKET)
    }
    assert value("unaccounted_bytes") == 44_000
    assert value("company_bytes", state="stored") == 47_000
    assert value("company_bytes", state="accounted") == 3000

    assert await look(unaccounted_after_seconds=60)() == [], "it may be on its way"
    assert await look(unaccounted_alert_ratio=50)() == [], "within the margin"

    # The store's own count is minutes old: the listing tells that it is over.
    for company in (replayed, again):
        bucket = store.bucket_of(company)
        await store.delete_prefix(bucket, f"{company}/", lambda one: one.is_superseded)
    for _ in range(4):
        found = await at()
    assert found == []
    assert value("unaccounted_bytes") == 0

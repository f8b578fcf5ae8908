"""What a look finds in how attempts ended, in quotas, and in what storage has left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_records.companies import STATUSES
from watcher.metrics import LOOKS
from watcher.monitoring.backlog import OutcomesCheck
from watcher.monitoring.findings import Kind, Severity
from watcher.monitoring.quotas import QuotasCheck
from watcher.monitoring.storage_capacity import SpaceCheck, StorageAwayError


def now():
    """Return the moment of the test, not that of its collection."""
    return datetime.now(UTC)


@pytest.fixture
def outcomes(database, settings):
    return OutcomesCheck(database, settings)


@pytest.fixture
def company(admin):
    """Make a company with a quota that it uses a part of."""

    async def make(used, quota=1000):
        found = uuid4()
        await admin.execute(
            "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, 'b', $2)",
            found, quota,
        )  # fmt: skip
        await admin.execute(
            "INSERT INTO company_usage (company_id, slot, bytes, pending) VALUES ($1, 3, $2, 0)",
            found, used,
        )  # fmt: skip
        return found

    return make


async def test_failures_by_our_fault_are_an_alert_and_those_of_files_are_none(outcomes, add, value):
    await add("ready", 5, minutes=1, processed_at=now())
    await add("failed", 50, minutes=1, processed_at=now(), error_code="unreadable_image")
    await add("failed", 2, minutes=1, processed_at=now(), error_code="processing_timeout")
    assert await outcomes() == ()
    assert [value("recent_outcomes", outcome=one) for one in ("ready", "failed", "refused")] == [
        5, 2, 50,
    ]  # fmt: skip
    await add("failed", 2, minutes=1, processed_at=now(), error_code="processing_failed")
    (found,) = await outcomes()
    assert (found.kind, found.severity) == (Kind.FAILURES, Severity.PAGE)
    assert found.details["codes"] == {"processing_timeout": 2, "processing_failed": 2}


async def test_failures_of_long_ago_are_history(outcomes, add):
    old = now() - timedelta(minutes=20)
    await add("failed", 9, minutes=30, processed_at=old, error_code="processing_failed")
    assert await outcomes() == ()


async def test_each_company_close_to_its_quota_is_found(database, settings, company, value):
    await company(799)
    warned, close, full = await company(800), await company(950), await company(1001)
    found = await QuotasCheck(database, settings)()
    assert {one.company_id: one.severity for one in found} == {
        warned: Severity.INFO,
        close: Severity.TICKET,
        full: Severity.PAGE,
    }
    assert value("companies_nearly_full", severity="page") == 1
    assert value("company_stored_bytes", company=str(full)) == 1001
    assert value("company_quota_bytes", company=str(full)) == 1000
    assert value("company_nearly_full", company=str(full), severity="page") == 1
    assert value("company_nearly_full", company=str(close), severity="ticket") == 1
    assert value("company_nearly_full", company=str(full), severity="ticket") is None
    assert value("companies") == 4


async def test_only_the_busiest_companies_have_metrics_of_their_own(
    database, settings, company, add, value
):
    quiet, busy = await company(500), await company(1)
    await add("processing", 3, minutes=1, company=busy)
    few = settings.model_copy(update={"companies_shown": 1})
    await QuotasCheck(database, few)()
    assert value("company_assets", company=str(busy), status="processing") == 3
    assert value("company_assets", company=str(quiet), status="processing") is None
    await QuotasCheck(database, settings.model_copy(update={"companies_shown": 0}))()
    assert not [
        sample
        for family in LOOKS.collect()
        if family.name == "watcher_company_assets"
        for sample in family.samples
    ]


async def test_a_company_close_to_its_quota_is_always_among_them(
    database, settings, company, add, value
):
    busy, full, fuller = await company(1), await company(900), await company(990)
    await add("processing", 3, minutes=1, company=busy)
    await QuotasCheck(database, settings.model_copy(update={"companies_shown": 1}))()
    shown = [value("company_stored_bytes", company=str(one)) for one in (busy, full, fuller)]
    assert shown == [4, None, 990], "the busiest, and the fullest"


async def test_a_company_is_counted_in_every_status(database, settings, company, add, value):
    one = await company(1)
    for count, status in enumerate(STATUSES, start=1):
        await add(status, count, company=one)
    await QuotasCheck(database, settings)()
    counted = [value("company_assets", company=str(one), status=status) for status in STATUSES]
    assert counted == [1, 2, 3, 4, 5, 6, 7]


async def test_what_storage_has_left_is_told_and_too_little_is_an_alert(settings, value):
    look = SpaceCheck(settings.model_copy(update={"space_alert_ratio": 0.000_001}))
    assert await look() == ()
    assert 0 < value("storage_bytes", state="free") <= value("storage_bytes", state="total")
    (found,) = await SpaceCheck(settings.model_copy(update={"space_alert_ratio": 0.999_999}))()
    assert (found.kind, found.severity) == (Kind.SPACE, Severity.PAGE)


async def test_storage_that_does_not_answer_is_away(settings):
    gone = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(StorageAwayError):
        await SpaceCheck(gone)()

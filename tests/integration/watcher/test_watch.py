"""What a round of looks tells when one of them sees nothing."""

from __future__ import annotations

from uuid import uuid4

import pytest
import structlog
from media_runtime.database.postgres import Database
from watcher.metrics import LOOKS, LOOKS_FAILED
from watcher.monitoring.backlog import BacklogCheck, OutcomesCheck
from watcher.monitoring.escalation import Escalation
from watcher.monitoring.findings import Kind
from watcher.monitoring.quotas import QuotasCheck
from watcher.watch import Watch

from support.databases import service_url


@pytest.fixture
async def gone(database_name):
    """A database whose connections are closed."""
    async with Database.connect(service_url(database_name, "watcher"), name="t", size=1) as found:
        pass
    return found


def found(kind):
    return LOOKS.get_sample_value("watcher_findings", {"kind": kind})


def failed(look):
    return LOOKS_FAILED.labels(look)._value.get()


async def test_what_cannot_be_looked_at_is_as_it_was(database, gone, settings, watch, add):
    await add("processing", 11, minutes=1)
    await watch()
    assert (found("backlog"), found("quota")) == (1, 0)
    looks = BacklogCheck(gone, settings), QuotasCheck(database, settings)
    seen = await Watch(*looks, escalation=Escalation(settings))()
    assert seen.blind == {Kind.BACKLOG}
    assert (found("backlog"), found("quota")) == (1, 0)
    await add("ready")
    await watch()
    assert found("backlog") == 1
    few = settings.model_copy(update={"backlog_alert": 50})
    await Watch(BacklogCheck(database, few), escalation=Escalation(few))()
    assert found("backlog") == 0, "it was looked at, and is cured"


async def test_a_look_with_an_error_of_its_own_loses_no_other(
    database, settings, watch, add, admin
):
    await add("processing", 11, minutes=1)
    await watch()
    await admin.execute("ALTER TABLE company_usage RENAME TO elsewhere")
    before = failed("BacklogCheck")
    with structlog.testing.capture_logs() as lines:
        seen = await watch()
    (line, *_) = [line for line in lines if line["event"] == "look_failed"]
    assert (line["look"], line["log_level"], line["exc_info"]) == ("BacklogCheck", "error", True)
    assert seen.blind == {Kind.BACKLOG, Kind.QUOTA}
    assert found("backlog") == 1
    assert failed("BacklogCheck") == before + 1
    assert OutcomesCheck.kinds.isdisjoint(seen.blind)


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pass_hour(self, look_every=240):
        """Yield while an hour goes by, at each look."""
        end = self.now + 3600
        while self.now < end:
            self.now += look_every
            yield


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def escalated(database, settings, clock):
    """Look at the backlog and quotas, on and on or afresh; return the kinds that are escalated."""
    settings = settings.model_copy(update={"backlog_alert": 2})

    def start():
        looks = BacklogCheck(database, settings), QuotasCheck(database, settings)
        return Watch(*looks, escalation=Escalation(settings, clock=clock))

    running = start()

    async def look(*, afresh=False):
        watch = start() if afresh else running
        with structlog.testing.capture_logs() as lines:
            await watch()
        found = [line for line in lines if line["event"].startswith("ESCALATE")]
        assert all(line["log_level"] == "error" and line["summary"] for line in found)
        return [line["event"].removeprefix("ESCALATE ") for line in found]

    return look


async def test_a_backlog_that_is_worked_on_and_never_ends_is_escalated_after_an_hour(
    escalated, clock, add, admin
):
    async def other_uploads_wait():
        await admin.execute("DELETE FROM media_assets")
        await add("processing", 3, minutes=1)

    await other_uploads_wait()
    assert await escalated() == []
    for _ in clock.pass_hour():
        if clock.now < 3600:
            await other_uploads_wait()
            assert await escalated() == []
    assert await escalated() == ["backlog"]
    assert await escalated() == ["backlog"], "with each look, as its alert"
    await admin.execute("DELETE FROM media_assets")
    assert await escalated() == []
    await other_uploads_wait()
    assert await escalated() == [], "it begins again"


async def test_a_single_look_tells_by_the_rows_that_a_backlog_has_lasted(escalated, add, admin):
    await add("processing", 2, minutes=90)
    await add("processing", 5, minutes=50)
    assert await escalated(afresh=True) == [], "an hour ago no more than two waited"
    await add("processing", 1, minutes=61)
    assert await escalated(afresh=True) == ["backlog"]
    await admin.execute("UPDATE media_assets SET attempt_at = now()")
    assert await escalated(afresh=True) == [], "retries begin again"


async def test_a_page_about_one_company_is_escalated_and_what_wakes_nobody_is_not(
    escalated, clock, admin
):
    companies = {"full": 1000, "close": 950}
    for name, used in companies.items():
        company = uuid4()
        await admin.execute(
            "INSERT INTO companies (company_id, bucket, quota_bytes) VALUES ($1, $2, 1000)",
            company, name,
        )  # fmt: skip
        await admin.execute("INSERT INTO company_usage VALUES ($1, 0, $2, 0)", company, used)
    assert await escalated() == []
    for _ in clock.pass_hour():
        found = await escalated()
    assert found == ["quota"]


async def test_what_cannot_be_looked_at_lasts_on(gone, database, settings, clock, admin, add):
    few = settings.model_copy(update={"backlog_alert": 2})
    escalation = Escalation(few, clock=clock)
    sees = Watch(BacklogCheck(database, few), escalation=escalation)
    blind = Watch(BacklogCheck(gone, few), escalation=escalation)
    await add("processing", 3, minutes=1)
    await sees()
    for _ in clock.pass_hour():
        await blind()
    with structlog.testing.capture_logs() as lines:
        await sees()
    (line,) = [line for line in lines if line["event"] == "ESCALATE backlog"]
    assert line["since_seconds"] >= 3600


async def test_a_replica_that_did_not_look_for_a_while_begins_again(escalated, clock, add):
    await add("processing", 3, minutes=1)
    assert await escalated() == []
    clock.now += 3700
    assert await escalated() == [], "another one may have seen its end"
    for _ in clock.pass_hour():
        found = await escalated()
    assert found == ["backlog"]

"""What a round of looks tells when one of them sees nothing."""

from __future__ import annotations

import pytest
import structlog
from media_runtime.postgres import Database
from watcher.backlog import LookAtBacklog, LookAtOutcomes
from watcher.findings import Kind
from watcher.metrics import LOOKS, LOOKS_FAILED
from watcher.quotas import LookAtQuotas
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
    seen = await Watch(LookAtBacklog(gone, settings), LookAtQuotas(database, settings))()
    assert seen.blind == {Kind.BACKLOG}
    assert (found("backlog"), found("quota")) == (1, 0)
    await add("ready")
    await watch()
    assert found("backlog") == 1
    few = settings.model_copy(update={"backlog_alert": 50})
    await Watch(LookAtBacklog(database, few))()
    assert found("backlog") == 0, "it was looked at, and is cured"


async def test_a_look_with_an_error_of_its_own_loses_no_other(
    database, settings, watch, add, admin
):
    await add("processing", 11, minutes=1)
    await watch()
    await admin.execute("ALTER TABLE company_usage RENAME TO elsewhere")
    before = failed("LookAtBacklog")
    with structlog.testing.capture_logs() as lines:
        seen = await watch()
    (line, *_) = [line for line in lines if line["event"] == "look_failed"]
    assert (line["look"], line["log_level"], line["exc_info"]) == ("LookAtBacklog", "error", True)
    assert seen.blind == {Kind.BACKLOG, Kind.QUOTA}
    assert found("backlog") == 1
    assert failed("LookAtBacklog") == before + 1
    assert LookAtOutcomes.kinds.isdisjoint(seen.blind)

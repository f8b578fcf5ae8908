"""What a round of the watcher counts and says."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import structlog
from media_records.backlog import backlog_of_each, oldest_items
from media_records.companies import STATUSES
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.kafka.producer import Producer
from watcher.operator.operations import Operator


async def test_nothing_is_nothing(watch, value):
    assert not (await watch()).alert
    assert [value("assets", status=status) for status in STATUSES] == [0] * 7
    assert value("backlog") == 0


async def test_each_status_is_counted_over_all_companies(watch, add, value):
    await add("pending", 5)
    await add("pending", 2, minutes=1)
    await add("processing", 3, minutes=2)
    await add("failed", 4, minutes=3)
    for status in ("ready", "deleted", "expired", "cancelled"):
        await add(status, 2, minutes=4)
    await watch()
    assert [value("assets", status=status) for status in STATUSES] == [7, 3, 2, 4, 2, 2, 2]
    assert value("backlog") == 5, "an upload that never came is no backlog"


@pytest.mark.parametrize(("backlog", "alert"), [(10, False), (11, True)])
async def test_more_than_ten_waiting_items_are_an_alert_with_the_oldest(
    watch, add, admin, backlog, alert
):
    company = uuid4()
    await add("processing", backlog - 1, minutes=5)
    (oldest,) = await add("pending", minutes=90, company=company)
    await add("pending", 20)
    await admin.execute(
        "INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool, tries, last_error)"
        " VALUES ($1, $2, 1, 'inspect', 'inspect', 'inspect', 2, 'storage is away')",
        company,
        oldest,
    )
    with structlog.testing.capture_logs() as lines:
        found = await watch()
    assert found.alert is alert
    told = [line for line in lines if line["event"].startswith("ALERT")]
    assert len(told) == int(alert)
    if alert:
        assert (told[0]["log_level"], told[0]["backlog"], told[0]["limit"]) == ("warning", 11, 10)
        assert told[0]["oldest"][0] == {
            "asset": str(oldest),
            "company": str(company),
            "status": "pending",
            "stage": "queued",
            "age_seconds": pytest.approx(90 * 60, abs=120),
            "task": "queued",
            "tries": 2,
            "last_error": "storage is away",
        }
        assert len(told[0]["oldest"]) == 5
    (counts,) = [line for line in lines if line["event"] == "watch"]
    assert (counts["pending"], counts["processing"], counts["backlog"]) == (
        21,
        backlog - 1,
        backlog,
    )
    others = [one for one in counts["busiest"] if one["processing"]]
    assert others[0].items() >= {"processing": backlog - 1, "pending": 0, "failed": 0}.items()


async def test_each_item_says_where_it_stands(database, add, admin):
    """Of several open tasks it is the one that others than the thumbnailer work on."""
    stands = {}
    for stage, tasks in (
        ("uploaded", {}),
        ("queued", {"inspect": ("queued", None)}),
        ("checking", {"inspect": ("running", "9 seconds")}),
        ("queued", {"inspect": ("done", None), "encode": ("queued", None),
                    "pictures": ("running", "9 seconds")}),
        ("queued", {"encode": ("done", None), "join": ("blocked", None)}),
        ("transcoding", {"pictures": ("running", "9 seconds"), "chunk": ("queued", None),
                         "encode": ("running", "9 seconds")}),
        ("worker_silent", {"encode": ("running", "-9 seconds")}),
        ("waiting_for_pictures", {"encode": ("done", None), "pictures": ("queued", None)}),
        ("waiting_for_pictures", {"encode": ("done", None), "pictures": ("running", "-9 seconds")}),
        ("stopped", {"inspect": ("failed", None)}),
        ("stopped", {"encode": ("done", None), "pictures": ("cancelled", None)}),
    ):  # fmt: skip
        (asset,) = await add("processing", minutes=1, content_type="video/mp4")
        stands[asset] = stage
        for name, (state, lease) in tasks.items():
            await admin.execute(
                "INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool, state,"
                " waits_for, lease_until) SELECT company_id, id, 1, $2, $2, $2, $3,"
                " ($3 = 'blocked')::int, now() + $4::text::interval"
                " FROM media_assets WHERE id = $1",
                asset, name, state, lease,
            )  # fmt: skip
    (unannounced,) = await add("pending", found_at=datetime.now(UTC))
    items = await oldest_items(database, 20)
    assert {item.asset_id: item.stage for item in items} == {**stands, unannounced: "unannounced"}


async def test_a_retry_is_as_old_as_its_attempt(database, watch, settings, add, value):
    """What failed weeks ago has not waited since."""
    (asset,) = await add("failed", minutes=3 * 7 * 24 * 60)
    outbox = Outbox(database, Producer(settings, name="t"), service="watcher")
    await Operator(Work(database, outbox)).retry(asset)
    (other,) = await add("processing", minutes=9)
    items = await oldest_items(database, 5)
    assert [item.asset_id for item in items] == [other, asset]
    await watch()
    assert value("backlog_oldest_seconds") == pytest.approx(9 * 60, abs=60)
    rows = await backlog_of_each(database)
    assert max(row["oldest_seconds"] for row in rows) == pytest.approx(9 * 60, abs=60)


async def test_a_task_of_an_older_attempt_is_not_shown(database, add, admin):
    company = uuid4()
    (asset,) = await add("processing", minutes=1, company=company)
    await admin.execute("UPDATE media_assets SET attempt = 2")
    await admin.execute(
        "INSERT INTO tasks (company_id, asset_id, attempt, name, kind, pool)"
        " VALUES ($1, $2, 1, 'inspect', 'inspect', 'inspect')",
        company,
        asset,
    )
    (item,) = await oldest_items(database, 5)
    assert (item.asset_id, item.task, item.tries) == (asset, None, None)


async def run_once(settings, kafka_settings, *, backlog_alert=10):
    """Run the command as ops do and return its exit code and what it logged."""
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "S3_BUCKET_PREFIX": settings.s3_bucket_prefix,
        "KAFKA_TOPIC_PREFIX": kafka_settings.kafka_topic_prefix,
        "SPACE_ALERT_RATIO": "0.0001",
        "BACKLOG_ALERT": str(backlog_alert),
        "LOG_FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "watcher", "--once", env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    lines = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    return process.returncode, lines, output.decode()


async def test_the_script_ends_with_0_when_all_is_well_and_with_2_for_an_alert(
    settings, kafka_settings, add
):
    code, lines, output = await run_once(settings, kafka_settings)
    assert code == 0, output
    assert [line["event"] for line in lines] == ["watch"]
    await add("processing", 11, minutes=1)
    code, lines, output = await run_once(settings, kafka_settings)
    assert code == 2, output
    assert [line["event"] for line in lines] == ["watch", "ALERT backlog"]
    assert len(lines[1]["oldest"]) == 5


async def test_the_script_fails_otherwise_than_by_an_alert(settings, kafka_settings):
    elsewhere = settings.database_url.get_secret_value().replace("/t_", "/absent_t_")
    broken = settings.model_copy(update={"database_url": type(settings.database_url)(elsewhere)})
    code, _, output = await run_once(broken, kafka_settings)
    assert code not in {0, 2}, output

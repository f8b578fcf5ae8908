"""What operators type, on a running stack: look, understand, act."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from subprocess import CompletedProcess
from uuid import UUID, uuid4

import pytest

from support.clients import Company
from support.eventually import eventually
from support.media_files import make_photo
from support.surroundings import Parts, variable
from support.typed import mediactl
from support.wire import Rows


def run(*arguments: str, **environment: str) -> CompletedProcess[str]:
    """Run a command of mediactl on the stack under test, with nobody at its terminal."""
    variable("MEDIACTL_HOME")
    return mediactl(*arguments, environment={**os.environ, **environment})


def answer(*arguments: str, code: int = 0):
    """Return what a command says as JSON."""
    done = run(*arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
async def broken(company: Company):
    """An asset that failed: its file is no photo."""
    asset = await company.upload_bytes("no [bold]photo.jpg", b"nothing of the sort", "image/jpeg")
    assert (await company.ended(asset))["status"] == "failed"
    return asset


async def test_an_assets_whole_history_is_told(company: Company, tmp_path):
    photo = make_photo(tmp_path / "p.jpg").read_bytes()
    asset = await company.upload_bytes("p.jpg", photo, "image/jpeg")
    await company.ready(asset)
    found = await eventually(lambda: complete(answer("asset", asset)), timeout=20)
    assert found["asset"]["status"] == "ready"
    steps = [(one["from_status"], one["to_status"]) for one in found["transitions"]]
    assert steps == [("pending", "processing"), ("processing", "ready")]
    assert {task["name"]: task["state"] for task in found["tasks"]} == {
        "inspect": "done", "pictures": "done", "image": "done",
    }  # fmt: skip
    names = {file["name"] for file in found["files"]}
    assert names > {"original", "image", "thumbnail", "responsive-320", "responsive-320.avif"}
    keys = {one["key"].rpartition("/")[2] for one in found["objects"]}
    assert {asset, "thumbnail.jpg", "image"} <= keys
    types = [event["type"] for event in found["events"]]
    assert "media.asset.processed.v1" in types
    assert "media.asset.status_changed.v1" in types
    shown = run("asset", asset)
    assert shown.returncode == 0
    for word in ("transitions", "ready", "thumbnail.jpg", "media.asset.processed.v1"):
        assert word in shown.stdout


def complete(found):
    processed = [one for one in found["events"] if one["type"] == "media.asset.processed.v1"]
    return found if processed else None


def test_an_asset_that_is_not_there_is_an_error_in_a_sentence():
    done = run("asset", str(uuid4()))
    assert done.returncode == 1
    assert "There is no asset" in done.stderr
    assert "Traceback" not in done.stderr


async def test_failed_assets_are_listed_and_can_be_retried(company: Company, broken):
    rows = answer("failed", "--since", "1h", "--company", str(company.id))
    assert [(row["asset_id"], row["error_code"]) for row in rows] == [(broken, "type_mismatch")]
    assert answer("failed", "--company", str(company.id), "--code", "other") == []
    assert (
        "1 failed since 30d: type_mismatch 1." in run("failed", "--company", str(company.id)).stdout
    )
    (again,) = answer("retry", broken)
    assert (again["status"], again["attempt"]) == ("processing", 2)
    assert (await company.ended(broken))["status"] == "failed"
    rows = answer("failed", "--company", str(company.id))
    assert [row["attempt"] for row in rows] == [2]


async def test_what_cannot_be_done_to_an_asset_is_said_of_each(company: Company, broken):
    nobody = str(uuid4())
    rows = answer("cancel", broken, nobody, "--yes", code=2)
    assert [row["error"] for row in rows] == [
        "only an unfinished asset can be cancelled",
        "there is no such asset",
    ]
    waiting = (await company.sign())["assetId"]
    rows = answer("retry", waiting, code=2)
    assert rows[0]["error"] == "only a failed asset can be retried"


async def test_an_unfinished_asset_can_be_cancelled(company: Company):
    waiting = (await company.sign())["assetId"]
    asked = run("cancel", waiting)
    assert asked.returncode == 1, "nobody said yes"
    assert (await company.asset(waiting))["status"] == "pending"
    (done,) = answer("cancel", waiting, "--yes")
    assert done["status"] == "cancelled"
    assert (await company.asset(waiting))["status"] == "cancelled"


async def test_a_deleted_assets_files_are_gone_soon(company: Company, broken):
    (done,) = answer("delete", broken, "--yes")
    assert done["status"] == "deleted"

    def gone():
        return answer("asset", broken)["objects"] == []

    assert await eventually(gone, timeout=30)


async def test_the_backlog_and_its_oldest_items_are_shown(company: Company, rows: Rows):
    asset = (await company.sign())["assetId"]
    since = datetime.now(UTC) - timedelta(hours=3)
    await rows.connection.execute(
        "UPDATE media_assets SET uploaded_at = $2, check_at = now() + interval '1 hour'"
        " WHERE id = $1", UUID(asset), since,
    )  # fmt: skip
    try:
        waiting = {one["company_id"]: one for one in answer("backlog")}
        assert waiting[str(company.id)]["waiting"] == 1
        oldest = answer("oldest", "--limit", "1000")
        (item,) = [one for one in oldest if one["asset_id"] == asset]
        assert item["age_seconds"] == pytest.approx(3 * 3600, abs=60)
        assert asset in run("oldest").stdout
        assert "3 h 0 min" in run("backlog").stdout
    finally:
        await company.call("DELETE", f"/assets/{asset}")


async def test_a_quota_is_shown_and_changed(company: Company, rows: Rows):
    await company.sign()
    (before,) = answer("quota", "--company", str(company.id))
    assert before["pending"] == 1
    assert run("quota", "--company", str(company.id), "--set", "5").returncode == 1, "no yes"
    (after,) = answer("quota", "--company", str(company.id), "--set", "5", "--yes")
    assert (after["quota_bytes"], after["used_percent"] > 100) == (5, True)
    body = {"fileName": "a.jpg", "size": 6, "type": "image/jpeg"}
    refused = await company.post("/sign", json=body)
    assert (refused.status_code, refused.json()["code"]) == (400, "quota_exceeded")
    # A company that stays over its quota is an alert.
    answer("quota", "--company", str(company.id), "--set", "1000000000", "--yes")


def test_lag_shows_each_group_and_dead_letters():
    done = run("lag", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == (2 if any(found["dead_letters"].values()) else 0)
    groups = {"ingest", "thumbnailer", "ingest_results", "notifier_links"}
    assert {one["group"] for one in found["groups"]} == groups
    assert "media_thumbnail" in run("lag").stdout


async def test_reconcile_looks_at_all_that_is_unfinished_now(company: Company):
    await company.sign()
    effects = answer("reconcile")
    assert sum(effects.values()) >= 1


@pytest.fixture
def aged(company: Company, rows: Rows):
    """Make failed assets that are *days* old."""

    async def make(count: int, *, days: int) -> list[str]:
        found = [(await company.sign())["assetId"] for _ in range(count)]
        await rows.connection.execute(
            "UPDATE media_assets SET status = 'failed', error_code = 'planted',"
            " processed_at = now(), created_at = now() - make_interval(days => $2)"
            " WHERE id = ANY($1::uuid[])", found, days,
        )  # fmt: skip
        await rows.connection.execute(
            "INSERT INTO asset_files (asset_id, attempt, name, company_id, kind, key, content_type,"
            " size) SELECT id, 0, 'original', company_id, 'original',"
            " company_id || '/uploads/' || id, content_type, size FROM media_assets"
            " WHERE id = ANY($1::uuid[])", found,
        )  # fmt: skip
        return found

    return make


async def test_the_watcher_deletes_what_a_companys_policy_makes_due(company: Company, aged):
    (asset,) = await aged(1, days=10)
    policy = answer("retention", "--company", str(company.id), "--days", "9", "--yes")
    assert policy["days"] == 9

    # The watcher of the stack acts by itself, soon.
    async def retired():
        return (await company.call("GET", f"/assets/{asset}")).status_code == 404

    assert await eventually(retired, timeout=20)
    done = run("retention")
    assert "a round deletes at most 500" in done.stdout


def test_the_clean_up_shows_by_rule_what_it_would_remove():
    plan = {row["rule"]: row for row in answer("cleanup", "--dry-run")}
    assert {"retention", "deletions", "quarantine", "grants", "multipart"} <= set(plan)
    assert all(row["due"] >= 0 and row["what"] for row in plan.values())
    bare = run("cleanup")
    assert (bare.returncode, bare.stdout) == (2, ""), "nothing is removed by asking"
    assert "--dry-run" in bare.stderr


async def test_a_policy_changes_only_where_it_is_named(company: Company):
    await company.sign()
    about = ("retention", "--company", str(company.id))

    def own(*words):
        found = answer(*about, *words)
        return found["days"], found["keeps_thumbnails"], found["changed"]

    assert own("--days", "9", "--dry-run") == (None, None, False)
    assert run(*about, "--days", "9").returncode == 1, "nobody said yes"
    assert own("--keep-thumbnails", "--yes") == (None, True, True)
    assert own("--days", "30", "--yes") == (30, True, True)
    assert own("--default", "--dry-run") == (30, True, False)
    shown = run(*about)
    assert "keeps assets for 30 days (its own policy)" in shown.stdout
    assert "keeps their thumbnails (its own policy)" in shown.stdout
    assert own("--default", "--yes") == (None, None, True)
    assert "365 days (the default)" in run(*about).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--days", "9"),
        ("--default",),
        ("--default", "--days", "9", "--company", str(uuid4())),
        ("--apply", "--dry-run"),
        ("--apply", "--company", str(uuid4())),
        ("--rate", "1"),
        ("--days", "0", "--company", str(uuid4())),
    ],
)
def test_wishes_that_contradict_each_other_are_errors_of_usage(words):
    done = run("retention", *words, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


async def test_what_another_policy_would_delete_is_shown_first(
    company: Company, aged, parts: Parts
):
    await company.sign()  # the watcher makes its bucket
    with parts.down("watcher"):
        await aged(3, days=10)
        about = ("retention", "--company", str(company.id), "--days", "9")
        small = {"WATCHER_RETENTION_BATCH": "1"}
        tried = run(*about, "--dry-run", **small)
        assert tried.returncode == 2
        assert "3 assets, 3,000 bytes, are older than they are kept." in tried.stdout
        asked = run(*about, **small)
        assert "3 assets, 3,000 bytes" in asked.stdout, "before it asks"
        assert answer("retention", "--company", str(company.id))["companies"] == []


async def test_all_that_is_due_is_shown_and_then_deleted_at_a_rate(
    company: Company, aged, parts: Parts, rows: Rows
):
    await company.sign()  # the watcher makes its bucket
    with parts.down("watcher"):
        assets = await aged(3, days=10)
        answer("retention", "--company", str(company.id), "--days", "9", "--yes")
        small = {"WATCHER_RETENTION_BATCH": "1"}

        def planned(done):
            (share,) = [one for one in json.loads(done.stdout)["companies"]
                        if one["company_id"] == str(company.id)]  # fmt: skip
            return share["assets"], share["bytes"], share["days"]

        plan = run("retention", "--json", **small)
        assert (plan.returncode, planned(plan)) == (2, (3, 3000, 9))
        assert run("retention", "--dry-run").returncode == 2
        refused = run("retention", "--apply", **small)
        assert refused.returncode == 1, "nobody said yes"
        assert str(company.id) in refused.stdout, "the plan comes before the question"
        assert await deleted(rows, assets) == 0
        began = time.monotonic()
        done = run("retention", "--apply", "--rate", "2", "--yes", "--json", **small)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began >= 1.5
        assert planned(done) == (3, 3000, 9)
        assert json.loads(done.stdout)["deleted"] >= 3
        assert await deleted(rows, assets) == 3


async def deleted(rows: Rows, assets):
    return await rows.connection.fetchval(
        "SELECT count(*) FROM media_assets WHERE id = ANY($1::uuid[]) AND status = 'deleted'",
        assets,
    )


async def test_failed_assets_are_all_counted_and_all_ids_come(company: Company, aged):
    assets = await aged(3, days=1)
    about = ("failed", "--company", str(company.id))
    shown = run(*about, "--limit", "2")
    assert "3 failed since 30d: planted 3." in shown.stdout
    assert "Only the newest 2 are shown" in shown.stdout
    assert sum(asset in shown.stdout for asset in assets) == 2
    assert set(run(*about, "--ids", "--limit", "1").stdout.split()) == set(assets)
    assert len(answer(*about)) == 3


async def test_orphans_are_listed_before_anybody_is_asked(company: Company, rows: Rows):
    grant = await company.sign(size=3)
    assert (await company.store(grant, b"abc")).is_success
    asset = grant["assetId"]
    await company.ended(asset)
    await rows.connection.execute("DELETE FROM media_assets WHERE id = $1", UUID(asset))
    about = ("orphans", "--min-age", "0")
    asked = run(*about, "--remove")
    assert asked.returncode == 1, "nobody said yes"
    assert asset in asked.stdout
    assert asset in run(*about).stdout, "nothing was removed"
    done = run(*about, "--remove", "--rate", "100", "--yes", "--json")
    assert done.returncode == 2, done.stderr
    (removed,) = [one["removed"] for one in json.loads(done.stdout) if one["asset_id"] == asset]
    assert removed is True
    assert asset not in run(*about).stdout


def test_a_span_that_is_none_is_an_error_of_usage():
    done = run("failed", "--since", "yesterday")
    assert done.returncode == 2
    assert "such as 30d" in done.stderr


async def test_rows_are_shown_while_kafka_and_storage_are_away(company: Company, broken,
                                                               parts: Parts):  # fmt: skip
    with parts.down("kafka"), parts.down("minio"):
        found = answer("failed", "--company", str(company.id))
        history = answer("asset", broken)
    assert [row["asset_id"] for row in found] == [broken]
    assert history["asset"]["error_code"] == "type_mismatch"
    assert "error" in history["events"]
    assert "error" in history["objects"]

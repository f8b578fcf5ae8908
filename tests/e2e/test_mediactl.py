"""The commands that a person types against a running stack."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from support import typed
from support.clients import Company
from support.eventually import eventually
from support.http_clients import get, web
from support.media_files import make_photo, make_video
from support.modes import readable_by_others
from support.surroundings import Parts, restarted, variable
from support.wire import Rows

PARTS = {
    *("kafka", "postgres", "minio", "prometheus", "alertmanager"),
    *("sign_api", "ingest", "thumbnailer", "notifier", "watcher"),
}
COMPANY = str(uuid4())


def mediactl(*arguments: str, **environment: str) -> CompletedProcess[str]:
    """Run a command of mediactl on the stack under test."""
    variable("MEDIACTL_HOME")
    return typed.mediactl(*arguments, environment={**os.environ, **environment})


def token(*arguments: str) -> dict[str, object]:
    """Return the claims of a token that mediactl prints, verified as the services do."""
    done = mediactl("token", "--company", COMPANY, *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = jwt.decode(
        done.stdout.strip(),
        variable("JWT_SECRET"),
        algorithms=["HS256"],
        audience=variable("JWT_AUDIENCE"),
        issuer=variable("JWT_ISSUER"),
    )
    return found


def test_a_token_lets_its_company_upload_and_read_for_an_hour():
    claims = token()

    assert claims["company_id"] == COMPANY
    assert claims["permissions"] == ["media:upload", "media:read"]
    assert claims["sub"]
    assert abs(float(str(claims["exp"])) - time.time() - 3600) < 30


def test_a_token_has_the_permissions_and_the_time_that_were_asked_for():
    claims = token("--permission", "media:read", "--permission", "other", "--ttl", "60")

    assert claims["permissions"] == ["media:read", "other"]
    assert abs(float(str(claims["exp"])) - time.time() - 60) < 30


def test_a_token_is_accepted_by_the_api():
    done = mediactl("token", "--company", COMPANY)
    answer = get(
        f"{variable('MEDIA_API_URL')}/api/media/assets",
        headers={"Authorization": f"Bearer {done.stdout.strip()}"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("--company", "acme"),
        ("--company", COMPANY, "--ttl", "0"),
        ("--company", COMPANY, "--ttl", "-5"),
        ("--company", COMPANY, "--ttl", "soon"),
        (),
    ],
)
def test_a_token_that_cannot_be_made_is_an_error_of_usage(arguments):
    done = mediactl("token", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_uploads_that_become_ready_print_urls_that_serve_them(tmp_path):
    photo = make_photo(tmp_path / "photo.jpg")
    video = make_video(tmp_path / "video.mp4", size="320x180", seconds=1)
    done = mediactl("upload", str(photo), str(video), "--company", str(uuid4()))

    assert done.returncode == 0, done.stderr + done.stdout
    for name in ("photo.jpg", "video.mp4"):
        assert re.search(rf"^{name}: ready", done.stdout, re.MULTILINE)
    urls = re.findall(r"(?:processed|thumbnail)\s+(http\S+)", done.stdout)
    assert len(urls) == 4
    for url in urls:
        assert get(url).status_code == 200


def test_an_upload_that_fails_makes_the_command_fail_and_says_why(tmp_path):
    good, bad = make_photo(tmp_path / "photo.jpg"), tmp_path / "bad.mp4"
    bad.write_text("this is no video")
    done = mediactl("upload", str(good), str(bad), "--company", str(uuid4()))

    assert done.returncode == 1
    assert re.search(r"^photo\.jpg: ready", done.stdout, re.MULTILINE)
    assert re.search(r"^bad\.mp4: failed: type_mismatch", done.stdout, re.MULTILINE)


def test_an_upload_that_the_api_refuses_makes_the_command_fail_and_says_why(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("this is no video")
    done = mediactl("upload", str(text), "--company", str(uuid4()))

    assert done.returncode == 1
    assert "invalid_type" in done.stdout


def test_an_upload_of_nothing_is_an_error_of_usage(tmp_path):
    done = mediactl("upload", str(tmp_path / "nothing.mp4"), "--company", COMPANY)

    assert done.returncode == 2
    assert "nothing.mp4 is not a file" in done.stderr


def test_an_upload_for_no_company_is_an_error_of_usage(tmp_path):
    done = mediactl("upload", str(make_photo(tmp_path / "p.jpg")), "--company", "acme")

    assert done.returncode == 2
    assert "must be a UUID" in done.stderr


async def test_watch_once_tells_of_a_backlog_by_its_exit_code(company: Company, rows: Rows):
    never = {
        f"WATCHER_{name}": "1000000"
        for name in (
            "BACKLOG_ALERT", "QUOTA_ALERT_RATIO", "FAILURE_ALERT_COUNT", "DEAD_LETTER_ALERT",
            "LEASE_ALERT_SECONDS", "OUTBOX_ALERT_SECONDS", "LAG_ALERT_RECORDS",
        )
    } | {"WATCHER_SPACE_ALERT_RATIO": "0.000001"}  # fmt: skip
    quiet = mediactl("watch", "--once", **never)
    assert quiet.returncode == 0, quiet.stderr
    assert "ALERT" not in quiet.stdout + quiet.stderr

    # An upload that was stored, but that nobody works on.
    asset_id = (await company.sign())["assetId"]
    await rows.connection.execute(
        "UPDATE media_assets SET uploaded_at = $2 WHERE id = $1", UUID(asset_id), datetime.now(UTC)
    )
    try:
        alert = mediactl(
            "watch", "--once", WATCHER_BACKLOG_ALERT="0", WATCHER_OLDEST_ITEMS="1000000"
        )
    finally:
        await company.call("DELETE", f"/assets/{asset_id}")
    assert alert.returncode == 2
    assert "ALERT" in alert.stdout + alert.stderr
    assert asset_id in alert.stdout + alert.stderr


def test_watch_once_tells_programs_what_is_wrong():
    done = mediactl("watch", "--once", "--json", WATCHER_SPACE_ALERT_RATIO="0.999")
    seen = json.loads(done.stdout)

    assert (done.returncode, seen["alert"]) == (2, True)
    found = {one["kind"]: one for one in seen["findings"]}
    assert found["space"]["severity"] in {"info", "ticket", "page"}
    assert found["space"]["summary"]


def environment_of(pid: int | None) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def test_a_restart_in_another_shell_keeps_what_up_was_given(parts: Parts):
    name = "WATCHER_RETENTION_DAYS"
    try:
        up = mediactl("up", **{name: "3650", "ALERTMANAGER_WEBHOOK_TOKEN": "hush"})
        assert up.returncode == 0, up.stderr
        assert re.search(rf"Remembered: ALERTMANAGER_WEBHOOK_TOKEN, .*\b{name}\.", up.stdout)
        assert mediactl("restart", "watcher").returncode == 0
        assert environment_of(parts.pid("watcher"))["RETENTION_DAYS"] == "3650"
        assert json.loads(mediactl("retention", "--json").stdout)["days"] == 3650
        shown = mediactl("settings")
        assert re.search(rf"^{name}\s+3650", shown.stdout, re.MULTILINE)
        assert "hush" not in shown.stdout
    finally:
        mediactl("settings", f"{name}=", "ALERTMANAGER_WEBHOOK_TOKEN=")
        mediactl("restart", "watcher")
    assert "RETENTION_DAYS" not in environment_of(parts.pid("watcher"))
    assert name not in json.loads(mediactl("settings", "--json").stdout)["settings"]


async def test_a_service_scales_and_every_replica_is_looked_after(parts: Parts):
    names = ("thumbnailer", "thumbnailer-2")

    async def scraped() -> int:
        url = f"{variable('PROMETHEUS_URL')}/api/v1/query"
        query = {"query": 'count(up{job="thumbnailer"} == 1)'}
        async with web() as http:
            result = (await http.get(url, params=query)).json()["data"]["result"]
        return int(result[0]["value"][1]) if result else 0

    async def two_are_scraped() -> bool:
        return await scraped() == 2

    async def one_is_scraped() -> bool:
        return await scraped() == 1

    try:
        done = mediactl("scale", "thumbnailer", "2")
        assert done.returncode == 0, done.stderr
        before = [parts.pid(name) for name in names]
        shown = mediactl("status").stdout
        assert all(re.search(rf"^{name}\s+ready", shown, re.MULTILINE) for name in names)
        one, two = (environment_of(pid) for pid in before)
        for apart in ("HTTP_PORT", "SCRATCH_DIR", "KAFKA_INSTANCE_ID"):
            assert one[apart] != two[apart]
        assert await eventually(two_are_scraped, timeout=60)
        assert mediactl("restart", "thumbnailer").returncode == 0
        assert not {parts.pid(name) for name in names} & {*before, None}
        assert "thumbnailer-2" in mediactl("logs", "thumbnailer", "-n", "1").stdout
    finally:
        again = mediactl("scale", "thumbnailer", "1")
    assert again.returncode == 0, again.stderr
    assert parts.pid("thumbnailer") is not None
    assert parts.pid("thumbnailer-2") is None
    assert "thumbnailer-2" not in mediactl("status").stdout
    assert await eventually(one_is_scraped, timeout=60)


def test_what_clients_call_is_not_scaled():
    done = mediactl("scale", "sign_api", "2")

    assert done.returncode == 2
    assert "load balancer" in done.stderr


def test_watch_without_once_says_what_to_do():
    done = mediactl("watch")

    assert done.returncode == 1
    assert "watch --once" in done.stderr


def test_status_shows_every_part():
    done = mediactl("status")

    assert done.returncode == 0, done.stdout
    for part in PARTS:
        assert re.search(rf"^{part}\s+ready", done.stdout, re.MULTILINE)


async def test_status_fails_while_a_part_is_down(parts: Parts):
    with parts.down("watcher"):
        done = mediactl("status", "--json")

    assert done.returncode == 1
    health = {part["name"]: part["health"] for part in json.loads(done.stdout)["parts"]}
    assert health.pop("watcher") == "stopped"
    assert set(health.values()) == {"ready"}
    assert await eventually(lambda: mediactl("status").returncode == 0)


def test_doctor_shows_the_sandbox_that_uploads_are_opened_in():
    done = mediactl("doctor")

    assert done.returncode == 0, done.stdout
    assert re.search(r"^sandbox\s+ok\s+bubblewrap works", done.stdout, re.MULTILINE)
    in_force = re.findall(r"^sandbox of (\w+)\s+ok\s+bubblewrap\s*$", done.stdout, re.MULTILINE)
    assert in_force == ["ingest", "thumbnailer"]


def test_doctor_finds_a_service_that_has_no_sandbox():
    with restarted("thumbnailer", THUMBNAILER_SANDBOX="none", THUMBNAILER_MEDIA_ENV="development"):
        done = mediactl("doctor", "--json")

    assert done.returncode == 1
    wrong = [one["name"] for one in json.loads(done.stdout)["findings"] if not one["ok"]]
    assert wrong == ["sandbox of thumbnailer"]


def test_nothing_of_a_stack_is_readable_by_other_users(parts: Parts):
    assert readable_by_others(parts.home.path) == []


def test_env_prints_what_tests_are_given():
    done = mediactl("env")

    assert f"MEDIA_API_URL={variable('MEDIA_API_URL')}\n" in done.stdout


def test_logs_show_one_service_alone():
    done = mediactl("logs", "watcher", "-n", "5")

    assert done.returncode == 0, done.stderr
    assert 0 < len(done.stdout.splitlines()) <= 6
    assert "watch" in done.stdout


def test_a_restart_of_an_unknown_part_is_an_error_of_usage():
    done = mediactl("restart", "nobody")

    assert done.returncode == 2
    assert "choose from" in done.stderr


async def test_history_is_printed_as_kafka_has_kept_it(company: Company, tmp_path):
    asset = await company.upload(make_photo(tmp_path / "photo.jpg"))
    await company.ready(asset)

    def told(*words: str) -> list[dict[str, Any]]:
        done = mediactl("events", "--company", str(company.id), *words)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def outcomes() -> list[dict[str, Any]]:
        return await asyncio.to_thread(told, "--type", "media.asset.processed.v1")

    (outcome,) = await eventually(outcomes, timeout=30)
    assert (outcome["subject"], outcome["data"]["outcome"]) == (asset, "ready")
    all_of_it = await asyncio.to_thread(told, "--since", "10m")
    assert {one["companyid"] for one in all_of_it} == {str(company.id)}
    kinds = {one["type"] for one in all_of_it}
    assert {"media.asset.processed.v1", "media.asset.status_changed.v1"} <= kinds
    later = datetime.now(UTC).isoformat()
    assert await asyncio.to_thread(told, "--since", later) == []
    assert mediactl("events", "--since", "yesterday").returncode != 0


async def test_links_to_what_can_be_played_are_printed(company: Company, tmp_path):
    asset = await company.upload(make_photo(tmp_path / "photo.jpg"))
    await company.ready(asset)
    done = await asyncio.to_thread(mediactl, "play", asset, "--company", str(company.id))
    links = dict(line.split() for line in done.stdout.splitlines())
    assert {"processed", "thumbnail"} <= set(links)
    for link in links.values():
        assert (await company.http.get(link)).status_code == 200
    pending = (await company.sign())["assetId"]
    done = await asyncio.to_thread(mediactl, "play", pending, "--company", str(company.id))
    assert (done.returncode != 0, "pending" in done.stderr) == (True, True)

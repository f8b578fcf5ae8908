"""Killing any one part and starting it again loses nothing that was in flight."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from uuid import UUID

import pytest
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS, Topic

from support.clients import Company, Listener
from support.eventually import eventually
from support.media_files import make_photo, make_video
from support.surroundings import Parts, command_lines_with, restarted, variable
from support.wire import Rows, events_on

SERVICES = ("sign_api", "ingest", "thumbnailer", "notifier", "watcher")


async def all_are_ready_once(company: Company, rows: Rows, asset_ids: list[str]) -> None:
    """Check that each asset became ready, and was told to have, exactly once."""
    for asset_id in asset_ids:
        await company.ready(asset_id)
        assert await rows.endings(asset_id) == [(1, "ready")]

    async def told() -> bool:
        events = await events_on(MEDIA_PROCESSED, asset_ids)
        ids = {(str(event.subject), event.id) for event in events}
        assert sorted(asset_id for asset_id, _ in ids) == sorted(asset_ids)
        return True

    await eventually(told)


# The thumbnailer does its own all the while.
_LEFT = """
    SELECT state, tries, lease_until FROM tasks
    WHERE asset_id = $1 AND pool <> 'pictures' AND state <> 'done'
"""


async def upload_all(company: Company, photo: bytes, count: int) -> list[str]:
    """Upload *count* photos at once and return their assets' ids."""
    uploads = (company.upload_bytes(f"{n}.jpg", photo, "image/jpeg") for n in range(count))
    return list(await asyncio.gather(*uploads))


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    return make_photo(path, size=(2000, 1500)).read_bytes()


@pytest.fixture(scope="module")
def long_video(tmp_path_factory) -> bytes:
    """Some seconds of work for ingest, however fast the machine."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    return make_video(path, size="1280x720", seconds=9).read_bytes()


def test_the_five_services_are_five_processes(parts: Parts):
    assert len({parts.pid(name) for name in SERVICES} - {None}) == 5


async def test_ingest_stopped_in_mid_transcode_gives_its_task_back(
    company, rows, parts, long_video
):
    """A graceful stop costs the task no try, and the next worker waits for no lease."""
    async with company.listening() as listener:
        asset_id = await company.upload_bytes("long.mp4", long_video, "video/mp4")
        await listener.heard(asset_id, "transcoding")
        parts.stop("ingest")
        try:
            left = await rows.connection.fetch(_LEFT, UUID(asset_id))
            assert {(one["tries"], one["lease_until"]) for one in left} == {(0, None)}
            assert "queued" in {one["state"] for one in left}
        finally:
            parts.start("ingest")
        await all_are_ready_once(company, rows, [asset_id])


async def test_ingest_killed_as_uploads_arrive(company, rows, parts, photo):
    early = await upload_all(company, photo, 5)
    with parts.down("ingest"):
        late = await upload_all(company, photo, 5)
        statuses = {(await company.asset(asset_id))["status"] for asset_id in late}
        assert statuses == {"pending"}
    await all_are_ready_once(company, rows, early + late)


async def test_thumbnailer_killed_with_requests_queued(company, rows, parts, photo):
    async with company.listening() as listener:
        asset_ids = await upload_all(company, photo, 12)
        await listener.heard(asset_ids[-1], "uploaded")
        with parts.down("thumbnailer"):
            await eventually(lambda: _all_are_asked_for(rows, asset_ids), timeout=30)
            waiting = [await company.asset(asset_id) for asset_id in asset_ids]
            assert "processing" in {asset["status"] for asset in waiting}
        await all_are_ready_once(company, rows, asset_ids)


async def _all_are_asked_for(rows: Rows, asset_ids: list[str]) -> bool:
    states = {(await rows.task(asset_id, "inspect"))["state"] for asset_id in asset_ids}
    return states <= {"running", "done"}


async def test_thumbnailer_killed_with_a_request_long_in_hand(company, rows, parts, photo):
    """A request counts as read once it is answered, however long its handler waits for storage."""
    url = variable("THUMBNAILER_METRICS_URL")
    before = await _retries(company, url)
    async with company.listening() as listener:
        parts.signal("thumbnailer", signal.SIGSTOP)
        try:
            (asset_id,) = await upload_all(company, photo, 1)
            await listener.heard(asset_id, "processing")
            parts.kill("minio")
        finally:
            parts.signal("thumbnailer", signal.SIGCONT)
        try:
            # Longer than the five seconds after which Kafka clients commit by themselves.
            await eventually(lambda: _retried(company, url, before + 6), timeout=60)
            parts.kill("thumbnailer")
        finally:
            parts.start("minio")
            parts.start("thumbnailer")
        await all_are_ready_once(company, rows, [asset_id])


async def _retries(company: Company, url: str) -> float:
    name = "kafka_handler_retries_total{"
    lines = (await company.http.get(url)).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def _retried(company: Company, url: str, times: float) -> bool:
    return await _retries(company, url) >= times


async def test_notifier_killed_while_a_client_listens(company, rows, parts, photo):
    """The client comes back with Last-Event-ID and hears all that it missed, in order."""
    async with company.listening() as listener:
        asset_ids = await upload_all(company, photo, 4)
        await listener.heard(asset_ids[0], "uploaded")
        with parts.down("notifier"):
            asset_ids += await upload_all(company, photo, 4)
            await all_are_ready_once(company, rows, asset_ids)
        for asset_id in asset_ids:
            await listener.outcome(asset_id)
        for topic in (MEDIA_STATUS, MEDIA_PROCESSED):
            told = await events_on(topic, asset_ids)
            for asset_id in asset_ids:
                sent = [str(event.id) for event in told if str(event.subject) == asset_id]
                # One topic may be caught up with before the other.
                await eventually(partial(_has_heard, listener, topic, asset_id, sent))
    assert listener.connections >= 2


def _has_heard(listener: Listener, topic: Topic, asset_id: str, sent: list[str]) -> bool:
    heard = [e.event["id"] for e in listener.of(asset_id) if e.kind == topic.name]
    assert list(dict.fromkeys(heard)) == list(dict.fromkeys(sent))
    return True


async def test_sign_api_killed_with_records_in_its_outbox(company, rows, parts):
    """A retry that was promised begins, though its message had not left yet."""
    bad = [await company.upload_bytes("bad.jpg", b"no photo" * 9, "image/jpeg") for _ in range(3)]
    for asset_id in bad:
        await company.ended(asset_id)
    async with rows.relay_held("sign_api"):
        for asset_id in bad:
            assert (await company.post(f"/assets/{asset_id}/retry")).status_code == 202
        waiting = await rows.waiting("sign_api", bad)
        assert waiting >= len(bad)
        parts.kill("sign_api")
    try:
        assert await rows.waiting("sign_api", bad) == waiting
    finally:
        parts.start("sign_api")

    for asset_id in bad:
        await eventually(lambda asset_id=asset_id: _ended_twice(rows, asset_id))
    # Rows go once Kafka has confirmed them, which may be after ingest has answered them.
    await eventually(lambda: _none_waits(rows, bad))


async def _none_waits(rows: Rows, asset_ids: list[str]) -> bool:
    return await rows.waiting("sign_api", asset_ids) == 0


async def _ended_twice(rows: Rows, asset_id: str) -> bool:
    return await rows.endings(asset_id) == [(1, "failed"), (2, "failed")]


async def test_sign_api_killed_under_load_keeps_what_it_granted(company, parts, photo):
    """Whoever got an answer has an asset; whoever got none asks again."""
    await company.sign()

    async def asked(number: int) -> str | None:
        body = {"fileName": f"{number}.jpg", "size": 1000, "type": "image/jpeg"}
        answer = await company.post("/sign", json=body)
        return answer.json()["assetId"] if answer.status_code == 201 else None

    requests = [asyncio.create_task(asked(number)) for number in range(60)]
    await eventually(lambda: any(request.done() for request in requests))
    with parts.down("sign_api"):
        answers = await asyncio.gather(*requests, return_exceptions=True)

    granted = [answer for answer in answers if isinstance(answer, str)]
    assert granted
    for asset_id in granted:
        assert (await company.asset(asset_id))["status"] == "pending"


async def test_watcher_killed_before_it_removed_the_objects_of_a_deleted_asset(
    company, parts, photo
):
    (asset_id,) = await upload_all(company, photo, 1)
    asset = await company.ready(asset_id)
    with parts.down("watcher"):
        await company.call("DELETE", f"/assets/{asset_id}")
        assert (await company.http.get(asset["processedUrl"])).status_code == 200

    async def gone() -> bool:
        return (await company.http.get(asset["processedUrl"])).status_code == 404

    await eventually(gone)


async def _answers(company: Company) -> bool:
    return (await company.get("/assets")).status_code == 200


async def test_an_asset_deleted_in_mid_transcode_stays_deleted(company, rows, long_video):
    short = {"INGEST_LEASE_SECONDS": "4", "INGEST_HEARTBEAT_SECONDS": "0.5"}
    with restarted("ingest", **short) as parts:
        scratch = str(parts.home.data / "scratch" / "ingest")
        async with company.listening() as listener:
            asset_id = await company.upload_bytes("long.mp4", long_video, "video/mp4")
            await listener.heard(asset_id, "transcoding")
            assert (await company.call("DELETE", f"/assets/{asset_id}")).status_code == 204
            await eventually(lambda: not command_lines_with(scratch), timeout=5)

    assert await rows.endings(asset_id) == []
    assert (await rows.transitions(asset_id))[-1][2] == "deleted"
    assert await events_on(MEDIA_PROCESSED, [asset_id]) == []


async def test_a_restart_keeps_the_addresses_of_a_service(parts):
    url = variable("WATCHER_METRICS_URL")
    for _ in range(3):
        parts.restart("watcher")
        assert f":{parts.port('watcher')}/" in url


async def test_no_asset_was_left_behind(rows: Rows):
    """After all these crashes no task and no outbox record is stuck."""

    async def settled() -> bool:
        tasks = await rows.connection.fetch(
            "SELECT asset_id, name, state, last_error FROM tasks WHERE state IN"
            " ('blocked', 'queued', 'running')"
        )
        outbox = await rows.connection.fetchval("SELECT count(*) FROM outbox")
        assert ([dict(task) for task in tasks], outbox) == ([], 0)
        return True

    await eventually(settled, timeout=40)

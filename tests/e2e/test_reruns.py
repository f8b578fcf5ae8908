"""A ready film is made again by a newer profile: served all the while, then replaced at once."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from uuid import UUID

from media_contracts import MEDIA_PROCESSED
from media_runtime.storage.store import attempt_of

from support.clients import JSON, Company
from support.eventually import eventually
from support.media_files import make_video
from support.surroundings import restarted
from support.typed import mediactl
from support.wire import Rows, events_on

from .test_posters import THUMBNAIL, VIDEO, changed, film, number_at, objects, store
from .test_profiles import publish, uploaded

__all__ = ["film", "publish", "store"]

_IN_THE_MIDST = """
    SELECT 1 FROM tasks WHERE asset_id = $1 AND attempt = 2 AND pool = 'encode_later'
        AND state = 'running'
"""
_LATER = (
    "UPDATE reruns SET ended_at = ended_at - interval '2 hours' WHERE asset_id = $1",
    "UPDATE media_assets SET sweep_at = now() WHERE id = $1",
)
_KEYS = "SELECT key FROM asset_files WHERE asset_id = $1"


async def typed(*words: str) -> Any:
    """Return what an operator's command tells programs."""
    done = await asyncio.to_thread(mediactl, *words, "--json", environment=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


async def test_a_film_is_made_again_and_served_all_the_while(
    company: Company, publish, film, rows: Rows, store
):
    publish(company, "web", VIDEO, THUMBNAIL)
    asset_id = await uploaded(company, film, "video/mp4", profile="web")
    before = await company.ready(asset_id)
    await company.post(f"/assets/{asset_id}/poster", json={"atSeconds": 1.3})
    before = await changed(company, before)
    rate: JSON = {**VIDEO, "maxFrameRate": 15}
    publish(
        company,
        "web",
        rate,
        THUMBNAIL,
        {**THUMBNAIL, "name": "big", "kind": "picture", "width": 160},
    )
    whose = "--company", str(company.id)

    (counted,) = await typed("rerun", "--profile", "web", *whose, "--dry-run")
    assert (counted["version"], counted["assets"]) == (2, {"video": 1})
    (begun,) = await typed("rerun", "--profile", "web", *whose, "--yes")
    assert begun["begun"] == 1

    after: JSON = await eventually(lambda: made_again(company, asset_id), timeout=60)
    files = {one["name"]: one for one in after["files"]}
    assert set(files) == {"video", "thumbnail", "big"}
    assert files["video"]["sha256"] not in {one["sha256"] for one in before["files"]}
    # What somebody chose stays chosen, in pictures that were not there yet as well.
    assert await number_at(company, files["big"]["url"]) == 39
    assert await number_at(company, after["thumbnailUrl"]) == 39
    assert (await company.fetch(before["processedUrl"])).status_code == 200, "links last an hour"

    events = await eventually(lambda: outcomes_of(asset_id, 2))
    assert [(one.data.attempt, one.data.profile.version) for one in events] == [(1, 1), (2, 2)]
    assert {one.data.outcome for one in events} == {"ready"}
    (standing,) = await typed("reruns", *whose)
    assert (standing["state"], standing["assets"]) == ("done", 1)
    prices = await typed("profile", "price", "web", *whose)
    assert {"inspect", "video", "all"} <= {one["output"] for one in prices}
    assert all(one["cpu_seconds_a_minute"] > 0 for one in prices)

    answer = await company.post(f"/assets/{asset_id}/poster", json={"atSeconds": 0.5})
    assert answer.status_code == 202, answer.text
    again = await changed(company, after)
    assert await number_at(company, again["thumbnailUrl"]) == 15

    async def old_attempt_is_gone() -> bool:
        return 1 not in {attempt_of(key) for key in await objects(store, company)}

    assert not await old_attempt_is_gone()
    for later in _LATER:
        await rows.connection.execute(later, UUID(asset_id))
    await eventually(old_attempt_is_gone, timeout=60)
    assert (await company.fetch(again["processedUrl"])).status_code == 200


async def test_ingest_killed_while_a_film_is_made_again_harms_neither_the_old_nor_the_new(
    company: Company, publish, rows: Rows, store, tmp_path
):
    film = make_video(tmp_path / "film.mp4", size="1280x720", seconds=6)
    publish(company, "web", VIDEO, THUMBNAIL)
    asset_id = await uploaded(company, film, "video/mp4", profile="web")
    before = await company.ready(asset_id)
    publish(company, "web", {**VIDEO, "maxLongSide": 640, "maxShortSide": 360}, THUMBNAIL)

    async def is_in_the_midst() -> bool:
        return bool(await rows.connection.fetchval(_IN_THE_MIDST, UUID(asset_id)))

    short = {"INGEST_LEASE_SECONDS": "4", "INGEST_HEARTBEAT_SECONDS": "0.5"}
    with restarted("ingest", **short) as parts:
        await typed("rerun", "--profile", "web", "--company", str(company.id), "--yes")
        await eventually(is_in_the_midst, timeout=60)
        with parts.down("ingest"):
            assert await made_again(company, asset_id) is None
            assert (await company.asset(asset_id))["files"] == before["files"]
        after: JSON = await eventually(lambda: made_again(company, asset_id), timeout=90)
    sizes = {one["name"]: one.get("height") for one in after["files"]}
    assert sizes["video"] == 360
    events = await eventually(lambda: outcomes_of(asset_id, 2))
    assert [(one.data.attempt, one.data.outcome) for one in events] == [(1, "ready"), (2, "ready")]

    for later in _LATER:
        await rows.connection.execute(later, UUID(asset_id))

    async def nothing_is_left_over() -> bool:
        known = await rows.connection.fetch(_KEYS, UUID(asset_id))
        return {one["key"] for one in known} == await objects(store, company)

    await eventually(nothing_is_left_over, timeout=60)
    assert (await company.fetch(after["processedUrl"])).status_code == 200


async def outcomes_of(asset_id: str, number: int) -> Any:
    found = await events_on(MEDIA_PROCESSED, [asset_id])
    return found if len(found) >= number else None


async def made_again(company: Company, asset_id: str) -> JSON | None:
    """Return an asset that its profile's second version made; it is served all the while."""
    asset: JSON = await company.asset(asset_id)
    assert asset["status"] == "ready"
    assert (await company.fetch(asset["processedUrl"])).status_code == 200
    return asset if asset["profile"]["version"] == 2 else None

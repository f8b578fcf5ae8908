"""What the sign API still does while Kafka or storage is away."""

from __future__ import annotations

from media_contracts import MEDIA_STATUS

from support.clients import Company
from support.eventually import eventually
from support.media_files import make_photo
from support.surroundings import variable
from support.wire import Rows, events_on


async def all_ready(http) -> bool:
    """Tell whether every service says that it is ready."""
    for service in ("SIGN_API", "INGEST", "THUMBNAILER", "NOTIFIER", "WATCHER"):
        url = variable(f"{service}_METRICS_URL").removesuffix("/metrics")
        assert (await http.get(f"{url}/readyz")).status_code == 200, service
    return True


async def test_the_api_goes_on_while_kafka_is_away(company: Company, parts, rows: Rows, tmp_path):
    failed = await company.upload_bytes("bad.jpg", b"no photo" * 9, "image/jpeg")
    await company.ended(failed)
    with parts.down("kafka"):
        signed = [(await company.sign())["assetId"] for _ in range(5)]
        signed.append((await Company(company.http).sign())["assetId"])
        assert (await company.post(f"/assets/{failed}/retry")).status_code == 202
        assert (await company.call("DELETE", f"/assets/{signed[0]}")).status_code == 204
        assert len((await company.get("/assets")).json()["items"]) == 5
        api = variable("MEDIA_API_URL")
        assert (await company.http.get(f"{api}/readyz")).status_code == 200
        assert await rows.waiting("sign_api", [failed]) > 0

    async def tried_again() -> bool:
        return await rows.endings(failed) == [(1, "failed"), (2, "failed")]

    async def told() -> bool:
        events = await events_on(MEDIA_STATUS, signed)
        return [event.data.status for event in events] == ["deleted"]

    await eventually(tried_again, timeout=60)
    await eventually(told)
    await eventually(lambda: all_ready(company.http), timeout=60)
    await company.ready(await company.upload(make_photo(tmp_path / "photo.jpg")))


async def test_signing_goes_on_while_storage_is_away_for_known_companies(
    company: Company, other_company: Company, parts, tmp_path
):
    photo = make_photo(tmp_path / "photo.jpg").read_bytes()
    await company.sign()
    with parts.down("minio"):
        grant = await company.sign(size=len(photo))
        answer = await other_company.post(
            "/sign", json={"fileName": "x.jpg", "size": 1, "type": "image/jpeg"}
        )
        assert (await company.asset(grant["assetId"]))["status"] == "pending"

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "storage_not_ready"
    assert int(answer.headers["retry-after"]) > 0
    assert "127.0.0.1" not in answer.text
    await eventually(lambda: all_ready(company.http), timeout=60)
    # The grant was good all the time, and the new company gets one now.
    assert (await company.store(grant, photo)).status_code == 200
    await company.ready(grant["assetId"])
    await other_company.sign()

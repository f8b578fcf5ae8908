"""Who may listen, for how long, and to what."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from uuid import uuid4

import httpx
import pytest
from media_contracts import AssetStatus

from support.eventually import eventually
from support.http_clients import web


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_data_is_the_message_as_on_kafka(notifier, wire, company):
    asset = uuid4()
    async with notifier.listening(company) as stream:
        ready = await wire.status(company, asset, AssetStatus.READY)
        processed = await wire.processed(company, asset)
        await eventually(lambda: len(stream.heard) == 3)
        assert {one.kind: one.data.encode() for one in stream.heard[1:]} == {
            "media_status": ready.value,
            "media_processed": processed.value,
        }


async def test_no_event_crosses_to_another_company(notifier, wire):
    companies = [uuid4() for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_subjects(notifier, wire, one)) for one in companies]
    for company, task in zip(companies, tasks, strict=True):
        assert task.result() == {str(company)}


async def _subjects(notifier, wire, company) -> set[str]:
    async with notifier.listening(company) as stream:
        await wire.progress(company, range(100), asset=uuid4())
        await eventually(lambda: len(stream.numbers) == 100)
        return {one.event["companyid"] for one in stream.of("media_status")}


async def test_a_stream_may_follow_one_asset(notifier, wire, company):
    mine, other = uuid4(), uuid4()
    async with notifier.listening(company, assetId=str(mine)) as stream:
        start = stream.last_id
        for number in range(3):
            await wire.progress(company, [number], asset=other)
            await wire.progress(company, [number], asset=mine)
        await eventually(lambda: stream.numbers == [0, 1, 2])
        assert {one.event["subject"] for one in stream.of("media_status")} == {str(mine)}
    async with notifier.listening(company, lastEventId=start, assetId=str(mine)) as stream:
        await eventually(lambda: stream.numbers == [0, 1, 2])


async def test_a_ticket_opens_one_stream(notifier, wire, company):
    ticket = await notifier.ticket(company, permissions=("media:upload",))
    async with notifier.listening(None, ticket=ticket) as stream:
        await wire.progress(company, [1])
        await eventually(lambda: stream.numbers == [1])
    again = await notifier.get("/api/media/events", params={"ticket": ticket})
    assert problem(again) == (401, "invalid_ticket")


async def test_of_many_uses_of_a_ticket_on_two_replicas_one_succeeds(make_notifier, company):
    replicas = [await make_notifier(), await make_notifier()]
    ticket = await replicas[0].ticket(company, seconds=2)
    answers = await asyncio.gather(
        *(replicas[n % 2].get("/api/media/events", params={"ticket": ticket}) for n in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9


async def test_a_ticket_lapses(make_notifier, company):
    notifier = await make_notifier(ticket_seconds=1)
    ticket = await notifier.ticket(company)
    lapsed = _now() + 1.1
    await eventually(lambda: _now() > lapsed)
    answer = await notifier.get("/api/media/events", params={"ticket": ticket})
    assert problem(answer) == (401, "invalid_ticket")


async def test_a_stream_ends_with_its_token(notifier, company):
    async with notifier.listening(company, seconds=2) as stream:
        await eventually(lambda: stream.ended, timeout=4)
        assert not stream.broken


async def test_a_stream_by_ticket_ends_with_the_token_that_bought_it(notifier, company):
    ticket = await notifier.ticket(company, seconds=2)
    async with notifier.listening(None, ticket=ticket) as stream:
        await eventually(lambda: stream.ended, timeout=4)


async def test_requests_without_permission_are_refused(notifier, company):
    bare = await notifier.get("/api/media/events")
    assert problem(bare) == (401, "unauthorized")
    assert bare.headers["www-authenticate"] == "Bearer"
    lapsed = notifier.bearer(company, seconds=-2)  # within the leeway that other clocks get
    answer = await notifier.get("/api/media/events", headers=lapsed)
    assert problem(answer) == (401, "unauthorized")
    other = notifier.bearer(company, permissions=("media:delete",))
    answer = await notifier.get("/api/media/events", headers=other)
    assert problem(answer) == (403, "forbidden")


async def test_a_malformed_position_is_refused_and_costs_no_ticket(notifier, company):
    ticket = await notifier.ticket(company)
    answer = await notifier.get(
        "/api/media/events", params={"ticket": ticket}, headers={"Last-Event-ID": "7"}
    )
    assert problem(answer) == (400, "invalid_last_event_id")
    async with notifier.listening(None, ticket=ticket) as stream:
        assert stream.status == 200


async def test_a_position_of_another_company_is_refused(notifier, company):
    """As one that nobody was ever given: what it holds is not told apart."""
    async with notifier.listening(uuid4()) as other:
        ids = other.last_id, other.last_id[:-8] + "AAAAAAAA"
    url, token = "/api/media/events", notifier.bearer(company)
    answers = [await notifier.get(url, headers={**token, "Last-Event-ID": one}) for one in ids]
    assert [problem(answer) for answer in answers] == [(400, "invalid_last_event_id")] * 2
    assert answers[0].text == answers[1].text


@pytest.mark.parametrize("busy", [False, True])
async def test_a_stream_tells_nothing_of_what_others_do(make_notifier, wire, company, busy):
    """Red with offsets in clear, and with ids that change when others do something."""
    notifier = await make_notifier(heartbeat_seconds=0.2)
    async with notifier.listening(company) as stream:
        await eventually(lambda: stream.comments > 1)
        for _ in range(5):
            if busy:
                await wire.progress(uuid4(), range(200))
            beats = stream.comments
            await eventually(lambda n=beats: stream.comments > n)
            async with notifier.listening(company) as again:
                stream.ids.append(again.last_id)
        assert stream.numbers == []
        ids = stream.ids
    assert len(set(ids)) == len(ids) >= stream.comments + 6
    assert len({len(one) for one in ids}) == 1


async def test_slow_clients_of_one_company_keep_no_other_from_resuming(
    make_notifier, wire, company
):
    """Red when a turn to read the log is held until the client has taken what was read."""
    notifier, other = await make_notifier(history_events=1, write_seconds=60), uuid4()
    async with notifier.listening(company) as first, notifier.listening(other) as second:
        starts = first.last_id, second.last_id
    for _ in range(70):
        await wire.failed(company, message="x" * 100_000)
    await wire.progress(other, range(5))
    token = notifier.bearer(company)["Authorization"]
    deaf = []
    try:
        for _ in range(12):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", int(notifier.environment["HTTP_PORT"])))
            sock.sendall(
                f"GET /api/media/events HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
                f"Last-Event-ID: {starts[0]}\r\n\r\n".encode()
            )
            deaf.append(sock)
        await eventually(lambda: _is(notifier.metric("notifier_clients "), 12))
        async with notifier.listening(other, last_id=starts[1]) as stream:
            await eventually(lambda: stream.numbers == list(range(5)), timeout=20)
        assert await notifier.metric("notifier_clients ") >= 12
    finally:
        for sock in deaf:
            sock.close()


async def test_an_invalid_asset_id_is_refused(notifier, company):
    answer = await notifier.get("/api/media/events", params={"assetId": "7"})
    assert problem(answer) == (400, "invalid_asset_id")


async def test_a_company_has_a_limit_of_streams(make_notifier, company):
    """However many are asked for at once."""
    notifier = await make_notifier(streams_per_company=2)
    async with AsyncExitStack() as stack:
        opening = (stack.enter_async_context(notifier.listening(company)) for _ in range(6))
        streams = sorted(await asyncio.gather(*opening), key=lambda one: one.status)
        assert [one.status for one in streams] == [200] * 2 + [429] * 4
        for refused in streams[2:]:
            assert refused.headers["retry-after"]
            assert refused.headers["ratelimit-policy"] == '"streams";q=2'
            assert refused.headers["ratelimit"] == '"streams";r=0;t=5'
            assert refused.headers["content-type"] == "application/problem+json"
        async with notifier.listening(uuid4()) as other:
            assert other.status == 200

    async def free_again() -> bool:
        async with notifier.listening(company) as stream:
            return stream.status == 200

    await eventually(free_again)


async def test_a_malformed_record_is_dead_lettered_and_the_stream_goes_on(notifier, wire, company):
    poison = b'{"specversion":"1.0","type":"no.such.type"}'
    async with notifier.listening(company) as stream:
        await wire.progress(company, [1])
        await wire.send_bytes(poison, key=str(company))
        await wire.send_bytes(b"\xff\x00", key=str(company))
        await wire.progress(company, [2])
        await eventually(lambda: stream.numbers == [1, 2])
    letters = await wire.dead_letters("media_status")
    assert [letter.value for letter in letters] == [poison, b"\xff\x00"]
    assert dict(letters[0].headers)["dlq-reason"] == b"malformed"
    assert await notifier.metric("notifier_malformed_total{") == 2

    notifier.kill()
    await notifier.start()
    assert len(await wire.dead_letters("media_status")) == 2  # history is not refused again


async def test_a_client_that_does_not_read_is_dropped_and_disturbs_nobody(
    make_notifier, wire, company
):
    notifier = await make_notifier(client_queue_events=32, write_seconds=1)
    ticket = await notifier.ticket(company)
    deaf = socket.create_connection(("127.0.0.1", int(notifier.environment["HTTP_PORT"])))
    deaf.sendall(f"GET /api/media/events?ticket={ticket} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    another = uuid4()
    try:
        async with notifier.listening(company) as stream, notifier.listening(another) as other:
            await eventually(lambda: _is(notifier.metric("notifier_clients "), 3))
            for sent in range(1, 300):
                await wire.failed(company, message="x" * 100_000)
                await eventually(lambda n=sent, s=stream: len(s.of("media_status")) == n)
                if await notifier.metric("notifier_clients ") == 2:
                    break
            await eventually(lambda: _is(notifier.metric("notifier_clients "), 2))
            await wire.progress(another, [1])
            await eventually(lambda: other.numbers == [1])
            assert not stream.ended
    finally:
        deaf.close()


async def test_a_burst_does_not_make_a_reading_client_look_slow(make_notifier, wire, company):
    notifier = await make_notifier(client_queue_events=32)
    async with notifier.listening(company) as stream:
        await wire.progress(company, range(3000))
        await eventually(lambda: stream.numbers == list(range(3000)))
    assert await notifier.metric("notifier_slow_clients_dropped_total ") == 0


async def _is(reading, expected: float) -> bool:
    return await reading == expected


@pytest.mark.parametrize("origin", ["https://app.example", "https://evil.example"])
async def test_only_allowed_origins_may_listen_from_browsers(make_notifier, origin):
    notifier = await make_notifier(cors_allow_origins="https://app.example, https://b.example")
    async with web(base_url=notifier.url) as client:
        answer = await client.options(
            "/api/media/events",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "Last-Event-ID, Authorization",
            },
        )
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (origin if "app" in origin else None)


async def test_openapi_shows_the_two_routes_with_examples(notifier):
    document = (await notifier.get("/openapi.json")).json()
    assert set(document["paths"]) == {"/api/media/events", "/api/media/events/ticket"}
    stream = document["paths"]["/api/media/events"]["get"]["responses"]["200"]["content"]
    assert set(stream) == {"text/event-stream"}
    assert "event: media_status" in json.dumps(stream)


def _now() -> float:
    return asyncio.get_running_loop().time()

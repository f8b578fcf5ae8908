"""Clients that come back hear what they missed, once, whatever was killed in between."""

from uuid import uuid4

from support.eventually import eventually


async def test_a_stream_begins_with_a_position_to_resume_from(notifier, wire, company):
    async with notifier.listening(company) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["x-accel-buffering"] == "no"
        before = stream.last_id
    await wire.progress(company, [1])

    async with notifier.listening(company, last_id=before) as stream:
        await eventually(lambda: stream.numbers == [1])


async def test_nothing_is_lost_or_repeated_when_the_notifier_is_killed(
    make_notifier, wire, company
):
    notifier = await make_notifier()
    heard: list[int] = []
    last_id = None
    for start in range(0, 50, 10):
        async with notifier.listening(company, last_id=last_id) as stream:
            await wire.progress(company, range(start, start + 5))
            await eventually(lambda n=start + 4, s=stream: n in s.numbers)
            notifier.kill()
            await eventually(lambda s=stream: s.ended)
            assert stream.broken
            heard += stream.numbers
            last_id = stream.last_id
        await wire.progress(company, range(start + 5, start + 10))  # nobody is there
        await notifier.start()

    async with notifier.listening(company, last_id=last_id) as stream:
        await eventually(lambda: 49 in stream.numbers)
        heard += stream.numbers
    assert heard == list(range(50))


async def test_a_client_goes_on_with_another_replica(make_notifier, wire, company):
    one, other = await make_notifier(), await make_notifier()
    assets = [uuid4() for _ in range(12)]
    async with one.listening(company) as stream:
        for asset in assets:
            await wire.progress(company, range(3), asset=asset)
        await eventually(lambda: len(stream.numbers) >= 18)
        cut = [(one.event["subject"], one.number) for one in stream.of("media_status")[:18]]
        last_id = stream.of("media_status")[17].id

    async with other.listening(company, last_id=last_id) as stream:
        await eventually(lambda: len(cut) + len(stream.numbers) >= 36)
        rest = [(one.event["subject"], one.number) for one in stream.of("media_status")]
    for asset in assets:
        assert [number for name, number in cut + rest if name == str(asset)] == [0, 1, 2]


async def test_any_event_of_a_replica_resumes_without_repetition_on_another(
    make_notifier, wire, company
):
    """The replicas read the partitions in different orders; ids must hold for both."""
    one, other = await make_notifier(), await make_notifier(history_events=0)
    assets = [uuid4() for _ in range(6)]
    async with one.listening(company) as stream:
        start = stream.last_id
        for number in range(4):
            for asset in assets:
                await wire.progress(company, [number], asset=asset)
        await eventually(lambda: len(stream.numbers) == 24)

    heard, last_id, replicas = [], start, [other, one]
    while len(heard) < 24:
        replicas.reverse()
        async with replicas[0].listening(company, last_id=last_id) as stream:
            await eventually(lambda s=stream: s.numbers)
            first = stream.of("media_status")[0]  # the connection "breaks" after one event
        heard.append((first.event["subject"], first.number))
        last_id = first.id
    for asset in assets:
        assert [number for name, number in heard if name == str(asset)] == [0, 1, 2, 3]


async def test_what_memory_no_longer_holds_comes_from_kafka(make_notifier, wire, company):
    notifier = await make_notifier(history_events=3)
    async with notifier.listening(company) as stream:
        start = stream.last_id
    await wire.progress(company, range(1500))
    await wire.progress(uuid4(), range(1500))

    async with notifier.listening(company, last_id=start) as stream:
        await wire.progress(company, range(1500, 1510))
        await eventually(lambda: len(stream.numbers) >= 1510)
        assert stream.numbers == list(range(1510))
    assert await notifier.metric('notifier_streams_total{start="log"}') == 1


async def test_what_is_more_than_one_client_is_read_for_is_said(make_notifier, wire, company):
    """Else an old position has the replica read all that others did for as long as it takes."""
    notifier = await make_notifier(history_events=1, backfill_records=1000)
    async with notifier.listening(company) as stream:
        start = stream.last_id
        await wire.progress(uuid4(), range(3000), asset=company)
        await wire.progress(company, [1])
        # It comes behind the others in their partition: the replica has read them all.
        await eventually(lambda: stream.numbers == [1], timeout=30)

    async with notifier.listening(company, last_id=start) as stream:
        await eventually(lambda: stream.of("media_resync"))
        await wire.progress(company, [2])
        await eventually(lambda: stream.numbers == [2])
        last_id = stream.last_id
    async with notifier.listening(company, last_id=last_id) as stream:
        await wire.progress(company, [3])
        await eventually(lambda: stream.numbers == [3])


async def test_a_resumed_stream_hears_one_company_from_kafka_too(make_notifier, wire, company):
    notifier = await make_notifier(history_events=0)
    async with notifier.listening(company) as stream:
        start = stream.last_id
    other = uuid4()
    for number in range(20):
        await wire.progress(other, [number], asset=company)
        await wire.progress(company, [number])

    async with notifier.listening(company, last_id=start) as stream:
        await eventually(lambda: len(stream.numbers) >= 20)
        assert {one.event["companyid"] for one in stream.of("media_status")} == {str(company)}


async def test_a_position_moves_on_with_heartbeats(make_notifier, wire, company):
    """A company without uploads must not have to read a week of others' when it comes back."""
    notifier = await make_notifier(heartbeat_seconds=0.2, history_events=1)
    async with notifier.listening(company) as stream:
        start = stream.last_id
        await wire.progress(uuid4(), range(10))
        await eventually(lambda: stream.last_id != start)
        await eventually(lambda: stream.comments > 3)
        last_id = stream.last_id
    await wire.progress(company, [1])

    async with notifier.listening(company, last_id=last_id) as stream:
        await eventually(lambda: stream.numbers == [1])
    assert await notifier.metric('notifier_streams_total{start="memory"}') == 1


async def test_a_stopping_notifier_ends_its_streams_at_once(make_notifier, wire, company):
    notifier = await make_notifier()
    async with notifier.listening(company) as stream:
        assert notifier.stop() < 3
        await eventually(lambda: stream.ended)
        assert not stream.broken


async def test_a_log_made_anew_is_said_and_streams_go_on(
    make_notifier, wire, company, recreate_topics
):
    notifier = await make_notifier()
    async with notifier.listening(company) as stream:
        await wire.progress(company, range(5))
        await eventually(lambda: len(stream.numbers) == 5)
        last_id = stream.last_id
        await recreate_topics()
        await eventually(lambda: stream.ended, timeout=60)

    await eventually(notifier.is_ready, timeout=30)
    async with notifier.listening(company, last_id=last_id) as stream:
        await eventually(lambda: stream.of("media_resync"))
        assert stream.of("media_resync")[0].event["reason"] == "events_lost"
        await wire.progress(company, [7])
        await eventually(lambda: stream.numbers == [7])

"""Fan-out to the streams of a company, history, and clients that do not read."""

from uuid import UUID, uuid4

import pytest
from notifier.hub import Hub, NotListeningError, Stream, TooManyStreamsError
from notifier.positions import SLOTS, PositionCodec
from notifier.settings import NotifierSettings

CODEC = PositionCodec("s" * 32)
ACME, OTHER = uuid4(), uuid4()
PHOTO, VIDEO = uuid4(), uuid4()


def a_hub(*, history=100, queue=10, streams=10) -> Hub:
    settings = NotifierSettings.model_construct(
        history_events=history, client_queue_events=queue, streams_per_company=streams
    )
    hub = Hub(CODEC, settings)
    hub.start_at((0,) * len(SLOTS))
    return hub


def publish(hub: Hub, offset: int, *, slot=0, company: UUID = ACME, asset: UUID = PHOTO) -> None:
    data = b'{"n":%d}' % offset
    hub.publish(slot, offset, company_id=company, asset_id=asset, kind="media_status", data=data)


def queued(stream: Stream) -> list[int | None]:
    found = []
    while not stream.queue.empty():
        entry = stream.queue.get_nowait()
        found.append(entry and entry.offset)
    return found


def resume_at(slot_0: int, slot_1: int = 0) -> tuple[int, ...]:
    return (slot_0, slot_1, *(0 for _ in SLOTS[2:]))


def test_only_the_streams_of_the_company_hear_an_event():
    hub = a_hub()
    ours, _ = hub.open(ACME, None, None)
    theirs, _ = hub.open(OTHER, None, None)

    publish(hub, 0)

    assert queued(ours) == [0]
    assert queued(theirs) == []


def test_a_stream_of_one_asset_hears_of_no_other():
    hub = a_hub()
    stream, _ = hub.open(ACME, VIDEO, None)

    publish(hub, 0, asset=PHOTO)
    publish(hub, 1, asset=VIDEO)

    assert queued(stream) == [1]


def test_all_streams_share_one_encoding():
    hub = a_hub()
    first, _ = hub.open(ACME, None, None)
    second, _ = hub.open(ACME, None, None)

    publish(hub, 0)

    assert first.queue.get_nowait().frame is second.queue.get_nowait().frame


def test_the_id_of_an_event_is_the_position_right_after_it():
    hub = a_hub()
    stream, _ = hub.open(ACME, None, None)
    publish(hub, 7, slot=3)

    entry = stream.queue.get_nowait()

    assert CODEC.decode(entry.position, ACME)[3] == 8
    assert entry.frame == b'event: media_status\nid: %b\ndata: {"n":7}\n\n' % (
        entry.position.encode()
    )


def test_newlines_between_json_tokens_cannot_begin_a_field_of_the_stream():
    hub = a_hub()
    stream, _ = hub.open(ACME, None, None)
    hub.publish(0, 0, company_id=ACME, asset_id=PHOTO, kind="media_status", data=b'{\r\n"a":\n1}')

    assert stream.queue.get_nowait().frame.endswith(b'data: {  "a": 1}\n\n')


def test_a_record_that_comes_twice_is_heard_once():
    hub = a_hub()
    stream, _ = hub.open(ACME, None, None)
    publish(hub, 0)
    publish(hub, 0)
    assert queued(stream) == [0]


def test_a_slow_client_is_dropped_after_its_queue_and_others_hear_on():
    hub = a_hub(queue=2)
    slow, _ = hub.open(ACME, None, None)
    quick, _ = hub.open(ACME, None, None)

    for offset in range(4):
        publish(hub, offset)
        assert queued(quick) == [offset]

    assert queued(slow) == [0, 1, None]


def test_a_dropped_client_keeps_its_place_until_its_connection_is_closed():
    hub = a_hub(queue=1, streams=1)
    slow, _ = hub.open(ACME, None, None)
    publish(hub, 0)
    publish(hub, 1)
    with pytest.raises(TooManyStreamsError):
        hub.open(ACME, None, None)

    hub.close(slow)

    hub.open(ACME, None, None)


def test_each_company_has_a_limit_of_its_own():
    hub = a_hub(streams=1)
    hub.open(ACME, None, None)
    with pytest.raises(TooManyStreamsError):
        hub.open(ACME, None, None)
    hub.open(OTHER, None, None)


def test_history_fills_in_what_was_missed_up_to_where_live_events_begin():
    hub = a_hub()
    for offset in range(5):
        publish(hub, offset)

    stream, live_from = hub.open(ACME, None, resume_at(2))
    publish(hub, 5)

    assert [entry.offset for entry in stream.missed] == [2, 3, 4]
    assert live_from[0] == 5
    assert queued(stream) == [5]


def test_history_shows_a_company_its_own_events_only():
    hub = a_hub()
    publish(hub, 0, company=OTHER)
    publish(hub, 1)
    stream, _ = hub.open(ACME, None, resume_at(0))
    assert [entry.offset for entry in stream.missed] == [1]


def test_a_position_before_the_history_is_left_to_the_log():
    hub = a_hub(history=2)
    for offset in range(5):
        publish(hub, offset)

    assert hub.open(ACME, None, resume_at(2))[0].missed is None
    assert len(hub.open(ACME, None, resume_at(3))[0].missed) == 2


def test_a_client_that_heard_more_from_another_replica_hears_nothing_twice():
    hub = a_hub()
    publish(hub, 0)

    stream, _ = hub.open(ACME, None, resume_at(3))
    for offset in range(1, 5):
        publish(hub, offset)

    assert stream.missed is None  # whether the log holds that position is for the log to say
    assert queued(stream) == [3, 4]


def test_stopping_ends_every_stream_and_lets_no_new_one_in():
    hub = a_hub(queue=1)
    full, _ = hub.open(ACME, None, None)
    publish(hub, 0)
    idle, _ = hub.open(OTHER, None, None)

    hub.stop()
    hub.stop()

    assert queued(full) == [0, None]
    assert queued(idle) == [None]
    with pytest.raises(NotListeningError):
        hub.open(ACME, None, None)


def test_a_log_that_was_made_anew_ends_streams_so_that_they_resync():
    hub = a_hub()
    publish(hub, 9)
    stream, _ = hub.open(ACME, None, None)

    hub.start_at((0,) * len(SLOTS))

    assert queued(stream) == [None]
    assert hub.open(ACME, None, resume_at(10))[0].missed is None

"""What is remembered of dead letters, and which ones people mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_runtime.resolved import Resolved, ResolvedOffsetsError
from mediactl.commands.dlq import printable
from mediactl.dead_letters import Filter, Letter
from mediactl.errors import UsageError

EVENT = b'{"subject": "asset-1", "companyid": "company-1"}'


def letter(**changes):
    given_headers = (
        ("traceparent", b"t"), ("odd", b"\xff"), ("null", None), ("dlq-reason", b"malformed"),
        ("dlq-message", b"Bad JSON"),
    )  # fmt: skip
    values = {
        "topic": "media_ingest", "partition": 0, "offset": 7, "at": datetime.now(UTC),
        "key": b"k", "value": EVENT, "headers": given_headers, **changes,
    }  # fmt: skip
    return Letter(**values)


@given(st.integers(0, 20), st.lists(st.integers(0, 40)))
def test_what_is_done_with_is_remembered_through_kafka(floor, offsets):
    before = Resolved(floor)
    for offset in offsets:
        before.add(offset)
    after = Resolved.parse(*before.encode())
    expected = {offset for offset in range(60) if offset < floor or offset in offsets}
    assert {offset for offset in range(60) if offset in after} == expected


def test_the_floor_rises_over_what_is_done_with_and_what_kafka_forgot():
    resolved = Resolved()
    for offset in (2, 1):
        resolved.add(offset)
    assert resolved.encode() == (0, "1-2")
    resolved.add(0)
    assert resolved.encode() == (3, "")
    resolved.add(12, oldest=10)
    assert resolved.encode() == (10, "12")


def test_more_than_the_broker_would_keep_is_refused():
    resolved = Resolved()
    for offset in range(1, 4000, 2):
        resolved.add(offset)
    with pytest.raises(ResolvedOffsetsError, match="from offset 0 on"):
        resolved.encode()


def test_neighbours_take_no_more_room_than_one():
    resolved = Resolved()
    for offset in range(1, 100_000):
        resolved.add(offset)
    assert resolved.encode() == (0, "1-99999")


def test_an_offset_below_the_floor_stays_done_with():
    resolved = Resolved(5)
    resolved.add(3)
    assert resolved.encode() == (5, "")


@pytest.mark.parametrize("metadata", ["x", "1-x", "-", "1,,x"])
def test_what_others_wrote_there_is_named(metadata):
    with pytest.raises(ResolvedOffsetsError, match="Something else than mediactl"):
        Resolved.parse(0, metadata)


def test_a_letter_is_sent_again_with_its_own_headers_and_a_count():
    own = [("traceparent", b"t"), ("odd", b"\xff"), ("null", None)]
    assert letter().again() == [*own, ("dlq-redrives", b"1")]
    again = letter(headers=tuple(letter().again()))
    assert again.redrives == 1
    assert again.again() == [*own, ("dlq-redrives", b"2")]


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_value_that_is_no_event_has_no_company(value):
    found = letter(value=value)
    assert (found.event, found.field("company"), found.field("asset")) == ({}, "", "k")
    assert letter(value=value, key=None).field("asset") == ""


@pytest.mark.parametrize(
    ("wish", "accepted"),
    [
        ("topic=media_ingest", True),
        ("topic=media_thumbnail", False),
        ("topic=media", False),
        ("reason=MALFORMED", True),
        ("reason=mal", False),
        ("message=json", True),
        ("company=company-1", True),
        ("asset=asset-2", False),
        ("id=media_ingest:0:7", True),
        ("id=media_ingest:0:", False),
        ("any=companyid", True),
        ("any=Bad JSON", True),
        ("any=nowhere", False),
    ],
)
def test_a_filter_picks_letters_by_a_part_of_a_field(wish, accepted):
    assert Filter.parse(wish).accepts(letter()) is accepted


@pytest.mark.parametrize("wish", ["", "reason", "colour=red", "=x"])
def test_an_unknown_filter_is_refused(wish):
    with pytest.raises(UsageError, match="FIELD=TEXT"):
        Filter.parse(wish)


def test_a_bucket_notification_is_found_by_the_company_and_asset_in_its_key():
    found = letter(key=b"media-c1/c1/uploads/a1", value=b"{")
    assert Filter("company", "c1").accepts(found)
    assert Filter("asset", "a1").accepts(found)
    assert not Filter("company", "c2").accepts(found)


@pytest.mark.parametrize("count", [b"", b"x", b"-1", b"9" * 5000, b"\xff", None])
def test_a_count_that_is_none_is_no_count(count):
    assert letter(headers=(("dlq-redrives", count),)).redrives == 0


@given(st.text())
def test_what_a_letter_holds_cannot_act_on_a_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


def test_ordinary_text_is_shown_as_it_is():
    assert printable("Größe [type=missing] 日本 \\") == "Größe [type=missing] 日本 \\"
    assert printable("\x1b[2J\r\ud800\u202e") == r"\x1b[2J\r\ud800\u202e"

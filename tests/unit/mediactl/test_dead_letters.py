"""What is remembered of dead letters, and which ones people mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mediactl.dead_letters import Filter, Letter, Resolved
from mediactl.errors import MediactlError

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
    with pytest.raises(MediactlError, match="oldest first"):
        resolved.encode()


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
        ("reason=MALFORMED", True),
        ("message=json", True),
        ("company=company-1", True),
        ("asset=asset-2", False),
        ("id=media_ingest:0:7", True),
    ],
)
def test_a_filter_picks_letters_by_a_part_of_a_field(wish, accepted):
    assert Filter.parse(wish).accepts(letter()) is accepted


@pytest.mark.parametrize("wish", ["", "reason", "colour=red", "=x"])
def test_an_unknown_filter_is_refused(wish):
    with pytest.raises(MediactlError, match="FIELD=TEXT"):
        Filter.parse(wish)

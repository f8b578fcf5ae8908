"""What a dead letter says, and which ones people mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from media_records.dead_letters import Letter
from media_runtime.telemetry.terminal import UsageError
from watcher.monitoring.dead_letters import Filter

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


def test_a_letter_is_sent_again_with_its_own_headers_and_a_count():
    own = [("traceparent", b"t"), ("odd", b"\xff"), ("null", None)]
    sent = letter().again()
    assert (sent.topic, sent.key, sent.value) == ("media_ingest", b"k", EVENT)
    assert sent.headers == [*own, ("dlq-redrives", b"1")]
    again = letter(headers=sent.headers)
    assert again.redrives == 1
    assert again.again().headers == [*own, ("dlq-redrives", b"2")]


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


@pytest.mark.parametrize("company", ["company-1", None, 7, "5f0c9a52", ["x"]])
def test_a_company_that_is_none_is_nil(company):
    found = letter(value=json.dumps({"companyid": company}).encode())
    assert found.company_id == UUID(int=0)
    own = UUID("5f0c9a52-3a0e-4b7f-9d43-0d7a4c7f1b22")
    assert letter(value=json.dumps({"companyid": str(own)}).encode()).company_id == own

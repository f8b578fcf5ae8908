"""What a dead letter says, and how long a record is retried in place."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_contracts import MalformedEventError
from media_runtime.database.outbox import decode_headers, encode_headers
from media_runtime.errors import PermanentError
from media_runtime.kafka.consumer import _IN_PLACE_SECONDS, _LONGEST_DELAY_SECONDS, _delays
from media_runtime.kafka.dead_letters import dead_letter, dead_letter_reason

MAX_POLL_SECONDS = 300


@dataclass
class Record:
    topic: str = "stack_media_thumbnail"
    partition: int = 3
    offset: int = 42
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"key"
    value: bytes | None = b"value"
    headers: list = field(default_factory=list)


def letter(record=None, error=None):
    return dead_letter(record or Record(), error or ValueError("why"), "media_thumbnail", 2, "svc")


def test_a_dead_letter_keeps_the_record_and_says_where_it_was_and_why():
    found = letter(error=PermanentError("bad", "It is bad."))
    assert (found.topic, found.key, found.value) == ("media_thumbnail_dlq", b"key", b"value")
    assert dict(found.headers) == {
        "dlq-reason": b"rejected",
        "dlq-exception": b"PermanentError",
        "dlq-message": b"It is bad.",
        "dlq-attempts": b"2",
        "dlq-topic": b"media_thumbnail",
        "dlq-partition": b"3",
        "dlq-offset": b"42",
        "dlq-timestamp": b"1700000000000",
        "dlq-service": b"svc",
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MalformedEventError("x"), "malformed"),
        (PermanentError("x", "y"), "rejected"),
        (KeyError("x"), "unexpected"),
        (ValueError("x"), "unexpected"),
    ],
)
def test_reasons_are_a_closed_set(error, reason):
    assert dead_letter_reason(error) == reason


def test_headers_of_the_record_are_kept_but_for_those_of_an_earlier_dead_letter():
    record = Record(headers=[("traceparent", b"t"), ("null", None), ("dlq-reason", b"old")])
    headers = letter(record).headers
    assert headers[:2] == [("traceparent", b"t"), ("null", None)]
    assert [value for name, value in headers if name == "dlq-reason"] == [b"unexpected"]


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"key"])
@pytest.mark.parametrize("value", [None, b"", b"\xff", b"value"])
def test_key_and_value_are_kept_byte_for_byte(key, value):
    found = letter(Record(key=key, value=value))
    # A record of neither cannot be sent by aiokafka.
    expected = b"" if key is None and value is None else value
    assert (found.key, found.value) == (key, expected)


def test_how_often_a_record_was_sent_again_stays_with_it():
    found = letter(Record(headers=[("dlq-redrives", b"2"), ("dlq-topic", b"old")]))
    assert found.headers[0] == ("dlq-redrives", b"2")
    assert len([name for name, _ in found.headers if name == "dlq-topic"]) == 1


@pytest.mark.parametrize("message", ["x" * 100_000, "ü" * 100_000, "lone \ud800 surrogate"])
def test_any_message_of_an_error_can_be_dead_lettered(message):
    found = dict(letter(error=ValueError(message)).headers)["dlq-message"]
    assert 0 < len(found) <= 4000


def test_retries_in_place_end_before_the_group_evicts_their_consumer():
    for _ in range(1000):
        delays = _delays(_IN_PLACE_SECONDS)
        assert _IN_PLACE_SECONDS <= sum(delays) < MAX_POLL_SECONDS / 2
        assert max(delays) <= _LONGEST_DELAY_SECONDS * 1.5
        assert delays[0] <= 0.3


@given(st.lists(st.tuples(st.text(), st.none() | st.binary())))
def test_headers_return_from_a_row_as_they_went_in(headers):
    stored = encode_headers(headers)
    assert stored.isascii()
    assert decode_headers(stored) == headers

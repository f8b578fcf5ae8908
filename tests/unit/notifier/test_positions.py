"""The text from which a client resumes, and from which it learns nothing."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notifier.positions import SLOTS, ForeignPositionError, PositionCodec

OFFSETS = st.integers(min_value=0, max_value=2**63 - 1)
VECTORS = st.lists(OFFSETS, min_size=len(SLOTS), max_size=len(SLOTS)).map(tuple)
CODEC = PositionCodec("s" * 32, "here_")
ACME, OTHER = uuid4(), uuid4()
START = (0,) * len(SLOTS)


@given(VECTORS)
def test_a_position_survives_its_text_on_any_replica(positions):
    replica = PositionCodec("s" * 32, "here_")
    assert replica.decode(CODEC.encode(positions, ACME), ACME) == positions


@given(VECTORS)
def test_the_text_fits_urls_and_headers_unchanged(positions):
    text = CODEC.encode(positions, ACME)
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


@given(st.text())
def test_no_other_text_is_a_position_nor_breaks_the_reader(text):
    with pytest.raises(ForeignPositionError):
        CODEC.decode(text, ACME)


@given(VECTORS, st.data())
def test_a_text_cut_short_is_refused(positions, data):
    text = CODEC.encode(positions, ACME)
    cut = data.draw(st.integers(min_value=1, max_value=len(text) - 1))
    with pytest.raises(ForeignPositionError):
        CODEC.decode(text[:cut], ACME)


@given(st.data())
def test_a_text_changed_in_one_place_is_refused(data):
    text = CODEC.encode(START, ACME)
    place = data.draw(st.integers(min_value=0, max_value=len(text) - 2))
    other = "A" if text[place] != "A" else "B"
    with pytest.raises(ForeignPositionError):
        CODEC.decode(text[:place] + other + text[place + 1 :], ACME)


@given(VECTORS)
def test_a_text_is_of_one_length_and_shows_no_number(positions):
    """Red with numbers in clear, or as long as they are large: offsets count everybody's events."""
    text = CODEC.encode(positions, ACME)
    assert len(text) == len(CODEC.encode(START, ACME)) < 300
    opened = CODEC.opened(text)
    assert not any(number.to_bytes(8, "big") in opened for number in positions if number > 2**32)


def test_a_text_is_another_one_each_time():
    """Else two alike would tell that nobody did anything in between."""
    assert len({CODEC.encode(START, ACME) for _ in range(100)}) == 100


def test_a_position_of_another_company_is_refused():
    text = CODEC.encode(START, OTHER)
    with pytest.raises(ForeignPositionError, match="this company"):
        CODEC.decode(text, ACME)


@pytest.mark.parametrize("other", [PositionCodec("s" * 32, "there_"), PositionCodec("x" * 32)])
def test_a_position_of_another_stack_or_secret_is_refused(other):
    with pytest.raises(ForeignPositionError):
        CODEC.decode(other.encode(START, ACME), ACME)


@given(VECTORS, VECTORS)
def test_the_later_of_two_positions_is_taken_partition_by_partition(one, other):
    later = CODEC.decode(CODEC.no_earlier(CODEC.encode(one, ACME), other, ACME), ACME)
    assert all(at == max(pair) for at, *pair in zip(later, one, other, strict=True))


def test_a_position_that_is_later_already_keeps_its_text():
    text = CODEC.encode((5,) * len(SLOTS), ACME)
    assert CODEC.no_earlier(text, START, ACME) == text

"""The text from which a client resumes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notifier.positions import SLOTS, ForeignPositionError, PositionCodec

OFFSETS = st.integers(min_value=0, max_value=2**63 - 1)
VECTORS = st.lists(OFFSETS, min_size=len(SLOTS), max_size=len(SLOTS)).map(tuple)
CODEC = PositionCodec("here_")


@given(VECTORS)
def test_a_position_survives_its_text(positions):
    assert CODEC.decode(CODEC.encode(positions)) == positions


@given(VECTORS)
def test_the_text_fits_urls_and_headers_unchanged(positions):
    text = CODEC.encode(positions)
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


@given(st.text())
def test_no_other_text_is_a_position_nor_breaks_the_reader(text):
    with pytest.raises(ForeignPositionError):
        CODEC.decode(text)


@given(VECTORS, st.data())
def test_a_text_cut_short_is_refused(positions, data):
    text = CODEC.encode(positions)
    cut = data.draw(st.integers(min_value=1, max_value=len(text) - 1))
    with pytest.raises(ForeignPositionError):
        CODEC.decode(text[:cut])


def test_a_position_of_another_stack_is_refused():
    text = PositionCodec("there_").encode([1] * len(SLOTS))
    with pytest.raises(ForeignPositionError, match="another"):
        CODEC.decode(text)


def test_a_position_of_another_number_of_partitions_is_refused():
    text = CODEC.encode([1] * (len(SLOTS) + 1))
    with pytest.raises(ForeignPositionError, match="partitions"):
        CODEC.decode(text)


@given(VECTORS, VECTORS)
def test_the_later_of_two_positions_is_taken_partition_by_partition(one, other):
    later = CODEC.decode(CODEC.no_earlier(CODEC.encode(one), other))
    assert all(at == max(pair) for at, *pair in zip(later, one, other, strict=True))


def test_a_position_stays_short():
    assert len(CODEC.encode([10_000_000] * len(SLOTS))) < 150

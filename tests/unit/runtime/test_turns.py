"""Who is handed out when, and how far a partition may be committed."""

from __future__ import annotations

import random

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from media_runtime.kafka.turns import Lines, Turns, company_of


def record(line, offset=0, *, partition=0, value=b""):
    return ConsumerRecord("t", partition, offset, 0, 0, line, value, None, 0, 0, ())


def lines_of(*, at_once=1, ahead=100):
    return Lines(Turns(lambda one: one.key, ahead=ahead, at_once=at_once))


def partition(number):
    return TopicPartition("t", number)


def take(lines, most):
    taken = [(one.key, one.offset) for one in lines.hand_out(most)]
    lines.done()
    return taken


def test_lines_have_turns_of_a_few_and_keep_their_order():
    lines = lines_of(at_once=2)
    lines.add([*(record("a", offset) for offset in range(7)), record("b", 7), record("c", 8)])
    assert take(lines, 4) == [("a", 0), ("a", 1), ("b", 7), ("c", 8)]
    assert take(lines, 100) == [("a", offset) for offset in range(2, 7)]
    assert take(lines, 100) == []


def test_whoever_comes_while_a_flood_is_taken_in_is_next():
    lines = lines_of()
    lines.add(record("a", offset) for offset in range(50))
    assert take(lines, 1) == [("a", 0)]
    lines.add([record("b", 50)])
    assert ("b", 50) in take(lines, 1) + take(lines, 1)


def test_what_is_neither_done_nor_forgotten_is_handed_out_again():
    lines = lines_of()
    lines.add([record("a", 0), record("a", 1)])
    assert lines.hand_out(1) == lines.hand_out(1) == [record("a", 0)]
    lines.done()
    assert lines.hand_out(1) == [record("a", 1)]


def test_a_partition_is_open_from_its_first_record_that_is_not_done():
    lines = lines_of()
    lines.add([record("a", 5), record("a", 6), record("b", 7), record("b", 2, partition=1)])
    assert lines.first_open() == {partition(0): 5, partition(1): 2}
    assert take(lines, 2) == [("a", 5), ("b", 7)]
    assert lines.first_open() == {partition(0): 6, partition(1): 2}
    assert take(lines, 2) == [("a", 6), ("b", 2)]
    assert lines.first_open() == {}


def test_a_partition_that_is_forgotten_may_be_read_again():
    lines = lines_of()
    lines.add([record("a", 0), record("a", 1), record("b", 2), record("b", 0, partition=1)])
    lines.hand_out(2)
    lines.forget(partition(0))
    assert lines.first_open() == {partition(1): 0}
    lines.add([record("a", 0), record("a", 1), record("b", 2)])
    left = [*take(lines, 2), *take(lines, 2)]
    assert sorted(left) == [("a", 0), ("a", 1), ("b", 0), ("b", 2)]


def test_there_is_room_for_as_many_as_are_read_ahead():
    lines = lines_of(ahead=3)
    assert lines.room == 3
    lines.add([record("a", 0), record("a", 1)])
    lines.hand_out(1)
    assert lines.room == 1
    lines.done()
    assert lines.room == 2


@pytest.mark.parametrize("seed", range(20))
def test_no_record_is_passed_by_what_is_committed(seed):
    """Whatever is added, taken and forgotten in whatever order."""
    chance = random.Random(seed)
    lines = lines_of(at_once=chance.randint(1, 3))
    read, taken = {0: 0, 1: 0}, {0: set(), 1: set()}
    for _ in range(300):
        number = chance.randint(0, 1)
        match chance.choice(["add", "take", "take", "forget"]):
            case "add":
                first = read[number]
                read[number] += chance.randint(0, 5)
                lines.add(
                    record(chance.choice("abc"), offset, partition=number)
                    for offset in range(first, read[number])
                )
            case "take":
                for one in lines.hand_out(chance.randint(1, 4)):
                    taken[one.partition].add(one.offset)
                lines.done()
            case "forget":
                read[number] = lines.first_open().get(partition(number), read[number])
                lines.forget(partition(number))
        for number, upto in read.items():
            committed = lines.first_open().get(partition(number), upto)
            assert taken[number].issuperset(range(committed))
    assert taken[0]


@pytest.mark.parametrize(
    ("value", "company"),
    [
        (b'{"companyid": "c", "data": {}}', "c"),
        (b"{}", ""),
        (b"[]", ""),
        (b"\xff", ""),
        (None, ""),
        (b"[" * 100_000, ""),
    ],
)
def test_an_event_waits_in_the_line_of_its_company(value, company):
    assert company_of(record(None, value=value)) == company

"""The line: who is ready when, as the rules say by which tasks are claimed."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from uuid import UUID

import pytest
from ingest.line import Lanes, estimates, news
from media_records.tasks import Pool
from media_records.waits import Blocked, Estimate, InLine, Speed, Told, View, Waiting

ONE, OTHER = UUID(int=1), UUID(int=2)
LANES = Lanes(any_task=2, short_tasks=0, slow_seconds=2)
SEEN = Speed(tasks=50, ratio=1.0, owners=frozenset({"worker"}))
SPEEDS = dict.fromkeys(("inspect", "chunk", "package", "pictures"), SEEN)
_ids = count(1)


def asset(number: int) -> UUID:
    return UUID(int=1000 + number)


def task(number: int, cost: float = 10, *, company: UUID = ONE, **facts) -> InLine:
    """Return a chunk of the film of this number."""
    facts = {"pool": Pool.ENCODE, "used": 0.0, "kind": "chunk", "required": True, **facts}
    return InLine(
        id=next(_ids), company_id=company, asset_id=asset(number), attempt=1, cost=cost, **facts
    )


def view(*lines: InLine, speeds=SPEEDS, blocked=(), told=None) -> View:
    """Return a view of these tasks, and of the assets that they are of."""
    assets = {
        one.asset_id: Waiting(
            one.asset_id, one.company_id, 1,
            sum(task.asset_id == one.asset_id and task.required for task in lines),
            blocked, (told or {}).get(one.asset_id),
        )
        for one in lines
    }  # fmt: skip
    return View(lines, assets, speeds)


def found(seen: View, lanes: Lanes = LANES) -> dict[int, tuple[int, int | None]]:
    """Return place and seconds by the number of the asset."""
    return {one.asset_id.int - 1000: (one.place, one.ready_in) for one in estimates(seen, lanes)}


def test_what_waits_is_shared_by_the_workers():
    assert found(view(*[task(1) for _ in range(4)])) == {1: (1, 20)}


def test_the_films_of_a_company_come_one_after_the_other():
    films = [task(number) for number in (1, 2, 3) for _ in range(2)]
    assert found(view(*films)) == {1: (1, 10), 2: (2, 20), 3: (3, 30)}


def test_another_company_takes_turns_and_has_places_of_its_own():
    mine, others = [task(1) for _ in range(4)], [task(2, company=OTHER) for _ in range(4)]
    assert found(view(*mine)) == {1: (1, 20)}
    assert found(view(*mine, *others)) == {1: (1, 40), 2: (1, 40)}


def test_turns_go_by_seconds_and_not_by_tasks():
    mine = [task(1, 30) for _ in range(2)]
    others = [task(2, company=OTHER) for _ in range(6)]
    assert found(view(*mine, *others), Lanes(1, 0, 2)) == {1: (1, 90), 2: (1, 120)}


def test_who_used_much_lately_waits_for_who_did_not():
    mine = [task(1, used=100.0) for _ in range(2)]
    others = [task(2, company=OTHER) for _ in range(4)]
    assert found(view(*mine, *others)) == {1: (1, 30), 2: (1, 20)}


def test_what_runs_is_nearly_done():
    assert found(view(task(1, runs=4.0, owner="w"))) == {1: (1, 6)}


def test_what_takes_longer_than_expected_is_not_promised_at_once():
    assert found(view(task(1, runs=80.0, owner="w"))) == {1: (1, 20)}


def test_slow_machines_take_longer_than_was_planned():
    slow = {**SPEEDS, "chunk": Speed(50, 2.5, frozenset({"w"}))}
    assert found(view(task(1), speeds=slow)) == {1: (1, 25)}


def test_more_processes_are_faster():
    two = {**SPEEDS, "chunk": Speed(50, 1.0, frozenset({"a", "b"}))}
    chunks = [task(1) for _ in range(12)]
    assert found(view(*chunks, speeds={"chunk": SEEN})) == {1: (1, 60)}
    assert found(view(*chunks, speeds={"chunk": two["chunk"]})) == {1: (1, 30)}


def test_workers_for_short_tasks_take_no_slow_ones():
    lanes = Lanes(any_task=1, short_tasks=1, slow_seconds=2)
    films = [task(1), task(1), task(2, 1.5)]
    assert found(view(*films), lanes) == {1: (2, 20), 2: (1, 2)}


def test_what_follows_is_waited_for_as_well():
    package = Blocked("package", Pool.ENCODE, 4)
    assert found(view(task(1), task(1), blocked=(package,))) == {1: (1, 14)}


def test_what_follows_comes_before_what_the_company_asked_for_later():
    package = Blocked("package", Pool.ENCODE, 4)
    chunks = [task(number) for number in (1, 1, 2, 2)]
    assert found(view(*chunks, blocked=(package,)))[1] == (1, 14)


def test_an_asset_is_ready_when_the_slowest_of_its_outputs_is():
    pictures = task(1, 30, kind="pictures", pool=Pool.PICTURES)
    assert found(view(task(1), pictures)) == {1: (1, 30)}


def test_what_an_asset_can_do_without_is_not_waited_for():
    optional = [task(1, required=False) for _ in range(10)]
    assert found(view(task(1), *optional)) == {1: (1, 10)}


@pytest.mark.parametrize(
    "speeds",
    [
        {},
        {"chunk": Speed(2, 1.0, frozenset({"w"}))},
        {"chunk": Speed(50, 1.0)},
        {"package": SEEN},
    ],
)
def test_without_evidence_a_place_is_told_and_no_time(speeds):
    assert found(view(task(1), task(2), speeds=speeds)) == {1: (1, None), 2: (2, None)}


def test_of_what_nobody_has_looked_into_no_time_is_told_and_it_comes_last():
    new = task(1, 0.1, kind="inspect", pool=Pool.INSPECT)
    assert found(view(new, task(2))) == {1: (2, None), 2: (1, 10)}


def test_nothing_is_told_of_what_is_not_seen_whole():
    seen = view(task(1), task(2))
    cut = {**seen.assets, asset(2): replace(seen.assets[asset(2)], open=9)}
    assert found(replace(seen, assets=cut)) == {1: (1, 10)}


def test_an_asset_that_is_not_waited_for_takes_its_time_all_the_same():
    seen = view(task(1), task(1), task(2), task(2))
    gone = {asset(2): seen.assets[asset(2)]}
    assert found(replace(seen, assets=gone)) == {2: (1, 20)}


def test_thousands_of_tasks_of_many_companies_come_to_an_end():
    lines = [
        task(number, cost, company=UUID(int=1 + number % 40))
        for number in range(400)
        for cost in (0.5, 4, 9)
    ]
    package = Blocked("package", Pool.ENCODE, 0.2)
    lines.sort(key=lambda one: (one.company_id, one.id))
    told = found(view(*lines, blocked=(package,)), Lanes(2, 1, 2))
    assert len(told) == 400
    assert all(seconds for _, seconds in told.values())
    # All that there is to do, by two workers and one for what is short.
    assert max(seconds for _, seconds in told.values()) == pytest.approx(400 * 13 / 2, rel=0.05)


def estimate(number: int, place: int = 1, ready_in: int | None = 100) -> Estimate:
    return Estimate(asset(number), 1, place, ready_in)


def is_news(told: Told | None, now: Estimate) -> bool:
    seen = view(task(1), told={asset(1): told})
    return news(seen, [now], most=9, of_company=9) == [now]


@pytest.mark.parametrize(
    ("told", "place", "ready_in", "expected"),
    [
        (None, 1, 100, True),
        (Told(1, 100.0, 3), 1, 100, False),
        (Told(1, 100.0, 3), 1, 105, False),
        (Told(1, 100.0, 3), 1, 115, True),
        (Told(1, 100.0, 3), 1, 80, False),
        (Told(1, 100.0, 3), 1, 70, True),
        (Told(2, 100.0, 3), 1, 100, True),
        (Told(1, None, 3), 1, 100, True),
        (Told(1, 100.0, 3), 1, None, True),
        (Told(1, None, 3), 1, None, False),
        (Told(1, 0.5, 3), 1, 1, False),
        (Told(1, -4.0, 3), 1, 2, True),
    ],
)
def test_clients_are_told_what_they_would_not_count_down_to(told, place, ready_in, expected):
    assert is_news(told, estimate(1, place, ready_in)) is expected


def test_so_many_are_told_at_a_time_and_of_each_company():
    mine = [task(number) for number in range(1, 31)]
    others = [task(number, company=OTHER) for number in range(31, 34)]
    seen = view(*mine, *others)
    all_of_them = [estimate(number, number) for number in range(1, 34)]
    told = news(seen, all_of_them, most=20, of_company=5)
    companies = [seen.assets[one.asset_id].company_id for one in told]
    assert (companies.count(ONE), companies.count(OTHER)) == (5, 3)
    assert len(news(seen, all_of_them, most=4, of_company=5)) == 4


def test_who_was_told_long_ago_comes_before_who_was_told_just_now():
    told = {asset(1): Told(9, 1.0, 3), asset(2): Told(9, 1.0, 60)}
    seen = view(task(1), task(2), task(3), told=told)
    first = news(seen, [estimate(one, one) for one in (1, 2, 3)], most=2, of_company=9)
    assert [one.asset_id for one in first] == [asset(3), asset(2)]

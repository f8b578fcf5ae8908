"""
The line, foreseen: the place of each asset, and when it will be ready. Pure.

Invariant: nothing is promised without evidence: without measured speeds of all that an asset needs
and a worker that was seen at work, its place is told alone. What is not known makes it later.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count, groupby
from uuid import UUID

from media_records.tasks import INSPECT, Pool
from media_records.waits import LEAST_COST, Estimate, InLine, Speed, View, Waiting

_LEAST_EVIDENCE = 3
# What takes longer than expected takes so much of its time once more.
_LATE_PART = 1 / 4
# Another estimate is news when it is so much later, or earlier, than what was told.
_LATER_SECONDS, _LATER_PART = 1.0, 0.1
_SOONER_SECONDS, _SOONER_PART = 3.0, 0.25
_WORKERS = (Pool.INSPECT, Pool.ENCODE)


@dataclass(frozen=True)
class Lanes:
    """
    What each process of workers has: so many that take any task, and so many for short ones alone.

    A task that costs *slow_seconds* is no short one.
    """

    any_task: int
    short_tasks: int
    slow_seconds: float


def estimates(view: View, lanes: Lanes) -> list[Estimate]:
    """
    Return the place of each asset in *view*, and when it is ready, where its evidence tells.

    Nothing is told of an asset of which the view lacks tasks.
    """
    speeds = _Speeds(view.speeds)
    owners = {one.owner for one in view.lines if one.owner and one.pool in _WORKERS}
    owners |= {
        owner
        for kind in {one.kind for one in view.lines if one.pool in _WORKERS}
        if kind in view.speeds
        for owner in view.speeds[kind].owners
    }
    asked = sum(one.runs is not None for one in view.lines if one.pool == Pool.PICTURES)
    groups = [
        (_WORKERS, len(owners) * lanes.any_task, len(owners) * lanes.short_tasks),
        # They are asked for together: what each takes has the wait at the thumbnailer's in it.
        ((Pool.PICTURES,), max(1, asked), 0),
    ]
    ready: dict[UUID, float] = defaultdict(float)
    for pools, any_task, short in groups:
        foreseen = _Foreseen(view, pools, speeds, lanes.slow_seconds)
        for asset_id, seconds in foreseen.ready(any_task, short).items():
            ready[asset_id] = max(ready[asset_id], seconds)
    return list(_placed(view, ready, speeds))


def news(view: View, found: Iterable[Estimate], *, most: int, of_company: int) -> list[Estimate]:
    """
    Return up to *most* of these estimates that clients would not expect, and so many of a company.

    Those that were never told come first, then those that were not for the longest time.
    """
    lines: dict[UUID, list[Estimate]] = defaultdict(list)
    for one in sorted(found, key=lambda one: (-_told_ago(view.assets[one.asset_id]), one.place)):
        if _is_news(view.assets[one.asset_id], one):
            lines[view.assets[one.asset_id].company_id].append(one)
    turns = [(turn, one) for line in lines.values() for turn, one in enumerate(line[:of_company])]
    return [one for _, one in sorted(turns, key=lambda pair: pair[0])[:most]]


def _told_ago(asset: Waiting) -> float:
    return asset.told.ago if asset.told else math.inf


def _is_news(asset: Waiting, now: Estimate) -> bool:
    told = asset.told
    if told is None or told.place != now.place:
        return True
    if told.ready_in is None or now.ready_in is None:
        return told.ready_in is not now.ready_in
    left = max(told.ready_in, 0)
    later, sooner = now.ready_in - told.ready_in, told.ready_in - now.ready_in
    return later > max(_LATER_SECONDS, _LATER_PART * left) or sooner > max(
        _SOONER_SECONDS, _SOONER_PART * left
    )


class _Speeds:
    """What tasks take, by what such tasks took."""

    def __init__(self, speeds: Mapping[str, Speed]) -> None:
        self._ratios = {
            kind: one.ratio for kind, one in speeds.items() if one.tasks >= _LEAST_EVIDENCE
        }
        self._slowest = max(self._ratios.values(), default=1.0)

    def know(self, kinds: Iterable[str]) -> bool:
        """Return whether there is evidence of all these kinds of tasks."""
        return all(kind in self._ratios for kind in kinds)

    def seconds(self, kind: str, cost: float) -> float:
        """Return what a task takes; one of a kind that nobody has seen is slow."""
        return max(cost, LEAST_COST) * self._ratios.get(kind, self._slowest)

    def left(self, task: InLine) -> float:
        """Return what is left of a task that runs."""
        runs = task.runs or 0.0
        return max(self.seconds(task.kind, task.cost) - runs, runs * _LATE_PART)


class _Line:
    """What waits of one company in one pool, and the seconds of it that the company had."""

    def __init__(self, used: float) -> None:
        self.used = used
        self.short: deque[_Step] = deque()
        self.slow: deque[_Step] = deque()

    def add(self, step: _Step, *, first: bool = False) -> None:
        line = self.slow if step.is_slow else self.short
        if first:
            line.appendleft(step)
        else:
            line.append(step)

    def has(self, *, short_only: bool) -> bool:
        return bool(self.short) or (not short_only and bool(self.slow))

    def take(self, *, short_only: bool) -> _Step:
        if short_only or not self.slow:
            return self.short.popleft()
        if not self.short or self.slow[0].order < self.short[0].order:
            return self.slow.popleft()
        return self.short.popleft()


@dataclass(frozen=True)
class _Step:
    """A task, as it is foreseen; *order* is its place in its line."""

    order: float
    line: tuple[Pool, UUID]
    asset_id: UUID
    required: bool
    seconds: float
    is_slow: bool
    delay: float = 0.0


class _Foreseen:
    """
    What workers of the same pools will do, by the rule that tasks are claimed by.

    Whoever is free takes the next task of the company that had the fewest seconds.
    """

    def __init__(
        self, view: View, pools: Collection[Pool], speeds: _Speeds, slow_seconds: float
    ) -> None:
        self._lines: dict[tuple[Pool, UUID], _Line] = {}
        self._running: list[tuple[float, bool, InLine]] = []
        self._open: dict[UUID, int] = defaultdict(int)
        self._ready: dict[UUID, float] = defaultdict(float)
        self._then: dict[UUID, list[_Step]] = {}
        self._released: list[tuple[float, int, UUID]] = []
        self._number = count()
        # The heaps of lines have old entries as well: those whose seconds are others by now.
        self._heaps: dict[bool, list[tuple[float, int, _Line]]] = {False: [], True: []}
        for order, task in enumerate(one for one in view.lines if one.pool in pools):
            self._add(order, task, speeds, slow_seconds)
        for asset in view.assets.values():
            self._then[asset.id] = [
                _Step(
                    -1, (one.pool, asset.company_id), asset.id, True,
                    speeds.seconds(one.kind, one.cost), one.cost >= slow_seconds,
                )
                for one in asset.blocked if one.pool in pools
            ]  # fmt: skip

    def _add(self, order: int, task: InLine, speeds: _Speeds, slow_seconds: float) -> None:
        key = task.pool, task.company_id
        line = self._lines.setdefault(key, _Line(task.used))
        is_slow = task.cost >= slow_seconds
        if task.required:
            self._open[task.asset_id] += 1
        if task.runs is not None:
            self._running.append((speeds.left(task), is_slow, task))
            return
        seconds = speeds.seconds(task.kind, task.cost)
        line.add(_Step(order, key, task.asset_id, task.required, seconds, is_slow, task.delay))

    def ready(self, any_task: int, short: int) -> Mapping[UUID, float]:
        """Return when the last of its required tasks ends, of each asset that gets that far."""
        workers = self._busy(any_task, short)
        for line in self._lines.values():
            self._stand(line)
        while workers:
            now, short_only = heappop(workers)
            self._release(now)
            step = self._next(short_only=short_only)
            if step is None:
                if self._released:  # by others, who work on what it needs
                    heappush(workers, (self._released[0][0], short_only))
                continue
            ends = max(now, step.delay) + step.seconds
            if step.required:
                self._ended(step.asset_id, ends)
            heappush(workers, (ends, short_only))
        return {
            asset_id: seconds
            for asset_id, seconds in self._ready.items()
            if not self._open[asset_id] and not self._then.get(asset_id)
        }

    def _busy(self, any_task: int, short: int) -> list[tuple[float, bool]]:
        """Return when each worker is free, and whether it takes short tasks alone."""
        workers: list[tuple[float, bool]] = []
        for left, is_slow, task in self._running:
            short_only = not is_slow and short > 0
            if short_only:
                short -= 1
            else:
                any_task -= 1
            workers.append((left, short_only))
            if task.required:
                self._ended(task.asset_id, left)
        workers += [(0.0, False)] * any_task + [(0.0, True)] * short
        heapify(workers)
        return workers

    def _ended(self, asset_id: UUID, at: float) -> None:
        self._ready[asset_id] = max(self._ready[asset_id], at)
        self._open[asset_id] -= 1
        if self._open[asset_id] <= 0 and self._then.get(asset_id):
            heappush(self._released, (self._ready[asset_id], next(self._number), asset_id))

    def _release(self, now: float) -> None:
        while self._released and self._released[0][0] <= now:
            _, _, asset_id = heappop(self._released)
            steps = self._then.pop(asset_id)
            self._open[asset_id] = len(steps)
            for step in steps:
                line = self._lines.setdefault(step.line, _Line(0.0))
                line.add(step, first=True)
                self._stand(line)

    def _stand(self, line: _Line) -> None:
        for short_only, heap in self._heaps.items():
            if line.has(short_only=short_only):
                heappush(heap, (line.used, next(self._number), line))

    def _next(self, *, short_only: bool) -> _Step | None:
        heap = self._heaps[short_only]
        while heap:
            used, _, line = heappop(heap)
            if used != line.used or not line.has(short_only=short_only):
                continue
            step = line.take(short_only=short_only)
            line.used += step.seconds
            self._stand(line)
            return step
        return None


def _placed(view: View, ready: Mapping[UUID, float], speeds: _Speeds) -> Iterator[Estimate]:
    """Yield assets with their places: those that nobody has looked into yet come last."""
    tasks: dict[UUID, list[InLine]] = defaultdict(list)
    for task in view.lines:
        if task.required and task.asset_id in view.assets:
            tasks[task.asset_id].append(task)
    known = [
        asset for asset in view.assets.values()
        if asset.open and len(tasks[asset.id]) == asset.open
    ]  # fmt: skip

    def order(asset: Waiting) -> tuple[UUID, bool, float, int]:
        first = min(one.id for one in tasks[asset.id])
        is_new = not _is_seen(tasks[asset.id])
        return (
            asset.company_id,
            is_new,
            math.inf if is_new else ready.get(asset.id, math.inf),
            first,
        )

    for _, own in groupby(sorted(known, key=order), key=lambda asset: asset.company_id):
        for place, asset in enumerate(own, start=1):
            kinds = {one.kind for one in tasks[asset.id]}
            kinds |= {one.kind for one in asset.blocked}
            seconds = ready.get(asset.id)
            if seconds is None or not (_is_seen(tasks[asset.id]) and speeds.know(kinds)):
                yield Estimate(asset.id, asset.attempt, place, None)
            else:
                yield Estimate(asset.id, asset.attempt, place, max(1, math.ceil(seconds)))


def _is_seen(tasks: Sequence[InLine]) -> bool:
    """Return whether it is known what has to be done: whether the upload has been inspected."""
    return any(one.kind != INSPECT for one in tasks)

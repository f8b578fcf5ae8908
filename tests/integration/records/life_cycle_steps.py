"""
Single steps in the life of assets, each done by the real code and told to the model.

Invariant: a step compares what the real code answered with what the model says; what is in the
database is compared after it, by check().
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import permutations, product
from random import Random
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from media_contracts import CloudEvent
from media_records.actions import AssetNotFoundError, NotFailedError
from media_records.tables import Asset
from media_runtime.errors import PermanentError
from media_runtime.storage.store import StoredObject, build_notification, parse_notification

from integration.records.life_cycle_laws import Laws
from integration.records.life_cycle_model import (
    MAX_TRIES,
    PICTURES,
    SOME_HOURS,
    WORKED_ON,
    AssetModel,
    Change,
    Claim,
    Model,
    Outcome,
    TaskModel,
)
from integration.records.life_cycle_world import Asked, Rows, TaskKey, Working, World, answer

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@dataclass(eq=False)
class Mail:
    """A notification that may be delivered, once, more than once, or never."""

    asset: AssetModel
    version: str
    value: bytes

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(f"<{self.version} of {self.asset} is stored>")


@dataclass(eq=False)
class Request:
    """What the thumbnailer was asked for."""

    asset: AssetModel
    event: CloudEvent[Asked]
    answered: bool = False

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(f"<pictures of {self.asset}, attempt {self.event.data.attempt}>")


@dataclass(eq=False)
class Worker:
    """A worker at its task, as the model and as the real one sees it."""

    claim: Claim
    real: Working
    has_file: bool = False

    @property
    def zombie(self) -> bool:
        """Whether another worker has its task now."""
        return self.claim.task.state == "running" and not self.claim.valid

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        state = "" if self.claim.valid else ", lost"
        printer.text(f"<{self}{state}>")

    def __str__(self) -> str:
        task = self.claim.task
        return f"worker of {task.name} of {task.asset}, {task.attempt}-{self.claim.fence}"


@dataclass(frozen=True)
class Event:
    """
    What happens at the same time as other things: in the world, and in a copy of the model.

    ``expected`` is given the copy, and a function that returns the copy of a part of the model.
    What ``passes_by`` what is locked may find nothing, though there is something.
    """

    name: str
    real: Callable[[], Coroutine[Any, Any, object]]
    expected: Callable[[Model, Callable[[Any], Any]], object]
    worker: Worker | None = None
    passes_by: bool = False

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def by(self) -> object:
        """Who does one thing at a time: a worker, or, of claims, one of all."""
        return self.worker or (self.name if self.passes_by else None)


class Steps(RuleBasedStateMachine):
    """What the rules are made of."""

    def __init__(self, world: World, run: Run[Any], seen: Counter[str]) -> None:
        super().__init__()
        self.world, self.run = world, run
        self.companies = run(world.begin())
        self.model, self.laws = Model(seen, self.companies), Laws()
        self.mail: list[Mail] = []
        self.requests: list[Request] = []
        self.workers: list[Worker] = []
        self.gone: list[Worker] = []
        self.reads: dict[tuple[AssetModel, str, int], Asset] = {}
        self.answers = 0
        self.races, self.chance = 0, Random(0)

    def check(self) -> None:
        """Compare all rows and new records with the model, and with the laws."""
        rows = self.run(self.world.look())
        self.laws.hold(rows)
        _agree(self.model, rows)
        self._receive(rows)
        for asset in self.model.assets:
            if not asset.removed and asset.status != "deleted":
                now = (asset, asset.status, asset.attempt)
                if now not in self.reads:
                    self.reads[now] = Asset.of(rows.assets[asset.id])

    def sign(self, kind: str, company: int) -> None:
        owner = self.companies[company]
        asset_id = self.run(self.world.sign(owner, kind))
        self.model.sign(asset_id, owner, kind)

    def upload(self, asset: AssetModel) -> None:
        version = f"v{len(asset.versions) + 1}"
        found = self.world.upload(asset.company, asset.id, version)
        asset.versions.append(version)
        self.mail.append(Mail(asset, version, notification(found)))

    def deliver(self, mail: Mail) -> None:
        self.run(self.world.intake([mail.value]))
        self.model.notify(mail.asset, mail.version)

    def claim(self) -> bool:
        """Return whether there was a task."""
        self.run(self.world.pin(self.model.lines))
        task = self.model.next_task()
        real, claim = self.run(self.world.claim()), _claimed(self.model)
        assert _same(claim, real)
        self._hire(claim, real)
        return task is not None

    def ask(self) -> bool:
        """Return whether there were pictures to ask for, or to give up."""
        self.run(self.world.pin(self.model.lines))
        found = self.run(self.world.ask())
        assert found == self.model.ask()
        return found

    def _hire(self, claim: object, real: object) -> None:
        if isinstance(claim, Claim) and isinstance(real, Working) and not real.work.done():
            self.workers.append(Worker(claim, real))

    def go_on(self, worker: Worker) -> None:
        end = self.run(self.world.go_on(worker.real))
        assert end == _went_on(self.model, worker.claim, worker)
        worker.has_file = True
        if end is not None:
            self.workers.remove(worker)

    def end_work(self, worker: Worker, error: Exception, expected: Callable[[Claim], str]) -> None:
        end = self.run(self.world.go_on(worker.real, error))
        assert end == expected(worker.claim)
        self.workers.remove(worker)

    def lease_lapses(self, task: TaskModel, fence: int) -> None:
        key = task.asset.id, task.attempt, task.name
        self.run(self.world.lease_lapses(key, fence))
        self.model.lease_lapses(task, fence)

    def answer(self, asked: Request, error: str | None) -> None:
        self.answers += 1
        event = answer(asked.event, self.answers, error=error, company=asked.asset.company)
        for _ in range(2):  # any record may come again
            self.run(self.world.answered(event))
        self.model.pictures(asked.asset, asked.event.data.attempt, self.answers, error=error)
        asked.answered = True

    def retry(self, asset: AssetModel) -> None:
        self.run(self.world.clients.retry(asset.company, asset.id))
        self.model.retry(asset)
        for asked in [one for one in self.requests if one.asset is asset]:
            self.answer(asked, None)  # too late: the attempt is over
        for read in self.outdated():
            if read[:2] == (asset, asset.status):
                self.write_late(read)  # all but the attempt is as it was then

    def write_late(self, read: tuple[AssetModel, str, int]) -> None:
        assert self.run(self.world.delete_as_it_was_read(self.reads[read])) is None

    def reconcile(self) -> None:
        self.run(self.world.reconcile())
        self.model.reconcile()

    def pass_time(self, seconds: int) -> None:
        self.run(self.world.time_passes(seconds))
        self.model.clock += seconds

    def race(self) -> None:
        """Who wins is not repeatable: hypothesis, which wants to repeat, chooses nothing after."""
        for _ in range(self.races):
            asset = self.chance.choice(self.model.assets)
            for _ in range(self.chance.randrange(4)):
                self.next_step(asset)
            self.check()
            left, chosen = self._events(asset), []
            for _ in range(self.chance.randrange(2, 5)):
                if left:
                    chosen.append(self.chance.choice(left))
                    left = [one for one in left if one.by is None or one.by != chosen[-1].by]
            self._at_once(chosen)

    def _events(self, asset: AssetModel) -> list[Event]:
        world, clients = self.world, self.world.clients
        events = [
            Event(f"{mail.version} of {asset} is stored", partial(world.intake, [mail.value]),
                  lambda model, copy, mail=mail: model.notify(copy(asset), mail.version))
            for mail in self.mail if mail.asset is asset
        ]  # fmt: skip
        for worker in [one for one in self.workers if one.claim.task.asset is asset]:
            events += self._events_of(worker)
        events += [
            Event("claim", world.claim, lambda model, _: _claimed(model), passes_by=True),
            Event("ask", world.ask, lambda model, _: model.ask(), passes_by=True),
        ]
        for asked in [one for one in self.requests if one.asset is asset]:
            events += [self._event_of_answer(asked, None), self._event_of_answer(asked, "bad")]
        if not asset.removed:
            events += [
                Event("retry", partial(_whether, clients.retry, asset),
                      lambda model, copy: _retried(model, copy(asset))),
                Event("delete", partial(_whether, clients.delete, asset),
                      lambda model, copy: model.delete(copy(asset)) is None),
            ]  # fmt: skip
        return events

    def _events_of(self, worker: Worker) -> list[Event]:
        return [
            Event(f"{worker} goes on", partial(self.world.go_on, worker.real),
                  lambda model, copy: _went_on(model, copy(worker.claim), worker), worker),
            Event(f"{worker} fails",
                  partial(self.world.go_on, worker.real, PermanentError("bad", "Bad.")),
                  lambda model, copy: model.fails(copy(worker.claim), "bad"), worker),
        ]  # fmt: skip

    def _event_of_answer(self, asked: Request, error: str | None) -> Event:
        self.answers += 1
        number, attempt = self.answers, asked.event.data.attempt
        event = answer(asked.event, number, error=error, company=asked.asset.company)
        return Event(
            f"pictures of attempt {attempt}: {error or 'made'}",
            partial(self.world.answered, event),
            lambda model, copy: model.pictures(copy(asked.asset), attempt, number, error=error),
        )

    def _at_once(self, events: list[Event]) -> None:
        async def all_of_them() -> list[object]:
            return await asyncio.gather(*(event.real() for event in events))

        self.run(self.world.pin(self.model.lines))
        results = self.run(all_of_them())
        rows = self.run(self.world.look())
        for order, passed in product(_orders(events), _passed_by(events, results)):
            model, copy = self._copy()
            ends = {
                n: results[n] if n in passed else self._expected(events[n], results[n], model, copy)
                for n in order
            }
            if all(_same(ends[n], results[n]) for n in order) and _agrees(model, rows):
                break
        else:
            pytest.fail(f"no order explains what became of {events}: {results}")
        self._go_on_with(model, copy)
        for number, event in enumerate(events):
            self._hire(ends[number], results[number])
            if event.worker is not None:
                event.worker.has_file = True
                if results[number] is not None:
                    self.workers.remove(event.worker)
        self.laws.hold(rows)
        self._receive(rows)

    @staticmethod
    def _expected(event: Event, found: object, model: Model, copy: Callable[[Any], Any]) -> object:
        if isinstance(found, Working):
            # Who used the fewest seconds changes as others end; that a task is due must be true.
            task = next((one for one in model.due(WORKED_ON) if _key(one) == found.key), None)
            return task and _claimed(model, task)
        return event.expected(model, copy)

    def _copy(self) -> tuple[Model, Callable[[Any], Any]]:
        copies: dict[int, Any] = {id(self.model.seen): Counter()}
        model = deepcopy(self.model, copies)
        for worker in [*self.workers, *self.gone]:
            deepcopy(worker.claim, copies)
        return model, lambda part: copies[id(part)]

    def _go_on_with(self, model: Model, copy: Callable[[Any], Any]) -> None:
        self.model.seen.update(["at once", *model.seen.elements()])
        model.seen, self.model = self.model.seen, model
        for one in [*self.mail, *self.requests]:
            one.asset = copy(one.asset)
        for worker in [*self.workers, *self.gone]:
            worker.claim = copy(worker.claim)
        self.reads = {(copy(key[0]), *key[1:]): row for key, row in self.reads.items()}

    def silent(self) -> list[TaskModel]:
        """Return the tasks for which the thumbnailer was asked and has not answered."""
        return [one for one in self.model.tasks if one.pool == PICTURES and one.state == "running"]

    def outdated(self) -> list[tuple[AssetModel, str, int]]:
        return [key for key in self.reads if key != (key[0], key[0].status, key[0].attempt)]

    def next_step(self, asset: AssetModel) -> None:
        self.check()
        mine = [one for one in self.workers if one.claim.valid and one.claim.task in asset.now]
        mail = [one for one in self.mail if one.asset is asset]
        asked = [one for one in self.requests if one.asset is asset and not one.answered]
        if mine:
            self.go_on(mine[0])
        elif asked and is_wanted(asked[-1]):
            self.answer(asked[-1], None)
        elif any(task.state == "queued" and task.pool == PICTURES for task in asset.now):
            self.ask()
        elif any(task.state == "queued" for task in asset.now):
            self.claim()
        elif mail:
            self.deliver(mail[-1])
        elif asset.status == "failed":
            self.retry(asset)
        elif not asset.removed and not asset.versions:
            self.upload(asset)

    def come_to_rest(self) -> None:
        """No notification comes any more, but the watcher and the workers go on."""
        self.mail.clear()
        for _ in range(6):
            if all(asset.rests for asset in self.model.assets) and not self._open_tasks():
                break
            self.pass_time(SOME_HOURS)
            self.reconcile()
            self._one_good_round()
        resting = [asset for asset in self.model.assets if asset.rests]
        assert resting == self.model.assets, "some stand still for ever"
        assert not self._open_tasks(), "a task is left that nobody does"
        for zombie in list(self.workers):
            self.go_on(zombie)
        self.check()

    def _one_good_round(self) -> None:
        self.check()
        while self.mail:
            self.deliver(self.mail.pop())
        while self._claim_and_ask():
            for worker in [one for one in self.workers if one.claim.valid]:
                while worker in self.workers:
                    self.go_on(worker)
            self.check()
            for asked in self.requests:
                if not asked.answered:
                    self.answer(asked, None)

    def _claim_and_ask(self) -> bool:
        claimed, asked = self.claim(), self.ask()
        return claimed or asked

    def _open_tasks(self) -> bool:
        return any(task.open for task in self.model.tasks)

    # Looking and comparing

    def some_asset(self, data: st.DataObject) -> AssetModel:
        return data.draw(st.sampled_from(self.model.assets), label="asset")

    def some_worker(self, data: st.DataObject) -> Worker:
        return data.draw(st.sampled_from(self.workers), label="worker")

    def other_company(self, asset: AssetModel) -> UUID:
        return next(one for one in [*self.companies, uuid4()] if one != asset.company)

    def _receive(self, rows: Rows) -> None:
        assets = {asset.id: asset for asset in self.model.assets}
        for value in rows.notifications:
            found = _stored(value)
            asset = assets[_owner(found)]
            assert found.version_id is not None
            assert found.version_id == (asset.version or asset.versions[-1])
            self.mail.append(Mail(asset, found.version_id, value))
        self.requests += [Request(assets[event.subject], event) for event in rows.requests]
        for event in rows.outcomes:
            asset, data = assets[event.subject], event.data
            expected = next(one for one in asset.outcomes if one.attempt == data.attempt)
            assert expected == Outcome(
                data.attempt,
                data.outcome,
                error=data.error.code if data.error else None,
                media_key=data.rendition.key if data.rendition else None,
                pictures=data.thumbnail.width if data.thumbnail else None,
                files=frozenset(file.name for file in data.files or ()),
            )
        self.model.fed.clear()
        self.model.asked.clear()


def _agree(model: Model, rows: Rows) -> None:
    here = [asset for asset in model.assets if not asset.removed]
    assert rows.assets.keys() == {asset.id for asset in here}
    for asset in here:
        _agree_on(asset, rows)
    assert sorted(_owner(_stored(value)) for value in rows.notifications) == sorted(model.fed)
    asked = [(event.subject, event.data.attempt) for event in rows.requests]
    assert sorted(asked) == sorted(model.asked)


def _agrees(model: Model, rows: Rows) -> bool:
    try:
        _agree(model, rows)
    except AssertionError:
        return False
    return True


def _agree_on(asset: AssetModel, rows: Rows) -> None:
    row = rows.assets[asset.id]
    found = {name: row[name] for name in ("status", "attempt", "error_code", "files")}
    assert found == {
        "status": asset.status,
        "attempt": asset.attempt,
        "error_code": asset.error,
        "files": asset.files,
    }, asset
    is_kept = asset.status not in {"deleted", "cancelled"}
    assert row["original_version"] == (asset.version if is_kept else None)
    is_shown = asset.status in {"processing", "ready"}
    assert set(row["made_in"]) <= ({asset.attempt} if is_shown else set())
    changes = [
        Change(one["attempt"], one["from_status"], one["to_status"], one["service"])
        for one in rows.changes[asset.id]
    ]
    assert changes == asset.changes
    tasks = {key[1:]: task for key, task in rows.tasks.items() if key[0] == asset.id}
    assert {key: (task["state"], task["fence"], task["tries"]) for key, task in tasks.items()} == {
        (attempt, name): (task.state, task.fence, task.tries)
        for attempt, named in asset.tasks.items()
        for name, task in named.items()
    }, asset


def _orders(events: list[Event]) -> list[tuple[int, ...]]:
    return list(permutations(range(len(events))))


def _passed_by(events: list[Event], results: list[object]) -> list[frozenset[int]]:
    """Return which of the claims that found nothing may have passed by what was locked."""
    empty = [n for n, event in enumerate(events) if event.passes_by and not results[n]]
    return [
        frozenset(n for n, passed in zip(empty, choice, strict=True) if passed)
        for choice in product((False, True), repeat=len(empty))
    ]


def _key(task: TaskModel) -> TaskKey:
    return task.asset.id, task.attempt, task.name


def _claimed(model: Model, task: TaskModel | None = None) -> Claim | None:
    claim = model.claim(task)
    if claim is not None and claim.tries > MAX_TRIES:
        model.fails(claim, "processing_failed")
    return claim


def _same(expected: object, found: object) -> bool:
    """Tell whether a step ended as it should, or the claims are of the same task."""
    if isinstance(expected, Claim) and isinstance(found, Working):
        task = found.task
        claim = (found.key, task.fence, task.tries, found.work.done())
        return claim == (
            _key(expected.task), expected.fence, expected.tries, expected.tries > MAX_TRIES,
        )  # fmt: skip
    return expected == found


def _went_on(model: Model, claim: Claim, worker: Worker) -> str | None:
    return model.finishes(claim) if worker.has_file else model.gets_file(claim)


def is_wanted(asked: Request) -> bool:
    """Return whether an answer would still count."""
    tasks = asked.asset.tasks[asked.event.data.attempt]
    task = tasks[asked.event.data.task or PICTURES]
    return task.open and task.wanted


def _stored(value: bytes) -> StoredObject:
    (found,) = parse_notification(value)
    return found


def _owner(found: StoredObject) -> UUID:
    assert found.owner is not None
    return found.owner[1]


def _retried(model: Model, asset: AssetModel) -> bool:
    failed = asset.status == "failed"
    if failed:
        model.retry(asset)
    return failed


async def _whether(
    use_case: Callable[[UUID, UUID], Coroutine[Any, Any, object]], asset: AssetModel
) -> bool:
    try:
        await use_case(asset.company, asset.id)
    except (NotFailedError, AssetNotFoundError):
        return False
    return True


def notification(found: StoredObject) -> bytes:
    """Return what the store would tell of this object."""
    return build_notification(found, source="t", at=datetime.now(UTC))

"""
Assets of two companies through anything that can happen to them, in any order.

Hypothesis chooses what happens; the real code does it on a real database; after every step all
rows agree with a plain model of what should have become of them, and with laws that hold for
any history. At its end every asset comes to rest, whatever was lost on the way.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from media_records.actions import AssetNotFoundError, NotFailedError
from media_runtime.errors import PermanentError, TransientError
from media_runtime.storage.store import StoredObject, upload_key

from integration.records.life_cycle_model import (
    IMAGE,
    SOME_HOURS,
    SOME_MINUTES,
    SOME_WEEKS,
    VIDEO,
)
from integration.records.life_cycle_steps import Run, Steps, is_wanted, notification
from integration.records.life_cycle_world import World, answer, open_world
from support.tiers import FULL, HOUR

EXAMPLES = 1000 if FULL else 40
STEPS = 25
ERRORS = st.sampled_from([None, None, "corrupt_media"])
KINDS = st.sampled_from([VIDEO, IMAGE])


class LifeCycle(Steps):
    """Everything that can happen to assets."""

    # What can happen

    @initialize(
        kinds=st.lists(KINDS, min_size=2, max_size=4),
        steps=st.integers(0, 16),
        races=st.integers(0, 4),
        chance=st.integers(0, 2**16),
    )
    def clients_sign(self, kinds: list[str], steps: int, races: int, chance: int) -> None:
        self.races, self.chance = races, Random(chance)
        for number, kind in enumerate(kinds):
            self.sign(kind, number % 2)
        for number in range(steps):
            self.next_step(self.model.assets[number % len(kinds)])

    @precondition(lambda self: len(self.model.assets) < 5)
    @rule(kind=KINDS, company=st.sampled_from([0, 1]))
    def client_signs(self, kind: str, company: int) -> None:
        self.sign(kind, company)

    @rule(data=st.data(), notifications=st.integers(0, 2))
    def client_uploads(self, data: st.DataObject, notifications: int) -> None:
        """Also twice, and after the grant lapsed or the asset was deleted."""
        self.upload(self.some_asset(data))
        for _ in range(notifications):
            self.deliver(self.mail[-1])

    @precondition(lambda self: self.mail)
    @rule(data=st.data())
    def notification_arrives(self, data: st.DataObject) -> None:
        """Late, out of order, and again and again."""
        self.deliver(data.draw(st.sampled_from(self.mail), label="notification"))

    @rule()
    def worker_claims(self) -> None:
        self.claim()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_goes_on(self, data: st.DataObject) -> None:
        self.go_on(self.some_worker(data))

    @precondition(lambda self: any(one.zombie for one in self.workers))
    @rule(data=st.data(), end=st.sampled_from(["good", "bad", "away"]))
    def zombie_goes_on(self, data: st.DataObject, end: str) -> None:
        zombies = [one for one in self.workers if one.zombie]
        worker = data.draw(st.sampled_from(zombies), label="worker")
        if end == "good":
            self.go_on(worker)
        elif end == "bad":
            error = PermanentError("bad", "Bad.")
            self.end_work(worker, error, partial(self.model.fails, error="bad"))
        else:
            self.end_work(worker, TransientError("away"), self.model.something_is_away)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), steps=st.integers(0, 4))
    def file_is_at_fault(self, data: st.DataObject, steps: int) -> None:
        """And its client retries at once, and the next attempt gets some steps far."""
        worker = self.some_worker(data)
        error = PermanentError("type_mismatch", "No.")
        self.end_work(worker, error, partial(self.model.fails, error="type_mismatch"))
        for _ in range(steps):
            self.next_step(worker.claim.task.asset)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def something_is_away(self, data: st.DataObject) -> None:
        self.end_work(self.some_worker(data), TransientError("away"), self.model.something_is_away)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_has_a_bug(self, data: st.DataObject) -> None:
        self.end_work(self.some_worker(data), RuntimeError("bug"), self.model.bug)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_stops(self, data: st.DataObject) -> None:
        worker = self.some_worker(data)
        self.run(self.world.stop(worker.real))
        self.model.release(worker.claim, after=0, counted=False)
        self.workers.remove(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        worker = self.some_worker(data)
        self.lease_lapses(worker.claim.task, worker.claim.fence)
        self.workers.remove(worker)
        self.gone.append(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), replaced=st.booleans(), steps=st.integers(0, 3))
    def worker_freezes(self, data: st.DataObject, replaced: bool, steps: int) -> None:
        """It comes back, at once or later, and believes that it has its task."""
        worker = self.some_worker(data)
        self.lease_lapses(worker.claim.task, worker.claim.fence)
        while replaced and worker.claim.valid:
            self.claim()
        for _ in range(steps):
            if worker in self.workers:
                self.go_on(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_beats(self, data: st.DataObject) -> None:
        worker = self.some_worker(data)
        assert self.run(self.world.heartbeat(worker.real)) == self.model.beat(worker.claim)

    @rule()
    def ingest_asks_for_pictures(self) -> None:
        self.ask()

    @precondition(lambda self: self.silent())
    @rule(data=st.data(), asks=st.integers(0, 2))
    def thumbnailer_is_silent(self, data: st.DataObject, asks: int) -> None:
        """A request got lost, or its answer is late: it is asked for again."""
        task = data.draw(st.sampled_from(self.silent()), label="task")
        self.lease_lapses(task, task.fence)
        for _ in range(asks):
            self.ask()

    @precondition(lambda self: self.requests)
    @rule(
        data=st.data(),
        errors=st.lists(ERRORS, min_size=1, max_size=2),
        steps=st.integers(0, 3),
    )
    def thumbnailer_answers(
        self, data: st.DataObject, errors: list[str | None], steps: int
    ) -> None:
        """Also twice, in contradiction to itself, and for an attempt that is over."""
        wanted = [one for one in self.requests if is_wanted(one)]
        asked = data.draw(st.sampled_from([*wanted * 2, *self.requests]), label="request")
        for error in errors:
            self.answer(asked, error)
        for _ in range(steps):
            self.next_step(asked.asset)

    @precondition(lambda self: any(one.status == "failed" for one in self.model.assets))
    @rule(data=st.data())
    def client_retries(self, data: st.DataObject) -> None:
        failed = [one for one in self.model.assets if one.status == "failed"]
        self.retry(data.draw(st.sampled_from(failed), label="asset"))

    @rule(data=st.data())
    def client_retries_what_it_cannot(self, data: st.DataObject) -> None:
        asset = self.some_asset(data)
        if asset.status != "failed":
            gone = asset.removed or asset.status == "deleted"
            with pytest.raises(AssetNotFoundError if gone else NotFailedError):
                self.run(self.world.clients.retry(asset.company, asset.id))

    @precondition(lambda self: sum(one.status != "deleted" for one in self.model.assets) > 1)
    @rule(data=st.data())
    def client_deletes(self, data: st.DataObject) -> None:
        asset = self.some_asset(data)
        deleted = self.world.clients.delete(asset.company, asset.id)
        if asset.removed:
            with pytest.raises(AssetNotFoundError):
                self.run(deleted)
        else:
            self.run(deleted)
            self.model.delete(asset)

    @rule(data=st.data())
    def stranger_tries_everything(self, data: st.DataObject) -> None:
        asset = self.some_asset(data)
        stranger = self.other_company(asset)
        for use_case in (self.world.clients.retry, self.world.clients.delete):
            with pytest.raises(AssetNotFoundError):
                self.run(use_case(stranger, asset.id))
        key, bucket = upload_key(stranger, asset.id), self.world.storage.bucket_of(stranger)
        self.run(self.world.intake([notification(StoredObject(bucket, key, "v1", 1, "e"))]))
        for asked in [one for one in self.requests if one.asset is asset]:
            event = answer(asked.event, 1, error=None, company=stranger)
            self.run(self.world.answered(event))

    @precondition(lambda self: self.outdated())
    @rule(data=st.data())
    def service_writes_what_it_read_long_ago(self, data: st.DataObject) -> None:
        """All services lock what they change; this one does not."""
        self.write_late(data.draw(st.sampled_from(self.outdated()), label="read"))

    @rule(
        seconds=st.sampled_from([SOME_MINUTES] * 3 + [SOME_HOURS] * 2 + [SOME_WEEKS]),
        reconciled=st.booleans(),
    )
    def time_passes(self, seconds: int, reconciled: bool) -> None:
        self.pass_time(seconds)
        if reconciled:
            self.reconcile()

    @rule(data=st.data(), steps=st.integers(1, 4))
    def asset_goes_on(self, data: st.DataObject, steps: int) -> None:
        """Nothing goes wrong for a while, so that assets get far."""
        asset = self.some_asset(data)
        for _ in range(steps):
            self.next_step(asset)

    # What must be true after each step

    @invariant()
    def rows_agree_with_the_model_and_the_laws(self) -> None:
        self.check()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.race()
                self.come_to_rest()
        finally:
            self.run(self.world.end([one.real for one in [*self.workers, *self.gone]]))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of expected errors are not worth a line each."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def world(database_name: str, quiet: None) -> Iterator[tuple[World, Run[Any]]]:
    """The services on a database, and what runs their coroutines: hypothesis is synchronous."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opened = open_world(database_name)
        yield runner.run(opened.__aenter__()), runner.run
        runner.run(opened.__aexit__(None, None, None))


@pytest.mark.timeout(HOUR if FULL else 900)
def test_assets_live_as_the_model_says(
    world: tuple[World, Run[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()
    start = time.monotonic()
    run_state_machine_as_test(
        partial(LifeCycle, *world, seen),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            phases=set(Phase) - {Phase.explain},
            suppress_health_check=list(HealthCheck),
        ),
    )
    with capsys.disabled():
        took = time.monotonic() - start
        events = ", ".join(f"{name} {number}" for name, number in sorted(seen.items()))
        sys.stdout.write(f"\n{EXAMPLES} examples in {took:.0f} s: {events}\n")


@pytest.mark.parametrize("kind", [VIDEO, IMAGE])
def test_an_asset_lives_through_one_of_everything(world: tuple[World, Run[Any]], kind: str) -> None:
    """What is too precious to be left to chance."""
    life = LifeCycle(*world, Counter())
    life.sign(kind, 0)
    (asset,) = life.model.assets
    life.upload(asset)
    for _ in range(2):
        life.deliver(life.mail[0])
    life.claim()
    for name in ("inspect", "video") if kind == VIDEO else ():
        (zombie,) = life.workers
        assert zombie.claim.task.name == name
        life.go_on(zombie)
        life.lease_lapses(zombie.claim.task, zombie.claim.fence)
        life.claim()
        life.check()
        life.go_on(zombie)
        life.check()
        (worker,) = life.workers
        life.go_on(worker)
        if name == "inspect":
            life.go_on(worker)
        life.check()
        life.claim()
    life.ask()
    life.check()
    (silent,) = life.silent()
    life.lease_lapses(silent, silent.fence)
    life.ask()
    life.check()
    assert len(life.requests) == 2
    if kind == VIDEO:
        life.answer(life.requests[0], None)
        life.answer(life.requests[1], "corrupt_media")
        error = PermanentError("bad", "Bad.")
        life.end_work(worker, error, partial(life.model.fails, error="bad"))
    else:
        life.answer(life.requests[0], "corrupt_media")
        life.answer(life.requests[1], None)
    life.check()
    for read in life.outdated():
        life.write_late(read)
    life.retry(asset)
    life.check()
    while any(task.open for task in asset.now) or asset.status == "processing":
        life.next_step(asset)
    assert (asset.status, asset.attempt) == ("ready", 2)
    kinds = {"video", "preview", "thumbnail"} if kind == VIDEO else {"image", "thumbnail"}
    assert asset.files.keys() == kinds
    life.teardown()


@pytest.mark.parametrize("kind", [VIDEO, IMAGE])
@pytest.mark.parametrize("end", ["deleted", "failed"])
def test_an_asset_may_end_at_any_step_of_its_life(
    world: tuple[World, Run[Any]], kind: str, end: str
) -> None:
    """Whatever is under way then comes to its end, and nothing is left that would wait for ever."""
    steps = 0
    is_done = False
    while not is_done:
        life = LifeCycle(*world, Counter())
        life.sign(kind, 0)
        (asset,) = life.model.assets
        for _ in range(steps):
            life.next_step(asset)
        is_done = asset.status == "ready" and not any(task.open for task in asset.now)
        if end == "deleted":
            life.run(life.world.clients.delete(asset.company, asset.id))
            life.model.delete(asset)
        elif life.workers:
            (worker,) = life.workers
            error = PermanentError("bad", "Bad.")
            life.end_work(worker, error, partial(life.model.fails, error="bad"))
        life.check()
        for worker in list(life.workers):
            while worker in life.workers:
                life.go_on(worker)
                life.check()
        life.teardown()
        steps += 1
    assert steps > (7 if kind == VIDEO else 4)

"""
Assets of two companies through anything that can happen to them, in any order.

Hypothesis chooses what happens; the real code does it on a real database; after every step all
rows agree with a plain model of what should have become of them, and with laws that hold for
any history. At its end every asset comes to rest, whatever was lost on the way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from media_contracts import CloudEvent, ThumbnailRequested
from media_runtime.errors import PermanentError, TransientError
from media_runtime.storage import StoredObject, build_notification, parse_notification, upload_key
from sign_api.use_cases import AssetNotFoundError, NotFailedError

from integration.records.life_cycle_laws import Laws
from integration.records.life_cycle_model import (
    IMAGE,
    MAX_TRIES,
    SOME_HOURS,
    SOME_MINUTES,
    SOME_WEEKS,
    VIDEO,
    AssetModel,
    Change,
    Claim,
    Model,
    Outcome,
)
from integration.records.life_cycle_world import Rows, Working, World, answer, open_world

FULL = os.environ.get("CHAOS_FULL") == "1"
EXAMPLES = 1000 if FULL else 60
STEPS = 25
T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
KINDS = st.sampled_from([VIDEO, IMAGE])


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
    event: CloudEvent[ThumbnailRequested]
    answered: bool = False

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(f"<pictures of {self.asset}, attempt {self.event.data.attempt}>")


@dataclass(eq=False)
class Worker:
    """A worker at its job, as the model and as the real one sees it."""

    claim: Claim
    real: Working
    encoded: bool = False

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        job = self.claim.job
        state = "" if self.claim.valid else ", lost"
        printer.text(f"<worker of {job.asset}.{job.attempt}, fence {self.claim.fence}{state}>")


class LifeCycle(RuleBasedStateMachine):
    """Everything that can happen to assets."""

    def __init__(self, world: World, run: Run[Any], seen: Counter[str]) -> None:
        super().__init__()
        self.world, self.run, self.seen = world, run, seen
        self.model, self.laws = Model(), Laws()
        self.companies = run(world.begin())
        self.mail: list[Mail] = []
        self.requests: list[Request] = []
        self.workers: list[Worker] = []
        self.gone: list[Worker] = []
        self.answers = 0

    # What can happen

    @initialize(kinds=st.lists(KINDS, min_size=1, max_size=3))
    def clients_sign(self, kinds: list[str]) -> None:
        for number, kind in enumerate(kinds):
            self._sign(kind, number % 2)

    @precondition(lambda self: len(self.model.assets) < 5)
    @rule(kind=KINDS, company=st.sampled_from([0, 1]))
    def client_signs(self, kind: str, company: int) -> None:
        self._sign(kind, company)

    @rule(data=st.data(), notified=st.booleans())
    def client_uploads(self, data: st.DataObject, notified: bool) -> None:
        """Also twice, and after the grant lapsed or the asset was deleted."""
        self._upload(self._some_asset(data))
        if notified:
            self._deliver(self.mail[-1])

    @precondition(lambda self: self.mail)
    @rule(data=st.data())
    def notification_arrives(self, data: st.DataObject) -> None:
        """Late, out of order, and again and again."""
        self._deliver(data.draw(st.sampled_from(self.mail), label="notification"))

    @rule(data=st.data())
    def notification_of_a_strangers_key_arrives(self, data: st.DataObject) -> None:
        asset = self._some_asset(data)
        stranger = self._other_company(asset)
        key = upload_key(stranger, asset.id)
        found = StoredObject(self.world.storage.bucket_of(stranger), key, "v1", 1, "e")
        self.run(self.world.intake(_notification(found)))

    @rule()
    def worker_claims(self) -> None:
        self._claim()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_goes_on(self, data: st.DataObject) -> None:
        self._go_on(self._some_worker(data))

    @precondition(lambda self: any(not one.claim.valid for one in self.workers))
    @rule(data=st.data())
    def zombie_goes_on(self, data: st.DataObject) -> None:
        zombies = [one for one in self.workers if not one.claim.valid]
        self._go_on(data.draw(st.sampled_from(zombies), label="worker"))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def file_is_at_fault(self, data: st.DataObject) -> None:
        self._end(
            self._some_worker(data),
            PermanentError("type_mismatch", "No."),
            partial(self.model.fails, error="type_mismatch"),
        )

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def something_is_away(self, data: st.DataObject) -> None:
        self._end(self._some_worker(data), TransientError("away"), self.model.something_is_away)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_has_a_bug(self, data: st.DataObject) -> None:
        self._end(self._some_worker(data), RuntimeError("bug"), self.model.bug)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_stops(self, data: st.DataObject) -> None:
        worker = self._some_worker(data)
        self.run(self.world.stop(worker.real))
        self.model.give_back(worker.claim, after=0, counted=False)
        self.workers.remove(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), dies=st.booleans())
    def worker_loses_its_lease(self, data: st.DataObject, dies: bool) -> None:
        """It was killed, or only frozen: then it comes back and believes that it has its job."""
        worker = self._some_worker(data)
        self.run(self.world.lease_lapses(worker.real))
        self.model.lease_lapses(worker.claim)
        if dies:
            self.workers.remove(worker)
            self.gone.append(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_beats(self, data: st.DataObject) -> None:
        worker = self._some_worker(data)
        assert self.run(self.world.beat(worker.real)) == self.model.beat(worker.claim)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), error=st.sampled_from([None, None, "corrupt_media"]))
    def thumbnailer_answers(self, data: st.DataObject, error: str | None) -> None:
        """Also twice, in contradiction to itself, and for an attempt that is over."""
        self._answer(data.draw(st.sampled_from(self.requests), label="request"), error)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def thumbnailer_answers_a_stranger(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(self.requests), label="request")
        stranger = self._other_company(asked.asset)
        event = answer(asked.event, 1, error=None, company=stranger)
        self.run(self.world.outcomes.thumbnailed(event))

    @rule(data=st.data())
    def client_retries(self, data: st.DataObject) -> None:
        self._retry(self._some_asset(data))

    @rule(data=st.data())
    def client_deletes(self, data: st.DataObject) -> None:
        asset = self._some_asset(data)
        deleted = self.world.clients.delete(asset.company, asset.id)
        if asset.removed:
            with pytest.raises(AssetNotFoundError):
                self.run(deleted)
        else:
            self.run(deleted)
            self.model.delete(asset)

    @rule(data=st.data())
    def stranger_retries_and_deletes(self, data: st.DataObject) -> None:
        asset = self._some_asset(data)
        stranger = self._other_company(asset)
        for use_case in (self.world.clients.retry, self.world.clients.delete):
            with pytest.raises(AssetNotFoundError):
                self.run(use_case(stranger, asset.id))

    @rule(seconds=st.sampled_from([SOME_MINUTES, SOME_MINUTES, SOME_HOURS, SOME_WEEKS]))
    def time_passes(self, seconds: int) -> None:
        self._time_passes(seconds)

    @rule()
    def watcher_reconciles(self) -> None:
        self._reconcile()

    @rule(data=st.data())
    def asset_goes_on(self, data: st.DataObject) -> None:
        """What comes next when nothing goes wrong, so that many assets get far."""
        asset = self._some_asset(data)
        mine = [one for one in self.workers if one.claim.valid and one.claim.job is asset.job]
        mail = [one for one in self.mail if one.asset is asset]
        asked = [one for one in self.requests if one.asset is asset and not one.answered]
        if mine:
            self._go_on(mine[0])
        elif asked and asset.wants(asked[-1].event.data.attempt):
            self._answer(asked[-1], None)
        elif asset.job is not None and asset.job.open:
            self._claim()
        elif mail:
            self._deliver(mail[-1])
        elif asset.status == "failed":
            self._retry(asset)
        elif not asset.removed and not asset.versions:
            self._upload(asset)

    # What must be true after each step

    @invariant()
    def rows_agree_with_the_model_and_the_laws(self) -> None:
        rows = self.run(self.world.look())
        self._receive(rows)
        self.laws.hold(rows)
        here = [asset for asset in self.model.assets if not asset.removed]
        assert rows.assets.keys() == {asset.id for asset in here}
        for asset in here:
            self._agrees(asset, rows)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self._everything_comes_to_rest()
        finally:
            self.run(self.world.end([one.real for one in [*self.workers, *self.gone]]))

    # How it is done, in the world and in the model

    def _sign(self, kind: str, company: int) -> None:
        owner = self.companies[company]
        asset_id = self.run(self.world.sign(owner, kind))
        self.model.sign(asset_id, owner, kind)

    def _upload(self, asset: AssetModel) -> None:
        version = f"v{len(asset.versions) + 1}"
        found = self.world.upload(asset.company, asset.id, version)
        asset.versions.append(version)
        self.mail.append(Mail(asset, version, _notification(found)))

    def _deliver(self, mail: Mail) -> None:
        self.run(self.world.intake(mail.value))
        self.model.notify(mail.asset, mail.version)

    def _claim(self) -> bool:
        """Return whether there was a job."""
        job = self.model.next_job()
        real, claim = self.run(self.world.claim()), self.model.claim()
        assert (real is None) == (claim is None)
        if real is not None and claim is not None:
            worker = Worker(claim, real)
            claimed = (real.job.asset_id, real.job.attempt, real.job.fence, real.job.tries)
            assert claimed == (claim.job.asset.id, claim.job.attempt, claim.fence, claim.tries)
            if claim.tries > MAX_TRIES:
                assert real.task.result() == self.model.fails(claim, "processing_failed")
            else:
                self.workers.append(worker)
        return job is not None

    def _go_on(self, worker: Worker) -> None:
        end = self.run(self.world.go_on(worker.real))
        step = self.model.rendition if worker.encoded else self.model.looks_at_file
        assert end == step(worker.claim)
        worker.encoded = True
        if end is not None:
            self.seen[end] += 1
            self.workers.remove(worker)

    def _end(self, worker: Worker, error: Exception, expected: Callable[[Claim], str]) -> None:
        end = self.run(self.world.go_on(worker.real, error))
        assert end == expected(worker.claim)
        self.seen[end] += 1
        self.workers.remove(worker)

    def _answer(self, asked: Request, error: str | None) -> None:
        self.answers += 1
        event = answer(asked.event, self.answers, error=error, company=asked.asset.company)
        self.run(self.world.outcomes.thumbnailed(event))
        self.model.pictures(asked.asset, asked.event.data.attempt, self.answers, error=error)
        asked.answered = True

    def _retry(self, asset: AssetModel) -> None:
        retried = self.world.clients.retry(asset.company, asset.id)
        if asset.removed or asset.status == "deleted":
            with pytest.raises(AssetNotFoundError):
                self.run(retried)
        elif asset.status != "failed":
            with pytest.raises(NotFailedError):
                self.run(retried)
        else:
            self.run(retried)
            self.model.retry(asset)
            self.seen["retry"] += 1

    def _reconcile(self) -> None:
        self.run(self.world.reconcile())
        self.model.reconcile()

    def _time_passes(self, seconds: int) -> None:
        self.run(self.world.time_passes(seconds))
        self.model.clock += seconds

    def _everything_comes_to_rest(self) -> None:
        """No notification comes any more, but the watcher and the workers go on."""
        self.mail.clear()
        for _ in range(6):
            if all(asset.rests for asset in self.model.assets) and not self._open_jobs():
                break
            self._time_passes(SOME_HOURS)
            self._reconcile()
            self._one_good_round()
        resting = [asset for asset in self.model.assets if asset.rests]
        assert resting == self.model.assets, "some stand still for ever"
        assert not self._open_jobs(), "a job is left that nobody wants"
        for zombie in list(self.workers):
            self._go_on(zombie)
        self.rows_agree_with_the_model_and_the_laws()
        for asset in self.model.assets:
            self.seen["removed" if asset.removed else asset.status] += 1

    def _one_good_round(self) -> None:
        self.rows_agree_with_the_model_and_the_laws()
        while self.mail:
            self._deliver(self.mail.pop())
        while self._claim():
            for worker in [one for one in self.workers if one.claim.valid]:
                while worker in self.workers:
                    self._go_on(worker)
        self.rows_agree_with_the_model_and_the_laws()
        for asked in self.requests:
            if not asked.answered:
                self._answer(asked, None)

    def _open_jobs(self) -> bool:
        return any(job.open for job in self.model.jobs)

    # Looking and comparing

    def _some_asset(self, data: st.DataObject) -> AssetModel:
        return data.draw(st.sampled_from(self.model.assets), label="asset")

    def _some_worker(self, data: st.DataObject) -> Worker:
        return data.draw(st.sampled_from(self.workers), label="worker")

    def _other_company(self, asset: AssetModel) -> UUID:
        return next(one for one in [*self.companies, uuid4()] if one != asset.company)

    def _receive(self, rows: Rows) -> None:
        assets = {asset.id: asset for asset in self.model.assets}
        for value in rows.notifications:
            (found,) = parse_notification(value)
            assert found.owner is not None
            asset = assets[found.owner[1]]
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
                processed_key=data.rendition.key if data.rendition else None,
                pictures=data.thumbnail.size if data.thumbnail else None,
            )

    def _agrees(self, asset: AssetModel, rows: Rows) -> None:
        row = rows.assets[asset.id]
        found = {name: row[name] for name in ("status", "attempt", "error_code", "processed_key")}
        assert found == {
            "status": asset.status,
            "attempt": asset.attempt,
            "error_code": asset.error,
            "processed_key": asset.processed_key,
        }, asset
        assert row["upload_version_id"] == asset.version
        changes = [
            Change(one["attempt"], one["from_status"], one["to_status"], one["service"])
            for one in rows.changes[asset.id]
        ]
        assert changes == asset.changes
        jobs = {key[1]: job for key, job in rows.jobs.items() if key[0] == asset.id}
        assert {
            attempt: (job["state"], job["fence"], job["tries"]) for attempt, job in jobs.items()
        } == {attempt: (job.state, job.fence, job.tries) for attempt, job in asset.jobs.items()}
        assert {job["source_version_id"] for job in jobs.values()} <= {asset.version}


def _notification(found: StoredObject) -> bytes:
    return build_notification(found, source="t", at=datetime.now(UTC))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of expected errors are not worth a line each."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.timeout(3600 if FULL else 300)
def test_assets_live_as_the_model_says(
    database_name: str, quiet: None, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()
    start = time.monotonic()
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opened = open_world(database_name)
        world = runner.run(opened.__aenter__())
        try:
            run_state_machine_as_test(
                partial(LifeCycle, world, runner.run, seen),
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    print_blob=True,
                    phases=set(Phase) - {Phase.explain},
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
    with capsys.disabled():
        took = time.monotonic() - start
        ends = ", ".join(f"{name} {number}" for name, number in sorted(seen.items()))
        sys.stdout.write(f"\n{EXAMPLES} examples in {took:.0f} s: {ends}\n")

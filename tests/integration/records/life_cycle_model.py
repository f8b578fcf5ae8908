"""
What should become of assets, in plain Python: no I/O, and no rule taken from the code under test.

Time is a whole number of seconds that the test moves on, in steps of thousands. No sum of the
time limits below is near a thousand, so that the seconds which really pass decide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from media_runtime.storage.keys import output_key

SOME_MINUTES = 2_000
SOME_HOURS = 200_000
SOME_WEEKS = 2_000_000

GRANT = 100_500
LATE_UPLOAD = 20_300
LEASE = 1_500
PICTURES_LEASE = 1_300  # times 2, 4 and 8
RETRY = 100  # times at most 4.8
GIVE_UP = 1_000_500
RECONCILE_AFTER = 600
STUCK = 10_300
EXPIRED_KEEP = 500_500
MAX_TRIES = 3
MOST_PICTURES = 2
TURN = 300

VIDEO = "video"
IMAGE = "image"

INSPECT = "inspect"
ENCODE = "encode"
PICTURES = "pictures"
PREVIEW = "preview"
WORKED_ON = (INSPECT, ENCODE)
"""The pools of ingest's own workers."""

_OPEN = ("blocked", "queued", "running")
_ENDS = ("failed", "deleted", "cancelled")

Line = tuple[str, UUID]
"""What waits in one pool of one company."""


@dataclass(frozen=True)
class Change:
    """One change of status: what was before, what came, and which service made it."""

    attempt: int
    before: str
    after: str
    service: str


@dataclass(frozen=True)
class Outcome:
    """What other teams should be told of an attempt; *pictures* says which answer was taken."""

    attempt: int
    outcome: str
    error: str | None = None
    media_key: str | None = None
    pictures: int | None = None
    files: frozenset[str] = frozenset()


@dataclass(eq=False)
class TaskModel:
    """One task of an attempt; it waits for *needs*, and ends alone if it is not *required*."""

    asset: AssetModel
    attempt: int
    name: str
    pool: str
    created_at: int
    due_at: int
    needs: TaskModel | None = None
    required: bool = True
    state: str = "queued"
    fence: int = 0
    tries: int = 0
    claimed_at: int = 0
    lease_until: int = 0
    finished_at: int = 0

    @property
    def line(self) -> Line:
        return self.pool, self.asset.company

    @property
    def open(self) -> bool:
        return self.state in _OPEN

    @property
    def wanted(self) -> bool:
        """Whether its end still matters to its asset."""
        asset = self.asset
        if asset.removed or asset.attempt != self.attempt:
            return False
        return asset.status == "processing" or (asset.status == "ready" and not self.required)

    def is_due(self, clock: int) -> bool:
        if self.state == "queued":
            return self.due_at <= clock
        return self.state == "running" and self.lease_until < clock

    def is_held(self, clock: int) -> bool:
        return self.state == "running" and self.lease_until >= clock

    def end(self, state: str, clock: int) -> None:
        self.state, self.finished_at = state, clock


@dataclass(eq=False)
class AssetModel:
    """One asset. ``versions`` are in storage, ``version`` is the one that counts."""

    name: str
    id: UUID
    company: UUID
    kind: str
    signed_at: int
    status: str = "pending"
    attempt: int = 1
    error: str | None = None
    versions: list[str] = field(default_factory=list)
    version: str | None = None
    updated_at: int = 0
    check_at: int = 0
    removed: bool = False
    tasks: dict[int, dict[str, TaskModel]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    taken: int = 0
    changes: list[Change] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(self.name)  # as hypothesis shows what it chose

    def __repr__(self) -> str:
        return self.name

    @property
    def now(self) -> list[TaskModel]:
        """The tasks of its attempt, in the order in which they were made."""
        return list(self.tasks.get(self.attempt, {}).values())

    @property
    def rests(self) -> bool:
        """Whether nothing is left to happen by itself."""
        if self.status in {"pending", "expired"}:
            return self.removed or (self.status == "expired" and not self.versions)
        return self.status != "processing"

    @property
    def has_original(self) -> bool:
        return self.version is not None and self.status not in {"deleted", "cancelled"}

    def made(self, task: TaskModel, fence: int) -> dict[str, str]:
        """Return the names and keys of what a task makes."""
        of = self.company, self.id, task.attempt
        if task.name == INSPECT:
            return {}
        if task.name != PICTURES:
            name = f"{task.name}.{'mp4' if task.name == VIDEO else 'jpg'}"
            return {task.name: output_key(*of, name, fence=fence)}
        found = {"thumbnail": output_key(*of, "thumbnail.jpg")}
        return found if self.kind == VIDEO else {"image": output_key(*of, "image"), **found}


@dataclass(frozen=True)
class Claim:
    """What a worker holds: a task, under the fence of its claim."""

    task: TaskModel
    fence: int
    tries: int
    age: int

    @property
    def valid(self) -> bool:
        return (self.task.state, self.task.fence) == ("running", self.fence)


class Model:
    """All assets, and what each event should do to them."""

    def __init__(self, seen: Counter[str], companies: Collection[UUID] = ()) -> None:
        self.seen = seen
        self.clock = 0
        self.assets: list[AssetModel] = []
        self.tasks: list[TaskModel] = []
        self.fed: list[UUID] = []
        """Assets that ingest is to hear of again."""
        self.asked: list[tuple[UUID, int]] = []
        """Attempts whose pictures the thumbnailer is to hear of."""
        self.lines: list[Line] = [
            (pool, one) for pool in (*WORKED_ON, PICTURES) for one in companies
        ]
        """Who used the fewest seconds lately comes first."""

    def sign(self, asset_id: UUID, company: UUID, kind: str) -> AssetModel:
        name = f"{kind}{len(self.assets) + 1}"
        asset = AssetModel(name, asset_id, company, kind, signed_at=self.clock)
        asset.updated_at = asset.check_at = self.clock
        self.assets.append(asset)
        return asset

    def notify(self, asset: AssetModel, version: str) -> None:
        """The first version that is told of counts; an attempt without a task begins."""
        if asset.removed or asset.status not in {"pending", "expired", "processing"}:
            self.seen["stale notification"] += 1
            return
        if asset.version is None:
            asset.version, asset.updated_at = version, self.clock
        if not asset.now:
            self._new_task(asset, INSPECT, PICTURES if asset.kind == IMAGE else INSPECT)
        else:
            self.seen["notification again"] += 1

    def due(self, pools: Collection[str]) -> list[TaskModel]:
        """Return the tasks that may be claimed, whatever others have used."""
        held = Counter(task.line for task in self.tasks if task.is_held(self.clock))
        return [
            task
            for task in self.tasks
            if task.pool in pools
            and task.is_due(self.clock)
            and not (task.pool == PICTURES and held[task.line] >= MOST_PICTURES)
        ]

    def next_task(self, pools: Collection[str] = WORKED_ON) -> TaskModel | None:
        """
        Return the oldest task that waits and is due, or whose worker is gone.

        It is of the company that used the fewest seconds of the pool, those of its running tasks
        included.
        """
        return min(self.due(pools), key=lambda task: self._used(task.line), default=None)

    def _used(self, line: Line) -> int:
        running = [task for task in self.tasks if task.line == line and task.is_held(self.clock)]
        return TURN * self.lines.index(line) + sum(self.clock - task.claimed_at for task in running)

    def _take(self, task: TaskModel, lease: int) -> bool:
        """Begin a task; tell whether anybody wants it."""
        task.state, task.claimed_at = "running", self.clock
        task.lease_until = self.clock + lease
        task.fence += 1
        task.tries += 1
        asset = task.asset
        self.lines.remove(task.line)
        self.lines.append(task.line)
        if asset.attempt == task.attempt and asset.status in {"pending", "expired"}:
            self._change(asset, "processing", "ingest")
        if not task.wanted:
            self._cancel(asset, task.attempt)
            self.seen[f"{task.name} dropped"] += 1
        return task.wanted

    def claim(self, task: TaskModel | None = None) -> Claim | None:
        """Return the claim, or None when there is no task or nobody wants it any more."""
        task = task or self.next_task()
        if task is None or not self._take(task, LEASE):
            return None
        return Claim(task, task.fence, task.tries, self.clock - task.created_at)

    def ask(self, task: TaskModel | None = None) -> bool:
        """Tell whether there were pictures to ask for, or to give up."""
        task = task or self.next_task([PICTURES])
        if task is None:
            return False
        if self._take(task, PICTURES_LEASE * 2 ** min(task.tries, 3)):
            if self.clock - task.created_at > GIVE_UP:
                self._fail(task, "processing_timeout")
            else:
                self.asked.append((task.asset.id, task.attempt))
                self.seen["pictures asked again" if task.tries > 1 else "pictures asked"] += 1
        return True

    def lease_lapses(self, task: TaskModel, fence: int) -> None:
        if (task.state, task.fence) == ("running", fence):
            task.lease_until = self.clock - 1

    def beat(self, claim: Claim) -> bool:
        """Tell whether the lease is renewed."""
        renewed = claim.valid and claim.task.wanted
        if renewed:
            claim.task.lease_until = self.clock + LEASE
        return renewed

    def fails(self, claim: Claim, error: str) -> str:
        if not claim.valid:
            return self._lost()
        self._fail(claim.task, error)
        return "failed"

    def something_is_away(self, claim: Claim) -> str:
        if claim.age > GIVE_UP:
            return self.fails(claim, "processing_timeout")
        self.release(claim, after=RETRY, counted=False)
        return "retried"

    def bug(self, claim: Claim) -> str:
        if claim.tries >= MAX_TRIES:
            return self.fails(claim, "processing_failed")
        self.release(claim, after=RETRY, counted=True)
        return "retried"

    def release(self, claim: Claim, *, after: int, counted: bool) -> None:
        if claim.valid:
            claim.task.state, claim.task.due_at = "queued", self.clock + after
            if not counted:
                claim.task.tries = max(0, claim.task.tries - 1)

    def gets_file(self, claim: Claim) -> str | None:
        """Return how the work ends with this: what is deleted has no file any more."""
        return None if claim.task.asset.has_original else self._lost()

    def finishes(self, claim: Claim) -> str:
        """Only the newest claim counts, and only where its end is still wanted."""
        if not claim.valid:
            return self._lost()
        self._finish(claim.task)
        return "done"

    def pictures(self, asset: AssetModel, attempt: int, number: int, *, error: str | None) -> None:
        """
        The first answer to an attempt counts, whatever it says and whenever it was asked.

        An image is checked by whoever makes its pictures: one answer ends both tasks.
        """
        asked = INSPECT if asset.kind == IMAGE else PICTURES
        task = asset.tasks.get(attempt, {}).get(asked)
        if task is None or task.state not in {"queued", "running"} or not task.wanted:
            self.seen["answer too late"] += 1
        elif error:
            self._fail(task, error)
        else:
            asset.taken = number
            self._finish(task)
            if task.name == INSPECT:
                self._finish(asset.tasks[attempt][PICTURES])

    def retry(self, asset: AssetModel) -> None:
        asset.attempt += 1
        asset.error = None
        self._change(asset, "processing", "sign_api")
        self.fed.append(asset.id)

    def delete(self, asset: AssetModel) -> None:
        if asset.status != "deleted":
            self._change(asset, "deleted", "sign_api")

    def reconcile(self) -> None:
        for asset in self.assets:
            if asset.removed or asset.status not in {"pending", "processing"}:
                continue
            if self.clock - asset.check_at <= RECONCILE_AFTER:
                continue
            unused = asset.version is None and not asset.versions
            if unused and self.clock - asset.signed_at > GRANT + LATE_UPLOAD:
                self._change(asset, "expired", "watcher")
                continue
            if self._has_stalled(asset):
                self.fed.append(asset.id)
                self.seen["fed again"] += 1
            asset.check_at = self.clock + min(self.clock - asset.updated_at, STUCK)
        for asset in self.assets:
            old = self.clock - asset.updated_at > EXPIRED_KEEP
            if asset.removed or asset.status != "expired" or not old:
                continue
            if asset.check_at > self.clock:
                continue
            if asset.version or asset.versions:
                self.fed.append(asset.id)
                asset.check_at = self.clock + STUCK
            else:
                asset.removed = True
                self.seen["removed"] += 1

    def _has_stalled(self, asset: AssetModel) -> bool:
        if asset.version is None:
            return bool(asset.versions)
        if any(task.open for task in asset.now):
            return False
        signs = [asset.updated_at, *(task.finished_at for task in asset.now)]
        return self.clock - max(signs) > STUCK

    def _new_task(
        self,
        asset: AssetModel,
        name: str,
        pool: str,
        *,
        needs: TaskModel | None = None,
        required: bool = True,
    ) -> TaskModel:
        task = TaskModel(
            asset, asset.attempt, name, pool, self.clock, self.clock, needs, required,
            state="blocked" if needs else "queued",
        )  # fmt: skip
        asset.tasks.setdefault(asset.attempt, {})[name] = task
        self.tasks.append(task)
        return task

    def _plan(self, asset: AssetModel) -> None:
        if asset.kind == VIDEO:
            video = self._new_task(asset, VIDEO, ENCODE)
        self._new_task(asset, PICTURES, PICTURES)
        if asset.kind == VIDEO:
            self._new_task(asset, PREVIEW, ENCODE, needs=video, required=False)

    def _finish(self, task: TaskModel) -> None:
        task.end("done", self.clock)
        asset = task.asset
        if not task.wanted:
            # What waits for it would wait for ever.
            self._cancel(asset, task.attempt)
            self.seen[f"{task.name} for nothing"] += 1
            return
        self.seen[f"{task.name} done"] += 1
        if task.name == INSPECT:
            self._plan(asset)
        asset.files.update(asset.made(task, task.fence))
        for other in asset.now:
            if other.needs is task and other.state == "blocked":
                other.state = "queued"
        if asset.status == "processing" and all(
            one.state == "done" for one in asset.now if one.required
        ):
            self._ready(asset)

    def _fail(self, task: TaskModel, error: str) -> None:
        asset, wanted = task.asset, task.wanted
        task.end("failed", self.clock)
        if not task.required:
            self.seen["optional task failed"] += 1
            return
        self._cancel(asset, task.attempt)
        if not wanted:
            return
        asset.error = error
        self.seen[error] += 1
        self._change(asset, "failed", "ingest")
        asset.outcomes.append(Outcome(asset.attempt, "failed", error=error))

    def _cancel(self, asset: AssetModel, attempt: int) -> None:
        for task in asset.tasks.get(attempt, {}).values():
            if task.open:
                task.end("cancelled", self.clock)

    def _lost(self) -> str:
        self.seen["zombie turned away"] += 1
        return "lost_lease"

    def _change(self, asset: AssetModel, status: str, service: str) -> None:
        asset.changes.append(Change(asset.attempt, asset.status, status, service))
        self.seen[f"{asset.status} to {status}"] += 1
        asset.status, asset.updated_at = status, self.clock
        if status in _ENDS:
            asset.files.clear()

    def _ready(self, asset: AssetModel) -> None:
        self._change(asset, "ready", "ingest")
        outcome = Outcome(
            asset.attempt,
            "ready",
            media_key=asset.files[asset.kind],
            pictures=asset.taken,
            files=frozenset(asset.files),
        )
        asset.outcomes.append(outcome)
        if any(task.open for task in asset.now):
            self.seen["ready before all was done"] += 1

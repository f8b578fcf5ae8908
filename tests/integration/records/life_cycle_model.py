"""
What should become of assets, in plain Python: no I/O, and no rule taken from the code under test.

Time is a whole number of seconds that the test moves on, in steps of thousands. No sum of the
time limits below is near a thousand, so that the seconds which really pass decide nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from media_runtime.storage import output_key

SOME_MINUTES = 2_000
SOME_HOURS = 200_000
SOME_WEEKS = 2_000_000

GRANT = 100_500
LATE_UPLOAD = 20_300
LEASE = 1_500
RETRY = 100  # times at most 4.8
REOPEN = 1_300
GIVE_UP = 1_000_500
RECONCILE_AFTER = 600
STUCK = 10_300
ANSWER = 600
EXPIRED_KEEP = 500_500
MAX_TRIES = 3

VIDEO = "video"
IMAGE = "image"
RENDITION = "rendition"
PICTURES = "pictures"
_PARTS = {VIDEO: {RENDITION, PICTURES}, IMAGE: {PICTURES}}


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
    processed_key: str | None = None
    pictures: int | None = None


@dataclass
class JobModel:
    """The job of one attempt."""

    asset: AssetModel
    attempt: int
    created_at: int
    due_at: int
    state: str = "queued"
    fence: int = 0
    tries: int = 0
    lease_until: int = 0
    finished_at: int = 0
    asked_at: int | None = None

    def under_way(self, clock: int) -> bool:
        """Whether its company has work under way by it: with a worker, or with the thumbnailer."""
        runs = self.state == "running" and self.lease_until >= clock
        return runs or (self.asked_at is not None and clock - self.asked_at < ANSWER)

    @property
    def open(self) -> bool:
        return self.state in {"queued", "running"}

    def ended_long_ago(self, clock: int) -> bool:
        return self.state in {"done", "cancelled"} and clock - self.finished_at > REOPEN

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
    processed_key: str | None = None
    removed: bool = False
    jobs: dict[int, JobModel] = field(default_factory=dict)
    parts: dict[int, dict[str, str | int]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(self.name)  # as hypothesis shows what it chose

    def __repr__(self) -> str:
        return self.name

    @property
    def job(self) -> JobModel | None:
        return self.jobs.get(self.attempt)

    @property
    def rests(self) -> bool:
        """Whether nothing is left to happen by itself."""
        if self.status in {"pending", "expired"}:
            return self.removed or (self.status == "expired" and not self.versions)
        return self.status != "processing"

    def wants(self, attempt: int) -> bool:
        """Whether a result of this attempt still matters."""
        return not self.removed and (self.status, self.attempt) == ("processing", attempt)

    def has_pictures(self, attempt: int) -> bool:
        return PICTURES in self.parts.get(attempt, {})

    def rendition_key(self, attempt: int, fence: int) -> str:
        return output_key(self.company, self.id, attempt, "video.mp4", fence=fence)

    def picture_key(self, attempt: int, name: str) -> str:
        return output_key(self.company, self.id, attempt, name)


@dataclass(frozen=True)
class Claim:
    """What a worker holds: a job, under the fence of its claim."""

    job: JobModel
    fence: int
    tries: int
    age: int

    @property
    def valid(self) -> bool:
        return (self.job.state, self.job.fence) == ("running", self.fence)


class Model:
    """All assets, and what each event should do to them."""

    def __init__(self, seen: Counter[str]) -> None:
        self.seen = seen
        self.clock = 0
        self.assets: list[AssetModel] = []
        self.jobs: list[JobModel] = []
        self.served: list[UUID] = []

    def sign(self, asset_id: UUID, company: UUID, kind: str) -> AssetModel:
        name = f"{kind}{len(self.assets) + 1}"
        asset = AssetModel(name, asset_id, company, kind, signed_at=self.clock)
        asset.updated_at = asset.check_at = self.clock
        self.assets.append(asset)
        return asset

    def notify(self, asset: AssetModel, version: str) -> None:
        """The first version that is told of counts; what stands still goes on."""
        if asset.removed or asset.status not in {"pending", "expired", "processing"}:
            self.seen["stale notification"] += 1
            return
        if asset.version is None:
            asset.version, asset.updated_at = version, self.clock
        job = asset.job
        if job is None:
            asset.jobs[asset.attempt] = job = JobModel(
                asset, asset.attempt, created_at=self.clock, due_at=self.clock
            )
            self.jobs.append(job)
        elif asset.status == "processing" and job.ended_long_ago(self.clock):
            job.state, job.tries, job.due_at = "queued", 0, self.clock
            self.seen["job started again"] += 1
            if self.clock - asset.updated_at > GIVE_UP:
                self._fail(asset, "processing_timeout")

    def next_job(self) -> JobModel | None:
        """
        Return the oldest job that waits and is due, or whose worker is gone.

        It is of the company with the least work under way; of equals, of the longest unserved.
        """
        running = Counter(job.asset.company for job in self.jobs if job.under_way(self.clock))
        waiting = [
            job
            for job in self.jobs
            if (job.state == "queued" and job.due_at <= self.clock)
            or (job.state == "running" and job.lease_until < self.clock)
        ]
        return min(waiting, key=lambda job: self._turn(job.asset.company, running), default=None)

    def _turn(self, company: UUID, running: Counter[UUID]) -> tuple[int, int, UUID]:
        served = self.served.index(company) if company in self.served else -1
        return running[company], served, company

    def claim(self) -> Claim | None:
        """Return the claim, or None when there is no job or nobody wants it any more."""
        job = self.next_job()
        if job is None:
            return None
        job.state, job.lease_until = "running", self.clock + LEASE
        job.fence += 1
        job.tries += 1
        asset = job.asset
        self.served = [*(one for one in self.served if one != asset.company), asset.company]
        if asset.attempt == job.attempt and asset.status in {"pending", "expired"}:
            self._change(asset, "processing", "ingest")
        if not asset.wants(job.attempt):
            job.end("cancelled", self.clock)
            self.seen["job cancelled"] += 1
            return None
        return Claim(job, job.fence, job.tries, self.clock - job.created_at)

    def lease_lapses(self, claim: Claim) -> None:
        if claim.valid:
            claim.job.lease_until = self.clock - 1

    def beat(self, claim: Claim) -> bool:
        """Tell whether the lease is renewed."""
        renewed = claim.valid and claim.job.asset.wants(claim.job.attempt)
        if renewed:
            claim.job.lease_until = self.clock + LEASE
        return renewed

    def fails(self, claim: Claim, error: str) -> str:
        if not claim.valid:
            return self._lost()
        job, asset = claim.job, claim.job.asset
        job.end("failed", self.clock)
        if asset.wants(job.attempt):
            self._fail(asset, error)
        return "failed"

    def something_is_away(self, claim: Claim) -> str:
        if claim.age > GIVE_UP:
            return self.fails(claim, "processing_timeout")
        self.give_back(claim, after=RETRY, counted=False)
        return "retried"

    def bug(self, claim: Claim) -> str:
        if claim.tries >= MAX_TRIES:
            return self.fails(claim, "processing_failed")
        self.give_back(claim, after=RETRY, counted=True)
        return "retried"

    def give_back(self, claim: Claim, *, after: int, counted: bool) -> None:
        if claim.valid:
            claim.job.state, claim.job.due_at = "queued", self.clock + after
            if not counted:
                claim.job.tries = max(0, claim.job.tries - 1)

    def looks_at_file(self, claim: Claim) -> str | None:
        """Return how the work ends with this; None when a video is still to be encoded."""
        if not claim.valid or claim.job.asset.status in {"deleted", "cancelled"}:
            return self._lost()  # what is deleted has no file any more
        job, asset = claim.job, claim.job.asset
        if asset.kind == IMAGE or not asset.has_pictures(job.attempt):
            job.asked_at = self.clock
        if asset.kind == VIDEO and RENDITION not in asset.parts.get(job.attempt, {}):
            return None
        job.end("done", self.clock)
        return "done"

    def rendition(self, claim: Claim) -> str:
        if not claim.valid:
            return self._lost()
        job, asset = claim.job, claim.job.asset
        job.end("done", self.clock)
        if not asset.wants(job.attempt):
            self.seen["rendition for nothing"] += 1
        else:
            self._add(asset, RENDITION, asset.rendition_key(job.attempt, claim.fence))
        return "done"

    def pictures(self, asset: AssetModel, attempt: int, number: int, *, error: str | None) -> None:
        """The first answer to an attempt counts, whatever it says."""
        if attempt in asset.jobs:
            asset.jobs[attempt].asked_at = None
        if not asset.wants(attempt) or asset.has_pictures(attempt):
            self.seen["answer too late"] += 1
            return
        if error:
            self._fail(asset, error)
        else:
            self._add(asset, PICTURES, number)

    def retry(self, asset: AssetModel) -> None:
        asset.attempt += 1
        asset.error = None
        self._change(asset, "processing", "sign_api")

    def delete(self, asset: AssetModel) -> None:
        if asset.status != "deleted":
            self._change(asset, "deleted", "sign_api")

    def reconcile(self) -> None:
        for asset in self.assets:
            if asset.removed or asset.status not in {"pending", "processing"}:
                continue
            if self.clock - asset.check_at > RECONCILE_AFTER:
                unused = asset.version is None and not asset.versions
                if unused and self.clock - asset.signed_at > GRANT + LATE_UPLOAD:
                    self._change(asset, "expired", "watcher")
                else:
                    asset.check_at = self.clock + min(self.clock - asset.updated_at, STUCK)
        for asset in self.assets:
            old = self.clock - asset.updated_at > EXPIRED_KEEP
            if asset.removed or asset.status != "expired" or not old:
                continue
            if asset.version or asset.versions:
                asset.check_at = self.clock + STUCK
            else:
                asset.removed = True
                self.seen["removed"] += 1

    def _lost(self) -> str:
        self.seen["zombie turned away"] += 1
        return "lost_lease"

    def _change(self, asset: AssetModel, status: str, service: str) -> None:
        asset.changes.append(Change(asset.attempt, asset.status, status, service))
        self.seen[f"{asset.status} to {status}"] += 1
        asset.status, asset.updated_at = status, self.clock
        if status in {"failed", "deleted", "cancelled"}:
            asset.parts.pop(asset.attempt, None)

    def _add(self, asset: AssetModel, part: str, what: str | int) -> None:
        found = asset.parts.setdefault(asset.attempt, {})
        found.setdefault(part, what)
        if found.keys() >= _PARTS[asset.kind]:
            self._ready(asset, found)

    def _ready(self, asset: AssetModel, found: dict[str, str | int]) -> None:
        key = found.get(RENDITION) or asset.picture_key(asset.attempt, "image")
        asset.processed_key = str(key)
        self._change(asset, "ready", "ingest")
        asset.outcomes.append(
            Outcome(
                asset.attempt,
                "ready",
                processed_key=asset.processed_key,
                pictures=int(found[PICTURES]),
            )
        )

    def _fail(self, asset: AssetModel, error: str) -> None:
        asset.error = error
        self.seen[error] += 1
        self._change(asset, "failed", "ingest")
        asset.outcomes.append(Outcome(asset.attempt, "failed", error=error))

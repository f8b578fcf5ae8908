"""
One scenario: a load, faults during it, and the judgement when all is quiet again.

Invariant: a scenario in which too few faults hit work under way is not green but void.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from chaos.checker import Verdict, Violation, judge
from chaos.evidence import Evidence, gather, quiesce
from chaos.harness import Harness
from chaos.journal import Journal
from chaos.load import MIX, Watchers, run_load
from chaos.media import Sample
from support.tiers import PATIENCE

_COMPANIES = 4
_CONCURRENCY = 8
_BATCH = 12
# Granted and not ended: what its client is still uploading is under way, too.
_IN_FLIGHT = """
    SELECT count(*) FROM media_assets WHERE company_id = ANY($1::uuid[])
    AND status IN ('pending', 'processing')
"""

Body = Callable[["Run"], Awaitable[None]]


@dataclass(frozen=True)
class Scale:
    """How large a run is: ``full`` has the numbers of the reports, the other those of CI."""

    full: bool

    def of(self, full: int, short: int) -> int:
        """Return the number that goes with this scale."""
        return full if self.full else short


@dataclass(frozen=True)
class Scenario:
    """
    What is done to the stack while clients use it.

    ``hits_wanted`` is how many faults, full and short, must have met work under way.
    ``settings`` are those of the stack, beside the harness's own. ``mutation`` names the guard
    that was taken away: then the judge must find ``broken``, and a green verdict is a failure.
    """

    name: str
    title: str
    body: Body
    hits_wanted: tuple[int, int] = (1, 1)
    settings: Mapping[str, str] = field(default_factory=dict)
    mutation: str = ""
    broken: frozenset[str] = frozenset()
    quiet_seconds: float = 120


@dataclass
class Report:
    """What a scenario came to. Times are in seconds."""

    scenario: Scenario
    seed: int
    seconds: float
    faults: Counter[str]
    hits: Counter[str]
    recoveries: list[float]
    facts: dict[str, str]
    verdict: Verdict
    problem: str = ""
    is_void: bool = False

    @property
    def ok(self) -> bool:
        """Whether the scenario showed what it is for."""
        if self.problem:
            return False
        if self.scenario.mutation:
            return bool(self.verdict.broken & self.scenario.broken)
        return self.verdict.ok

    def count(self, name: str) -> int:
        """Return one of the judge's counters."""
        return self.verdict.counters.get(name, 0)

    def recovery(self, percent: int) -> float | None:
        """Return a percentile of the recovery times."""
        if not self.recoveries:
            return None
        if len(self.recoveries) == 1:
            return self.recoveries[0]
        return statistics.quantiles(self.recoveries, n=100, method="inclusive")[percent - 1]


class Run:
    """What a scenario's body works with."""

    def __init__(
        self,
        harness: Harness,
        journal: Journal,
        *,
        scale: Scale,
        seed: int,
        tell: Callable[[str], None],
        directory: Path,
    ) -> None:
        self.harness = harness
        self.target = harness.target
        self.journal = journal
        self.scale = scale
        self.seed = seed
        self.chance = random.Random(seed)
        self.tell = tell
        self.directory = directory
        self.companies: list[UUID] = [uuid4() for _ in range(_COMPANIES)]
        self.faults: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.recoveries: list[float] = []
        self.facts: dict[str, str] = {}
        self.violations: list[Violation] = []
        self.planted = 0
        self.listened = True

    async def load(
        self,
        count: int,
        *,
        rate: float | None = None,
        mix: Mapping[str, float] = MIX,
        samples: Sequence[Sample] | None = None,
        concurrency: int = _CONCURRENCY,
    ) -> None:
        """Upload *count* files in the name of the run's companies."""
        self.tell(f"uploading {count} files")
        await run_load(
            self.target, count=count, seed=self.seed, journal=self.journal,
            companies=self.companies, concurrency=concurrency, rate=rate, mix=mix,
            samples=samples, patience=180,
        )  # fmt: skip

    @asynccontextmanager
    async def loading(self, count: int, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Upload in the background of the block, and wait for its end."""
        task = asyncio.create_task(self.load(count, **options))
        try:
            yield task
        except BaseException:
            task.cancel()
            raise
        await task

    @asynccontextmanager
    async def traffic(self, least: int, **options: Any) -> AsyncIterator[None]:
        """Upload for as long as the block lasts, however slow the machine, and *least* files."""
        ends = asyncio.Event()

        async def upload() -> None:
            sent = 0
            while sent < least or not ends.is_set():
                count = min(least, _BATCH)
                await self.load(count, **options)
                sent += count

        task = asyncio.create_task(upload())
        try:
            yield
        except BaseException:
            task.cancel()
            raise
        ends.set()
        await task

    async def fault(self, name: str, inflict: Awaitable[object], *, lasts: bool = False) -> None:
        """
        Inflict a fault; it is a hit when work was under way at its beginning.

        One that *lasts* until *inflict* is done meets what is under way at its end as well.
        """
        under_way = await self.in_flight()
        self.faults[name] += 1
        self.tell(f"{name} ({under_way} in flight)")
        await inflict
        if under_way or (lasts and await self.in_flight()):
            self.hits[name] += 1

    async def in_flight(self) -> int:
        """Return how many uploads have no outcome; 1 when the database cannot tell."""
        try:
            connection = await asyncpg.connect(self.target.database_url, timeout=5)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return 1
        try:
            return int(await connection.fetchval(_IN_FLIGHT, self.companies))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return 1
        finally:
            connection.terminate()

    async def rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a query of an administrator."""
        connection = await asyncpg.connect(self.target.database_url)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    async def until(self, condition: Callable[[], Awaitable[object]], seconds: float = 60) -> float:
        """Wait until *condition* holds and return the seconds that took; raises TimeoutError."""
        started = time.monotonic()
        async with asyncio.timeout(seconds * PATIENCE):
            while not await condition():  # noqa: ASYNC110 - others change what is looked at
                await asyncio.sleep(0.05)
        return time.monotonic() - started

    async def settled(self, seconds: float = 120) -> float:
        """Wait until every upload so far has its outcome; return the seconds that took."""
        return await quiesce(self.target, self.journal, timeout=seconds)

    def require(self, condition: bool, text: str) -> None:
        """Count a promise of the scenario's own as broken unless *condition* holds."""
        if not condition:
            self.violations.append(Violation("own", None, text))


async def play(
    scenario: Scenario,
    harness: Harness,
    *,
    scale: Scale,
    seed: int,
    directory: Path,
    tell: Callable[[str], None],
) -> Report:
    """Run one scenario on a stack that is up, and judge it."""
    started = time.monotonic()
    path = directory / f"{scenario.name}-{seed}-{int(time.time())}.jsonl"
    problem = ""
    with Journal(path) as journal:
        run = Run(harness, journal, scale=scale, seed=seed, tell=tell, directory=directory)
        async with Watchers(harness.target, run.companies, journal) as watchers:
            try:
                await scenario.body(run)
            except Exception as error:  # noqa: BLE001 - a scenario that fails is told of
                problem = f"{type(error).__name__}: {error}"
                tell(problem)
            tell("waiting for quiet")
            quiet = await quiesce(harness.target, journal, timeout=scenario.quiet_seconds)
            run.facts.setdefault("quiet after", f"{quiet:.1f} s")
            await watchers.caught_up(5 if scenario.mutation else 30)
        tell("judging")
        evidence = await gather(harness.target, journal)
    verdict = _judged(evidence, run)
    wanted = scenario.hits_wanted[0 if scale.full else 1]
    hits = sum(run.hits.values())
    is_void = not problem and hits < wanted
    if is_void:
        problem = f"void: {hits} faults met work under way, {wanted} were wanted"
    return Report(
        scenario=scenario,
        seed=seed,
        seconds=time.monotonic() - started,
        faults=run.faults,
        hits=run.hits,
        recoveries=run.recoveries,
        facts=run.facts,
        verdict=verdict,
        problem=problem,
        is_void=is_void,
    )


def _judged(evidence: Evidence, run: Run) -> Verdict:
    verdict = judge(evidence, planted_dead_letters=run.planted, clients_listened=run.listened)
    verdict.violations += run.violations
    return verdict

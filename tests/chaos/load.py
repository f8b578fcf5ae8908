"""
Clients that behave well while parts of the stack do not: they upload, and they listen.

Invariant: whatever a client was told is in the journal, and a doubt is written down as one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TextIO
from uuid import UUID, uuid4

import httpx

from chaos import media
from chaos.journal import Journal, Outcome, append_line, uploads
from chaos.media import Sample
from chaos.target import Target
from support.http_clients import web

__all__ = ["MIX", "Heard", "Target", "Watchers", "run_load"]

MIX: Mapping[str, float] = {"image": 0.7, "clip": 0.25, "bad": 0.05}
"""Parts of good images, good clips and bad files in a load."""

TERMINAL = frozenset({"ready", "failed"})
GONE = frozenset({"deleted", "cancelled"})
_TIMEOUT = httpx.Timeout(30, connect=5)
_STREAM_TIMEOUT = httpx.Timeout(10, read=60)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_STORED_BEFORE = 409  # a repetition of an upload whose answer was lost
_TOO_MANY = 429
_WAYS = 2
_CONNECT_SECONDS = 60


async def run_load(
    target: Target,
    *,
    count: int,
    seed: int,
    journal: Journal,
    companies: Sequence[UUID],
    concurrency: int,
    rate: float | None = None,
    mix: Mapping[str, float] = MIX,
    samples: Sequence[Sample] | None = None,
    patience: float = 120.0,
) -> None:
    """
    Sign and upload *count* files in the name of *companies* and write down what came of each.

    *rate* is in uploads begun per second; without it each of *concurrency* clients begins its
    next upload when the last one is done. *samples* are uploaded in turn instead of the seed's
    own in proportions of *mix*. After *patience* seconds without success a client gives up.
    """
    chosen = _chosen(count, seed, mix, samples)
    limits = httpx.Limits(max_connections=2 * concurrency)
    async with web(timeout=_TIMEOUT, limits=limits) as http:
        client = _Client(target, http, journal, patience)
        places = asyncio.Semaphore(concurrency)
        started = time.monotonic()

        async def one(number: int, sample: Sample) -> None:
            if rate is not None:
                await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            async with places:
                company = companies[number % len(companies)]
                await client.send(sample, company, random.Random(f"{seed}-{number}"))

        async with asyncio.TaskGroup() as tasks:
            for number, sample in enumerate(chosen):
                tasks.create_task(one(number, sample))


def _chosen(
    count: int, seed: int, mix: Mapping[str, float], given: Sequence[Sample] | None
) -> list[Sample]:
    if given is not None:
        return [given[number % len(given)] for number in range(count)]
    chance = random.Random(seed)
    by_kind: dict[str, list[Sample]] = {}
    for sample in media.samples(seed):
        by_kind.setdefault(sample.kind, []).append(sample)
    chosen = []
    for kind, number in _shares(count, mix).items():
        # Each of a kind in turn, so that a small load has a bit of all.
        pool = chance.sample(by_kind[kind], len(by_kind[kind]))
        chosen += [pool[n % len(pool)] for n in range(number)]
    chance.shuffle(chosen)
    return chosen


def _shares(count: int, mix: Mapping[str, float]) -> dict[str, int]:
    """Return how many of each kind make up *count*, the largest remainders rounded up."""
    whole = sum(mix.values())
    exact = {kind: count * part / whole for kind, part in mix.items()}
    shares = {kind: int(number) for kind, number in exact.items()}
    left = count - sum(shares.values())
    for kind in sorted(exact, key=lambda kind: shares[kind] - exact[kind])[:left]:
        shares[kind] += 1
    return shares


@dataclass
class _Tries:
    """What several tries of one request came to; ``doubt`` when one may have had an effect."""

    answer: httpx.Response | None = None
    doubt: bool = False
    count: int = 0
    problem: str = ""

    @property
    def outcome(self) -> Outcome:
        if self.answer is not None and self.answer.is_success:
            return "ok"
        if self.answer is not None and self.answer.status_code == _STORED_BEFORE:
            return "ok"
        return "info" if self.doubt else "fail"


class _Client:
    """Signs and uploads; tries again what may be tried again."""

    def __init__(
        self, target: Target, http: httpx.AsyncClient, journal: Journal, patience: float
    ) -> None:
        self._target = target
        self._http = http
        self._ledger = journal
        self._patience = patience
        self._tokens: dict[UUID, str] = {}

    async def send(self, sample: Sample, company: UUID, chance: random.Random) -> None:
        """Sign and upload one file."""
        about: dict[str, Any] = {"company": str(company), "sample": sample.name}
        signed = await self._noted("sign", about, lambda: self._sign(sample, company), chance)
        if signed is None:
            return
        grant = signed.json()
        about |= {
            "asset_id": grant["assetId"],
            "expect": sample.expect,
            "size": len(sample.data),
            "md5": hashlib.md5(sample.data, usedforsecurity=False).hexdigest(),
        }
        await self._noted("upload", about, lambda: self._upload(sample, grant), chance)

    def _sign(self, sample: Sample, company: UUID) -> Callable[[], Awaitable[httpx.Response]]:
        if company not in self._tokens:
            self._tokens[company] = self._target.token(company)
        headers = {
            "Authorization": f"Bearer {self._tokens[company]}",
            "Idempotency-Key": str(uuid4()),
        }
        body = {"fileName": sample.name, "size": len(sample.data), "type": sample.content_type}
        url = f"{self._target.url}/api/media/sign"
        return lambda: self._http.post(url, json=body, headers=headers)

    def _upload(self, sample: Sample, grant: Any) -> Callable[[], Awaitable[httpx.Response]]:
        upload = grant["upload"]
        headers = upload["headers"]
        return lambda: self._http.put(upload["url"], content=sample.data, headers=headers)

    async def _noted(
        self,
        op: str,
        about: Mapping[str, Any],
        prepare: Callable[[], Callable[[], Awaitable[httpx.Response]]],
        chance: random.Random,
    ) -> httpx.Response | None:
        tries = _Tries()
        try:
            await self._persist(prepare(), tries, chance)
        except asyncio.CancelledError:
            tries.doubt, tries.problem = True, "cancelled"
            raise
        finally:
            answer = tries.answer
            known = dict(about)
            if op == "sign" and answer is not None and answer.is_success:
                known["asset_id"] = answer.json()["assetId"]
            self._ledger.add(op, tries.outcome, tries=tries.count, detail=tries.problem, **known)
        return answer if answer is not None and answer.is_success else None

    async def _persist(
        self, send: Callable[[], Awaitable[httpx.Response]], tries: _Tries, chance: random.Random
    ) -> None:
        """Send until there is an answer that a repetition would not change."""
        deadline = time.monotonic() + self._patience
        while True:
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries.count, 10))
            pause *= chance.uniform(0.5, 1)
            tries.count += 1
            try:
                answer = await send()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                tries.problem = repr(error)  # nothing was sent
            except httpx.TransportError as error:
                tries.doubt, tries.problem = True, repr(error)
            else:
                tries.answer = answer
                if answer.is_success:
                    tries.problem = ""
                    return
                tries.problem = f"{answer.status_code} {answer.text[:200]}"
                if not answer.is_server_error and answer.status_code != _TOO_MANY:
                    return
                tries.doubt |= answer.is_server_error
                pause = max(pause, _retry_after(answer))
            if time.monotonic() + pause > deadline:
                return
            await asyncio.sleep(pause)


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "0")
    return float(text) if text.isdecimal() else 0.0


@dataclass(frozen=True, kw_only=True)
class Heard:
    """
    Something that a subscribed client of *company* learned at *at*.

    ``kind`` is ``media_status``, ``media_processed``, ``media_hello`` (a connection is open),
    ``media_resync`` (events were lost), ``refused`` (the notifier did not take our position)
    or ``read`` (the asset's state, read because of the two before). ``what`` is the status,
    stage or outcome; ``event_company`` is the company that the event names.
    """

    at: float
    company: str
    kind: str
    asset_id: str | None = None
    event_id: str | None = None
    event_company: str | None = None
    attempt: int | None = None
    what: str | None = None


class Watchers:
    """
    One subscriber for each company, from before the block's first line to its end.

    All that they hear is written to the journal's sibling file. Before the end of the block,
    ``caught_up`` waits for what is still on its way.
    """

    def __init__(self, target: Target, companies: Sequence[UUID], journal: Journal) -> None:
        self._target = target
        self._ledger = journal
        self._companies = [str(company) for company in companies]
        self._watchers: list[_Watcher] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._file = self._ledger.events_path.open("a", encoding="utf-8")
        self._http = web(timeout=_STREAM_TIMEOUT)
        self._watchers = [
            _Watcher(self._target, company, self._http, self._file) for company in self._companies
        ]
        self._tasks = [asyncio.create_task(watcher.follow()) for watcher in self._watchers]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                for watcher in self._watchers:
                    await watcher.connected.wait()
        except BaseException:
            await self.__aexit__()
            raise
        for company in self._companies:
            self._ledger.add("subscribe", "ok", company=company)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        self._file.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def caught_up(self, timeout: float = 30) -> float:  # noqa: ASYNC109
        """
        Wait until all acknowledged uploads' ends were heard; return the seconds that it took.

        Returns as well when time is up: the judge tells who did not learn what.
        """
        acknowledged = {
            asset_id: entry.company
            for asset_id, entry in uploads(self._ledger.entries()).items()
            if entry.outcome == "ok"
        }
        started = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for watcher in self._watchers:
                    ours = {a for a, company in acknowledged.items() if company == watcher.company}
                    await watcher.knows(ours)
        return time.monotonic() - started

    @property
    def connections(self) -> int:
        """How often any of them connected."""
        return sum(watcher.connections for watcher in self._watchers)


class _Watcher:
    """One client that follows one company's events."""

    def __init__(self, target: Target, company: str, http: httpx.AsyncClient, file: TextIO) -> None:
        self._target = target
        self.company = company
        self._http = http
        self._file = file
        self._headers = {"Authorization": f"Bearer {target.token(company)}"}
        self._last_id = ""
        self._told: dict[str, set[str]] = {}
        self._news = asyncio.Event()
        self.connected = asyncio.Event()
        self.connections = 0

    async def follow(self) -> None:
        """Follow the events until cancelled, through any number of connections."""
        while True:
            with suppress(httpx.TransportError):
                await self._follow_once()
            await asyncio.sleep(random.uniform(0.2, 0.6))

    async def knows(self, asset_ids: set[str]) -> None:
        """Wait until this client knows how the assets ended."""
        while any(len(self._told.get(asset_id, ())) < _WAYS for asset_id in asset_ids):
            self._news.clear()
            await self._news.wait()

    async def _follow_once(self) -> None:
        headers = {**self._headers, **({"Last-Event-ID": self._last_id} if self._last_id else {})}
        url = f"{self._target.url}/api/media/events"
        async with self._http.stream("GET", url, headers=headers) as answer:
            if answer.is_server_error or answer.status_code == _TOO_MANY:
                return
            if not answer.is_success:
                await answer.aread()
                self._write(kind="refused", what=f"{answer.status_code} {answer.text[:200]}")
                self._last_id = ""
                await self._read_assets()
                return
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif fields:
                    await self._take(fields)
                    fields = {}

    async def _take(self, fields: Mapping[str, str]) -> None:
        kind = fields.get("event", "message")
        if kind in {"media_status", "media_processed"}:
            self._hear(kind, json.loads(fields["data"]))
        elif kind in {"media_hello", "media_resync"}:
            self._write(kind=kind)
        if kind == "media_hello":
            self.connections += 1
            self.connected.set()
        elif kind == "media_resync":
            await self._read_assets()
        self._last_id = fields.get("id") or self._last_id

    def _hear(self, kind: str, event: Mapping[str, Any]) -> None:
        data = event["data"]
        self._write(
            kind=kind,
            asset_id=event["subject"],
            event_id=event["id"],
            event_company=event.get("companyid"),
            attempt=data.get("attempt"),
            what=data.get("status") or data.get("stage") or data.get("outcome"),
        )

    async def _read_assets(self) -> None:
        """Read the state of all assets, as a client does that has lost events."""
        url, cursor = f"{self._target.url}/api/media/assets", None
        while True:
            page = {"limit": "100", **({"cursor": cursor} if cursor else {})}
            answer = await self._http.get(url, params=page, headers=self._headers)
            if not answer.is_success:
                raise httpx.ReadError(f"the API answered {answer.status_code}")
            found = answer.json()
            for asset in found["items"]:
                self._write(
                    kind="read",
                    asset_id=asset["assetId"],
                    event_company=asset["companyId"],
                    what=asset["status"],
                )
            cursor = found.get("nextCursor")
            if not cursor:
                return

    def _write(self, **about: Any) -> None:
        heard = Heard(at=time.time(), company=self.company, **about)
        append_line(self._file, heard)
        if heard.asset_id is None:
            return
        if heard.what in TERMINAL | GONE:
            # An outcome is told as a status and as a result. What was read counts for both.
            told = (
                {"media_status", "media_processed"}
                if heard.kind == "read" or heard.what in GONE
                else {heard.kind}
            )
            self._told.setdefault(heard.asset_id, set()).update(told)
        self._news.set()

"""
The scenarios: what is done to the stack, how often, and what must hold besides the invariants.

F0 to F12 follow the usual catalogue of an upload pipeline's bad days; M1 to M5 take one guard
away each, and the judge must notice.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from media_contracts import MEDIA_INGEST
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore
from mediactl.devstack.services import SERVICES, service_environment
from mediactl.errors import MediactlError
from minio.notificationconfig import NotificationConfig

from chaos import media
from chaos.breaking import BreakingProxy
from chaos.broker_line import broker_line, by_second_way
from chaos.evidence import _Storage, processes_left
from chaos.harness import SERVERS, for_service, hooks
from chaos.hooks.chaos_hooks import POINTS
from chaos.media import Sample
from chaos.proxy import Line, Proxy
from chaos.replay import GROUPS, echoing, length, plant, replay
from chaos.run import Run, Scenario

_IMAGES = {"image": 1.0}
# Clips take longer than images, so that a fault at any moment meets work under way.
_HEAVY = {"image": 0.35, "clip": 0.6, "bad": 0.05}
_FENCES = "tasks_fence_rejections_total"


async def kill_every_part(run: Run) -> None:
    """F0: kill -9 of each service and each server at random moments, one after the other."""
    names = [*SERVICES, *SERVERS] * run.scale.of(5, 1)
    run.chance.shuffle(names)
    async with (
        run.harness.kept_alive(),
        run.traffic(run.scale.of(200, 16), rate=3.0, mix=_HEAVY),
    ):
        for name in names:
            await asyncio.sleep(run.chance.uniform(0.5, 3))
            await run.until(partial(_answers, run, name), 90)
            await run.fault(f"kill {name}", run.harness.kill(name))
            if name in SERVERS:
                await run.harness.start(name)


async def kill_services(run: Run) -> None:
    """F1: kill -9 of each service at random moments, each started again at once."""
    times = run.scale.of(20, 2)
    count = run.scale.of(400, 24)
    async with run.harness.kept_alive(), run.traffic(count, rate=3.0, mix=_HEAVY):
        await asyncio.gather(*(_kill_often(run, name, times) for name in SERVICES))


async def _kill_often(run: Run, name: str, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(run.chance.uniform(1, 5))
        await run.until(lambda: _answers(run, name), 90)
        await run.fault(f"kill {name}", run.harness.kill(name))


async def _answers(run: Run, name: str) -> bool:
    program = run.harness._running[name]
    return program.is_alive and await asyncio.to_thread(program.is_ready)


async def kill_at_points(run: Run) -> None:
    """F2: kill -9 at named points, such as between a commit and its confirmation."""
    short = ("checked", "video_stored", "relaying")
    for point in POINTS if run.scale.full else short:
        for _ in range(run.scale.of(2, 1)):
            await _kill_at(run, point)


async def _kill_at(run: Run, point: str) -> None:
    service = POINTS[point].service
    hits = run.directory / "hits"
    before = _lines(hits)
    with suppress(MediactlError):  # some points are reached before a service is ready
        await run.harness.restart(service, for_service(service, hooks(kill=point, hits=hits)))
    if service == "watcher":
        await _grant_buckets(run)
        _silence(run)
    load = asyncio.create_task(run.load(3, samples=_three(run), concurrency=3))
    try:
        await run.until(lambda: _is_dead(run, service), 60)
        run.faults[f"kill at {point}"] += 1
        run.hits[f"kill at {point}"] += _lines(hits) - before
    finally:
        if run.harness.is_alive(service):
            await run.harness.stop(service)
        started = time.monotonic()
        await run.harness.start(service)
        await load
    await run.settled()
    run.recoveries.append(time.monotonic() - started)


async def _is_dead(run: Run, name: str) -> bool:
    return not run.harness.is_alive(name)


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def _three(run: Run) -> list[Sample]:
    found = media.samples(run.seed)
    images = [sample for sample in found if sample.kind == "image"]
    clips = [sample for sample in found if sample.kind == "clip"]
    return [run.chance.choice(images), run.chance.choice(clips), run.chance.choice(images)]


async def broker_away(run: Run) -> None:
    """F3: the broker stopped and killed during uploads, and away for a minute."""
    times, away = run.scale.of(4, 1), run.scale.of(60, 5)
    async with run.traffic(run.scale.of(140, 12), rate=4.0, mix=_HEAVY):
        for inflict in (run.harness.stop, run.harness.kill):
            for _ in range(times):
                await asyncio.sleep(run.chance.uniform(1, 3))
                what = "kill kafka" if inflict == run.harness.kill else "stop kafka"
                await run.fault(what, inflict("kafka"))
                await asyncio.sleep(run.chance.uniform(0, 2))
                await run.harness.start("kafka")
    await run.settled()
    await run.harness.stop("kafka")
    run.faults["kafka away"] += 1
    began = time.monotonic()
    count = run.scale.of(60, 8)
    await run.load(count, rate=count / away)
    run.hits["kafka away"] += bool(await run.in_flight())
    run.facts["kafka away for"] = f"{time.monotonic() - began:.0f} s, {count} uploads meanwhile"
    started = time.monotonic()
    await run.harness.start("kafka")
    took = await run.settled()
    run.recoveries.append(time.monotonic() - started)
    run.facts["all ready after kafka is back"] = f"{took:.1f} s"
    run.require(took < 60, f"it took {took:.0f} s until all was ready")


async def database_away(run: Run) -> None:
    """F4: PostgreSQL stopped at once, killed, and frozen during uploads."""
    times = run.scale.of(5, 1)
    async with run.traffic(run.scale.of(200, 12), rate=3.0, mix=_HEAVY):
        for number in range(2 * times):
            await asyncio.sleep(run.chance.uniform(2, 5))
            if number % 2:
                await run.fault("kill postgres", run.harness.kill("postgres"))
            else:
                await run.fault("stop postgres at once", _quit_postgres(run))
            await run.harness.start("postgres")
        for _ in range(run.scale.of(3, 1)):
            await asyncio.sleep(2)
            seconds = run.scale.of(20, 4)
            frozen = _freeze(run, "postgres", seconds)
            await run.fault(f"freeze postgres {seconds} s", frozen, lasts=True)


async def _quit_postgres(run: Run) -> None:
    os.kill(run.harness.pid("postgres"), signal.SIGQUIT)
    await run.until(lambda: _is_dead(run, "postgres"), 20)


async def _freeze(run: Run, name: str, seconds: float) -> None:
    with run.harness.frozen(name):
        await asyncio.sleep(seconds)


async def storage_away(run: Run) -> None:
    """F5: MinIO killed; its waiting notifications kept, torn, deleted; none sent at all."""
    async with run.traffic(run.scale.of(200, 12), rate=4.0, mix=_HEAVY):
        for _ in range(run.scale.of(8, 1)):
            await asyncio.sleep(run.chance.uniform(2, 5))
            await run.fault("kill minio", run.harness.kill("minio"))
            await run.harness.start("minio")
    count = run.scale.of(20, 4)
    harms: list[tuple[str, Callable[[Path], None] | None]]
    harms = [("kept", None), ("torn", _tear), ("deleted", _empty)]
    for what, harm in harms if run.scale.full else harms[1:2]:
        await run.settled()
        await run.harness.stop("kafka")
        await run.load(count, mix=_IMAGES)
        await run.fault(f"kill minio, its queue {what}", run.harness.kill("minio"))
        if harm is not None:
            harm(_queue(run))
        await run.harness.start("minio")
        await run.harness.start("kafka")
        took = await run.settled()
        run.facts[f"queue {what}: all ready after"] = f"{took:.1f} s"
        await run.harness.stop("minio")
        _empty(_queue(run))
        await run.harness.start("minio")
    await run.harness.restart("watcher", {"WATCHER_BUCKET_VERIFY_SECONDS": "3600"})
    _silence(run)
    run.faults["notifications off"] += 1
    await run.load(count, mix=_IMAGES)
    run.hits["notifications off"] += bool(await run.in_flight())
    took = await run.settled()
    run.facts["notifications off: all ready after"] = f"{took:.1f} s"
    await run.harness.restart("watcher")


def _queue(run: Run) -> Path:
    return Path(run.harness._running["minio"].events)  # type: ignore[attr-defined]


def _empty(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def _tear(folder: Path) -> None:
    """Cut the notifications that wait, as a lost power supply would."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:40])


async def _grant_buckets(run: Run) -> None:
    """Have every company's bucket made before its notification is taken away."""
    if not await run.rows("SELECT 1 FROM companies WHERE company_id = $1", run.companies[-1]):
        await run.load(len(run.companies), mix=_IMAGES)
        await run.settled()


def _silence(run: Run) -> None:
    """Take the notification from every bucket of the run."""
    target = run.target
    settings = StorageSettings(
        s3_endpoint_url=target.s3_url,
        s3_access_key=target.s3_access_key,
        s3_secret_key=target.s3_secret_key,
    )
    store = ObjectStore(settings)
    for company in run.companies:
        store._client.set_bucket_notification(target.bucket(company), NotificationConfig())
    store.close()


async def frozen_worker(run: Run) -> None:
    """F6: a worker stopped past its lease wakes when another one has its tasks."""
    before = await run.harness.metric("ingest", _FENCES)
    for number in range(run.scale.of(7, 1)):
        await _freeze_a_worker(run, late=bool(number % 2))
    rejected = int(await run.harness.metric("ingest", _FENCES) - before)
    run.facts["fence rejections"] = str(rejected)
    wanted = run.scale.of(10, 1)
    run.require(rejected >= wanted, f"{rejected} fence rejections, {wanted} were wanted")


async def _freeze_a_worker(run: Run, settings: dict[str, str] | None = None, *, late: bool) -> None:
    """
    Freeze ingest in mid-transcode, let another one take over, wake it, see what it does.

    *late* is when its encoder, which nobody froze, has finished: then it has a result to give.
    """
    # Of a large film even the first chunk takes longer than waking and giving a result.
    clip = media.long_clip(6.0, "1920x1080")
    await run.load(2, samples=[clip], concurrency=2)
    await run.until(lambda: _encoders(run, 2), 30)
    with run.harness.frozen("ingest"):
        run.faults["freeze ingest"] += 1
        async with run.harness.another("ingest", settings, wait=False):
            await run.until(lambda: _held(run, 2, 2), 60)
            run.hits["freeze ingest"] += 1
            if late:
                await run.until(lambda: _encoders(run, 0), 60)
            run.harness.signal("ingest", signal.SIGCONT)
            await run.settled()


async def _encoders(run: Run, count: int) -> bool:
    """Return whether so many encoders of the harness's own ingest are at work."""
    own = f"{run.harness.home.data / 'scratch' / 'ingest'}/"
    lines = [line for line in processes_left(run.target) if own in line and "libx264" in line]
    # The sandbox around an encoder has its arguments among its own.
    return sum(line.split()[0].endswith("ffmpeg") for line in lines) == count


async def _held(run: Run, fence: int, count: int) -> bool:
    rows = await run.rows(
        "SELECT 1 FROM tasks WHERE state IN ('running', 'done') AND pool = 'encode'"
        " AND fence >= $1 AND company_id = ANY($2::uuid[])",
        fence, run.companies,
    )  # fmt: skip
    return len(rows) >= count


async def rebalances(run: Run) -> None:
    """F7: consumers join and leave, in good order and killed, every few seconds."""
    async with run.traffic(run.scale.of(200, 12), rate=3.0, mix=_HEAVY):
        for number in range(run.scale.of(12, 2)):
            name = ("ingest", "thumbnailer")[number % 2]
            async with run.harness.another(name) as pid:
                stay = asyncio.sleep(run.chance.uniform(1, 3))
                await run.fault(f"another {name} joins", stay, lasts=True)
                if number % 4 < 2:  # half of each are killed, the others leave
                    await run.fault(f"kill the other {name}", _kill_process(pid))


async def _kill_process(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def replayed(run: Run) -> None:
    """F8: every topic from its beginning: no new transition, no new object."""
    await run.load(run.scale.of(200, 20))
    await run.settled()
    before = await _effects(run)
    for name in ("ingest", "thumbnailer"):
        await run.harness.stop(name)
    run.faults["replay"] += 1
    again = await replay(run.target)
    run.hits["replay"] += 1
    for name in ("ingest", "thumbnailer"):
        await run.harness.start(name)
    await run.settled()
    after = await _effects(run)
    run.facts["records that came again"] = str(again)
    run.facts["transitions and object versions before"] = str(before)
    run.facts["transitions and object versions after"] = str(after)
    run.require(before == after, f"a replay changed {before} to {after}")


async def _effects(run: Run) -> tuple[int, int]:
    """Return how many transitions and how many versions of objects there are."""
    (row,) = await run.rows(
        "SELECT count(*) AS n FROM asset_transitions WHERE company_id = ANY($1::uuid[])",
        run.companies,
    )
    with ThreadPoolExecutor(1) as pool:
        found = await _Storage(run.target, pool).listing([str(one) for one in run.companies])
    return row["n"], sum(one.versions for one in found)


async def echoes(run: Run) -> None:
    """F9: notifications three times more, shuffled, stale, and removals that never were."""
    async with echoing(run.target, run.chance, times=3) as sent:
        async with run.loading(run.scale.of(200, 20), rate=4.0):
            run.faults["echo"] += 1
        run.hits["echo"] += 1
        await run.until(lambda: _more_than(sent, run.scale.of(200, 20)), 60)
        await run.settled()
    run.facts["notifications sent again"] = str(sent[0])


async def _more_than(sent: list[int], least: int) -> bool:
    return sent[0] > least


async def scratch_full(run: Run) -> None:
    """F10: the scratch disk is full, and has space again."""
    folder = run.directory / "small-disk"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if not await asyncio.to_thread(_succeeds, mount):
        run.facts["skipped"] = "this user may not mount a small disk"
        run.hits["skipped"] += 1
        return
    try:
        own = {
            f"{name.upper()}_SCRATCH_DIR": str(folder / name) for name in ("ingest", "thumbnailer")
        }
        for name in ("ingest", "thumbnailer"):
            (folder / name).mkdir()
            await run.harness.restart(name, own)
        for _ in range(run.scale.of(3, 1)):
            filler = folder / "filler"
            _fill(filler)
            async with run.loading(run.scale.of(70, 10), rate=6.0):
                await run.fault("disk full", asyncio.sleep(run.scale.of(8, 4)), lasts=True)
                filler.unlink()
            await run.settled()
    finally:
        for name in ("ingest", "thumbnailer"):
            await run.harness.restart(name)
        await asyncio.to_thread(_succeeds, ["umount", str(folder)])
        folder.rmdir()


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _fill(path: Path) -> None:
    try:
        with path.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
    except OSError:
        return


async def bad_network(run: Run) -> None:
    """F11: slow, thin, mute and cut lines to PostgreSQL, to MinIO, and in full to Kafka."""
    database, storage = urlsplit(run.target.database_url), urlsplit(run.target.s3_url)
    async with AsyncExitStack() as stack:
        to_broker = None
        if run.scale.full:
            to_broker = await stack.enter_async_context(broker_line(run.harness, seed=run.seed))
        to_database = await stack.enter_async_context(
            BreakingProxy("127.0.0.1", database.port or 0, seed=run.seed).listening()
        )
        to_storage = await stack.enter_async_context(
            BreakingProxy("127.0.0.1", storage.port or 0, seed=run.seed).listening()
        )
        for name in ("ingest", "thumbnailer"):
            own = _through(run, name, to_database.port, to_storage.port)
            way = by_second_way(name, to_broker) if to_broker else {}
            await run.harness.restart(name, {**own, **way})
        try:
            await _shake(run, to_database, to_storage, to_broker)
            await run.settled()
        finally:
            for name in ("ingest", "thumbnailer"):
                await run.harness.restart(name)


def _through(run: Run, name: str, database: int, storage: int) -> dict[str, str]:
    usual = service_environment(name, 0, run.harness._local()._surroundings())
    own = {"S3_ENDPOINT_URL": f"http://127.0.0.1:{storage}"}
    if "DATABASE_URL" in usual:
        parts = urlsplit(usual["DATABASE_URL"])
        login = parts.netloc.rpartition("@")[0]
        own["DATABASE_URL"] = parts._replace(netloc=f"{login}@127.0.0.1:{database}").geturl()
    return for_service(name, own)


async def _shake(run: Run, to_database: Proxy, to_storage: Proxy, to_broker: Proxy | None) -> None:
    seconds = run.scale.of(15, 3)
    lines: list[tuple[str, Proxy, Line]] = [
        ("postgres slow", to_database, Line(delay=0.05, jitter=0.03)),
        ("minio slow", to_storage, Line(delay=0.3, jitter=0.2)),
        ("minio thin", to_storage, Line(bytes_per_second=200_000)),
        ("postgres mute", to_database, Line(mute=True)),
        ("minio mute", to_storage, Line(mute=True)),
    ]
    cuts: list[tuple[str, Proxy]] = [("postgres", to_database), ("minio", to_storage)]
    if to_broker is None:
        lines = lines[::2]
    else:
        lines += [
            ("kafka slow", to_broker, Line(delay=0.2, jitter=0.1)),
            ("kafka mute", to_broker, Line(mute=True)),
        ]
        cuts.append(("kafka", to_broker))
    count = run.scale.of(200, 20)
    async with run.loading(count, rate=count / (seconds * (len(lines) + 2))):
        for what, proxy, line in lines:
            proxy.line = line
            await run.fault(what, asyncio.sleep(seconds), lasts=True)
            proxy.line = Line()
        for what, proxy in cuts:
            for _ in range(run.scale.of(5, 2)):
                await run.fault(f"connections to {what} cut", _cut(proxy))
                await asyncio.sleep(seconds / 10)


async def _cut(proxy: Proxy) -> None:
    proxy.cut()


async def poisoned(run: Run) -> None:
    """F12: records that nobody can read, between good ones: all become dead letters."""
    async with run.loading(run.scale.of(200, 20), rate=8.0):
        for topic in GROUPS.values():
            for _ in range(run.scale.of(5, 1)):
                run.planted += await plant(run.target, topic)
                run.faults[f"poison on {topic.name}"] += 1
                run.hits[f"poison on {topic.name}"] += 1
    run.facts["poisonous records"] = str(run.planted)


async def killed_in_mid_transcode(run: Run) -> None:
    """R: kill -9 of ingest in mid-transcode, in the full run with the lease of production."""
    lease, heartbeat = run.scale.of(30, 8), run.scale.of(10, 3)
    usual = {
        "INGEST_LEASE_SECONDS": f"{lease}", "INGEST_HEARTBEAT_SECONDS": f"{heartbeat}",
    }  # fmt: skip
    clip = media.long_clip(4.0)
    for _ in range(run.scale.of(6, 1)):
        await run.harness.restart("ingest", usual)
        await run.load(2, samples=[clip], concurrency=2)
        await run.until(lambda: _encoders(run, 2), 30)
        started = time.monotonic()
        await run.fault("kill ingest in mid-transcode", run.harness.kill("ingest"))
        await run.harness.start("ingest", usual)
        waiting = await _unfinished(run)
        while waiting:
            await asyncio.sleep(0.1)
            left = await _unfinished(run)
            run.recoveries += [time.monotonic() - started] * (waiting - left)
            waiting = left
            if time.monotonic() - started > 120:
                break
    await run.harness.restart("ingest")
    worst = max(run.recoveries, default=0.0)
    run.facts["slowest recovery"] = f"{worst:.1f} s of {len(run.recoveries)}"
    run.require(worst < 45, f"a recovery took {worst:.0f} s")


async def killed_in_mid_chunk(run: Run) -> None:
    """
    C: kill -9 of ingest in the middle of new pieces of films, again and again.

    What was made before a kill is what the film is made of; what is made again is what was under
    way, and nothing else. A piece is killed once: one that ends its worker thrice is at fault.
    """
    usual = {"INGEST_LEASE_SECONDS": "8", "INGEST_HEARTBEAT_SECONDS": "3"}
    clip = media.long_clip(16.0)
    kills, lost, made = run.scale.of(50, 2), 0, dict[int, int]()
    await run.harness.restart("ingest", usual)
    while run.hits.total() < kills:
        if not await _unfinished(run):
            await run.load(1, samples=[clip])
        pieces = await _pieces(run)
        under_way = [one for one in pieces if one["state"] == "running"]
        if not under_way or any(one["tries"] > 1 for one in under_way):
            await asyncio.sleep(0.05)
            continue
        await asyncio.sleep(run.chance.uniform(0, 1))
        await run.fault("kill ingest in mid-chunk", run.harness.kill("ingest"))
        pieces = await _pieces(run)
        made |= {one["id"]: one["fence"] for one in pieces if one["state"] == "done"}
        lost += sum(one["state"] == "running" for one in pieces)
        await run.harness.start("ingest", usual)
    await run.settled(600)
    await run.harness.restart("ingest")
    pieces = {one["id"]: one for one in await _pieces(run)}
    again = sum(one["tries"] - 1 for one in pieces.values())
    changed = [number for number, fence in made.items() if pieces[number]["fence"] != fence]
    run.facts["pieces made"] = f"{len(pieces)}, {again} of them again after {kills} kills"
    run.require(again <= lost, f"{again} pieces were made again, and {lost} were lost")
    run.require(not changed, f"{len(changed)} pieces that were made were made anew")
    keys = await run.rows(
        "SELECT key FROM asset_files"
        " WHERE kind = 'segment' AND company_id = ANY($1::uuid[])", run.companies,
    )  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        found = await _Storage(run.target, pool).listing([str(one) for one in run.companies])
    stored = {one.key: one.versions for one in found}
    twice = [row["key"] for row in keys if stored.get(row["key"]) != 1]
    run.require(not twice, f"these are not stored once: {twice[:3]}")


async def _pieces(run: Run) -> list[Any]:
    return await run.rows(
        "SELECT id, state, tries, fence FROM tasks"
        " WHERE pool = 'encode' AND company_id = ANY($1::uuid[])", run.companies,
    )  # fmt: skip


async def _unfinished(run: Run) -> int:
    rows = await run.rows(
        "SELECT 1 FROM media_assets WHERE company_id = ANY($1::uuid[])"
        " AND status IN ('pending', 'processing')",
        run.companies,
    )
    return len(rows)


async def graceful_stop(run: Run) -> None:
    """G: SIGTERM in mid-work: tasks are given back, no try is counted, the stop is quick."""
    clip = media.long_clip(6.0)
    for _ in range(run.scale.of(5, 1)):
        await run.load(2, samples=[clip], concurrency=2)
        await run.until(lambda: _encoders(run, 2), 30)
        took = 0.0

        async def stop() -> None:
            nonlocal took
            took = await run.harness.stop("ingest")

        await run.fault("stop ingest", stop())
        run.require(took < 20, f"ingest took {took:.0f} s to stop")
        rows = await run.rows(
            # What the thumbnailer was asked for is no worker's.
            "SELECT state, tries FROM tasks WHERE company_id = ANY($1::uuid[])"
            " AND state NOT IN ('done', 'failed') AND pool <> 'pictures'",
            run.companies,
        )
        given_back = [(row["state"], row["tries"]) for row in rows]
        run.require(
            bool(given_back) and set(given_back) == {("queued", 0)},
            f"tasks were left as {given_back}",
        )
        run.facts["the stop took"] = f"{took:.1f} s"
        await run.harness.start("ingest")
        await run.settled()


async def without_fence(run: Run) -> None:
    """M1: the fence is off, and a woken worker's old result is taken."""
    own = for_service("ingest", hooks(mutation="fence_off"))
    await run.harness.restart("ingest", own)
    try:
        await _freeze_a_worker(run, own, late=True)
    finally:
        await run.harness.restart("ingest")


async def without_dedupe(run: Run) -> None:
    """M2: what comes again is not absorbed, and results come again."""
    await run.harness.restart("ingest", for_service("ingest", hooks(mutation="dedupe_off")))
    try:
        await run.load(8, mix=_IMAGES)
        await run.settled()
        await run.harness.stop("ingest")
        await replay(run.target, ["ingest_results"])
        run.faults["replay"] += 1
        run.hits["replay"] += 1
        await run.harness.start("ingest", for_service("ingest", hooks(mutation="dedupe_off")))
        await run.settled(30)
    finally:
        await run.harness.restart("ingest")


async def without_reconciler(run: Run) -> None:
    """M3: the reconciler is off, and notifications are dropped."""
    await _grant_buckets(run)
    await run.harness.restart("watcher", for_service("watcher", hooks(mutation="reconciler_off")))
    _silence(run)
    run.faults["notifications off"] += 1
    run.hits["notifications off"] += 1
    await run.load(6, mix=_IMAGES)


async def committed_whatever(run: Run) -> None:
    """M4: AckPolicy.ACK, and PostgreSQL away when notifications come."""
    await _let_records_go(run, "ack_always")


async def let_go_but_not_committed(run: Run) -> None:
    """M4, the control: as M4 with the right policy."""
    await _let_records_go(run, "impatient")


_LET_GO = 2


async def _let_records_go(run: Run, mutation: str) -> None:
    await run.harness.restart("watcher", {"WATCHER_RECONCILE_AFTER_SECONDS": "3600"})
    let_go = run.directory / f"{mutation}-{run.seed}-let-go"
    let_go.unlink(missing_ok=True)
    own = for_service("ingest", hooks(mutation=mutation, hits=let_go))
    await run.harness.restart("ingest", own)
    before = await length(run.target, MEDIA_INGEST)
    try:
        with run.harness.frozen("ingest"):
            await run.load(_LET_GO, mix=_IMAGES)
            await _quit_postgres(run)
        run.faults["postgres away"] += 1
        await run.until(lambda: _all_let_go(run, let_go, before), 60)
        run.hits["postgres away"] += 1
        await run.harness.start("postgres")
        await run.settled(15)
    finally:
        await run.harness.restart("ingest")


async def _all_let_go(run: Run, path: Path, before: int) -> bool:
    # MinIO tells of an upload through both its targets, of which one looks into its queue every
    # 3 seconds; and whatever is told once more is not lost.
    told = await length(run.target, MEDIA_INGEST) - before
    return told >= 2 * _LET_GO and _lines(path) >= told


async def marked_before_sent(run: Run) -> None:
    """M5: outbox rows are deleted before Kafka has their records, and ingest is killed."""
    await _kill_while_relaying(run, "outbox_marked_first")


async def killed_while_relaying(run: Run) -> None:
    """M5, the control: as M5 with the right order."""
    await _kill_while_relaying(run, "")


async def _kill_while_relaying(run: Run, mutation: str) -> None:
    own = for_service("ingest", hooks(kill="relaying:6", mutation=mutation))
    await run.harness.restart("ingest", own)
    async with run.loading(12, mix=_IMAGES, rate=2.0) as load:
        while not load.done():
            await asyncio.sleep(0.1)
            if not run.harness.is_alive("ingest"):
                run.faults["kill at relaying"] += 1
                run.hits["kill at relaying"] += 1
                await run.harness.start("ingest", own)
    await run.harness.restart("ingest")


def _scenario(
    name: str,
    body: Callable[[Run], Awaitable[None]],
    *,
    hits: tuple[int, int] = (1, 1),
    mutation: str = "",
    broken: Sequence[str] = (),
    quiet_seconds: float = 120,
) -> Scenario:
    title = (body.__doc__ or "").partition(": ")[2].rstrip(".")
    return Scenario(
        name, title, body, hits_wanted=hits, mutation=mutation, broken=frozenset(broken),
        quiet_seconds=quiet_seconds,
    )  # fmt: skip


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        _scenario("parts", kill_every_part, hits=(30, 4), quiet_seconds=240),
        _scenario("kills", kill_services, hits=(50, 3)),
        _scenario("points", kill_at_points, hits=(32, 1)),
        _scenario("broker", broker_away, hits=(3, 1)),
        _scenario("database", database_away, hits=(4, 1)),
        _scenario("storage", storage_away, hits=(4, 1)),
        _scenario("frozen", frozen_worker),
        _scenario("rebalance", rebalances, hits=(5, 1)),
        _scenario("replay", replayed),
        _scenario("echoes", echoes),
        _scenario("disk", scratch_full),
        _scenario("network", bad_network, hits=(5, 1)),
        _scenario("poison", poisoned),
        _scenario("recovery", killed_in_mid_transcode, hits=(6, 1)),
        _scenario("chunks", killed_in_mid_chunk, hits=(50, 2), quiet_seconds=240),
        _scenario("stop", graceful_stop),
        _scenario("m1-fence", without_fence, mutation="fence_off", broken=["I4"], quiet_seconds=30),
        _scenario(
            "m2-dedupe", without_dedupe, mutation="dedupe_off", broken=["I2"], quiet_seconds=20
        ),
        _scenario(
            "m3-reconciler", without_reconciler, mutation="reconciler_off", broken=["I2"],
            quiet_seconds=10,
        ),
        _scenario("m4-control", let_go_but_not_committed),
        _scenario(
            "m4-ack", committed_whatever, mutation="ack_always", broken=["I2"], quiet_seconds=5
        ),
        _scenario("m5-control", killed_while_relaying),
        _scenario(
            "m5-outbox", marked_before_sent, mutation="outbox_marked_first", broken=["I2"],
            quiet_seconds=20,
        ),
    )
}  # fmt: skip
"""All scenarios by name, in the order in which they are played."""

CONTROLS = frozenset({"m4-control", "m5-control"})
"""Scenarios that show that a mutation's is green without the mutation."""

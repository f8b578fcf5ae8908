"""Each point and each mutation still names something of the code, and does what it says."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from mediactl.devstack.services import SERVICES

from chaos.harness import HOOKS, hooks
from chaos.hooks.chaos_hooks import MUTATIONS, POINTS, resolve
from support.eventually import eventually
from support.surroundings import command_lines_with
from support.tiers import FULL, PATIENCE


def is_slow(name: str) -> bool:
    """Return whether a point is a coroutine function, as most are."""
    point = POINTS[name]
    return inspect.iscoroutinefunction(resolve(point.module, point.attribute)[2])


def run_python(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python with no other variables than *env* and those that any program needs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**kept, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * PATIENCE,
    )


@pytest.mark.parametrize("name", POINTS)
def test_a_point_is_a_function_of_its_service(name):
    point = POINTS[name]
    _, _, found = resolve(point.module, point.attribute)
    assert inspect.isfunction(found), "a static method would be called with self"
    assert point.service in SERVICES
    assert point.module.startswith((f"{point.service}.", "media_runtime.", "media_records."))
    assert is_slow(name) or (point.after, point.telling) == (True, False), (
        "a plain function is only ever seen after its call"
    )


def play_service(folder: Path, name: str, *, kill: str, calls: int) -> tuple[int, int, list[str]]:
    """
    Run a service that only calls the point *name*, every second time in vain.

    Returns its exit code, how often it got into the function, and the hits.
    """
    point = POINTS[name]
    *owners, function = point.attribute.split(".")
    word, wait = ("async ", "asyncio.run") if is_slow(name) else ("", "")
    lines = [*(f"class {owner}:" for owner in owners), f"{word}def {function}(*_):"]
    lines += ["print('in', flush=True)", "return next(answers)"]
    depths = [*range(len(owners) + 1), len(owners) + 1, len(owners) + 1]
    body = "\n".join(" " * depth + line for depth, line in zip(depths, lines, strict=True))
    *packages, module = point.module.split(".")
    inside = folder.joinpath(*packages)
    for one in {*list(inside.relative_to(folder).parents)[:-1], Path(*packages)} | {
        Path(point.service)
    }:
        (folder / one).mkdir(parents=True, exist_ok=True)
        (folder / one / "__init__.py").touch()
    (inside / f"{module}.py").write_text(
        f"import itertools\nanswers = itertools.cycle([None, 1])\n{body}\n"
    )
    (folder / point.service / "__main__.py").write_text(
        f"import asyncio, {point.module} as it\n"
        f"for _ in range({calls}):\n {wait}(it.{point.attribute}())\n"
    )
    hits = folder / "hits"
    env = hooks(kill=kill, hits=hits)
    env["PYTHONPATH"] += f"{os.pathsep}{folder}"
    done = run_python("-m", point.service, env=env)
    told = hits.read_text().splitlines() if hits.exists() else []
    return done.returncode, done.stdout.count("in"), told


# Of each service one, and of each kind of function and moment.
REACHED = (
    "claimed", "planned_in_transaction", "planned", "relaying", "checked", "rendered",
    "granted", "feeding", "published",
)  # fmt: skip


@pytest.mark.parametrize("name", POINTS if FULL else REACHED)
def test_a_service_dies_when_it_reaches_a_point_for_the_second_time(name, tmp_path):
    point = POINTS[name]
    code, entered, told = play_service(tmp_path, name, kill=f"{name}:2", calls=9)
    assert (code, told) == (-signal.SIGKILL, [name])
    before, telling = not point.after, point.telling
    assert entered == (1 if before else 4 if telling else 2)


@pytest.mark.parametrize("kill", ["", "claimed:4", "rendered:1"])
def test_a_service_that_does_not_reach_its_point_lives(kill, tmp_path):
    """Every second claim finds a task; pictures are rendered elsewhere."""
    assert play_service(tmp_path, "claimed", kill=kill, calls=7) == (0, 7, [])


def test_processes_that_a_service_starts_are_left_alone(tmp_path):
    done = run_python("-c", "import sys; print(*sys.modules)", env=hooks(kill="claimed"))
    assert "sitecustomize" in done.stdout
    assert "chaos_hooks" not in done.stdout


_TRANSCODING = """
    import asyncio, sys
    from chaos_hooks import install

    install(service="ingest", kill="transcoding:2", mutation="", hits=sys.argv[1])
    from ingest.outputs.transcode import Progress
    from media_runtime.media.ffmpeg import Ffmpeg
    from media_runtime.media.sandbox import Sandbox
    from pathlib import Path
    from types import SimpleNamespace

    here = Path('/usr/bin/env')
    run = Ffmpeg(Sandbox("bubblewrap")).run
    progress = Progress(None)
    async def report(done):
        await progress.report(SimpleNamespace(id=1, attempt=1, status="processing"), 0, done, 0)
    asyncio.run(
        run(sys.argv[2:], reads=here, writes=here.parent, timeout_seconds=60, on_progress=report)
    )
"""


async def test_no_ffmpeg_outlives_a_service_that_dies_in_mid_transcode(tmp_path):
    hits, marker = tmp_path / "hits", f"title={tmp_path}"
    endless = ["-re", "-f", "lavfi", "-i", "testsrc2=s=64x64", "-metadata", marker]
    done = run_python(
        "-c", dedent(_TRANSCODING), str(hits), *endless, "-f", "null", "-",
        env={"PYTHONPATH": str(HOOKS)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert hits.read_text() == "transcoding\n"
    await eventually(lambda: not command_lines_with(marker), timeout=5)


# Takes each guard away and tells which names that replaced, and which it made up.
_APPLY = """
    import importlib, json, os, sys
    from chaos_hooks import MUTATIONS

    MODULES = (
        "media_records.lifecycle", "media_records.tasks", "media_runtime.kafka.consumer",
        "media_runtime.database.outbox", "watcher.reconcile.assets",
    )


    def names():
        found = {}
        for module in map(importlib.import_module, MODULES):
            found |= {f"{module.__name__}.{name}": it for name, it in vars(module).items()}
            for owner in [it for it in vars(module).values() if isinstance(it, type)]:
                if owner.__module__ == module.__name__:
                    found |= {f"{module.__name__}.{owner.__name__}.{name}": it
                              for name, it in vars(owner).items()}
        return found


    before = names()
    for mutation in MUTATIONS:
        # In a fork, which is all that loses the guard.
        if os.fork():
            if os.wait()[1]:
                sys.exit(f"{mutation} cannot be applied")
            continue
        MUTATIONS[mutation].apply()
        after = names()
        replaced = {
            name: it for name, it in after.items() if name in before and it is not before[name]
        }
        replaced.pop("media_records.lifecycle.__warningregistry__", None)
        print(json.dumps({
            "mutation": mutation,
            "made_up": sorted(after.keys() - before.keys()),
            "replaced": {name: [str(before[name]), str(it)] for name, it in replaced.items()},
        }), flush=True)
        os._exit(0)
"""
_IMPATIENT = {
    "media_runtime.kafka.consumer._IN_PLACE_SECONDS",
    "media_runtime.kafka.consumer._Settle.handle",
}
_GUARDS = {
    "fence_off": {"media_records.tasks._HEARTBEAT", "media_records.tasks._END"},
    "dedupe_off": {
        "media_records.tasks._END",
        "media_records.tasks._NAMED",
        "media_records.tasks.lock_asset",
        "media_records.tasks.wants",
        "media_records.lifecycle._AS_IT_WAS_READ",
    },
    "reconciler_off": {
        "watcher.reconcile.assets.Reconciler.__call__",
        "watcher.reconcile.assets.VerifyBuckets.__call__",
    },
    "impatient": _IMPATIENT,
    "ack_always": _IMPATIENT | {"media_runtime.kafka.consumer.AckPolicy"},
    "outbox_marked_first": {"media_runtime.database.outbox.Outbox._relay_batch"},
}


@cache
def applied() -> dict[str, dict[str, Any]]:
    done = run_python("-c", dedent(_APPLY), env={"PYTHONPATH": str(HOOKS)})
    assert done.returncode == 0, done.stderr
    return {found["mutation"]: found for found in map(json.loads, done.stdout.splitlines())}


def mutated(name: str) -> dict[str, list[str]]:
    """Return what a mutation replaced, before and after; it must make up no name."""
    found = applied()[name]
    assert found["made_up"] == [], "it sets what the code does not have"
    replaced: dict[str, list[str]] = found["replaced"]
    return replaced


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_replaces_guards_that_exist(name):
    assert mutated(name).keys() == _GUARDS[name]
    assert MUTATIONS[name].service in {*SERVICES, "any"}


@pytest.mark.parametrize("name", ["fence_off", "dedupe_off"])
def test_a_mutated_statement_takes_the_same_arguments(name):
    """Another number of them would be an error of the database, and no guard taken away."""
    statements = {guard: pair for guard, pair in mutated(name).items() if "$1" in pair[0]}
    assert len(statements) >= 2
    for guard, (before, after) in statements.items():
        for number in range(1, 12):
            assert (f"${number}" in before) == (f"${number}" in after), guard


def test_without_the_fence_no_statement_asks_for_it():
    for guard, (before, after) in mutated("fence_off").items():
        for condition in ("fence = $2", "state = 'running'", "state IN"):
            assert condition not in after, guard
        assert "fence = $2" in before, guard


def test_without_dedupe_what_has_ended_ends_again():
    """Each of these statements asked once whether something is as it was."""
    for guard, (before, after) in mutated("dedupe_off").items():
        for condition in ("state IN", "status = $2"):
            assert condition not in after, guard
            if "$1" in before:
                assert "state IN" in before or "status = $2" in before, guard


_RELAYED = """
    import asyncio, sys
    from contextlib import asynccontextmanager
    from chaos_hooks import MUTATIONS

    if sys.argv[1]:
        MUTATIONS[sys.argv[1]].apply()
    from media_runtime.database.outbox import Outbox

    ROW = {"id": 1, "topic": "t", "key": "k", "value": "{}", "headers": "[]", "age": 0.1}


    class Connection:
        async def execute(self, query, *_):
            if "forget_relayed" in query:
                print("deleted")

        async def fetchrow(self, *_):
            return {"is_alone": True}

        async def fetch(self, *_):
            return [ROW]


    class Database:
        @asynccontextmanager
        async def transaction(self):
            yield Connection()
            print("committed")


    class Producer:
        async def send_all(self, records):
            print("sent", len(records))


    asyncio.run(Outbox(Database(), Producer(), service="s")._relay_batch())
"""


@pytest.mark.parametrize(
    ("mutation", "order"),
    [
        ("", ["sent 1", "deleted", "committed"]),
        ("outbox_marked_first", ["deleted", "committed", "sent 1"]),
    ],
)
def test_the_relay_sends_before_it_deletes_unless_it_is_mutated(mutation, order):
    env = {"PYTHONPATH": str(HOOKS)}
    done = run_python("-c", dedent(_RELAYED), mutation, env=env)
    assert (done.stdout.splitlines(), done.stderr) == (order, "")


_POLICY = """
    import sys
    from chaos_hooks import MUTATIONS

    MUTATIONS[sys.argv[1]].apply()
    from media_contracts import MEDIA_INGEST
    from media_runtime.kafka import consumer as kafka
    from media_runtime.settings import KafkaSettings

    settings = KafkaSettings(kafka_bootstrap_servers="nowhere:1")
    broker = kafka.make_broker(settings, kafka.Producer(settings, name="x"), name="x")
    kafka.on_bytes(broker, MEDIA_INGEST, print, settings=settings, group="x")
    print(*(one.ack_policy.name for one in broker.subscribers))
"""


@pytest.mark.parametrize(
    ("mutation", "policy"), [("impatient", "NACK_ON_ERROR"), ("ack_always", "ACK")]
)
def test_only_ack_always_commits_what_failed(mutation, policy):
    done = run_python("-c", dedent(_POLICY), mutation, env={"PYTHONPATH": str(HOOKS)})
    assert done.stdout.split() == [policy], done.stderr

"""The points at which a process can be killed, and the guards that can be taken away."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """
    A moment in a service: before or after a call of ``attribute`` of ``module``.

    ``telling`` asks for a result that is not None, since the call may have found nothing to do.
    ``times`` is which of its calls is meant, where nobody says it.
    """

    service: str
    module: str
    attribute: str
    after: bool = True
    telling: bool = False
    times: int = 1


POINTS = {
    "intake_in_transaction": Point("ingest", "ingest.intake", "add_originals"),
    "intake_committed": Point("ingest", "ingest.intake", "Intake.__call__"),
    "claimed": Point("ingest", "ingest.worker", "Workers._claim", telling=True),
    "downloaded": Point("ingest", "media_runtime.storage.store", "ObjectStore.download"),
    "planned_in_transaction": Point("ingest", "media_records.tasks", "finish"),
    "planned": Point("ingest", "ingest.run", "count_outcome"),
    "transcoding": Point("ingest", "ingest.outputs.transcode", "Progress.report"),
    "transcoded": Point("ingest", "ingest.outputs.transcode", "Transcoder.run"),
    "video_stored": Point("ingest", "ingest.outputs.stream", "Pieces.stored"),
    # The clip's second task.
    "video_committed": Point("ingest", "ingest.run", "count_outcome", times=2),
    "asking_in_transaction": Point("ingest", "ingest.ask", "tell"),
    "asked": Point("ingest", "ingest.ask", "count_outcome"),
    "outcome_in_transaction": Point("ingest", "media_records.outcomes", "_told"),
    "pictures_committed": Point("ingest", "ingest.answers", "OnAnswer.__call__"),
    "relaying": Point("ingest", "media_runtime.kafka.producer", "Producer.send_all", after=False),
    "relay_sent": Point("ingest", "media_runtime.kafka.producer", "Producer.send_all"),
    "checked": Point("thumbnailer", "thumbnailer.use_cases", "MakePictures._look"),
    "rendered": Point("thumbnailer", "thumbnailer.use_cases", "MakePictures._render"),
    "picture_stored": Point("thumbnailer", "thumbnailer.use_cases", "MakePictures._upload"),
    "answering": Point("thumbnailer", "thumbnailer.handlers", "OnRequest._send", after=False),
    "answered": Point("thumbnailer", "thumbnailer.handlers", "OnRequest.__call__"),
    "granted": Point("sign_api", "sign_api.use_cases", "SignUpload.__call__"),
    "feeding": Point("watcher", "watcher.reconcile.assets", "_notification"),
    "requeued": Point("watcher", "watcher.reconcile.assets", "Reconciler._apply"),
    "published": Point("notifier", "notifier.hub", "Hub.publish"),
}


def resolve(module: str, attribute: str) -> tuple[Any, str, Any]:
    """Return the owner of an attribute, its name and its value; raises AttributeError."""
    owner: Any = importlib.import_module(module)
    *path, name = attribute.split(".")
    for step in path:
        owner = getattr(owner, step)
    return owner, name, inspect.getattr_static(owner, name)


def install(*, service: str, kill: str, mutation: str, hits: str) -> None:
    """Prepare this process of *service*; points and mutations of others are left alone."""
    for wish in filter(None, kill.split(",")):
        name, _, count = wish.partition(":")
        if POINTS[name].service == service:
            _arm(name, int(count or POINTS[name].times), hits)
    if mutation and MUTATIONS[mutation].service in {service, "any"}:
        MUTATIONS[mutation].apply()


def _arm(name: str, count: int, hits: str) -> None:
    point = POINTS[name]
    owner, attribute, original = resolve(point.module, point.attribute)
    left = count

    def reach() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            _note(name, hits)
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, _wrapped(original, point, reach))


def _note(name: str, hits: str) -> None:
    if hits:
        with Path(hits).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")


def _wrapped(original: Any, point: Point, reach: Callable[[], None]) -> Any:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def slow(*args: Any, **kwargs: Any) -> Any:
            if not point.after:
                reach()
            result = await original(*args, **kwargs)
            if point.after and (result is not None or not point.telling):
                reach()
            return result

        return slow

    @functools.wraps(original)
    def quick(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        reach()
        return result

    return quick


@dataclass(frozen=True)
class Mutation:
    """A guard taken away in one service, or in any."""

    service: str
    apply: Callable[[], None]


def _fence_off() -> None:
    """A task's holder is asked for nothing: whoever has ever held it may end it."""
    tasks = importlib.import_module("media_records.tasks")
    any_claim = "$2::bigint IS NOT NULL"
    tasks._HEARTBEAT = tasks._HEARTBEAT.replace("t.fence = $2 AND t.state = 'running'", any_claim)
    tasks._END = tasks._END.replace(f"fence = $2 AND state IN {tasks._OPEN_STATES}", any_claim)


def _dedupe_off() -> None:
    """What comes again has its effect again: no state absorbs it."""
    tasks = importlib.import_module("media_records.tasks")
    lifecycle = importlib.import_module("media_records.lifecycle")
    lock = tasks.lock_asset

    async def as_if_processing(tx: Any, asset_id: Any) -> Any:
        asset = await lock(tx, asset_id)
        asset.status = "processing"
        return asset

    tasks.lock_asset = as_if_processing
    tasks.wants = lambda *_: True
    tasks._NAMED = tasks._NAMED.replace(f"AND {tasks.IS_OPEN}", "")
    tasks._END = tasks._END.replace(f"AND state IN {tasks._OPEN_STATES}", "")
    lifecycle._AS_IT_WAS_READ = lifecycle._AS_IT_WAS_READ.replace(
        "status = $2", "$2::text IS NOT NULL"
    )


def _reconciler_off() -> None:
    """Nobody looks for uploads that were not announced."""
    reconcile = importlib.import_module("watcher.reconcile.assets")

    async def nothing(*_: Any) -> dict[str, int]:
        return {}

    async def no_bucket(*_: Any) -> int:
        return 0

    reconcile.Reconciler.__call__ = nothing
    reconcile.VerifyBuckets.__call__ = no_bucket


def _impatient() -> None:
    """No guard is gone: a record is only retried in place for a moment before it is let go."""
    kafka = importlib.import_module("media_runtime.kafka.consumer")
    kafka._IN_PLACE_SECONDS = 0.3
    handle = kafka._Settle.handle

    async def noted(*args: Any) -> Any:
        try:
            return await handle(*args)
        except kafka.TransientError:
            _note("let go", os.environ.get("CHAOS_HITS", ""))
            raise

    kafka._Settle.handle = noted


def _ack_always() -> None:
    """A record that is let go is committed, whatever became of it."""
    _impatient()
    kafka = importlib.import_module("media_runtime.kafka.consumer")
    policy = importlib.import_module("faststream").AckPolicy

    class Always:
        NACK_ON_ERROR = policy.ACK

    kafka.AckPolicy = Always


def _outbox_marked_first() -> None:
    """A row is deleted before Kafka has its record."""
    outbox = importlib.import_module("media_runtime.database.outbox")
    relay = outbox.Outbox._relay_batch

    class Later:
        """Takes records and sends them when the transaction is long over."""

        def __init__(self, producer: Any) -> None:
            self.producer = producer
            self.taken: list[Any] = []

        async def send_all(self, records: Any) -> None:
            self.taken += records

    async def marked_first(self: Any) -> int:
        producer, self._producer = self._producer, Later(self._producer)
        try:
            sent: int = await relay(self)
            taken = self._producer.taken
        finally:
            self._producer = producer
        if taken:
            await producer.send_all(taken)
        return sent

    outbox.Outbox._relay_batch = marked_first


MUTATIONS = {
    "fence_off": Mutation("ingest", _fence_off),
    "dedupe_off": Mutation("ingest", _dedupe_off),
    "reconciler_off": Mutation("watcher", _reconciler_off),
    "impatient": Mutation("any", _impatient),
    "ack_always": Mutation("any", _ack_always),
    "outbox_marked_first": Mutation("ingest", _outbox_marked_first),
}

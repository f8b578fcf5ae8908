"""Runs a plan's tasks by the code that ingest runs, on a folder in place of storage."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from ingest.film.vmaf import measurer
from ingest.outputs.source import Done
from ingest.run import all_doers
from ingest.settings import IngestSettings
from media_contracts import ObjectRef
from media_contracts.warnings import WarningCode
from media_records.tables import Asset
from media_records.tasks import NewTask, Task
from media_runtime.media.ffmpeg import Ffmpeg, InputLimits
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.sandbox import Sandbox
from media_runtime.storage.store import Uploaded


def an_asset(content_type: str, size: int) -> Asset:
    """Return what tasks know of an asset."""
    facts = {
        "id": uuid4(), "company_id": uuid4(), "attempt": 1, "bucket": "bucket", "traceparent": None,
    }  # fmt: skip
    return cast("Asset", SimpleNamespace(content_type=content_type, size=size, **facts))


@dataclass
class Made:
    """What became of a plan: files by name, and what each task was told and has said, by name."""

    files: dict[str, Path] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    params: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def warnings(self) -> list[WarningCode]:
        """What the film is ready in spite of."""
        return [code for one in self.done.values() for code in one.warnings]


class Folder:
    """A store in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def upload(self, _bucket: str, key: str, path: Path, **_: str) -> Uploaded:
        """Store a file and return what it is."""
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(shutil.copyfile, path, target)
        data = await asyncio.to_thread(target.read_bytes)
        return Uploaded(len(data), hashlib.sha256(data).hexdigest())

    async def download(self, ref: ObjectRef, path: Path) -> str:
        """Copy what is stored."""
        await asyncio.to_thread(shutil.copyfile, self.path / ref.key, path)
        return ""


class Making:
    """Does tasks one after the other, as the queue would."""

    def __init__(
        self,
        settings: IngestSettings,
        ffmpeg: Ffmpeg,
        folder: Path,
        pool: PicturePool | None = None,
    ) -> None:
        self.store = Folder(folder / "stored")
        self._folder = folder
        self._results: list[tuple[str, Mapping[str, Any]]] = []
        self._doers = all_doers(
            settings, cast("Any", self.store), cast("Any", pool), ffmpeg,
            cast("Any", _NoProducer()), self._told,
            measurer=_measurer(), profiles=cast("Any", None),
        )  # fmt: skip

    async def all(self, plan: Sequence[NewTask], source: Path, asset: Asset) -> Made:
        """Return what becomes of *source* by *plan*."""
        made = Made()
        waiting = list(plan)
        while waiting:
            wanted = waiting.pop(0)
            task = _claimed(wanted, len(made.done) + 1)
            folder = self._folder / wanted.name
            folder.mkdir(parents=True)
            done = await self._doers[task.kind](task, asset, source, folder)
            made.done[wanted.name], made.params[wanted.name] = done, task.params
            if done.result:
                self._results.append((task.kind, json.loads(json.dumps(done.result))))
            if done.instead_of:
                waiting = [one for one in waiting if one.params.get("stream") != done.instead_of]
                made.files.clear()
            made.files |= {file.name: self.store.path / file.key for file in done.files}
            waiting += done.then
            shutil.rmtree(folder)
        return made

    async def _told(self, _task: Task, kinds: Collection[str]) -> list[Mapping[str, Any]]:
        return [result for kind, result in self._results if kind in kinds]


@cache
def _measurer() -> Ffmpeg:
    # Whoever is asked for one looks for its program, and asks it which it is.
    return measurer(Sandbox("bubblewrap"), InputLimits())


class _NoProducer:
    async def send(self, *_: object) -> None:
        """Send nothing."""


_IDS = itertools.count(1)


def _claimed(wanted: NewTask, fence: int) -> Task:
    return Task(
        id=next(_IDS), company_id=uuid4(), asset_id=uuid4(), attempt=1, name=wanted.name,
        kind=wanted.kind, pool=wanted.pool, params=json.loads(json.dumps(wanted.params)),
        required=wanted.required, tries=1, fence=fence, cost_seconds=wanted.cost_seconds,
        age_seconds=0,
    )  # fmt: skip

"""Runs one claimed task: its upload, its work, and the unit of work that ends it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from ingest import inspect
from ingest.film.film import chunk_of
from ingest.metrics import count_outcome
from ingest.outputs import animation, audio, video
from ingest.outputs.audio import MakeAudio
from ingest.outputs.package import Package, Results
from ingest.outputs.preview import MakePreview
from ingest.outputs.quality import MeasureQuality
from ingest.outputs.source import Doer
from ingest.outputs.stream import MakeChunk, MakeSound, MakeWhole, Pieces
from ingest.outputs.text import MakeText
from ingest.outputs.transcode import Transcoder
from ingest.settings import IngestSettings
from ingest.sources import Sources
from media_records import tasks
from media_records.tables import Asset
from media_records.tasks import Task
from media_records.work import Reader, Work
from media_runtime.database.postgres import Database
from media_runtime.kafka.producer import Producer
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.meter import metered
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.scratch import scratch_folder
from media_runtime.storage.store import ObjectStore


def all_doers(  # noqa: PLR0917 - the parts of ingest, each once
    settings: IngestSettings,
    store: ObjectStore,
    pool: PicturePool,
    ffmpeg: Ffmpeg,
    producer: Producer,
    results: Results,
    *,
    measurer: Ffmpeg,
    profiles: Reader,
) -> Mapping[str, Doer]:
    """
    Return what does tasks of each kind; *results* tells what done tasks of an attempt said.

    The *measurer* is an ffmpeg that has libvmaf.
    """
    transcoder, pieces = Transcoder(settings, ffmpeg, producer), Pieces(store)
    return {
        inspect.KIND: inspect.Inspect(settings, ffmpeg, profiles),
        video.CHUNK: MakeChunk(pieces, transcoder),
        video.SOUND: MakeSound(pieces, transcoder),
        video.TEXT: MakeText(settings, store, ffmpeg),
        video.WHOLE: MakeWhole(settings, pieces, transcoder),
        video.PACKAGE: Package(settings, store, ffmpeg, results),
        video.PREVIEW: MakePreview(settings, store, ffmpeg),
        video.QUALITY: MeasureQuality(settings, store, ffmpeg, measurer, pieces, results),
        animation.KIND: animation.MakeAnimation(settings, store, pool, ffmpeg),
        audio.KIND: MakeAudio(settings, store, ffmpeg, transcoder, pieces),
    }


def results_in(database: Database) -> Results:
    """Return what tells what done tasks said."""
    return partial(tasks.results_of, database)


class RunTask:
    """
    Does tasks of the kinds that *doers* name, each in a folder of its own below *folder*.

    Everything slow happens outside of transactions.
    """

    def __init__(
        self, work: Work, sources: Sources, doers: Mapping[str, Doer], folder: Path
    ) -> None:
        self._work = work
        self._sources = sources
        self._doers = doers
        self._folder = folder

    async def __call__(self, task: Task, asset: Asset) -> None:
        """
        Do the task and end it.

        Raises PermanentError when the file is at fault, TransientError when something is away,
        LostLeaseError when another worker has taken over.
        """
        name = f"{task.asset_id}-{task.attempt}-{task.name}-{task.fence}"
        doer = self._doers[task.kind]
        async with AsyncExitStack() as stack:
            folder = await stack.enter_async_context(scratch_folder(self._folder / name))
            source, upload = folder / "no-source", None
            if doer.reads_upload:
                upload = await stack.enter_async_context(self._sources.open(asset))
                source = upload.path
            with metered() as meter:
                done = await doer(task, asset, source, folder)
            async with self._work.begin() as tx:
                outcome = await tasks.finish(
                    tx,
                    task,
                    done.files,
                    then=done.then,
                    stage=done.stage,
                    probe=done.probe,
                    warnings=done.warnings,
                    result=done.result,
                    tells=done.tells,
                    instead_of=done.instead_of,
                    cpu_seconds=meter.cpu_seconds,
                    commands=[] if _is_like_another(task) else meter.commands,
                )
            if upload is not None:
                upload.wanted_next = done.more or any(one.kind in self._doers for one in done.then)
            count_outcome(outcome)


def _is_like_another(task: Task) -> bool:
    """Return whether what it runs differs from what others run in its times alone."""
    return "chunk" in task.params and chunk_of(task.params["chunk"]).number > 1

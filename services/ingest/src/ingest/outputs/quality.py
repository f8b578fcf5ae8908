"""How good the sizes of a film look, where its profile asks: measured beside what else is made."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from ingest.film import vmaf
from ingest.film.chunk import ChunkPlan
from ingest.film.film import Film, chunk_of
from ingest.film.ladder import Chunk
from ingest.metrics import timed
from ingest.outputs import video
from ingest.outputs.package import Results
from ingest.outputs.source import Done
from ingest.outputs.stream import Pieces
from ingest.outputs.transcode import Job
from ingest.settings import IngestSettings
from media_contracts import ObjectRef
from media_records.tables import Asset
from media_records.tasks import Task
from media_runtime.errors import InconclusiveError, PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.storage.store import ObjectStore

log = structlog.get_logger(__name__)

_SECONDS, _CPU_SECONDS, _MOST_BYTES = 300, 120, 1024**3


class MeasureQuality:
    """
    Measures samples of all sizes, by the ffmpeg *measurer*; *results* tells where they lie.

    A film does without what cannot be measured.
    """

    reads_upload = True

    def __init__(  # noqa: PLR0917 - the parts of ingest, each once
        self,
        settings: IngestSettings,
        store: ObjectStore,
        ffmpeg: Ffmpeg,
        measurer: Ffmpeg,
        pieces: Pieces,
        results: Results,
    ) -> None:
        self._niceness = settings.transcode_niceness
        self._store = store
        self._ffmpeg = ffmpeg
        self._measurer = measurer
        self._pieces = pieces
        self._results = results

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Measure them; see Doer."""
        stream = task.params["stream"]
        told = [
            one
            for one in await self._results(task, (video.CHUNK,))
            if one.get("stream") == stream and "files" in one
        ]
        job = Job(asset, Film.of(task.params["film"]), source, folder)
        found: Mapping[str, list[float]] = {}
        try:
            with timed("quality"):
                found = await self._measured(job, told, map(chunk_of, task.params["samples"]))
        except (PermanentError, InconclusiveError) as error:
            log.warning("quality_not_measured", error=repr(error))
        means = {track: vmaf.mean(values) for track, values in found.items() if values}
        return Done(result={"stream": stream, "vmaf": means}, more=True)

    async def _measured(
        self, job: Job, told: Sequence[Mapping[str, Any]], samples: Iterable[Chunk]
    ) -> Mapping[str, list[float]]:
        """Return what the frames of each track have."""
        await self._pieces.fetch_mark(job)
        film, found = job.film, defaultdict[str, list[float]](list)
        options = self._ffmpeg.input_options
        for sample in samples:
            plan = ChunkPlan(
                film.track, film.filters, film.grid, sample, film.ladder[-1:], film.preset,
                film.crf, film.starts_at, film.mark,
            )  # fmt: skip
            reference = vmaf.reference_command(job.source, job.folder, plan, options)
            await self._run(self._ffmpeg, reference, job.source, job.folder)
            pieces = [one["files"] for one in told if one["number"] == sample.number]
            for track, file in (item for files in pieces for item in files.items()):
                if track in {rung.track for rung in film.rungs}:
                    found[track] += await self._compared(job, sample.frames, file["key"])
        return found

    async def _compared(self, job: Job, frames: int, key: str) -> list[float]:
        """Return what the first *frames* of a piece have, of those of the reference."""
        folder, size, options = job.folder, job.film.ladder[-1].size, self._ffmpeg.input_options
        piece = folder / "piece.mp4"
        await self._store.download(ObjectRef(bucket=job.asset.bucket, key=key), piece)
        seen = vmaf.seen_command(piece, folder, size, frames, options)
        await self._run(self._ffmpeg, seen, piece, folder)
        compared = vmaf.vmaf_command(folder, job.film.grid.rate, options)
        await self._run(self._measurer, compared, folder / vmaf.REFERENCE, folder)
        return await asyncio.to_thread(vmaf.vmafs_in, folder)

    async def _run(self, ffmpeg: Ffmpeg, command: list[str], reads: Path, folder: Path) -> None:
        await ffmpeg.run(
            command, reads=reads, writes=folder, timeout_seconds=_SECONDS,
            cpu_seconds=_CPU_SECONDS, max_bytes=_MOST_BYTES, niceness=self._niceness,
        )  # fmt: skip

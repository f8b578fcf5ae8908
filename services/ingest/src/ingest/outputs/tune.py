"""Films whose profile says how good they are to look, and not by which CRF: tried on samples."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
from ingest.film.chunk import ChunkPlan, chunk_command, ssims_in
from ingest.film.film import Film, chunk_of
from ingest.film.ladder import Chunk, gop_frames
from ingest.film.quality import TRIED, crf_for, samples
from media_contracts import Profile, VideoOutput
from media_records.tasks import NewTask
from media_runtime.errors import InconclusiveError, PermanentError
from media_runtime.media.ffmpeg import Ffmpeg

log = structlog.get_logger(__name__)

_SECONDS, _CPU_SECONDS_A_COST = 120, 20


async def tuned(
    wanted: Sequence[NewTask],
    profile: Profile,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    niceness: int,
) -> tuple[NewTask, ...]:
    """
    Return the tasks with the CRF that gives each film the quality that its *profile* wants.

    One whose samples cannot be encoded keeps the CRF that it has: the tasks will tell why.
    """
    found = tuple(wanted)
    for output in profile.outputs:
        if not isinstance(output, VideoOutput) or output.ssim is None:
            continue
        chunks = _chunks(found, output.name)
        if not chunks:
            continue  # it is made in one piece
        film = Film.of(next(one for one in found if _is_of(one, output.name)).params["film"])
        try:
            measured = {
                crf: await _ssims(film, chunks, crf, source, folder / f"{output.name}-{crf}",
                                  ffmpeg, niceness)
                for crf in TRIED
            }  # fmt: skip
        except (PermanentError, InconclusiveError) as error:
            log.warning("not_tuned", output=output.name, error=repr(error))
            continue
        if not all(measured.values()):
            log.warning("not_tuned", output=output.name, error="nothing was measured")
            continue
        crf = crf_for(output.ssim, measured)
        log.info("tuned", output=output.name, crf=crf, measured=measured)
        found = tuple(_with_crf(one, crf) if _is_of(one, output.name) else one for one in found)
    return found


async def _ssims(  # noqa: PLR0917 - what a chunk is made of
    film: Film,
    chunks: Sequence[Chunk],
    crf: int,
    source: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    niceness: int,
) -> Sequence[float]:
    """Return what encoding each of these chunks in the largest size leaves of it."""
    await asyncio.to_thread(folder.mkdir)
    found = list[float]()
    for chunk in chunks:
        plan = ChunkPlan(
            film.track, film.filters, film.grid, chunk, film.ladder[-1:], film.preset, crf,
            film.starts_at,
        )  # fmt: skip
        cost = film.cost(chunk.frames, film.ladder[-1:])
        said = await ffmpeg.run(
            chunk_command(source, folder, plan, ffmpeg.input_options),
            reads=source, writes=folder, timeout_seconds=_SECONDS,
            cpu_seconds=math.ceil(_CPU_SECONDS_A_COST * cost), niceness=niceness,
        )  # fmt: skip
        found += [ssim for ssim in ssims_in(said, 1) if ssim is not None]
    return found


def _chunks(tasks: Sequence[NewTask], stream: str) -> list[Chunk]:
    found: Mapping[int, Chunk] = {
        chunk.number: chunk
        for task in tasks
        if _is_of(task, stream) and "chunk" in task.params
        for chunk in [chunk_of(task.params["chunk"])]
    }
    if not found:
        return []
    rate = Film.of(next(one for one in tasks if _is_of(one, stream)).params["film"]).grid.rate
    return samples([found[number] for number in sorted(found)], gop_frames(rate))


def _is_of(task: NewTask, stream: str) -> bool:
    return task.params.get("stream") == stream


def _with_crf(task: NewTask, crf: int) -> NewTask:
    return replace(task, params={**task.params, "film": {**task.params["film"], "crf": crf}})

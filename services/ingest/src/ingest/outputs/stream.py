"""Pieces of a film, made, proven and stored: chunks of its pictures, its sound, or all of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ingest.film import cmaf
from ingest.film.chunk import ChunkPlan, chunk_command, seam_of, ssims_in
from ingest.film.codecs import CODECS, H264
from ingest.film.film import Film, chunk_of
from ingest.film.ladder import Chunk, Rung, gop_frames
from ingest.film.soundtrack import EARLY_PACKETS, packets_of, sound_command
from ingest.film.watermark import MARK
from ingest.film.whole import whole_command
from ingest.metrics import WHOLE_FILMS, timed
from ingest.outputs import video
from ingest.outputs.source import Done
from ingest.outputs.stored import store_output
from ingest.outputs.transcode import Job, Transcoder
from ingest.settings import IngestSettings
from media_contracts import AssetPlayable, ObjectRef
from media_contracts.errors import ErrorCode
from media_contracts.warnings import WarningCode
from media_records.files import EARLY_SOUND, WHOLE_SOUND, Segment
from media_records.tables import Asset
from media_records.tasks import NewTask, Task
from media_runtime import background
from media_runtime.errors import PermanentError
from media_runtime.media.colour import Filter
from media_runtime.media.ffmpeg import FfmpegError
from media_runtime.storage.store import ObjectStore

PICTURES_TYPE, SOUND_TYPE = "video/mp4", "audio/mp4"
# Everything else makes way for what is urgent: it has more than one core.
_URGENT_THREADS = 2
_WARNINGS = {code.value: code for code in WarningCode}


@dataclass(frozen=True)
class Piece:
    """One file of a stream that was made here: its track, what it is, and where it lies."""

    track: str
    path: Path
    found: cmaf.Track
    seconds: float
    rung: Rung | None = None
    rate: Fraction | None = None
    ssim: float | None = None


class Pieces:
    """Stores pieces of streams, and says what packages are to know of them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def stored(
        self, task: Task, asset: Asset, pieces: Sequence[Piece], part: int, *, label: str = ""
    ) -> tuple[list[Segment], dict[str, Any]]:
        """
        Store the pieces, as part *part* of their tracks; return them as files, and as JSON.

        What is made in one piece needs a *label*: a chunk's task may have the same fence, and a
        worker that has lost it may still store something.
        """
        segments = await asyncio.gather(
            *(self._one(task, asset, piece, part, label) for piece in pieces)
        )
        told = {
            piece.track: {
                "key": segment.key,
                "size": segment.size,
                "head": hashlib.sha256(piece.found.head).hexdigest(),
                "samples": piece.found.samples,
            }
            for piece, segment in zip(pieces, segments, strict=True)
        }
        return list(segments), told

    async def fetch_mark(self, job: Job) -> None:
        """Put the picture that lies on the film's frames, if any, where its commands read it."""
        if mark := job.film.mark:
            ref = ObjectRef(bucket=job.asset.bucket, key=mark.key, sha256=mark.sha256)
            await self._store.download(ref, job.folder / MARK)

    async def _one(self, task: Task, asset: Asset, piece: Piece, part: int, label: str) -> Segment:
        name = f"{task.params['stream']}-{piece.track}-{label or f'{part:04}'}"
        content_type = PICTURES_TYPE if piece.rung else SOUND_TYPE
        stored = await store_output(
            self._store, task, asset, piece.path, name=f"{name}.mp4", content_type=content_type
        )
        return Segment(
            **stored,
            name=name,
            width=piece.rung.size.width if piece.rung else None,
            height=piece.rung.size.height if piece.rung else None,
            duration_seconds=piece.seconds,
            stream=task.params["stream"],
            track=piece.track,
            part=part,
            layout=piece.found.layout(piece.rate, piece.ssim).text(),
        )


class MakeChunk:
    """Makes one chunk of a film's pictures; with the first one, the sound that goes with it."""

    reads_upload = True

    def __init__(self, pieces: Pieces, transcoder: Transcoder) -> None:
        self._pieces = pieces
        self._transcoder = transcoder

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Make and store the chunk; what does not fit leads to the film in one piece."""
        is_early = task.params["is_early"]
        job = Job(asset, Film.of(task.params["film"]), source, folder, is_urgent=is_early)
        chunk = chunk_of(task.params["chunk"])
        ladder = job.film.rungs[slice(*task.params["rungs"])]
        await self._pieces.fetch_mark(job)
        encoding = self._encode(job, chunk, ladder)
        sounding = self._early_sound(job, is_wanted=is_early)
        try:
            with timed("transcode"):
                async with background.running(encoding=encoding, sounding=sounding) as both:
                    said, sound = await asyncio.gather(*both)
        except PermanentError as error:
            # Whatever another codec fails at, H.264 is there to be watched.
            is_further = any(rung.codec != H264 for rung in ladder)
            if not is_further and error.code != ErrorCode.TRANSCODE_FAILED:
                raise
            return _in_one_piece(task, "failed")
        pieces, faults = await asyncio.to_thread(_read, job, chunk, ladder, said)
        if faults:
            return _in_one_piece(task, "unproven", faults)
        pieces += [sound] if sound else []
        is_deaf = is_early and job.film.sound and not sound and _is_heard_early(job.film)
        warnings = (WarningCode.SOUND_LEFT_OUT,) if is_deaf else ()
        segments, told = await self._pieces.stored(task, asset, pieces, chunk.number)
        result = {
            "stream": task.params["stream"],
            "number": chunk.number,
            "seam": seam_of(await asyncio.to_thread((folder / "seam").read_text)),
            "files": told,
        }
        return Done(
            segments, result=result, tells=_playable(task, job, chunk), warnings=warnings, more=True
        )

    async def _early_sound(self, job: Job, *, is_wanted: bool) -> Piece | None:
        if not is_wanted or job.film.sound is None:
            return None
        # How loud all of a long film is would take too long to hear.
        louder = await self._transcoder.louder(job) if _is_heard_early(job.film) else ()
        return await make_sound(
            self._transcoder, job, EARLY_SOUND, packets=EARLY_PACKETS, louder=louder
        )

    async def _encode(self, job: Job, chunk: Chunk, ladder: Sequence[Rung]) -> str:
        film = job.film
        plan = ChunkPlan(
            film.track, film.filters, film.grid, chunk, ladder, film.preset, film.crf,
            film.starts_at, film.mark, threads=_URGENT_THREADS if job.is_urgent else 1,
        )  # fmt: skip
        rate = film.grid.rate
        return await self._transcoder.run(
            job,
            chunk_command(job.source, job.folder, plan, self._transcoder.input_options),
            seconds=float(chunk.frames / rate),
            begins_at=float(chunk.first / rate),
            tells=ladder[0].codec == H264,
            times=max(CODECS[rung.codec].times for rung in ladder),
        )


class MakeSound:
    """Makes the sound of a film; one that cannot be decoded is left out."""

    reads_upload = True

    def __init__(self, pieces: Pieces, transcoder: Transcoder) -> None:
        self._pieces = pieces
        self._transcoder = transcoder

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Make and store the sound; see Doer."""
        job = Job(asset, Film.of(task.params["film"]), source, folder)
        with timed("transcode"):
            louder = await self._transcoder.louder(job)
            sound = await make_sound(self._transcoder, job, WHOLE_SOUND, louder=louder)
        if sound is None:
            return Done(warnings=(WarningCode.SOUND_LEFT_OUT,), more=True)
        segments, told = await self._pieces.stored(task, asset, [sound], 0)
        return Done(segments, result={"stream": task.params["stream"], "files": told}, more=True)


class MakeWhole:
    """Makes a film, all its sizes and its sound, in one piece."""

    reads_upload = True

    def __init__(self, settings: IngestSettings, pieces: Pieces, transcoder: Transcoder) -> None:
        self._settings = settings
        self._pieces = pieces
        self._transcoder = transcoder

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Make and store it, and have it packaged; see Doer."""
        job = Job(asset, video.in_one_piece(Film.of(task.params["film"])), source, folder)
        await self._pieces.fetch_mark(job)
        warnings: tuple[WarningCode, ...] = ()
        with timed("transcode"):
            try:
                said = await self._encode(task, job)
            except FfmpegError as error:
                if job.film.sound is None or error.code != ErrorCode.TRANSCODE_FAILED:
                    raise
                # Of a film whose sound cannot be decoded the picture is left.
                job = replace(job, film=video.without_sound(job.film))
                warnings = (WarningCode.SOUND_LEFT_OUT,)
                said = await self._encode(task, job)
        pieces = await asyncio.to_thread(_read_whole, job, said)
        segments, told = await self._pieces.stored(task, asset, pieces, 0, label="whole")
        stream = task.params["stream"]
        result = {"stream": stream, "number": 0, "seam": [None, None], "files": told}
        params = {**task.params, "film": job.film.params()}
        package = video.package_task(
            stream, params, (task.name,), required=task.required, priority=0, is_whole=True
        )
        return Done(segments, then=[package], result=result, warnings=warnings)

    async def _encode(self, task: Task, job: Job) -> str:
        # A little more, by which it is seen that the source is too long.
        command = whole_command(
            job.source, job.folder, job.film, self._transcoder.input_options,
            max_seconds=self._settings.upload_max_seconds + 1,
            changes_size=task.params["changes_size"], louder=await self._transcoder.louder(job),
        )  # fmt: skip
        return await self._transcoder.run(job, command, seconds=job.film.duration_seconds)


async def make_sound(
    transcoder: Transcoder,
    job: Job,
    track: str,
    *,
    packets: int | None = None,
    louder: Sequence[Filter] = (),
) -> Piece | None:
    """Return a film's sound, or as many *packets* of it; None where it cannot be decoded."""
    film = job.film
    if film.sound is None:
        return None
    target = job.folder / f"{track}.mp4"
    command = sound_command(
        job.source, target, film.grid, film.sound, transcoder.input_options,
        packets=packets, louder=louder,
    )  # fmt: skip
    try:
        await transcoder.run(job, command, seconds=float(film.grid.seconds), tells=False)
    except FfmpegError as error:
        if error.code != ErrorCode.TRANSCODE_FAILED:
            raise
        return None
    found = await asyncio.to_thread(lambda: cmaf.read(target.read_bytes()))
    return Piece(track, target, found, found.ticks / found.timescale) if found.samples else None


def _is_heard_early(film: Film) -> bool:
    """Whether the sound that goes with the first chunk is all of it."""
    return packets_of(film.grid) <= EARLY_PACKETS


def _read(
    job: Job, chunk: Chunk, ladder: Sequence[Rung], said: str
) -> tuple[list[Piece], list[str]]:
    """Return what a chunk's files hold, and what is wrong with them."""
    pieces, faults = [], []
    rate = job.film.grid.rate
    for rung, ssim in zip(ladder, ssims_in(said, len(ladder)), strict=True):
        piece = _piece(job, rung, ssim)
        faults += cmaf.faults(
            piece.found, first=chunk.first, frames=chunk.frames, rate=rate, group=gop_frames(rate)
        )
        pieces.append(piece)
    return pieces, faults


def _read_whole(job: Job, said: str) -> list[Piece]:
    """Return what the files of a film in one piece hold; raises FfmpegError for no picture."""
    ladder = job.film.ladder
    pieces = [_piece(job, *one) for one in zip(ladder, ssims_in(said, len(ladder)), strict=True)]
    if not all(one.found.samples for one in pieces):
        raise FfmpegError(ErrorCode.TRANSCODE_FAILED, detail="no picture")
    sound = job.folder / f"{WHOLE_SOUND}.mp4"
    if job.film.sound and sound.exists():
        found = cmaf.read(sound.read_bytes())
        if found.samples:
            pieces.append(Piece(WHOLE_SOUND, sound, found, found.ticks / found.timescale))
    return pieces


def _piece(job: Job, rung: Rung, ssim: float | None) -> Piece:
    path = job.folder / f"{rung.track}.mp4"
    found = cmaf.read(path.read_bytes())
    seconds = found.ticks / found.timescale
    return Piece(rung.track, path, found, seconds, rung, job.film.grid.rate, ssim)


def _playable(task: Task, job: Job, chunk: Chunk) -> Sequence[AssetPlayable]:
    if not (task.params["is_early"] and task.params["tells"]):
        return ()
    grid = job.film.grid
    told = AssetPlayable(
        attempt=job.asset.attempt,
        seconds=round(float(chunk.frames / grid.rate), 3),
        duration_seconds=round(float(grid.seconds), 3),
    )
    return (told,)


def _in_one_piece(task: Task, why: str, faults: Sequence[str] = ()) -> Done:
    """Have the film made in one piece, instead of all that was planned of this stream."""
    WHOLE_FILMS.labels(why).inc()
    return Done(
        then=in_one_piece_tasks(task),
        instead_of=task.params["stream"],
        more=True,
        result={"faults": list(faults)},
    )


def in_one_piece_tasks(task: Task) -> list[NewTask]:
    """Return what makes the film that *task* is of in one piece."""
    params: Mapping[str, Any] = task.params
    return video.whole_tasks(params["stream"], dict(params), required=task.required, priority=0)


def warnings_in(params: Mapping[str, Any]) -> list[WarningCode]:
    """Return the warnings that a plan had already."""
    return [_WARNINGS[code] for code in params["warnings"]]

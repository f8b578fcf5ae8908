"""Sound alone, planned and made: one task makes its stream, and one file of that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ingest.film import cmaf
from ingest.film.film import Film
from ingest.film.sound import Sound
from ingest.film.soundtrack import alone_command
from ingest.metrics import timed
from ingest.outputs.package import join
from ingest.outputs.source import Done, Source
from ingest.outputs.stored import store_output
from ingest.outputs.stream import SOUND_TYPE, Piece, Pieces
from ingest.outputs.transcode import Job, Transcoder
from ingest.settings import IngestSettings
from ingest.trust.gate import check_made
from media_contracts import AudioOutput, FileKind, MediaFile, MediaKind, Stage
from media_contracts.errors import ErrorCode
from media_records.files import WHOLE_SOUND
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_runtime.errors import PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.storage.store import ObjectStore

KIND = "audio"
_PRIORITIES = 10
# Of measuring how loud it is, of decoding and of encoding.
_COST_A_SECOND, _LEAST_COST = 0.03, 0.3


def plan(outputs: Sequence[AudioOutput], source: Source) -> Sequence[NewTask]:
    """Return the task of each; see Planner."""
    if source.sound is None:
        return ()
    return [_task(one, source, source.sound) for one in outputs if source.kind in one.sources]


def _task(output: AudioOutput, source: Source, sound: Sound) -> NewTask:
    # The sound of a film may end before its picture.
    claimed = source.claimed_seconds if source.kind is MediaKind.AUDIO else None
    film = Film.of_sound(
        sound,
        loudness=output.loudness,
        claimed_seconds=claimed,
        duration_seconds=source.duration_seconds,
    )
    params = {
        "stream": output.name,
        "film": film.params(),
        "kbits_per_second": output.kbits_per_second,
        "is_all": source.kind is MediaKind.AUDIO,
    }
    return NewTask(
        output.name, KIND, Pool.ENCODE, params,
        required=output.required, priority=output.priority * _PRIORITIES,
        cost_seconds=_LEAST_COST + (source.duration_seconds or 0) * _COST_A_SECOND,
    )  # fmt: skip


class MakeAudio:
    """Makes sound alone."""

    reads_upload = True

    def __init__(
        self,
        settings: IngestSettings,
        store: ObjectStore,
        ffmpeg: Ffmpeg,
        transcoder: Transcoder,
        pieces: Pieces,
    ) -> None:
        self._settings = settings
        self._store = store
        self._ffmpeg = ffmpeg
        self._transcoder = transcoder
        self._pieces = pieces

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Make and store it, as a stream and as one file; see Doer."""
        job = Job(asset, Film.of(task.params["film"]), source, folder)
        piece = await self._encoded(task, job)
        target = folder / "joined.mp4"
        with timed("join"):
            held = await join(
                self._ffmpeg, [piece.path], target,
                niceness=self._settings.transcode_niceness, ends_at=piece.found.ticks,
            )  # fmt: skip
        if held != [piece.found.samples]:
            raise PermanentError(ErrorCode.TRANSCODE_FAILED, detail=f"joined to {held} samples")
        warnings = check_made(piece.seconds, job.film.claimed_seconds, self._settings.limits)
        segments, _ = await self._pieces.stored(task, asset, [piece], 0)
        stream = task.params["stream"]
        stored = await store_output(
            self._store, task, asset, target, name=f"{stream}.m4a", content_type=SOUND_TYPE
        )
        file = MediaFile(
            **stored,
            name=stream,
            kind=FileKind.AUDIO,
            duration_seconds=piece.seconds,
        )
        # Of a video it is only a part that is there.
        stage = Stage.TRANSCODED if task.params["is_all"] else None
        return Done([file, *segments], stage=stage, warnings=warnings)

    async def _encoded(self, task: Task, job: Job) -> Piece:
        sound, target = job.film.sound, job.folder / f"{WHOLE_SOUND}.mp4"
        if sound is None:
            raise PermanentError(ErrorCode.NO_AUDIO_STREAM)
        with timed("transcode"):
            command = alone_command(
                job.source, target, sound, self._transcoder.input_options,
                kbits_per_second=task.params["kbits_per_second"],
                # A little more, by which it is seen that the source is too long.
                max_seconds=self._settings.upload_max_seconds + 1,
                louder=await self._transcoder.louder(job),
            )  # fmt: skip
            await self._transcoder.run(
                job, command, seconds=job.film.duration_seconds, tells=task.params["is_all"]
            )
        found = await asyncio.to_thread(lambda: cmaf.read(target.read_bytes()))
        if not found.samples:
            raise PermanentError(ErrorCode.NO_AUDIO_STREAM)
        return Piece(WHOLE_SOUND, target, found, found.ticks / found.timescale)

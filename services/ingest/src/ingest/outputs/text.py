"""
Texts of a film: its subtitles, one WebVTT file for each track of them.

A film is of use without them: whatever is wrong with one, it is left out, and the asset says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import structlog
from ingest.film.film import Film
from ingest.film.text import (
    MOST_TRACKS,
    cues,
    data_path,
    has_cues,
    most_bytes,
    packets,
    text_command,
    told_in,
    webvtt,
)
from ingest.metrics import timed
from ingest.outputs.source import Done
from ingest.outputs.stored import store_output
from ingest.settings import IngestSettings
from media_contracts import FileKind, Text
from media_contracts.warnings import WarningCode
from media_records.files import Segment
from media_records.tables import Asset
from media_records.tasks import Task
from media_runtime.errors import InconclusiveError, PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.storage.store import ObjectStore

log = structlog.get_logger(__name__)

# All of the file is read, and nothing decoded.
_READ_SECONDS, _LEAST_CPU_SECONDS, _BYTES_A_CPU_SECOND = 600, 20, 20_000_000
_MOST_BYTES = (MOST_TRACKS + 1) * most_bytes(1)
CONTENT_TYPE = "text/vtt"


class MakeText:
    """Makes the texts of a film; those that cannot be read are left out."""

    reads_upload = True

    def __init__(self, settings: IngestSettings, store: ObjectStore, ffmpeg: Ffmpeg) -> None:
        self._settings = settings
        self._store = store
        self._ffmpeg = ffmpeg

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Make and store them; no fault of the file makes it fail. See Doer."""
        # The film waits for it. A worker that has died of it has not said so.
        if task.tries >= self._settings.task_max_tries:
            return Done(warnings=(WarningCode.TEXT_LEFT_OUT,), more=True)
        try:
            with timed("text"):
                await self._ffmpeg.run(
                    text_command(
                        source, folder, [track for track, *_ in task.params["texts"]],
                        self._ffmpeg.input_options,
                    ),
                    reads=source,
                    writes=folder,
                    timeout_seconds=_READ_SECONDS,
                    # For minutes of a film nobody may say a word.
                    stall_seconds=_READ_SECONDS,
                    cpu_seconds=_LEAST_CPU_SECONDS + asset.size // _BYTES_A_CPU_SECOND,
                    max_bytes=_MOST_BYTES,
                    niceness=self._settings.transcode_niceness,
                )  # fmt: skip
                made, is_all = await asyncio.to_thread(self._written, task, folder)
        except (PermanentError, InconclusiveError) as error:
            log.warning("no_text", error=repr(error))
            return Done(warnings=(WarningCode.TEXT_LEFT_OUT,), more=True)
        files = [await self._stored(task, asset, number, *one) for number, one in made.items()]
        return Done(files, warnings=() if is_all else (WarningCode.TEXT_LEFT_OUT,), more=True)

    async def _stored(
        self, task: Task, asset: Asset, number: int, about: Text, path: Path
    ) -> Segment:
        stream = task.params["stream"]
        name = f"{stream}-text-{number}"
        # Of a film that is made anew in one piece it is another file.
        label = "-whole" if task.params["is_whole"] else ""
        stored = await store_output(
            self._store, task, asset, path, name=f"{name}{label}.vtt", content_type=CONTENT_TYPE
        )
        return Segment(
            **stored,
            name=name,
            kind=FileKind.TEXT,
            stream=stream,
            track=f"text-{number}",
            part=0,
            layout=about.model_dump_json(),
        )

    def _written(self, task: Task, folder: Path) -> tuple[Mapping[int, tuple[Text, Path]], bool]:
        """Write the texts that have cues; return them by number, and whether all fitted."""
        film, is_all = Film.of(task.params["film"]), True
        # In one piece it begins where its container does, and nobody knows yet where it ends.
        origin, seconds = film.grid.origin, film.grid.seconds
        if task.params["is_whole"]:
            origin = Fraction(film.starts_at) + Fraction(film.shift)
            seconds = Fraction(film.duration_seconds or self._settings.upload_max_seconds)
        found: dict[int, tuple[Text, Path]] = {}
        told, most = told_in(folder), most_bytes(len(task.params["texts"]))
        for number, (_, codec, about) in enumerate(task.params["texts"]):
            data = data_path(folder, number)
            with data.open("rb") as stored:
                read = packets(told, stored, number, most)
                text, fits = webvtt(cues(read, codec, origin=origin, seconds=seconds))
                is_cut = stored.read(1) or data.stat().st_size >= most
            is_all = is_all and fits and not is_cut
            if has_cues(text):
                path = folder / f"{number}.vtt"
                path.write_text(text, encoding="utf-8", newline="\n")
                found[number] = Text.model_validate(about), path
        return found, is_all

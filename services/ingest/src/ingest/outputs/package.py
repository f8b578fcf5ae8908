"""
A stream's pieces, proven to be one film, and joined into one file.

Invariant: no asset is ready with a join that was not proven: a film whose pieces do not fit is
made in one piece instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import ffmpeg
import structlog
from ingest.film import cmaf
from ingest.film.film import Film
from ingest.film.soundtrack import PACKET, RATE
from ingest.film.storyboard import board_of, sheets_command
from ingest.metrics import WHOLE_FILMS, timed
from ingest.outputs import video
from ingest.outputs.source import Done
from ingest.outputs.stored import store_output
from ingest.outputs.stream import (
    PICTURES_TYPE,
    in_one_piece_tasks,
    warnings_in,
)
from ingest.settings import IngestSettings
from ingest.trust.gate import check_made
from ingest.trust.isobmff import samples_in
from media_contracts import FileKind, MediaFile, ObjectRef, Stage
from media_contracts.errors import ErrorCode
from media_contracts.warnings import WarningCode
from media_records.files import EARLY_SOUND, TILES, WHOLE_SOUND, Segment
from media_records.tables import Asset
from media_records.tasks import Task
from media_runtime.errors import PermanentError
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegError
from media_runtime.media.tiles import Board
from media_runtime.storage.store import ObjectStore

log = structlog.get_logger(__name__)

Results = Callable[[Task, Collection[str]], Awaitable[Sequence[Mapping[str, Any]]]]
_JOIN_SECONDS, _JOIN_CPU_SECONDS = 1800, 600
_IN_CHUNKS, _IN_ONE_PIECE = (video.CHUNK, video.SOUND), (video.WHOLE,)
_BYTES_MORE = 1.05
# With fewer there is nothing to find by them.
_LEAST_TILES = 3


class Package:
    """Proves and joins the pieces of one stream; *results* tells what their tasks said."""

    reads_upload = False

    def __init__(
        self, settings: IngestSettings, store: ObjectStore, ffmpeg: Ffmpeg, results: Results
    ) -> None:
        self._settings = settings
        self._store = store
        self._ffmpeg = ffmpeg
        self._results = results

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:  # noqa: ARG002 - a Doer
        """Prove that the pieces fit, and store one file of them; see Doer."""
        film = Film.of(task.params["film"])
        kinds = _IN_ONE_PIECE if task.params["is_whole"] else _IN_CHUNKS
        told = [
            one
            for one in await self._results(task, kinds)
            if one.get("stream") == task.params["stream"] and "files" in one
        ]
        if found := faults(film, told):
            return _in_one_piece(task, found)
        pictures, heard = pieces_of(told, film.ladder[-1].track), sound_of(told)
        seconds = seconds_of(film, pictures, heard)
        warnings = check_made(seconds, film.claimed_seconds, self._settings.limits)
        is_deaf = film.sound is not None and not heard
        warnings += (WarningCode.SOUND_LEFT_OUT,) if is_deaf else ()
        target, held = await self._joined(asset, pictures, heard, folder)
        if held != [count for count in map(samples_of, (pictures, heard)) if count]:
            return _in_one_piece(task, [f"joined to {held} samples"])
        stream = task.params["stream"]
        stored = await store_output(
            self._store, task, asset, target, name=f"{stream}.mp4", content_type=PICTURES_TYPE
        )
        tiles = await self._storyboard(task, asset, film, told, folder)
        file = MediaFile(
            **stored,
            name=stream,
            kind=FileKind.VIDEO,
            width=film.ladder[-1].size.width,
            height=film.ladder[-1].size.height,
            duration_seconds=seconds,
        )
        previews = video.preview_tasks(task, film, pieces_of(told, film.ladder[0].track))
        return Done(
            [file, *tiles], previews, stage=Stage.TRANSCODED,
            warnings=[*warnings_in(task.params), *warnings],
        )  # fmt: skip

    async def _storyboard(
        self, task: Task, asset: Asset, film: Film, told: Sequence[Mapping[str, Any]], folder: Path
    ) -> Sequence[Segment]:
        """Store sheets of small pictures of the smallest size; a film can do without them."""
        rung = film.ladder[0]
        pieces = pieces_of(told, rung.track)
        grid = replace(film.grid, frames=samples_of(pieces))
        board = board_of(grid, rung.size)
        if board.count < _LEAST_TILES:
            return ()
        with timed("storyboard"):
            source = await self._fetched(asset, pieces, folder / "smallest.mp4")
            try:
                await self._ffmpeg.run(
                    sheets_command(
                        source, folder / "tiles", grid, rung.size, self._ffmpeg.input_options
                    ),
                    reads=source,
                    writes=folder,
                    timeout_seconds=_JOIN_SECONDS,
                    cpu_seconds=_JOIN_CPU_SECONDS,
                    niceness=self._settings.transcode_niceness,
                )
            except FfmpegError as error:
                log.warning("no_storyboard", error=error.code)
                return ()
            sheets = [folder / f"tiles{number}.jpg" for number in range(board.sheets)]
            return [
                await self._sheet(task, asset, board, number, sheet)
                for number, sheet in enumerate(sheets)
                if sheet.exists()
            ]

    async def _sheet(
        self, task: Task, asset: Asset, board: Board, number: int, sheet: Path
    ) -> Segment:
        stream = task.params["stream"]
        name = f"{stream}-{TILES}-{number}"
        stored = await store_output(
            self._store, task, asset, sheet, name=f"{name}.jpg", content_type="image/jpeg"
        )
        return Segment(
            **stored,
            name=name,
            width=board.columns * board.width,
            height=board.rows * board.height,
            stream=stream,
            track=TILES,
            part=number,
            layout=board.text(),
        )

    async def _joined(
        self,
        asset: Asset,
        pictures: Sequence[Mapping[str, Any]],
        heard: Sequence[Mapping[str, Any]],
        folder: Path,
    ) -> tuple[Path, list[int]]:
        """
        Return one file of *pictures* and what is *heard* with them, whose index stands first.

        Beside it: how many samples each of them has in it.
        """
        with timed("join"):
            seen = await self._fetched(asset, pictures, folder / "pictures.mp4")
            sound = await self._fetched(asset, heard, folder / "sound.mp4") if heard else None
            target = folder / "joined.mp4"
            parts = [path for path in (seen, sound) if path]
            held = await join(
                self._ffmpeg, parts, target, niceness=self._settings.transcode_niceness
            )
        return target, held

    async def _fetched(
        self, asset: Asset, pieces: Sequence[Mapping[str, Any]], target: Path
    ) -> Path:
        """Write one track of these pieces to *target*: the first one's head, and all fragments."""
        piece_path = target.with_suffix(".piece")
        for number, piece in enumerate(pieces):
            ref = ObjectRef(bucket=asset.bucket, key=piece["key"])
            await self._store.download(ref, piece_path if number else target)
            if number:
                await asyncio.to_thread(_append, piece_path, target)
                piece_path.unlink()
        return target


def _in_one_piece(task: Task, found: Sequence[str]) -> Done:
    """Have a film whose join is not proven made in one piece; raises PermanentError for that."""
    if task.params["is_whole"]:
        raise PermanentError(ErrorCode.TRANSCODE_FAILED, detail="; ".join(found))
    WHOLE_FILMS.labels("joins").inc()
    return Done(
        then=in_one_piece_tasks(task), instead_of=task.params["stream"],
        result={"faults": list(found)},
    )  # fmt: skip


def faults(film: Film, told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what does not fit of what a film's tasks said; *film* says how it should be."""
    chunks = [one for one in told if "number" in one]
    found = []
    seams = _seams(chunks)
    if any(len(firsts) > 1 or len(afters) > 1 for firsts, afters in seams.values()):
        found.append("two decodes of one chunk differ")
    for (number, (_, after)), (following, (first, _)) in pairwise(sorted(seams.items())):
        if following != number + 1 or after != first:
            found.append(f"chunk {number} does not meet chunk {following}")
    for track in (rung.track for rung in film.rungs):
        pieces = pieces_of(told, track)
        if len(pieces) != len(seams):
            found.append(f"{len(pieces)} pieces of {track}, not {len(seams)}")
        if len({piece["head"] for piece in pieces}) > 1:
            found.append(f"the heads of {track} differ")
        frames = samples_of(pieces)
        if film.grid.frames and frames != film.grid.frames:
            found.append(f"{frames} pictures of {track}, not {film.grid.frames}")
    return found


def pieces_of(told: Sequence[Mapping[str, Any]], track: str) -> list[Mapping[str, Any]]:
    """Return the pieces of a size of pictures, in order."""
    chunks = sorted((one for one in told if "number" in one), key=lambda one: one["number"])
    return [one["files"][track] for one in chunks if track in one["files"]]


def samples_of(pieces: Sequence[Mapping[str, Any]]) -> int:
    """Return how many pictures, or packets of sound, pieces of one track have."""
    return sum(piece["samples"] for piece in pieces)


def seconds_of(
    film: Film, pictures: Sequence[Mapping[str, Any]], heard: Sequence[Mapping[str, Any]]
) -> float:
    """Return how long a film is of these pieces: as long as what lasts longer of the two."""
    return max(float(samples_of(pictures) / film.grid.rate), samples_of(heard) * PACKET / RATE)


def sound_of(told: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the sound: all of it, or that of the beginning where there is no more."""
    for track in (WHOLE_SOUND, EARLY_SOUND):
        found = [one["files"][track] for one in told if track in one["files"]]
        if found:
            return found[:1]
    return []


async def join(
    transcoder: Ffmpeg,
    parts: Sequence[Path],
    target: Path,
    *,
    niceness: int,
    ends_at: int | None = None,
) -> list[int]:
    """
    Write one file of *parts* to *target*, in the folder of both; see join_command.

    Return how many samples of each part its index tells of. The caller knows how many they are.
    """
    most = sum(path.stat().st_size for path in parts)
    await transcoder.run(
        join_command(parts, target, transcoder.input_options, ends_at),
        reads=parts[0],
        writes=target.parent,
        timeout_seconds=_JOIN_SECONDS,
        cpu_seconds=_JOIN_CPU_SECONDS,
        # The index is written, and then the file once more behind it.
        max_bytes=round(most * _BYTES_MORE) + 16 * 1024**2,
        niceness=niceness,
    )
    return await asyncio.to_thread(samples_in, target)


def join_command(
    parts: Sequence[Path],
    target: Path,
    input_options: Mapping[str, object],
    ends_at: int | None = None,
) -> list[str]:
    """
    Return ffmpeg's arguments that put tracks into one MP4, as they are, its index first.

    Of sound alone the last packet may be a part of one: it *ends_at* so many samples.
    """
    # Copied, a packet of sound would last as long as any other.
    end = {} if ends_at is None else {"bsf:a": f"setts=duration='min(DURATION,{ends_at}-PTS)'"}
    streams = [ffmpeg.input(f"file:{part}", **input_options)["0"] for part in parts]
    arguments: list[str] = ffmpeg.output(
        *streams,
        f"file:{target}",
        **{"c": "copy", **end, "fflags": "+bitexact", "movflags": "+faststart", "f": "mp4"},
    ).get_args()
    return arguments


def _seams(chunks: Sequence[Mapping[str, Any]]) -> dict[int, tuple[set[Any], set[Any]]]:
    """Return the first picture of each chunk, and the one after it, as each decode saw them."""
    found: dict[int, tuple[set[Any], set[Any]]] = {}
    for one in chunks:
        first, after = one["seam"]
        firsts, afters = found.setdefault(one["number"], (set(), set()))
        firsts.add(first)
        afters.add(after)
    return found


def _append(piece: Path, target: Path) -> None:
    """Append the fragments of *piece*."""
    data = piece.read_bytes()
    with target.open("ab") as file:
        file.write(data[len(cmaf.read(data).head) :])

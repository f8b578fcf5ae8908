"""
Videos, planned: a film is cut into chunks that are made apart, proven, and joined.

One whose packets cannot be believed is made in one piece, and so is one whose chunks do not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from typing import Any

from ingest.domain import Size, fit_video
from ingest.film.chunk import film_filters
from ingest.film.codecs import H264
from ingest.film.film import Film, chunk_params
from ingest.film.grid import Grid, every
from ingest.film.ladder import Chunk, Rung, cut, further_rungs, gop_frames, rungs
from ingest.film.preview import clips_of, size_of
from ingest.film.quality import samples
from ingest.film.soundtrack import EARLY_PACKETS, packets_of
from ingest.film.text import readable, text_params
from ingest.film.watermark import Mark, placed
from ingest.outputs.source import Source
from media_contracts import MediaKind, PreviewOutput, VideoOutput
from media_contracts.warnings import WarningCode
from media_records.tasks import NewTask, Pool, Task
from media_runtime.media.info import VideoStream

CHUNK, SOUND, TEXT, WHOLE, PACKAGE, PREVIEW, QUALITY = (
    "chunk", "sound", "text", "whole", "package", "preview", "quality",
)  # fmt: skip
# Of the tasks of one output: the last one, which is short, and then what can be watched soon.
_STEPS = {PACKAGE: -9, "early": -8, TEXT: -6, SOUND: -5, CHUNK: 0, WHOLE: 0, QUALITY: 1}
_PRIORITIES = 10
# With a chunk that takes longer, its smallest size is made apart from it, and before.
_LONG_SECONDS = 1.5
_SOUND_COST, _PACKAGE_COST, _PREVIEW_COST = 0.015, 0.2, 1.5
# Of a frame in all sizes: decoded once, and shown and compared as large as the largest.
_QUALITY_TIMES, _MOST_RAW_BYTES = 3, 700_000_000
# All of the file is read.
_LEAST_TEXT_COST, _TEXT_COST = 0.1, 0.001
_UNKNOWN_FRAME_RATE = Fraction(30)
# 59.94 and 60 come with a little jitter of their clocks.
_FAST = 61.0
# What sizes of one codec have together to be made with one decode: 1080p. More would take more
# memory than a worker has, and be lost with it.
_PIXELS_A_TASK = 1920 * 1080


def plan(outputs: Sequence[VideoOutput | PreviewOutput], source: Source) -> Sequence[NewTask]:
    """Return the tasks of each video, which previews of it follow; see Planner."""
    if source.kind is not MediaKind.VIDEO or source.video is None:
        return ()
    videos = [one for one in outputs if isinstance(one, VideoOutput)]
    previews = [one for one in outputs if isinstance(one, PreviewOutput)]
    return [
        task
        for number, output in enumerate(videos)
        for task in _Planner(
            output, source, source.video,
            [one for one in previews if one.video == output.name], tells=not number,
        ).tasks()
    ]  # fmt: skip


def beginning(tasks: Sequence[NewTask]) -> NewTask | None:
    """Return what makes the first chunk that is played; None where the film is not required."""
    first = (one for one in tasks if one.kind == CHUNK and one.params["is_early"])
    return next((one for one in first if one.required and one.params["tells"]), None)


def whole_tasks(
    name: str, params: dict[str, Any], *, required: bool, priority: int
) -> list[NewTask]:
    """Return what makes the film of a chunk's *params* in one piece, and its texts anew."""
    film = Film.of(params["film"])
    seconds = film.duration_seconds or 0
    frames = round(seconds * film.grid.rate)
    params = {**params, "name": name}
    if film.further:
        # Two decodes of it could not be proven to be one film.
        left_out = WarningCode.CODECS_LEFT_OUT.value
        params |= {
            "film": replace(film, further=()).params(),
            "warnings": [*params["warnings"], left_out],
        }
    whole = NewTask(
        f"{name}-whole", WHOLE, Pool.ENCODE, params,
        required=required, priority=priority, cost_seconds=film.cost(frames, film.ladder),
    )  # fmt: skip
    return [*text_tasks(name, params, required=required, priority=priority, is_whole=True), whole]


def text_tasks(
    name: str, params: dict[str, Any], *, required: bool, priority: int, is_whole: bool = False
) -> list[NewTask]:
    """
    Return what makes the texts of a film, if it has any.

    Its package needs it, so that all hear of texts when they hear of the film. It never fails of
    what is in a file.
    """
    # Tasks that were planned by an earlier release have none.
    if not params.get("texts"):
        return []
    seconds = params["film"]["duration_seconds"] or 0
    task = NewTask(
        text_name(name, is_whole=is_whole),
        TEXT, Pool.ENCODE, {**params, "is_whole": is_whole},
        required=required, priority=priority + _STEPS[TEXT],
        cost_seconds=_LEAST_TEXT_COST + seconds * _TEXT_COST,
    )  # fmt: skip
    return [task]


def text_name(name: str, *, is_whole: bool = False) -> str:
    """Return what the task is called that makes the texts of a film."""
    return f"{name}-whole-text" if is_whole else f"{name}-text"


def package_task(
    name: str,
    params: dict[str, Any],
    needs: tuple[str, ...],
    *,
    required: bool,
    priority: int,
    is_whole: bool = False,
) -> NewTask:
    """Return what proves that all that these tasks made fits, and makes one file of it."""
    if is_whole and params.get("texts"):
        needs = (*needs, text_name(name, is_whole=True))
    return NewTask(
        f"{name}-whole-package" if is_whole else name,
        PACKAGE, Pool.ENCODE, {**params, "is_whole": is_whole}, needs,
        required=required, priority=priority + _STEPS[PACKAGE], cost_seconds=_PACKAGE_COST,
    )  # fmt: skip


def preview_tasks(package: Task, film: Film, pieces: Sequence[Mapping[str, Any]]) -> list[NewTask]:
    """Return what makes the previews of a video that is there, of *pieces* of its smallest size."""
    keys = [piece["key"] for piece in pieces]
    lengths = [float(piece["samples"] / film.grid.rate) for piece in pieces]
    return [
        NewTask(
            one["name"],
            PREVIEW,
            Pool.ENCODE,
            {
                "clips": [
                    {"key": keys[number], "at": at, "seconds": seconds, "of": lengths[number]}
                    for number, at, seconds in clips_of(lengths, one["moments"])
                ],
                "size": asdict(size_of(film.ladder[0].size, one["max_long_side"])),
            },
            required=one["required"] and package.required,
            priority=one["priority"] * _PRIORITIES,
            cost_seconds=_PREVIEW_COST,
        )
        for one in package.params.get("previews", ())
    ]


class _Planner:
    """Plans one video."""

    def __init__(
        self,
        output: VideoOutput,
        source: Source,
        video: VideoStream,
        previews: Sequence[PreviewOutput],
        *,
        tells: bool,
    ) -> None:
        size = fit_video(
            source.square,
            max_long_side=output.max_long_side,
            max_short_side=output.max_short_side,
        )
        grid = source.grid.at_most(output.max_frame_rate) if source.grid else None
        rate = grid.rate if grid else _rate(source.frame_rate, output.max_frame_rate)
        ladder = rungs(size, output.short_sides, rate)
        self._output = output
        self._grid = grid
        self.film = Film(
            track=video.index,
            filters=film_filters(video, size),
            grid=grid or Grid(rate, 0, Fraction(0), 0),
            ladder=ladder,
            further=further_rungs(ladder, output.codecs),
            preset=output.preset,
            crf=output.crf,
            seen=Size(source.width, source.height),
            starts_at=source.starts_at,
            sound=source.sound,
            loudness=output.loudness,
            claimed_seconds=source.claimed_seconds,
            duration_seconds=source.duration_seconds,
            frame_rate=source.frame_rate,
            mark=_mark(output, source, size),
            shift=_shift(source, video, rate),
        )
        self._params = {
            "stream": output.name,
            "film": self.film.params(),
            "tells": tells,
            "changes_size": video.changes_size,
            "warnings": [code.value for code in self._warnings(source)],
        }
        if output.text and (texts := readable(source.texts)):
            self._params["texts"] = text_params(texts)
        if previews:
            self._params["previews"] = [one.model_dump(mode="json") for one in previews]
        self._priority = output.priority * _PRIORITIES

    def _warnings(self, source: Source) -> Iterator[WarningCode]:
        if (source.frame_rate or 0) > _FAST:
            yield WarningCode.FRAME_RATE_REDUCED
        if {H264, *(one.codec for one in self.film.further)} != set(self._output.codecs):
            yield WarningCode.CODECS_LEFT_OUT
        if self._output.text and len(readable(source.texts)) < len(source.texts):
            yield WarningCode.TEXT_LEFT_OUT

    def tasks(self) -> Sequence[NewTask]:
        """
        Return its tasks, in the order in which they are done.

        All of one film come before those of the next one: that films become ready one by one is
        worth more than H.264 of all of them before any other codec.
        """
        output, grid = self._output, self._grid
        if grid is None or grid.faults:
            return whole_tasks(
                output.name, self._params, required=output.required, priority=self._priority
            )
        chunks = cut(grid)
        first, *others = chunks
        made = [*self._beginning(first), *(self._chunk(one) for one in others)]
        if self.film.sound and packets_of(grid) > EARLY_PACKETS:
            made.append(self._sound(float(grid.seconds)))
        made += text_tasks(
            output.name, self._params, required=output.required, priority=self._priority
        )
        made += [
            self._chunk(chunk, rungs_from=begin, rungs_to=end)
            for begin, end in _together(self.film)
            for chunk in chunks
        ]
        package = package_task(
            output.name, self._params, tuple(one.name for one in made),
            required=output.required, priority=self._priority,
        )  # fmt: skip
        return [*made, package, *self._quality(chunks, made)]

    def _quality(self, chunks: Sequence[Chunk], made: Sequence[NewTask]) -> Iterator[NewTask]:
        """
        Yield what measures samples of all sizes, where that is wanted.

        It never fails, and all hear of what it found when they hear of the film.
        """
        film, output = self.film, self._output
        if not output.vmaf:
            return
        # Frames lie on the disk as they are, those of the source and of one size at a time.
        most = _MOST_RAW_BYTES // (film.ladder[-1].pixels * 3 // 2)
        sampled = samples(chunks, max(1, min(gop_frames(film.grid.rate), most)))
        numbers = {one.number for one in sampled}
        needed = [one for one in made if one.kind == CHUNK and one.params["chunk"][0] in numbers]
        frames = sum(one.frames for one in sampled)
        yield NewTask(
            f"{output.name}-quality", QUALITY, Pool.ENCODE,
            {**self._params, "samples": [chunk_params(one) for one in sampled]},
            tuple(one.name for one in needed),
            required=output.required, priority=self._priority + _STEPS[QUALITY],
            cost_seconds=_QUALITY_TIMES * film.cost(frames, film.rungs),
        )  # fmt: skip

    def _beginning(self, first: Chunk) -> Sequence[NewTask]:
        """Return what makes the first chunk: its smallest size before the others, if that helps."""
        ladder = self.film.ladder
        if len(ladder) == 1 or self.film.cost(first.frames, ladder) < _LONG_SECONDS:
            return [self._chunk(first, is_early=True)]
        early = self._chunk(first, rungs_from=0, rungs_to=1, is_early=True)
        return [early, self._chunk(first, rungs_from=1)]

    def _chunk(
        self,
        chunk: Chunk,
        *,
        rungs_from: int = 0,
        rungs_to: int | None = None,
        is_early: bool = False,
    ) -> NewTask:
        end = len(self.film.ladder) if rungs_to is None else rungs_to
        ladder = self.film.rungs[rungs_from:end]
        params = {
            **self._params,
            "chunk": chunk_params(chunk),
            "rungs": [rungs_from, end],
            "is_early": is_early,
        }
        kind = "early" if is_early else CHUNK
        name = "early" if is_early else f"{chunk.number:04}"
        if rungs_from >= len(self.film.ladder):
            name = f"{ladder[-1].track}-{name}"
        return NewTask(
            f"{self._output.name}-{name}",
            CHUNK, Pool.ENCODE, params,
            required=self._output.required, priority=self._priority + _STEPS[kind],
            cost_seconds=self.film.cost(chunk.frames, ladder),
        )  # fmt: skip

    def _sound(self, seconds: float) -> NewTask:
        return NewTask(
            f"{self._output.name}-sound", SOUND, Pool.ENCODE, self._params,
            required=self._output.required, priority=self._priority + _STEPS[SOUND],
            cost_seconds=seconds * _SOUND_COST,
        )  # fmt: skip


def _mark(output: VideoOutput, source: Source, size: Size) -> Mark | None:
    wanted = output.watermark
    return placed(wanted, source.marks[wanted.asset_id], size) if wanted else None


def _shift(source: Source, video: VideoStream, rate: Fraction) -> float:
    """Return by how much the first picture misses a grid that begins with the container's clock."""
    first = Fraction(video.start_seconds or 0) - Fraction(source.starts_at)
    return round(float(first % (1 / rate)), 6) if first > 0 else 0.0


def _together(film: Film) -> list[tuple[int, int]]:
    """Return from where to where sizes of the same further codec are made with one decode."""
    first, found, pixels = len(film.ladder), list[tuple[int, int]](), 0
    before: Rung | None = None
    for number, rung in enumerate(film.further, start=first):
        pixels += rung.pixels
        if before is None or before.codec != rung.codec or pixels > _PIXELS_A_TASK:
            found.append((number, number + 1))
            pixels = rung.pixels
        else:
            found[-1] = (found[-1][0], number + 1)
        before = rung
    return found


def _rate(frame_rate: float | None, most: int) -> Fraction:
    """Return how many frames a second are made of a film whose packets say nothing."""
    rate = _UNKNOWN_FRAME_RATE
    if frame_rate:
        rate = Fraction(frame_rate).limit_denominator(1001)
    return min(rate / every(rate, most), Fraction(most))


def without_sound(film: Film) -> Film:
    """Return *film* as it is where its sound cannot be decoded."""
    return replace(film, sound=None)


def in_one_piece(film: Film) -> Film:
    """Return *film* as it is made without a grid, in H.264 alone."""
    no_grid = Grid(film.grid.rate, 0, Fraction(0), 0, is_filled=film.grid.is_filled)
    return replace(film, grid=no_grid, further=())

"""
Chooses the frame that stands for a video, or the picture that goes with a sound.

A frame is taken at several places until one shows something, sharply; the best is kept, so a video
that is dark throughout has its picture too. Where somebody chose the moment, it is the frame that
players show then, whatever is on it.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import structlog
from media_contracts.errors import ErrorCode
from media_runtime.errors import PermanentError
from media_runtime.media.colour import (
    apply,
    made_colours,
    picture_filters,
    true_colours,
    whole_frames,
)
from media_runtime.media.ffmpeg import (
    Ffmpeg,
    FfmpegError,
    FfmpegKilledError,
    UnreadableMediaError,
)
from media_runtime.media.info import MediaInfo, VideoStream
from media_runtime.media.looks import Look, look
from media_runtime.media.pace import PACKET_ENTRIES, has_jumps
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import PictureError, WantedPicture

log = structlog.get_logger(__name__)

_SHARES = (0.1, 0.25, 0.5, 0.75)
_EXACT_SHARES = (0.1, 0.5, 0.0)
# Where the length is not known; a place past the end yields no frame and is passed over.
_SECONDS = (1.0, 5.0, 15.0, 0.0)
_KEYFRAMES = 3
# What one look may take on the CPU. The clock is not the file's alone: it has more of it.
_LOOK_CPU_SECONDS = 10
# A chosen frame may be far from the keyframe before it, and no other will do.
_CHOSEN_CPU_SECONDS = 30
# A file that ran out of it so often is given no further look.
_MOST_OUT_OF_CPU = 2
_LOOK_SECONDS = 30.0
_LOOK_BYTES = 256 * 1024**2
_OUT_OF_CPU = frozenset({ErrorCode.TRANSCODE_TIMEOUT, ErrorCode.IMAGE_TIMEOUT})
# Frames are handed on larger than wanted, so that the final filter has something to choose from.
_OVERSIZE = 2
# Sound that begins earlier than this before the first picture is played with it standing still,
# and the clock begins with the sound. Ingest makes films so.
_LEAD_SECONDS = 0.1
# Times are told in thousandths; no frame is as short as two of these.
_NEAR_SECONDS = 0.0005
_USUAL_RATE = 25
_PACKET_WORDS = len(PACKET_ENTRIES.split(","))
_PACKETS_CPU_SECONDS, _MOST_PACKETS = 30, 4_000_000


class NoFrameError(PermanentError):
    """No frame of the video can be decoded."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.NO_FRAME)


class _OutOfCpuError(Exception):
    """A look took all of its time on the CPU."""


@dataclass(frozen=True)
class Place:
    """
    Where to look; only keyframes are decoded unless *exact*, which is slower.

    *from_start* decodes all that comes before, for files in which nobody finds a keyframe.
    """

    seconds: float
    exact: bool = False
    from_start: bool = False


def places(duration_seconds: float | None, *, has_index: bool = True) -> list[Place]:
    """
    Return where to look for a frame, the cheapest and likeliest first.

    Without an index a seek may end between two keyframes, where what is decoded is rubble.
    """
    if duration_seconds:
        fast = [duration_seconds * share for share in _SHARES]
        # A short clip may have one keyframe only, and that one may be black.
        exact = [duration_seconds * share for share in _EXACT_SHARES]
    else:
        fast, exact = [*_SECONDS], [1.0, 0.0]
    if has_index:
        return [*map(Place, fast), *(Place(seconds, exact=True) for seconds in exact)]
    slow = (Place(seconds, exact=True, from_start=True) for seconds in sorted(exact))
    return [*map(Place, fast), *slow]


def chosen_places(
    info: MediaInfo,
    video: VideoStream,
    times: Sequence[float],
    duration_seconds: float | None,
    at_seconds: float,
) -> list[Place]:
    """
    Return where the frame is that is shown *at_seconds* after a film's beginning.

    *times* are those of its pictures on the file's clock, in any order. The second place has the
    keyframe before, for a file that cannot be decoded up to there.
    """
    first = min(times, default=video.start_seconds or 0.0)
    starts = [one.start_seconds for one in info.audio_streams if one.start_seconds is not None]
    lead = first - min(starts, default=first)
    lead = lead if lead > _LEAD_SECONDS else 0.0
    time = first - lead + at_seconds + _NEAR_SECONDS
    if times and not has_jumps(info):
        shown = max((one for one in times if one <= time), default=first)
        # From a little before it on, as the first that is not earlier is taken.
        place = max(0.0, shown - 2 * _NEAR_SECONDS - info.start_seconds)
        return [Place(place, exact=True), Place(place)]
    if duration_seconds:
        time = min(time, first + duration_seconds - _NEAR_SECONDS)
    # Whose clock may be set anew is decoded from its start: the frame that is over only later.
    place = max(0.0, time - 1 / (video.frame_rate or _USUAL_RATE) - info.start_seconds)
    return [Place(place, exact=True, from_start=True), Place(place)]


def frame_command(
    source: Path,
    target: Path,
    place: Place,
    box: tuple[int, int],
    input_options: Mapping[str, object],
    *,
    video: VideoStream,
) -> list[str]:
    """
    Return ffmpeg's arguments that write one frame near *place*, upright and in square pixels.

    It covers *box*, but is never enlarged, and has the colours that a rendition of *video* has.
    """
    options: dict[str, object] = {**input_options, "threads": 1}
    if not place.from_start:
        options["ss"] = f"{place.seconds:.6f}"
    if not place.exact:
        options |= {"skip_frame": "nokey", "noaccurate_seek": None}
    scale = f"min(1,max({box[0]}/(iw*sar),{box[1]}/ih))"
    size = {"w": f"max(1,iw*sar*{scale})", "h": f"max(1,ih*{scale})"}
    pictures = ffmpeg.input(f"file:{source}", **options)[str(video.index)]
    if place.from_start:
        pictures = pictures.filter("trim", start=f"{place.seconds:.6f}")
    picture = apply(
        pictures,
        [*whole_frames(video), *picture_filters(video, size, pixels="yuv444p")],
    )
    if not place.exact:
        picture = picture.filter("thumbnail", n=_KEYFRAMES)
    # A keyframe before the place has a negative time, and ffmpeg would drop it.
    matrix = made_colours(true_colours(video)).matrix
    arguments: list[str] = (
        picture.filter("setpts", "PTS-STARTPTS")
        .filter("scale", in_color_matrix=matrix, in_range="tv")
        # Players show these values as they are. A PNG that told of another curve would be changed.
        .filter("setparams", color_trc="iec61966-2-1", color_primaries="bt709")
        .output(
            f"file:{target}",
            **{
                "frames:v": 1,
                # Pictures of another size would be squeezed into that of the first.
                "autoscale": 0,
                "c:v": "png",
                "compression_level": 1,
                "pix_fmt": "rgb24",
                "f": "image2",
                "update": 1,
            },
        )
        .get_args()
    )
    return arguments


class FindFrame:
    """Writes the frame that stands for a video into a folder."""

    def __init__(self, pool: PicturePool, ffmpeg: Ffmpeg, *, timeout_seconds: float) -> None:
        self._pool = pool
        self._ffmpeg = ffmpeg
        self._timeout_seconds = timeout_seconds

    async def __call__(
        self,
        source: Path,
        duration_seconds: float | None,
        wanted: Sequence[WantedPicture],
        *,
        at_seconds: float | None = None,
    ) -> Path:
        """
        Return the path of a frame, next to *source*; raises NoFrameError.

        It is the one that is shown *at_seconds* after the beginning, after the end the last one;
        where that cannot be decoded, one near it, or any. Where the clock cut a look short, and no
        other found a frame, it raises FfmpegKilledError.
        """
        box = (
            _OVERSIZE * max(picture.width for picture in wanted),
            _OVERSIZE * max(picture.height for picture in wanted),
        )
        video, chosen, where = await self._look_into(source, duration_seconds, at_seconds)
        name = "frame" if at_seconds is None else f"frame-at-{at_seconds}"
        best: tuple[Look, Path] | None = None
        killed: FfmpegKilledError | None = None
        out_of_cpu = 0
        for number, (place, seconds) in enumerate(self._in_time([*chosen, *where])):
            is_chosen = number < len(chosen)
            if place.exact and best is not None and best[0].shows_something:
                break  # a sharper picture is not worth what these take
            frame = source.with_name(f"{name}-{number}.png")
            command = frame_command(
                source, frame, place, box, self._ffmpeg.input_options, video=video
            )
            try:
                found = await self._look(
                    command, source, frame, seconds,
                    cpu_seconds=_CHOSEN_CPU_SECONDS if is_chosen else _LOOK_CPU_SECONDS,
                )  # fmt: skip
            except FfmpegKilledError as error:
                killed = error
                continue
            except _OutOfCpuError:
                out_of_cpu += 1
                if out_of_cpu >= _MOST_OUT_OF_CPU:
                    break
                continue
            if found is not None and is_chosen:
                return frame
            if found is not None and (best is None or found.rank > best[0].rank):
                best = found, frame
            if best is not None and best[0].shows_something and best[0].is_sharp:
                break
        if best is None:
            raise killed or NoFrameError
        return best[1]

    async def _look_into(
        self, source: Path, duration_seconds: float | None, at_seconds: float | None
    ) -> tuple[VideoStream, Sequence[Place], Sequence[Place]]:
        """Return what to look at, the places that were chosen, and the others."""
        try:
            info = await self._ffmpeg.probe(source)
        except UnreadableMediaError as error:
            log.info("no_frame_here", code=error.code, why=error.detail)
            raise NoFrameError from error
        if info.video:
            chosen: Sequence[Place] = ()
            if at_seconds is not None:
                times = await self._times(source, info.video)
                chosen = chosen_places(info, info.video, times, duration_seconds, at_seconds)
            return info.video, chosen, places(duration_seconds, has_index=not has_jumps(info))
        if info.cover:
            return info.cover, (), [Place(0, exact=True, from_start=True)]
        raise NoFrameError

    async def _times(self, source: Path, video: VideoStream) -> Sequence[float]:
        """Return when the pictures of a film are shown, as far as its packets say."""
        times = array("d")

        def take(line: str) -> None:
            words = line.split(",")
            if len(words) < _PACKET_WORDS or "D" in words[3]:
                return
            # Some containers tell only when a packet is decoded.
            for word in words[1:3]:
                with suppress(ValueError):
                    times.append(float(word))
                    return

        await self._ffmpeg.read_lines(
            source,
            ("-select_streams", str(video.index), "-show_entries", PACKET_ENTRIES),
            take,
            cpu_seconds=_PACKETS_CPU_SECONDS,
            most_lines=_MOST_PACKETS,
            timeout_seconds=self._timeout_seconds,
        )
        return times

    def _in_time(self, candidates: Sequence[Place]) -> Iterator[tuple[Place, float]]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timeout_seconds
        for place in candidates:
            left = deadline - clock()
            if left > 0:
                yield place, min(left, _LOOK_SECONDS)

    async def _look(
        self,
        command: list[str],
        source: Path,
        frame: Path,
        seconds: float,
        *,
        cpu_seconds: int,
    ) -> Look | None:
        """Return what is seen of the frame, or None when there is none to be had."""
        try:
            await self._ffmpeg.run(
                command,
                reads=source,
                writes=frame.parent,
                timeout_seconds=seconds,
                cpu_seconds=cpu_seconds,
                max_bytes=_LOOK_BYTES,
            )
            if not frame.exists():  # noqa: ASYNC240 - one look at a local file
                return None
            return await self._pool.run(look, frame, timeout_seconds=seconds)
        except (FfmpegError, PictureError) as error:
            log.info("no_frame_here", code=error.code, why=error.detail)
            if error.code in _OUT_OF_CPU:
                raise _OutOfCpuError from error
            return None

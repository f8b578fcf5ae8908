"""
ffmpeg and ffprobe: the only place that runs them.

Invariant: no process outlives the call that started it, however that call or this process
ends; and what they read is a local file in one of the formats that are accepted for upload.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from media_runtime.errors import PermanentError, TransientError

ProgressHandler = Callable[[float], Awaitable[None]]

_TAIL_BYTES = 4096
_MAX_PROBE_BYTES = 1_000_000

INPUT_OPTIONS: dict[str, str | int] = {
    # A playlist or concat script under another name would open further files: only these
    # demuxers may run, whatever the bytes look like.
    "protocol_whitelist": "file",
    "format_whitelist": ("mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo"),
    "max_streams": 16,
    "max_pixels": 40_000_000,
    "probesize": 10_000_000,
    "analyzeduration": 10_000_000,
}
"""Options of every input, as keywords for ffmpeg-python's ``input``."""

_MAX_ALLOC = ("-max_alloc", "268435456")
_RUN_OPTIONS = (
    "-hide_banner", "-nostdin", "-loglevel", "warning", *_MAX_ALLOC,
    "-nostats", "-progress", "pipe:1", "-y",
)  # fmt: skip
_PROBE_ENTRIES = (
    "format=format_name,duration,nb_streams"
    ":stream=codec_type,codec_name,width,height,pix_fmt,avg_frame_rate,r_frame_rate,duration,"
    "channels,sample_aspect_ratio"
    ":stream_disposition=attached_pic:stream_tags=rotate:stream_side_data=rotation"
)


class FfmpegError(PermanentError):
    """
    ffmpeg cannot do this with this file.

    ``stderr`` holds its last words, for logs: they name paths of this machine.
    """

    def __init__(self, code: str, message: str, stderr: str = "") -> None:
        super().__init__(code, message)
        self.stderr = stderr


class UnreadableMediaError(PermanentError):
    """The file is no audio or video of an accepted format; ``stderr`` is for logs."""

    def __init__(self, stderr: str = "") -> None:
        super().__init__("unreadable_media", "The file is not a video that can be read.")
        self.stderr = stderr


class FfmpegInterruptedError(TransientError):
    """Something outside the file ended ffmpeg: it was killed, is missing, or the disk is full."""


@dataclass(frozen=True)
class VideoStream:
    """
    The picture of a file. ``width`` and ``height`` are in pixels after rotation.

    ``rotation`` is how far players turn the stored picture: 0, 90, 180 or 270 degrees
    clockwise. ``pixel_aspect`` is the width of a shown pixel over its height.
    """

    codec: str
    width: int
    height: int
    rotation: int
    frame_rate: float | None
    pixel_format: str | None
    pixel_aspect: float


@dataclass(frozen=True)
class AudioStream:
    """The sound of a file."""

    codec: str
    channels: int


@dataclass(frozen=True)
class MediaInfo:
    """What ffprobe says of a file; its first video and audio stream, cover art left out."""

    format_name: str
    duration_seconds: float | None
    video: VideoStream | None
    audio: AudioStream | None
    stream_count: int


async def run_ffmpeg(
    arguments: Sequence[str],
    *,
    timeout_seconds: float,
    on_progress: ProgressHandler | None = None,
    stall_seconds: float = 60,
) -> None:
    """
    Run ffmpeg with *arguments*, as ffmpeg-python's ``get_args`` returns them.

    *on_progress* gets the seconds of output written so far, about twice a second. ffmpeg is
    killed when its time is up, when it makes no progress for *stall_seconds*, when the task
    is cancelled, or when *on_progress* raises. Raises FfmpegError with code
    ``transcode_failed``, ``transcode_timeout`` or ``transcode_stalled``; or
    FfmpegInterruptedError, which is worth another try.
    """
    async with _started("ffmpeg", (*_RUN_OPTIONS, *arguments)) as running:
        try:
            async with asyncio.timeout(timeout_seconds) as limit:
                await _follow(running.output, on_progress, stall_seconds)
                code, stderr = await running.ended()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise FfmpegError("transcode_timeout", "Processing took too long.") from error
    if code != 0:
        _raise_if_interrupted(code, stderr)
        raise FfmpegError("transcode_failed", "The file cannot be processed.", stderr)


async def probe(path: Path, *, timeout_seconds: float = 30) -> MediaInfo:
    """Return what the file at *path* holds; raises UnreadableMediaError."""
    options = [text for name, value in INPUT_OPTIONS.items() for text in (f"-{name}", str(value))]
    arguments = (
        "-v", "error", *_MAX_ALLOC, "-of", "json", "-show_entries", _PROBE_ENTRIES,
        *options, "-i", f"file:{path}",
    )  # fmt: skip
    async with _started("ffprobe", arguments) as running:
        try:
            async with asyncio.timeout(timeout_seconds):
                output = await _read_at_most(running.output, _MAX_PROBE_BYTES)
                code, stderr = await running.ended()
        except TimeoutError as error:
            raise UnreadableMediaError("ffprobe took too long") from error
    if code != 0:
        _raise_if_interrupted(code, stderr)
        raise UnreadableMediaError(stderr)
    return _media_info(json.loads(output))


class _Running:
    """A started process whose standard error is being read."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for, see _started
        assert process.stderr is not None  # noqa: S101
        self.output = process.stdout
        self._process = process
        self._tail = asyncio.create_task(_tail(process.stderr))

    async def ended(self) -> tuple[int, str]:
        """Wait for its end and return its exit code and its last words."""
        stderr = await asyncio.shield(self._tail)
        return await self._process.wait(), stderr

    async def end(self) -> None:
        """Kill what still runs and reap it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._tail.cancel()
        await asyncio.wait([self._tail])
        await self._process.communicate()


@asynccontextmanager
async def _started(program: str, arguments: Sequence[str]) -> AsyncIterator[_Running]:
    process = await asyncio.create_subprocess_exec(
        *_dying_with_us(),
        _find(program),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    running = _Running(process)
    try:
        yield running
    finally:
        await running.end()


@cache
def _dying_with_us() -> tuple[str, ...]:
    # The kernel kills the child when the thread that forked it ends, and asyncio forks on the
    # thread of the event loop: kill -9 of this process leaves no ffmpeg behind.
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--no-new-privs", "--") if setpriv else ()


@cache
def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        # The machine is at fault, not the file that somebody uploaded.
        raise FfmpegInterruptedError(f"{program} is not installed")
    return found


async def _follow(
    lines: asyncio.StreamReader, on_progress: ProgressHandler | None, stall_seconds: float
) -> None:
    clock = asyncio.get_running_loop().time
    report: dict[str, str] = {}
    seen: tuple[str | None, ...] = ()
    try:
        async with asyncio.timeout(stall_seconds) as stall:
            async for line in lines:
                name, _, value = line.decode(errors="replace").strip().partition("=")
                report[name] = value
                mark = tuple(report.get(key) for key in ("out_time_us", "frame", "total_size"))
                if name != "progress" or mark == seen:
                    continue
                seen = mark
                stall.reschedule(None)
                if on_progress is not None:
                    await on_progress(_seconds_done(report))
                stall.reschedule(clock() + stall_seconds)
    except TimeoutError as error:
        if not stall.expired():
            raise
        raise FfmpegError("transcode_stalled", "Processing came to a halt.") from error


def _seconds_done(report: dict[str, str]) -> float:
    try:
        return max(0.0, int(report["out_time_us"]) / 1_000_000)
    except (KeyError, ValueError):  # "N/A" until the first packet is written
        return 0.0


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    while chunk := await stream.read(65536):
        kept = (kept + chunk)[-_TAIL_BYTES:]
    return kept.decode(errors="replace")


async def _read_at_most(stream: asyncio.StreamReader, limit: int) -> bytes:
    output = b""
    while chunk := await stream.read(65536):
        output += chunk
        if len(output) > limit:
            raise UnreadableMediaError("ffprobe said too much")
    return output


def _raise_if_interrupted(code: int, stderr: str) -> None:
    if code in {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}:
        raise FfmpegInterruptedError(f"killed by signal {-code}")
    if "No space left on device" in stderr:
        raise FfmpegInterruptedError("the disk is full")


def _media_info(found: dict[str, Any]) -> MediaInfo:
    streams: list[dict[str, Any]] = found.get("streams", [])
    about: dict[str, Any] = found.get("format", {})
    if not streams:
        raise UnreadableMediaError("no streams")
    durations = [_number(part.get("duration")) for part in (about, *streams)]
    return MediaInfo(
        format_name=about.get("format_name", ""),
        duration_seconds=next((seconds for seconds in durations if seconds), None),
        video=next((_video(s) for s in streams if _is_video(s)), None),
        audio=next((_audio(s) for s in streams if s.get("codec_type") == "audio"), None),
        stream_count=int(about.get("nb_streams", len(streams))),
    )


def _is_video(stream: dict[str, Any]) -> bool:
    cover_art = bool(stream.get("disposition", {}).get("attached_pic"))
    return stream.get("codec_type") == "video" and not cover_art


def _video(stream: dict[str, Any]) -> VideoStream:
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    pixel_aspect = _number(stream.get("sample_aspect_ratio", "").replace(":", "/")) or 1.0
    rotation = _rotation(stream)
    if rotation in {90, 270}:
        width, height, pixel_aspect = height, width, 1 / pixel_aspect
    rates = (_number(stream.get(name)) for name in ("avg_frame_rate", "r_frame_rate"))
    return VideoStream(
        codec=stream.get("codec_name", "unknown"),
        width=width,
        height=height,
        rotation=rotation,
        frame_rate=next((rate for rate in rates if rate), None),
        pixel_format=stream.get("pix_fmt"),
        pixel_aspect=pixel_aspect,
    )


def _rotation(stream: dict[str, Any]) -> int:
    # The display matrix counts anticlockwise; the older tag counts clockwise.
    for side_data in stream.get("side_data_list", []):
        if "rotation" in side_data:
            return round(-float(side_data["rotation"]) / 90) * 90 % 360
    return round((_number(stream.get("tags", {}).get("rotate")) or 0) / 90) * 90 % 360


def _audio(stream: dict[str, Any]) -> AudioStream:
    return AudioStream(stream.get("codec_name", "unknown"), int(stream.get("channels", 0)))


def _number(text: str | None) -> float | None:
    """Return a number or fraction as ffprobe writes it; None for what is not known."""
    top, _, bottom = (text or "").partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        return None

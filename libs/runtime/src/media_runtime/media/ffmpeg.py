"""
ffmpeg and ffprobe: the only place that runs them.

Invariant: no process outlives the call that started it, however that call or this process
ends; and what they read is a local file in one of the formats that are accepted for upload.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

from media_contracts.errors import ErrorCode
from media_runtime import background
from media_runtime.errors import InconclusiveError, PermanentError, TransientError
from media_runtime.media import meter
from media_runtime.media.ffmpeg_input import InputLimits, input_options, refuse_open_inputs
from media_runtime.media.info import (
    PROBE_ENTRIES,
    AudioStream,
    MediaInfo,
    VideoStream,
    media_info,
)
from media_runtime.media.sandbox import Limits, Sandbox
from media_runtime.media.scratch import holds_regular_files, used_bytes
from media_runtime.media.starved import is_starved

__all__ = [
    "AudioStream",
    "Ffmpeg",
    "FfmpegError",
    "FfmpegInterruptedError",
    "FfmpegKilledError",
    "FfmpegTimeoutError",
    "InputLimits",
    "MediaInfo",
    "UnreadableMediaError",
    "VideoStream",
    "input_options",
]

ProgressHandler = Callable[[float], Awaitable[None]]

_TAIL_BYTES, _DETAIL = 16 * 1024, 4000
_MAX_PROBE_BYTES = 1_000_000
_BLOCK_BYTES = 64 * 1024

_MAX_ALLOC = ("-max_alloc", "268435456")
# ffmpeg ends with 255 when it was asked to end by a signal, and with no other error.
_ASKED_TO_END = 255


def _codes(*numbers: signal.Signals) -> set[int]:
    # A sandbox passes a signal on as a shell does: 128 and its number.
    return {code for number in numbers for code in (-number, 128 + number)}


_KILLED = {_ASKED_TO_END, *_codes(signal.SIGKILL, signal.SIGTERM, signal.SIGINT)}
_OUT_OF_CPU = _codes(signal.SIGXCPU)
_OUT_OF_BYTES = _codes(signal.SIGXFSZ)
_CORES = os.cpu_count() or 1
_MAX_CPU_SECONDS = 2**31
# Of a probe, which decodes no more than the first few frames.
_PROBE_CPU_SECONDS, _PROBE_CPU_SECONDS_A_MEGAPIXEL = 5, 0.25
_ENCODERS_CPU_SECONDS = 10
# What libavcodec, libavutil and libavformat say when a file exceeds an input's options.
_EXCEEDED = {
    "exceeds specified max pixel count": ErrorCode.TOO_MANY_PIXELS,
    "exceeds max_streams": ErrorCode.TOO_MANY_STREAMS,
    "more to decode than allowed": ErrorCode.TOO_MANY_STREAMS,
    ") not on whitelist": ErrorCode.UNSUPPORTED_CODEC,
}
MAX_OUTPUT_BYTES = 4 * 1024**3
_LOOK_AT_BYTES_SECONDS = 0.25
_LEAST_FREE_BYTES = 64 * 1024**2
_SANDBOXERS = ("bwrap: ", "prlimit: ", "setpriv: ", "sh: ")
_VERSION = re.compile(r"ffmpeg version (\S+)")
_RUN_OPTIONS = (
    "-hide_banner", "-nostdin", "-loglevel", "warning", *_MAX_ALLOC,
    "-nostats", "-progress", "pipe:1", "-y",
)  # fmt: skip


class FfmpegError(PermanentError):
    """ffmpeg cannot do this with this file; ``detail`` holds its last words."""


class UnreadableMediaError(PermanentError):
    """
    The file is no audio or video of an accepted format; ``detail`` holds ffprobe's words.

    Codes: ``unreadable_media``, ``unsupported_codec``, ``too_many_pixels``,
    ``too_many_streams``.
    """

    def __init__(self, stderr: str = "", limits: InputLimits | None = None) -> None:
        limits = limits or InputLimits()
        code = next(
            (code for words, code in _EXCEEDED.items() if words in stderr),
            ErrorCode.UNREADABLE_MEDIA,
        )
        super().__init__(
            code,
            detail=stderr[-_DETAIL:],
            kind="video",
            millions=limits.pixels / 1_000_000,
            limit=limits.carried if "exceeds max_streams" in stderr else limits.streams,
        )


class FfmpegInterruptedError(TransientError):
    """This machine is at fault, not the file: no ffmpeg, no working sandbox, or a full disk."""


class FfmpegKilledError(InconclusiveError):
    """Something ended ffmpeg: the kernel for want of memory, an operator, or the clock."""


class FfmpegTimeoutError(FfmpegKilledError):
    """The clock ran out, which is not the file's alone."""


class Ffmpeg:
    """
    Runs ffmpeg and ffprobe in a sandbox.

    ``input_options`` belong to every input of a command that it runs. The system's ffmpeg tells
    its own version; another *program* is told with *version*.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        limits: InputLimits | None = None,
        *,
        program: str = "ffmpeg",
        version: str | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._limits = limits or InputLimits()
        self._program = program
        self._version = version
        self.input_options = input_options(self._limits)

    async def run(
        self,
        arguments: Sequence[str],
        *,
        reads: Path,
        writes: Path,
        timeout_seconds: float,
        cpu_seconds: int | None = None,
        max_bytes: int = MAX_OUTPUT_BYTES,
        niceness: int = 0,
        on_progress: ProgressHandler | None = None,
        stall_seconds: float = 60,
    ) -> str:
        """
        Run ffmpeg with *arguments*, as ffmpeg-python's ``get_args`` returns them.

        Return the last 16 KiB of what it said: warnings, unless they ask for more.
        It may read the file *reads* and write into the folder *writes*. *on_progress* gets the
        seconds of output written so far, about twice a second. ffmpeg is killed when its time
        is up, of the clock or of all its threads on the CPU, when its files grow over
        *max_bytes* together, when it makes no progress for *stall_seconds*, when the task is
        cancelled, or when *on_progress* raises. *niceness* is what it leaves to others, up to
        19. Raises FfmpegError with code ``transcode_failed``, ``transcode_timeout`` (on the
        CPU), ``transcode_stalled`` or ``output_too_large``; FfmpegTimeoutError,
        FfmpegKilledError or FfmpegInterruptedError.
        An input from a file that lacks ``input_options`` is a ValueError.
        """
        refuse_open_inputs(arguments, self.input_options)
        limits = Limits(
            cpu_seconds=min(cpu_seconds or _MAX_CPU_SECONDS, _cpu_seconds(timeout_seconds)),
            file_bytes=max_bytes,
        )
        command = self._sandbox.command(
            _find(self._program), (*_RUN_OPTIONS, *arguments),
            reads=reads, writes=writes, limits=limits, before=meter.COUNTING,
        )  # fmt: skip
        if niceness:
            command = [_find("nice"), "-n", str(niceness), *command]
        clock = asyncio.get_running_loop().time
        started = clock()
        most = used_bytes(writes) + max_bytes
        async with _started(command) as running, running.within(writes, most):
            try:
                async with asyncio.timeout(timeout_seconds) as limit:
                    await _follow(running, on_progress, stall_seconds)
                    code, stderr = await running.ended()
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise FfmpegTimeoutError("ffmpeg took too long") from error
        if running.is_over_bytes:
            raise _too_large()
        if code != 0:
            all_of_it = (clock() - started) * _CORES >= limits.cpu_seconds
            _raise_if_over_limits(code, stderr, may_have_used_all=all_of_it)
            _raise_if_interrupted(code, stderr, writes)
            raise FfmpegError(ErrorCode.TRANSCODE_FAILED, detail=stderr[-_DETAIL:])
        if not holds_regular_files(writes):
            raise FfmpegError(ErrorCode.TRANSCODE_FAILED, detail="no plain file")
        told = self._told(arguments, reads, writes)
        meter.note(meter.Run("ffmpeg", self._version, told))
        return stderr

    def _told(self, arguments: Sequence[str], reads: Path, writes: Path) -> list[str]:
        """Return them without paths, and without what all commands have."""
        words = list[str]()
        for word in arguments:
            if words and words[-1].removeprefix("-") in self.input_options:
                words.pop()
            else:
                # Where the upload lies in the folder, its path is the longer one.
                words.append(word.replace(f"file:{reads}", "SOURCE").replace(f"{writes}/", ""))
        return words

    async def require_encoders(self, wanted: Collection[str]) -> None:
        """Raise FfmpegInterruptedError where this machine's ffmpeg lacks one of these encoders."""
        limits = Limits(cpu_seconds=_ENCODERS_CPU_SECONDS, file_bytes=0)
        command = self._sandbox.command(
            _find(self._program), ("-v", "info", "-encoders"), limits=limits
        )
        async with _started(command) as running:
            said = (await running.output.read()).decode(errors="replace")
            _, banner = await running.ended()
        version = _VERSION.match(banner)
        self._version = version[1] if version else None
        # " V....D libx264    ..."; what comes first explains the letters.
        there = {words[1] for line in said.splitlines() if len(words := line.split()) > 1}
        if missing := sorted(set(wanted) - there):
            raise FfmpegInterruptedError(
                f"This machine's ffmpeg cannot encode by {', '.join(missing)}: profiles may ask"
                " for it. Install one that can, such as Debian's."
            )

    async def probe(
        self, path: Path, *, cpu_seconds: int | None = None, timeout_seconds: float = 120
    ) -> MediaInfo:
        """
        Return what the file at *path* holds; raises UnreadableMediaError.

        When the clock runs out, and not its time on the CPU, it raises FfmpegTimeoutError. It has
        as much CPU as frames of the most pixels take.
        """
        most = self._limits.pixels / 1_000_000 * _PROBE_CPU_SECONDS_A_MEGAPIXEL
        cpu_seconds = cpu_seconds or math.ceil(_PROBE_CPU_SECONDS + most)
        words = ("-of", "json", "-show_entries", PROBE_ENTRIES)
        async with self._probing(path, words, cpu_seconds) as running:
            try:
                async with asyncio.timeout(timeout_seconds):
                    output = await _read_at_most(running.output, _MAX_PROBE_BYTES)
                    code, stderr = await running.ended()
            except TimeoutError as error:
                raise FfmpegTimeoutError("ffprobe took too long") from error
        if code in _OUT_OF_CPU:
            raise UnreadableMediaError("ffprobe took too long on the CPU")
        if code != 0:
            _raise_if_interrupted(code, stderr)
            raise UnreadableMediaError(stderr, self._limits)
        try:
            info = media_info(json.loads(output))
        except (ValueError, ArithmeticError, TypeError, AttributeError) as error:
            # What a file says of itself is the file's fault, however odd.
            raise UnreadableMediaError(repr(error)) from error
        if info is None:
            raise UnreadableMediaError("no streams")
        if info.video_count + len(info.audio_streams) > self._limits.streams:
            raise UnreadableMediaError("more to decode than allowed", self._limits)
        return info

    async def read_lines(
        self,
        path: Path,
        words: Sequence[str],
        take: Callable[[str], None],
        *,
        cpu_seconds: int,
        most_lines: int,
        timeout_seconds: float = 120,
    ) -> bool:
        """
        Hand each line that ffprobe says of *path* to *take*; return whether that was all.

        It is asked with *words*, such as ``-show_entries``. After *most_lines*, or when its time
        is up, what was taken is all that there will be.
        """
        async with self._probing(path, ("-of", "csv=p=0", *words), cpu_seconds) as running:
            try:
                async with asyncio.timeout(timeout_seconds):
                    async for lines in _blocks_of_lines(running.output):
                        for line in lines[:most_lines]:
                            take(line)
                        most_lines -= len(lines)
                        if most_lines <= 0:
                            return False
                    code, _ = await running.ended()
            except (TimeoutError, ValueError):
                return False
        return code == 0

    @asynccontextmanager
    async def _probing(
        self, path: Path, words: Sequence[str], cpu_seconds: int
    ) -> AsyncIterator[_Running]:
        options = [
            text for name, value in self.input_options.items() for text in (f"-{name}", str(value))
        ]
        arguments = ("-v", "error", *_MAX_ALLOC, *words, *options, "-i", f"file:{path}")
        limits = Limits(cpu_seconds=cpu_seconds, file_bytes=0)
        command = self._sandbox.command(
            _find("ffprobe"), arguments, reads=path, limits=limits, before=meter.COUNTING
        )
        async with _started(command) as running:
            yield running


def _cpu_seconds(timeout_seconds: float) -> int:
    # More than can be used before time is up: what ends a program that nobody watches any more.
    return math.ceil(timeout_seconds) * _CORES + 1


class _Running:
    """A started process whose standard error is being read."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for, see _started
        assert process.stderr is not None  # noqa: S101
        self.output = process.stdout
        self.pid = process.pid
        self._process = process
        self.is_over_bytes = False
        self._tail = asyncio.create_task(_tail(process.stderr))

    async def ended(self) -> tuple[int, str]:
        """Wait for its end and return its exit code and its last words."""
        stderr = meter.count(await asyncio.shield(self._tail))
        return await self._process.wait(), stderr

    @asynccontextmanager
    async def within(self, folder: Path, most_bytes: int) -> AsyncIterator[None]:
        """Kill it once all files in *folder* together take more."""

        async def look() -> None:
            while not self.is_over_bytes:
                await asyncio.sleep(_LOOK_AT_BYTES_SECONDS)
                self.is_over_bytes = used_bytes(folder) > most_bytes
            self._kill()

        async with background.running(looking=look()):
            yield

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill what still runs and reap it."""
        self._kill()
        self._tail.cancel()
        await asyncio.wait([self._tail])
        await self._process.communicate()


@asynccontextmanager
async def _started(command: Sequence[str]) -> AsyncIterator[_Running]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # No session of its own: niceness would not count. uvloop cannot start it so.
        process_group=0,
    )
    running = _Running(process)
    try:
        yield running
    finally:
        await running.end()


@cache
def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        # The machine is at fault, not the file that somebody uploaded.
        raise FfmpegInterruptedError(f"{program} is not installed")
    return found


async def _blocks_of_lines(output: asyncio.StreamReader) -> AsyncIterator[list[str]]:
    """Yield all lines of *output*, many at once: each by itself takes as long as reading a film."""
    rest = b""
    while block := await output.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield [line.decode(errors="replace").strip() for line in lines]
        if len(rest) > _BLOCK_BYTES:
            raise ValueError("a line longer than any that is asked for")
    if rest:
        yield [rest.decode(errors="replace").strip()]


async def _follow(
    running: _Running, on_progress: ProgressHandler | None, stall_seconds: float
) -> None:
    report: dict[str, str] = {}
    seen: tuple[str | None, ...] = ()
    waited, waits = 0.0, True

    async def wait_for_progress() -> None:
        # In steps: a time in which this process itself stood still is one of them, and no stall.
        nonlocal waited
        step = min(1.0, stall_seconds / 10)
        while waited < stall_seconds:
            await asyncio.sleep(step)
            waited += step if waits else 0
        stall.reschedule(asyncio.get_running_loop().time())

    waiting = asyncio.create_task(wait_for_progress())
    try:
        async with asyncio.timeout(None) as stall:
            async for line in running.output:
                name, _, value = line.decode(errors="replace").strip().partition("=")
                report[name] = value
                mark = tuple(report.get(key) for key in ("out_time_us", "frame", "total_size"))
                if name != "progress" or mark == seen:
                    continue
                seen = mark
                if on_progress is not None:
                    waits = False
                    await on_progress(_seconds_done(report))
                waited, waits = 0.0, True
    except TimeoutError as error:
        if not stall.expired():
            raise
        # On a machine with far too much to do a good file makes no progress either.
        if await is_starved(running.pid):
            raise FfmpegTimeoutError("ffmpeg gets no time on the CPU") from error
        raise FfmpegError(ErrorCode.TRANSCODE_STALLED) from error
    finally:
        waiting.cancel()


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


def _too_large(stderr: str = "") -> FfmpegError:
    return FfmpegError(ErrorCode.OUTPUT_TOO_LARGE, detail=stderr[-_DETAIL:])


def _raise_if_over_limits(code: int, stderr: str, *, may_have_used_all: bool) -> None:
    # ffmpeg takes the signal that its CPU time is over as a request to end, and does not say so.
    if code in _OUT_OF_CPU or (code == _ASKED_TO_END and may_have_used_all):
        raise FfmpegError(ErrorCode.TRANSCODE_TIMEOUT, detail=stderr[-_DETAIL:])
    if code in _OUT_OF_BYTES:
        raise _too_large(stderr)


def _raise_if_interrupted(code: int, stderr: str, writes: Path | None = None) -> None:
    """Raise unless the file is at fault. What ffmpeg says is no proof: files make it say things."""
    if writes is not None and shutil.disk_usage(writes).free < _LEAST_FREE_BYTES:
        raise FfmpegInterruptedError("the disk is full")
    # The sandbox speaks first, and alone: where ffmpeg has said more, its tail may begin like that.
    if stderr.startswith(_SANDBOXERS) and len(stderr.encode()) < _TAIL_BYTES:
        raise FfmpegInterruptedError(f"the sandbox: {stderr}")
    if code in _KILLED:
        raise FfmpegKilledError(f"ended with code {code}: {stderr[-200:]}")

"""
The sandboxed processes that images are opened in.

Invariant: a hostile image costs at most its own answer. Each is opened in a process of its
own, with limited memory and time, that has no other file, and dies with this process; of what
that process says, nothing is believed but JSON of the declared type.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from media_contracts.errors import ErrorCode
from media_runtime.errors import TransientError
from media_runtime.media.picture_worker import (
    BROKEN,
    DONE,
    OUT_OF_CPU,
    READY,
    REFUSAL,
    REFUSED,
    results_of,
)
from media_runtime.media.pictures import MAX_PIXELS, PictureError
from media_runtime.media.sandbox import Limits, Sandbox
from media_runtime.media.scratch import open_regular
from pydantic import ValidationError

T = TypeVar("T")

log = structlog.get_logger(__name__)

MEMORY_BYTES = 2 * 1024**3
_CPU_SECONDS = 300
_START_SECONDS = 30.0
_MOST_ANSWER_BYTES = 256 * 1024**2
_CHUNK_BYTES = 1024**2
_FIRST_DESCRIPTOR = 10
_FEW_THREADS = {
    # libvips works with one at a time, and has up to six where nothing limits it.
    "VIPS_CONCURRENCY": "1",
    "VIPS_MAX_THREADS": "3",
    # A heap for each would reserve 64 MB of the address space, and twice that for a moment.
    "MALLOC_ARENA_MAX": "1",
}


class PicturePoolError(TransientError):
    """This machine is at fault, not the image: no process can be started, or the disk is full."""


class PictureWorkError(RuntimeError):
    """The work itself has a bug; the message is the worker's traceback."""


@dataclass(frozen=True)
class Target:
    """Where to write what work makes, up to so many bytes."""

    path: Path
    max_bytes: int


class _WorkerDiedError(Exception):
    """The process ended without an answer that makes sense."""


class PicturePool:
    """
    Runs functions in sandboxed processes: ``async with PicturePool(sandbox, workers=2) as pool``.

    Open it on the event loop's own thread.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        workers: int,
        max_pixels: int = MAX_PIXELS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._workers = [_Worker(sandbox, max_pixels, memory_bytes) for _ in range(workers)]
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pictures")

    async def __aenter__(self) -> Self:
        starts = (worker.start(self._threads) for worker in self._workers)
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        if problem := next(filter(None, outcomes), None):
            self._close()
            raise problem
        for worker in self._workers:
            self._idle.put_nowait(worker)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown()

    async def run(
        self,
        work: Callable[..., T],
        source: Path | None,
        *args: Any,
        timeout_seconds: float,
        target: Target | None = None,
    ) -> T:
        """
        Return what *work* returns, called with the open file *source* and *args*.

        With a *target* it is called with an open file to write to after the source: of what comes
        from there so many bytes are written, and more is an error.

        *work* is a module-level function that declares what it returns, its arguments are
        picklable. A process that dies is replaced and the work tried once more: the kernel may
        have killed it for another's hunger. One is killed when its time is up, of the clock or,
        by the pixels of its image, on the CPU, and when its task is cancelled. Raises
        PictureError, also for any other PermanentError of *work*, or PicturePoolError, which is
        worth another try.
        """
        worker = await self._idle.get()
        try:
            for _ in range(2):
                try:
                    await worker.start(self._threads)
                    async with asyncio.timeout(timeout_seconds):
                        result: T = await worker.ask(self._threads, work, source, target, args)
                        return result
                except _WorkerDiedError:
                    # Its sandbox may take a while to end: until then it looks alive to start().
                    worker.kill()
                    log.warning("picture_worker_died", work=work.__name__)
        except TimeoutError as error:
            raise _too_slow() from error
        finally:
            self._idle.put_nowait(worker)
        raise PictureError(ErrorCode.IMAGE_CRASHED_DECODER)


class _Worker:
    """One sandbox and our end of its socket; a dead one is replaced by ``start``."""

    def __init__(self, sandbox: Sandbox, max_pixels: int, memory_bytes: int) -> None:
        self._sandbox = sandbox
        self._max_pixels = max_pixels
        self._limits = Limits(_CPU_SECONDS, memory_bytes=memory_bytes, file_bytes=0)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def start(self, threads: ThreadPoolExecutor) -> None:
        """Make sure that a process is waiting for work; raises PicturePoolError."""
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_START_SECONDS)
        # Below are descriptors that the sandbox uses itself.
        handed = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD, _FIRST_DESCRIPTOR)
        # Not the current folder, wherever this was started.
        paths = [path for path in map(Path, sys.path) if path.is_absolute() and path.is_dir()]
        command = self._sandbox.command(
            sys.executable,
            [
                *("-P", "-m", "media_runtime.media.picture_worker"),
                *(str(handed), str(self._max_pixels)),
            ],
            libraries=[Path(sys.prefix), Path(sys.base_prefix), *paths],
            environment={"PYTHONPATH": os.pathsep.join(map(str, paths)), **_FEW_THREADS},
            limits=self._limits,
        )
        # Not in a thread of the pool: PR_SET_PDEATHSIG fires when the starting thread ends.
        with theirs, os.fdopen(handed):
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - short, and our own words
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[handed],
                process_group=0,
            )
        loop = asyncio.get_running_loop()
        try:
            greeting = await loop.run_in_executor(threads, self._control.recv, len(READY))
        except OSError as error:
            self.kill()
            raise PicturePoolError("a picture process did not start in time") from error
        if greeting != READY:
            self.kill()
            raise PicturePoolError("a picture process could not start")

    async def ask(
        self,
        threads: ThreadPoolExecutor,
        work: Callable[..., Any],
        source: Path | None,
        target: Target | None,
        args: tuple[Any, ...],
    ) -> Any:
        """Return the worker's answer; when this is cancelled, the worker is killed."""
        loop = asyncio.get_running_loop()
        request = pickle.dumps((work, args, target is not None))
        exchange = loop.run_in_executor(threads, self._exchange, request, source, target)
        try:
            answer = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            self._end_processes()
            # The thread reads until it sees the end of the process.
            await asyncio.wait([exchange])
            exchange.exception()
            self.kill()
            raise
        return _understood(answer, work)

    def _exchange(self, request: bytes, source: Path | None, target: Target | None) -> bytes:
        assert self._control is not None  # noqa: S101 - started
        with ExitStack() as stack:
            files = [stack.enter_context(open_regular(path)) for path in (source,) if path]
            # Without a buffer, which would try once more at its end what a full disk did not take.
            written = stack.enter_context(target.path.open("wb", buffering=0)) if target else None
            ours, theirs = zip(*(os.pipe() for _ in range(2 if written else 1)), strict=True)
            pipes = [stack.enter_context(os.fdopen(end, "rb", buffering=0)) for end in ours]
            try:
                with ExitStack() as handing:
                    answer, *others = [
                        handing.enter_context(os.fdopen(end, "wb")) for end in theirs
                    ]
                    handed = [answer, *files, *others]
                    socket.send_fds(self._control, [request], [one.fileno() for one in handed])
                if written is None or target is None:
                    return _read_all(pipes[0])
                return _read_both(pipes[0], pipes[1], written, target.max_bytes)
            except OSError as error:
                raise _WorkerDiedError from error
            finally:
                with suppress(OSError):
                    self._control.send(DONE)

    def kill(self) -> None:
        """End the process and let go of the socket; no exchange may be under way."""
        if self._process is not None and self._control is not None:
            self._end_processes()
            self._process.wait()
            self._control.close()
            self._process = self._control = None

    def _end_processes(self) -> None:
        # Without a sandbox, the fork that has the image is one of the group.
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _too_slow() -> PictureError:
    return PictureError(ErrorCode.IMAGE_TIMEOUT)


def _read_all(pipe: Any) -> bytes:
    answer = _Answer()
    while chunk := pipe.read(_CHUNK_BYTES):
        if answer.take(chunk):
            break
    return bytes(answer.data)


def _read_both(pipe: Any, stream: Any, target: RawIOBase, max_bytes: int) -> bytes:
    """Return an answer, having written to *target* what came beside it."""
    answer, size = _Answer(), 0
    with selectors.DefaultSelector() as ready:
        for end in (pipe, stream):
            ready.register(end, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select():
                chunk = key.fileobj.read(_CHUNK_BYTES)  # type: ignore[union-attr]
                if not chunk:
                    ready.unregister(key.fileobj)
                elif key.fileobj is pipe:
                    if answer.take(chunk):
                        return bytes(answer.data)
                else:
                    size += len(chunk)
                    if size > max_bytes:
                        raise PictureError(ErrorCode.OUTPUT_TOO_LARGE)
                    _write(target, chunk)
    return bytes(answer.data)


def _write(target: RawIOBase, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[target.write(rest) or 0 :]
    except OSError as error:
        raise PicturePoolError("what is made of an image cannot be stored") from error


class _Answer:
    """What has come of an answer."""

    def __init__(self) -> None:
        self.data = bytearray()

    def take(self, chunk: bytes) -> bool:
        """Add to it, and return whether there is no need to wait for more."""
        is_over = chunk[:1] == OUT_OF_CPU and not self.data  # it goes on until it is ended
        self.data += OUT_OF_CPU if is_over else chunk
        if len(self.data) > _MOST_ANSWER_BYTES:
            raise _WorkerDiedError
        return is_over


def _understood(answer: bytes, work: Callable[..., Any]) -> Any:
    """Return the value of an answer, or raise what it tells; a hostile one tells nothing."""
    kind, payload = answer[:1], answer[1:]
    if kind == OUT_OF_CPU:
        raise _too_slow()
    try:
        if kind == REFUSED:
            code, message, detail = REFUSAL.validate_json(payload)
        elif kind == BROKEN:
            raise PictureWorkError(payload.decode(errors="replace"))
        else:
            return results_of(work).validate_json(payload)
    except ValidationError as error:
        raise _WorkerDiedError from error
    raise PictureError(code, message, detail=detail)
